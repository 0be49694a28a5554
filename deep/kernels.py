"""The compressors in torch: what efsgd's NumPy kernels compute, on the device of the gradient.

The compressor itself, with its parameters and guarantees, is the one of :mod:`efsgd`; here is only
array code, one function a compressor, chosen by ``functools.singledispatch``. Fed the same draws a
kernel gives what NumPy gives: bit for bit where nothing is summed, else up to the order of a sum.

On an accelerator nothing waits for the device (LowRank does, in its SVD): all shapes follow from
the input's, so there is no branch on a number, no boolean index and no ``item()``. float32 and
float64 keep their dtype; float16 and bfloat16 are computed in float32 and rounded once, at the end.

Your own compressor joins by ``apply.register(Mine)`` and, if random, ``draw.register(Mine)``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch, wraps
from typing import Any, TypeAlias

import torch
from torch import Tensor

from efsgd import compressors as lib
from efsgd.compressors.base import Compressor
from efsgd.compressors.selection import count
from efsgd.deep.arrays import ldexp, max_abs, mean, root, top_mask, unit_scale, with_signs
from efsgd.deep.draws import as_tensors, draw, missing, registered
from efsgd.deep.matrices import low_rank, power_step

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
    function = apply.dispatch(type(c))
    wrapper: Any = c if function in (_scaled, _contractive, _blockwise) else None
    inner = {"inner": kernel(wrapper.compressor)} if wrapper else {}

    def run(x: Tensor, drawn: Any = None) -> Tensor:
        return function(c, x, drawn, **inner)

    return run


def _register(cls: type[Compressor]) -> Callable[[Kernel], Kernel]:
    """Register a kernel for vectors with d > 0 in float32 or float64, and extend it to the rest."""

    def decorate(function: Kernel) -> Kernel:
        @wraps(function)
        def extended(c: Any, x: Tensor, drawn: Any = None, **inner: Kernel) -> Tensor:
            if x.shape[-1] == 0:
                return x.clone()
            return function(c, x.float() if x.dtype in HALF else x, drawn, **inner).to(x.dtype)

        apply.register(cls)(extended)
        return extended

    return decorate


# -- the kernels ----------------------------------------------------------------------------------


@_register(lib.Identity)
def _identity(c: lib.Identity, x: Tensor, drawn: Any) -> Tensor:
    return x.clone()


@_register(lib.Sign)
def _sign(c: lib.Sign, x: Tensor, drawn: Any) -> Tensor:
    return with_signs(x, (x != 0).any(-1, keepdim=True).to(x.dtype), c.zero)


@_register(lib.ScaledSign)
def _scaled_sign(c: lib.ScaledSign, x: Tensor, drawn: Any) -> Tensor:
    return with_signs(x, mean(x.abs(), x.shape[-1]), c.zero)


@_register(lib.TwoMeans)
def _two_means(c: lib.TwoMeans, x: Tensor, drawn: Any) -> Tensor:
    minus = x < 0
    below = minus.sum(-1, keepdim=True)
    counts = [n.clamp(min=1).to(x.dtype) for n in (below, x.shape[-1] - below)]
    low = mean(torch.where(minus, x, 0.0), counts[0])
    high = mean(torch.where(minus, 0.0, x), counts[1])
    return torch.where(minus, low, high + 0.0)  # a mean of negative zeros is +0


@_register(lib.TopK)
def _top_k(c: lib.TopK, x: Tensor, drawn: Any) -> Tensor:
    return torch.where(top_mask(x.abs(), count(c.k, x.shape[-1])), x, 0.0)


@_register(lib.SignTopK)
def _sign_top_k(c: lib.SignTopK, x: Tensor, drawn: Any) -> Tensor:
    magnitude, k = x.abs(), count(c.k, x.shape[-1])
    mask = top_mask(magnitude, k)
    size = mean(torch.where(mask, magnitude, 0.0), k)
    return torch.where(mask, with_signs(x, size), 0.0)


@_register(lib.RandK)
def _rand_k(c: lib.RandK, x: Tensor, drawn: Tensor) -> Tensor:
    factor = x.shape[-1] / count(c.k, x.shape[-1]) if c.unbiased else 1.0
    return torch.zeros_like(x).scatter(-1, drawn, x.gather(-1, drawn) * factor)


@_register(lib.Threshold)
def _threshold(c: lib.Threshold, x: Tensor, drawn: Any) -> Tensor:
    return torch.where((x.abs() >= _threshold_at(c, x)) & (x != 0), x, 0.0)


def _threshold_at(c: lib.Threshold, x: Tensor) -> Tensor | float:
    """The threshold; entries within rounding of the one for ``l2``, a sum, may fall either way."""
    if c.abs is not None:
        return c.abs
    largest = max_abs(x).double()
    if c.linf is not None:
        return c.linf * largest
    assert c.l2 is not None
    return torch.minimum(c.l2 * root(x, x.shape[-1]), largest)  # rounding may lift it above


@_register(lib.QSGD)
def _qsgd(c: lib.QSGD, x: Tensor, drawn: Tensor) -> Tensor:
    size = root(x, 1).to(x.dtype)
    k = torch.frexp(size.double()).exponent
    length = ldexp(size, -k)
    share = ldexp(x.abs(), -k) / torch.where(length > 0, length, 1.0)
    levels = (share * c.s + drawn).floor().clamp(max=c.s)
    signed = torch.where(x < 0, -levels, levels) + 0.0  # no negative zero
    return size * (signed.to(x.dtype) / c.s)


@_register(lib.TernGrad)
def _tern_grad(c: lib.TernGrad, x: Tensor, drawn: Tensor) -> Tensor:
    share = unit_scale(x)[0].abs()
    nonzero = drawn * share.amax(-1, keepdim=True) < share
    return torch.where(nonzero, with_signs(x, max_abs(x)), 0.0)


@_register(lib.Natural)
def _natural(c: lib.Natural, x: Tensor, drawn: Any) -> Tensor:
    mantissa, exponent = torch.frexp(x.double())
    size = mantissa.abs()  # in [1/2, 1)
    up = size > 0.75 if c.nearest else drawn < 2.0 * size - 1.0
    power = ldexp(torch.ones_like(size), exponent - 1 + up.int()).to(x.dtype)
    return torch.where(x == 0, 0.0, with_signs(x, power))


@_register(lib.Shared)
def _shared(c: lib.Shared, x: Tensor, drawn: list[Tensor]) -> Tensor:
    return _rand_k(c.inner, x, drawn[1])


@_register(lib.Quantised)
def _quantised(c: lib.Quantised, x: Tensor, drawn: Any) -> Tensor:
    magnitude = x.abs()
    mask = top_mask(magnitude, c.kept(x.shape[-1]))
    most = magnitude.amax(-1, keepdim=True).double()
    least = torch.where(mask, magnitude, torch.inf).amin(-1, keepdim=True).double()
    share = (magnitude - least) / torch.where(most > least, most - least, 1.0)
    numbers = (share * c.levels).round()
    between = least + (most - least) * (numbers / c.levels)
    sizes = torch.where(numbers == c.levels, most, between).to(x.dtype)
    return torch.where(mask, torch.where(x < 0, -sizes, sizes) + 0.0, 0.0)


@_register(lib.NaturalDithering)
def _natural_dithering(c: lib.NaturalDithering, x: Tensor, drawn: Tensor) -> Tensor:
    size = unit_scale(x)[0].abs()
    largest = size.amax(-1, keepdim=True)
    share = size / torch.where(largest > 0, largest, 1.0)
    mantissa, exponent = torch.frexp(share)
    above = share >= 2.0 ** (1 - c.s)
    up = torch.where(above, 2.0 * mantissa - 1.0, share * 2.0 ** (c.s - 1))
    numbers = torch.where(above, exponent - 1 + c.s, 0) + (drawn < up).int()
    levels = ldexp(max_abs(x), numbers - c.s).to(x.dtype)
    return torch.where(numbers > 0, with_signs(x, levels), 0.0)


_register(lib.LowRank)(low_rank)
_register(lib.PowerSGD)(power_step)


@_register(lib.Scaled)
def _scaled(c: lib.Scaled, x: Tensor, drawn: Any, inner: Kernel | None = None) -> Tensor:
    return (inner or kernel(c.compressor))(x, drawn) * c.factor


@_register(lib.Contractive)
def _contractive(c: lib.Contractive, x: Tensor, drawn: Any, inner: Kernel | None = None) -> Tensor:
    return (inner or kernel(c.compressor))(x, drawn) * c.factor(x.shape[-1])


@_register(lib.Blockwise)
def _blockwise(c: lib.Blockwise, x: Tensor, drawn: Any, inner: Kernel | None = None) -> Tensor:
    inner = inner or kernel(c.compressor)
    cut = x.shape[-1] // c.size * c.size
    pieces = [piece for piece in (x[..., :cut], x[..., cut:]) if piece.shape[-1]]
    shapes, draws = c.block_shapes(tuple(x.shape)), drawn or [None] * len(pieces)
    sent = [
        inner(piece.reshape(shape), drawn_for_piece).flatten(x.ndim - 1)
        for piece, shape, drawn_for_piece in zip(pieces, shapes, draws, strict=True)
    ]
    return torch.cat(sent, dim=-1)
