"""The compressors in torch: what efsgd's NumPy kernels compute, on the device of the gradient.

The compressor itself, with its parameters and guarantees, is the one of :mod:`efsgd`; here is only
array code, one function a compressor, chosen by ``functools.singledispatch``. Fed the same draws a
kernel gives what NumPy gives: bit for bit where nothing is summed, else up to the order of a sum.

Nothing here waits for the device (LowRank does, in its SVD): all shapes follow from the input's, so
there is no branch on a number, no boolean index and no ``item()``. float32 and float64 keep their
dtype; float16 and bfloat16 are computed in float32 and rounded once, at the end.

Your own compressor joins by ``apply.register(Mine)`` and, if random, ``draw.register(Mine)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import singledispatch, wraps
from typing import Any, TypeAlias

import torch
from torch import Tensor

from efsgd import compressors as lib
from efsgd.compressors.base import Compressor
from efsgd.compressors.sparse import count
from efsgd.deep.draws import as_tensors, draw, missing, registered

__all__ = ["Kernel", "apply", "as_tensors", "draw", "kernel"]

Kernel: TypeAlias = Callable[..., Tensor]  # (x, drawn=None) -> C(x)
HALF = (torch.float16, torch.bfloat16)


@singledispatch
def apply(c: Compressor, x: Tensor, drawn: Any = None) -> Tensor:
    """C(x) of each vector of x (..., d), given what was drawn; x is not changed.

    The result is a new tensor of the shape, dtype and device of x. Inputs are not checked: NaN and
    inf make no error, and ``drawn`` must lie on the device of x. A subclass without a kernel of its
    own gets its parent's, as singledispatch has it; :func:`kernel` is stricter.
    """
    raise missing(c)


def kernel(c: Compressor) -> Kernel:
    """``apply`` of this compressor with the dispatch done once: a function of (x, drawn=None).

    It is what ``torch.compile`` should be given. Raises ValueError for a compressor whose ``apply``
    (or, if it is random, ``draw``) is its own while no torch counterpart is registered.
    """
    if not registered(c, apply, "apply") or (c.random and not registered(c, draw, "draw")):
        raise missing(c)
    found = apply.dispatch(type(c))
    around: Any = c if found in (_scaled, _blockwise) else None
    inner = {"inner": kernel(around.compressor)} if around else {}

    def run(x: Tensor, drawn: Any = None) -> Tensor:
        return found(c, x, drawn, **inner)

    return run


def _of(cls: type[Compressor]) -> Callable[[Kernel], Kernel]:
    """Register a kernel for vectors with d > 0 in float32 or float64, and extend it to the rest."""

    def register(function: Kernel) -> Kernel:
        @wraps(function)
        def extended(c: Any, x: Tensor, drawn: Any = None, **inner: Kernel) -> Tensor:
            if x.shape[-1] == 0:
                return x.clone()
            return function(c, x.float() if x.dtype in HALF else x, drawn, **inner).to(x.dtype)

        apply.register(cls)(extended)
        return extended

    return register


# -- parts: reductions over the last axis that keep it, as in efsgd.arrays ------------------------


def _ldexp(x: Tensor, k: Tensor) -> Tensor:
    """x * 2^k in float64 for |k| <= 2044, rounded once (older torch.ldexp has 2^k in float32)."""
    most = k.clamp(-1022, 1023)
    return x.double() * _power(k - most) * _power(most)  # the rest first: it rounds nothing


def _power(k: Tensor) -> Tensor:
    """2^k in float64, exactly, for -1022 <= k <= 1023: the exponent bits are written."""
    return (k.to(torch.int64) + 1023 << 52).view(torch.float64)


def _max_abs(x: Tensor) -> Tensor:
    return x.abs().amax(-1, keepdim=True)


def _unit_scale(x: Tensor) -> tuple[Tensor, Tensor]:
    """(u, k) with x = u * 2^k, u float64 in [-1, 1], k (..., 1): squares of u stay in range."""
    k = torch.frexp(_max_abs(x).double()).exponent
    return _ldexp(x, -k), k


def _root(x: Tensor, n: int) -> Tensor:
    """sqrt(|x|_2^2 / n) in float64, (..., 1)."""
    u, k = _unit_scale(x)
    return _ldexp((u.square().sum(-1, keepdim=True) / n).sqrt(), k)


def _mean(x: Tensor, n: int | Tensor) -> Tensor:
    """Sum over n, (..., 1), in the dtype of x, also where the sum itself would overflow."""
    mean = x.sum(-1, keepdim=True) / n
    if asks_freely(x):  # float64 takes ten times as long there
        fine = math.isfinite(mean.item()) if mean.numel() == 1 else bool(mean.isfinite().all())
        return mean if fine else (x / n).sum(-1, keepdim=True)
    if x.dtype == torch.float32:  # float64 holds every sum of float32
        return (x.sum(-1, keepdim=True, dtype=torch.float64) / n).to(x.dtype)
    return torch.where(mean.isfinite(), mean, (x / n).sum(-1, keepdim=True))


def asks_freely(x: Tensor) -> bool:
    """Whether x is a plain tensor on the CPU, where to look at a value makes nobody wait."""
    return type(x) is Tensor and x.device.type == "cpu" and not torch.compiler.is_compiling()


def _with_signs(x: Tensor, size: Tensor, zero: int = 1) -> Tensor:
    if not zero:
        return torch.sign(x) * size
    if torch.compiler.is_compiling():
        return torch.where(x < 0, -size, size)
    return torch.copysign(size, x + 0.0)  # -0.0 + 0.0 is +0.0; ten times as fast as where


def _top_mask(magnitude: Tensor, k: int) -> Tensor:
    """Mark the k largest entries, of equal ones the first: torch.topk takes any of them."""
    if k >= magnitude.shape[-1]:
        return torch.ones_like(magnitude, dtype=torch.bool)
    kth = magnitude.topk(k, sorted=False).values.amin(-1, keepdim=True)
    above, tied = magnitude > kth, magnitude == kth
    room = k - above.sum(-1, keepdim=True)
    return above | (tied & (tied.cumsum(-1, dtype=torch.int32) <= room))


# -- the kernels ----------------------------------------------------------------------------------


@_of(lib.Identity)
def _identity(c: lib.Identity, x: Tensor, drawn: Any) -> Tensor:
    return x.clone()


@_of(lib.Sign)
def _sign(c: lib.Sign, x: Tensor, drawn: Any) -> Tensor:
    return _with_signs(x, (x != 0).any(-1, keepdim=True).to(x.dtype), c.zero)


@_of(lib.ScaledSign)
def _scaled_sign(c: lib.ScaledSign, x: Tensor, drawn: Any) -> Tensor:
    return _with_signs(x, _mean(x.abs(), x.shape[-1]), c.zero)


@_of(lib.TwoMeans)
def _two_means(c: lib.TwoMeans, x: Tensor, drawn: Any) -> Tensor:
    minus = x < 0
    below = minus.sum(-1, keepdim=True)
    counts = [n.clamp(min=1).to(x.dtype) for n in (below, x.shape[-1] - below)]
    low = _mean(torch.where(minus, x, 0.0), counts[0])
    high = _mean(torch.where(minus, 0.0, x), counts[1])
    return torch.where(minus, low, high + 0.0)  # a mean of negative zeros is +0


@_of(lib.TopK)
def _top_k(c: lib.TopK, x: Tensor, drawn: Any) -> Tensor:
    return torch.where(_top_mask(x.abs(), count(c.k, x.shape[-1])), x, 0.0)


@_of(lib.SignTopK)
def _sign_top_k(c: lib.SignTopK, x: Tensor, drawn: Any) -> Tensor:
    magnitude, k = x.abs(), count(c.k, x.shape[-1])
    mask = _top_mask(magnitude, k)
    size = _mean(torch.where(mask, magnitude, 0.0), k)
    return torch.where(mask, _with_signs(x, size), 0.0)


@_of(lib.RandK)
def _rand_k(c: lib.RandK, x: Tensor, drawn: Tensor) -> Tensor:
    factor = x.shape[-1] / count(c.k, x.shape[-1]) if c.unbiased else 1.0
    return torch.zeros_like(x).scatter(-1, drawn, x.gather(-1, drawn) * factor)


@_of(lib.Threshold)
def _threshold(c: lib.Threshold, x: Tensor, drawn: Any) -> Tensor:
    return torch.where((x.abs() >= _least(c, x)) & (x != 0), x, 0.0)


def _least(c: lib.Threshold, x: Tensor) -> Tensor | float:
    """The threshold; entries within rounding of the one for ``l2``, a sum, may fall either way."""
    if c.abs is not None:
        return c.abs
    most = _max_abs(x).double()
    if c.linf is not None:
        return c.linf * most
    assert c.l2 is not None
    return torch.minimum(c.l2 * _root(x, x.shape[-1]), most)  # rounding may lift it above max|x_i|


@_of(lib.QSGD)
def _qsgd(c: lib.QSGD, x: Tensor, drawn: Tensor) -> Tensor:
    size = _root(x, 1).to(x.dtype)
    k = torch.frexp(size.double()).exponent
    length = _ldexp(size, -k)
    share = _ldexp(x.abs(), -k) / torch.where(length > 0, length, 1.0)
    levels = (share * c.s + drawn).floor().clamp(max=c.s)
    signed = torch.where(x < 0, -levels, levels) + 0.0  # no negative zero
    return size * (signed.to(x.dtype) / c.s)


@_of(lib.TernGrad)
def _tern_grad(c: lib.TernGrad, x: Tensor, drawn: Tensor) -> Tensor:
    share = _unit_scale(x)[0].abs()
    kept = drawn * share.amax(-1, keepdim=True) < share
    return torch.where(kept, _with_signs(x, _max_abs(x)), 0.0)


@_of(lib.Natural)
def _natural(c: lib.Natural, x: Tensor, drawn: Any) -> Tensor:
    mantissa, exponent = torch.frexp(x.double())
    size = mantissa.abs()  # in [1/2, 1)
    up = size > 0.75 if c.nearest else drawn < 2.0 * size - 1.0
    power = _ldexp(torch.ones_like(size), exponent - 1 + up.int()).to(x.dtype)
    return torch.where(x == 0, 0.0, _with_signs(x, power))


@_of(lib.LowRank)
def _low_rank(c: lib.LowRank, x: Tensor, drawn: Any) -> Tensor:
    """The one kernel that waits for the device: on a GPU the SVD reads back whether it converged.

    Of equal singular values either may be kept. NaN and inf count as 0: the SVD would raise.
    """
    *lead, d = x.shape
    u, k = _unit_scale(x)
    matrix = u.nan_to_num(0.0, 0.0, 0.0).reshape(*lead, *c.sides(d))
    left, size, right = torch.linalg.svd(matrix, full_matrices=False)
    r, k = c.rank_at(d), k[..., None]
    left = _ldexp(left[..., :r] * size[..., None, :r], k // 2).to(x.dtype)
    right = _ldexp(right[..., :r, :], k - k // 2).to(x.dtype)
    out = left[..., :, :1] * right[..., :1, :]
    for j in range(1, r):
        out = out + left[..., :, j : j + 1] * right[..., j : j + 1, :]
    return out.reshape(x.shape)


@_of(lib.Scaled)
def _scaled(c: lib.Scaled, x: Tensor, drawn: Any, inner: Kernel | None = None) -> Tensor:
    return (inner or kernel(c.compressor))(x, drawn) * c.factor


@_of(lib.Blockwise)
def _blockwise(c: lib.Blockwise, x: Tensor, drawn: Any, inner: Kernel | None = None) -> Tensor:
    inner = inner or kernel(c.compressor)
    cut = x.shape[-1] // c.size * c.size
    pieces = [piece for piece in (x[..., :cut], x[..., cut:]) if piece.shape[-1]]
    parts = zip(pieces, c.block_shapes(tuple(x.shape)), drawn or [None] * len(pieces), strict=True)
    sent = [inner(piece.reshape(shape), own).flatten(x.ndim - 1) for piece, shape, own in parts]
    return torch.cat(sent, dim=-1)
