"""What the torch kernels are made of: reductions and selections, on the device of the tensor.

As in :mod:`efsgd.arrays` a reduction runs over the last axis and keeps it (length 1), and must not
underflow or overflow. On an accelerator nothing here waits for the device.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from efsgd.compressors.selection import MIX, STEP


def readable(x: Tensor) -> bool:
    """Whether x is a plain tensor on the CPU, of which a value can be read without waiting."""
    return type(x) is Tensor and x.device.type == "cpu" and not torch.compiler.is_compiling()


def ldexp(x: Tensor, k: Tensor) -> Tensor:
    """x * 2^k in float64 for |k| <= 2044, rounded once (older torch.ldexp has 2^k in float32)."""
    normal = k.clamp(-1022, 1023)
    return x.double() * _power(k - normal) * _power(normal)  # the rest first: it rounds nothing


def _power(k: Tensor) -> Tensor:
    """2^k in float64, exactly, for -1022 <= k <= 1023: the exponent bits are written."""
    return (k.to(torch.int64) + 1023 << 52).view(torch.float64)


def max_abs(x: Tensor) -> Tensor:
    """max_i |x_i| of each vector, (..., 1)."""
    return x.abs().amax(-1, keepdim=True)


def unit_scale(x: Tensor) -> tuple[Tensor, Tensor]:
    """(u, k) with x = u * 2^k, u float64 in [-1, 1], k (..., 1): squares of u stay in range."""
    k = torch.frexp(max_abs(x).double()).exponent
    return ldexp(x, -k), k


def root(x: Tensor, n: int) -> Tensor:
    """sqrt(|x|_2^2 / n) in float64, (..., 1)."""
    u, k = unit_scale(x)
    return ldexp((u.square().sum(-1, keepdim=True) / n).sqrt(), k)


def mean(x: Tensor, n: int | Tensor) -> Tensor:
    """Sum over n, (..., 1), in the dtype of x, also where the sum itself would overflow."""
    plain = x.sum(-1, keepdim=True) / n
    if readable(x):  # float64 takes ten times as long there
        finite = math.isfinite(plain.item()) if plain.numel() == 1 else bool(plain.isfinite().all())
        return plain if finite else (x / n).sum(-1, keepdim=True)
    if x.dtype == torch.float32:  # float64 holds every sum of float32
        return (x.sum(-1, keepdim=True, dtype=torch.float64) / n).to(x.dtype)
    return torch.where(plain.isfinite(), plain, (x / n).sum(-1, keepdim=True))


def with_signs(x: Tensor, size: Tensor, zero: int = 1) -> Tensor:
    """sign(x) * size; sign(0) is ``zero``, 0 or 1, also for -0.0."""
    if not zero:
        return torch.sign(x) * size
    if torch.compiler.is_compiling():
        return torch.where(x < 0, -size, size)
    return torch.copysign(size, x + 0.0)  # -0.0 + 0.0 is +0.0; ten times as fast as where


def top_mask(magnitude: Tensor, k: int) -> Tensor:
    """Mark the k largest entries, of equal ones the first: torch.topk takes any of them."""
    if k >= magnitude.shape[-1]:
        return torch.ones_like(magnitude, dtype=torch.bool)
    kth = magnitude.topk(k, sorted=False).values.amin(-1, keepdim=True)
    above, tied = magnitude > kth, magnitude == kth
    room = k - above.sum(-1, keepdim=True)
    return above | (tied & (tied.cumsum(-1, dtype=torch.int32) <= room))


def seeded_subset(seeds: Tensor, d: int, k: int) -> Tensor:
    """The k of d positions that each 64-bit seed determines, (..., k), increasing.

    Those of :func:`efsgd.compressors.selection.seeded_subset`: of the k largest of d words of
    SplitMix64, here as int64 of the same bits, whose products wrap.
    """
    counters = torch.arange(1, d + 1, device=seeds.device)
    words = seeds[..., None] + counters * _signed(STEP)
    for shift, multiplier in MIX:
        words = words ^ (words >> shift & (1 << 64 - shift) - 1)  # the sign does not move down
        words = words * _signed(multiplier)
    ordered = words ^ _signed(1 << 63)  # as signed numbers in the order of the unsigned ones
    return ordered.topk(k, sorted=False).indices.sort(-1).values


def _signed(word: int) -> int:
    """The int64 that has the bits of a 64-bit word."""
    return word - (1 << 64) if word >> 63 else word
