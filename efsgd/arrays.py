"""Array types, and the few reductions that must not underflow, overflow or leave the cache.

The reductions run over the last axis and keep it (length 1), so that results broadcast back.
Sums of squares are taken after dividing by a power of two near max|x|, which is exact: |x|^2 alone
underflows near |x| = 1e-162 and overflows near 1e154.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Floats: TypeAlias = NDArray[np.float64]  # to annotate problems of one's own
Generator: TypeAlias = np.random.Generator

CHUNK = 2**15  # elements; a few arrays of this length stay in the second-level cache


def as_vectors(x: Any) -> Array:
    """Return ``x`` as a C-contiguous float32 or float64 array of shape (..., d).

    Integers become float64. Raises TypeError for other dtypes, ValueError for a scalar, NaN or inf.
    """
    array: Array = np.asarray(x)
    x = array.astype(np.float64) if array.dtype.kind in "iub" else array
    if x.dtype.newbyteorder("=") not in (np.float32, np.float64):
        raise TypeError(f"expected float32 or float64, not {x.dtype}: convert the array first")
    if x.ndim == 0:
        raise ValueError("expected an array of shape (..., d), not a scalar: use x.reshape(1)")
    vectors: Array = np.ascontiguousarray(x, dtype=x.dtype.newbyteorder("="))
    if not all_finite(vectors):
        raise ValueError("the input holds NaN or inf: skip this step or mask those entries")
    return vectors


def pieces(shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Indices that cut an array of this shape, in order, into pieces of at most CHUNK entries."""
    if math.prod(shape) <= CHUNK:
        yield ()
        return
    row = math.prod(shape[1:])
    step = max(1, CHUNK // row)
    for start in range(0, shape[0], step):
        for rest in pieces(shape[1:]) if row > CHUNK else [()]:
            yield slice(start, start + step), *rest


def all_finite(x: Array) -> bool:
    """Whether no entry is NaN or infinite; works through the array in cache-sized pieces."""
    return all(bool(np.isfinite(x[piece]).all()) for piece in pieces(x.shape))


def mean_abs(x: Array) -> Array:
    """|x|_1 / d of each vector, shape (..., 1), in the dtype of ``x``; NaN or inf pass through."""
    d = x.shape[-1]
    total = sum_abs(x)
    mean: Array = total / np.asarray(d, x.dtype)
    summed = np.isfinite(total)
    if summed.all():
        return mean
    return np.where(summed, mean, (np.abs(x) / np.asarray(d, x.dtype)).sum(-1, keepdims=True))


def sum_abs(x: Array) -> Array:
    """|x|_1 of each vector, shape (..., 1), in the dtype of ``x``."""
    d = x.shape[-1]
    with np.errstate(over="ignore", invalid="ignore"):
        if d <= CHUNK:
            total: Array = np.abs(x).sum(-1, keepdims=True)
            return total
        buffer = np.empty((*x.shape[:-1], CHUNK), x.dtype)
        total = np.zeros((*x.shape[:-1], 1))
        for start in range(0, d, CHUNK):
            part = x[..., start : start + CHUNK]
            magnitude = np.abs(part, out=buffer[..., : part.shape[-1]])
            total += magnitude.sum(-1, keepdims=True)
        return total.astype(x.dtype)


def max_abs(x: Array) -> Array:
    """max_i |x_i| of each vector, shape (..., 1); 0 for d = 0."""
    largest: Array = np.maximum(
        x.max(-1, keepdims=True, initial=0), -x.min(-1, keepdims=True, initial=0)
    )
    return largest


def unit_scale(x: Array) -> tuple[Array, Array]:
    """Return (u, k) with x = u * 2^k exactly, u float64 in [-1, 1], k of shape (..., 1)."""
    _, k = np.frexp(max_abs(x).astype(np.float64))
    return times_power(x, -k), k


def times_power(x: Array, k: Array) -> Array:
    """x 2^k in float64, the bits of np.ldexp: a product, ten times faster, where 2^k is normal."""
    if np.abs(k).max(initial=0) < 1000:
        product: Array = x * np.ldexp(1.0, k)
        return product
    return np.ldexp(x.astype(np.float64), k)


def norm(x: Array) -> Array:
    """|x|_2 of each vector, float64, shape (..., 1); inf only where float64 cannot hold it.

    x is scaled only where one of its squares needs it. A power of two that scales x scales every
    sum of squares, unless one underflows or overflows: the bits are the same.
    """
    if x.dtype == np.float64 and x.flags.c_contiguous:
        with np.errstate(over="ignore"):
            square: Array = np.vecdot(x, x)[..., None]
        if ((square > 2.0**-800) & (square < 2.0**1000)).all():
            root: Array = np.sqrt(square)
            return root
    u, k = unit_scale(x)
    with np.errstate(over="ignore"):
        length: Array = np.ldexp(np.sqrt(np.vecdot(u, u))[..., None], k)
    return length


def rms(x: Array) -> Array:
    """|x|_2/sqrt(d) of each vector, float64, shape (..., 1)."""
    u, k = unit_scale(x)
    mean: Array = np.ldexp(np.sqrt(np.vecdot(u, u) / x.shape[-1])[..., None], k)
    return mean


def achieved_delta(x: Array, sent: Array) -> Array:
    """1 - |sent - x|^2/|x|^2 of each vector (..., d) -> (...); 1 where x = 0 and sent = 0.

    A compressor is delta-approximate (arXiv 1901.09847, Assumption A) when this never falls
    below delta (for random ones: in expectation). It may be negative; -inf where x = 0 != sent.
    """
    u, k = unit_scale(np.asarray(x))
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        error = times_power(np.asarray(sent), -k) - u
        ratio = np.vecdot(error, error) / np.vecdot(u, u)
    zero = ~u.any(-1)
    nothing_sent = ~np.asarray(sent).any(-1)
    delta: Array = np.where(zero, np.where(nothing_sent, 1.0, -np.inf), 1.0 - ratio)
    return delta


def density(x: Array) -> Array:
    """phi(x) = |x|_1^2 / (d |x|_2^2) of each vector (..., d) -> (...); 1/d <= phi <= 1, phi(0) = 1.

    The delta that scaled sign achieves at x (arXiv 1901.09847, section 4).
    """
    u, _ = unit_scale(np.asarray(x))
    d = u.shape[-1]
    square = np.vecdot(u, u)
    total = np.abs(u).sum(-1)
    positive = square > 0
    phi: Array = np.where(positive, total**2 / np.where(positive, d * square, 1.0), 1.0)
    return phi
