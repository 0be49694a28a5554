"""Choosing k of d entries: the k of largest magnitude, or k at random.

:class:`efsgd.compressors.RandK` and the batches of the engine draw with the same function.
"""

from __future__ import annotations

import math

import numpy as np

from efsgd.arrays import CHUNK, Array, Generator
from efsgd.compressors.packing import Shape

SAMPLE = 2**14  # entries that guess a threshold for a long vector


def check_count(k: float) -> None:
    """Refuse anything but a positive count (int) or a share in (0, 1] (float)."""
    if isinstance(k, float) and 0 < k <= 1:
        return
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise ValueError(f"k must be a positive count or a share in (0, 1], not {k}")


def count(k: float, d: int) -> int:
    """How many of d entries: k itself, or for a share s max(1, floor(s*d + 1/2)); at most d."""
    return min(d, max(1, math.floor(k * d + 0.5)) if isinstance(k, float) else int(k))


def sample_subset(rng: Generator, d: int, k: int, lead: Shape) -> Array:
    """Uniform k-subsets of d positions, increasing, shape (*lead, k)."""
    if k == 1:
        return rng.integers(d, size=(*lead, 1))
    if math.prod(lead) == 1:
        chosen = rng.choice(d, k, replace=False, shuffle=False).reshape(*lead, k)
    else:
        chosen = np.argpartition(rng.random((*lead, d)), k - 1, axis=-1)[..., :k]
    return np.sort(chosen, axis=-1)


def top_mask(magnitude: Array, k: int) -> Array:
    """Mark the k largest entries of each vector (..., d); of equal ones the first."""
    if k >= magnitude.shape[-1]:
        return np.ones(magnitude.shape, bool)
    kth = np.partition(magnitude, -k, axis=-1)[..., -k, None]
    above, tied = magnitude > kth, magnitude == kth
    room = k - above.sum(-1, keepdims=True)
    mask: Array = above | (tied & (np.cumsum(tied, axis=-1) <= room))
    return mask


def top_indices(x: Array, k: int) -> Array:
    """Increasing positions (..., k) of the k largest |x_i| of each vector; of equal ones the first.

    One long vector is searched through the few entries above a threshold guessed from a sample.
    """
    d = x.shape[-1]
    if x.size == d and d > SAMPLE and k < d // 8:
        flat = x.reshape(-1)
        candidates = _candidates(flat, k)
        largest = candidates[top_mask(np.abs(flat[candidates]), k)]
        return largest.reshape(*x.shape[:-1], k)
    if k == 1:
        first: Array = np.abs(x).argmax(-1)[..., None]
        return first
    return np.nonzero(top_mask(np.abs(x), k))[-1].reshape(*x.shape[:-1], k)


def _candidates(x: Array, k: int) -> Array:
    """Positions that contain the k largest |x_i| and, where the guess is good, few others."""
    sample = np.abs(x[:: -(-x.size // SAMPLE)])
    expected = sample.size * k / x.size
    rank = min(sample.size, int(expected + 4 * math.sqrt(expected) + 8))
    guess = np.partition(sample, -rank)[-rank]
    buffer, positions = np.empty(CHUNK, x.dtype), []
    for start in range(0, x.size, CHUNK):
        part = x[start : start + CHUNK]
        magnitude = np.abs(part, out=buffer[: part.size])
        positions.append(np.flatnonzero(magnitude >= guess) + start)
    candidates = np.concatenate(positions)
    return candidates if candidates.size >= k else np.arange(x.size)


def scatter(x: Array, indices: Array, values: Array) -> Array:
    """Zeros of the shape of x with ``values`` (..., k) at ``indices`` (..., k)."""
    out = np.zeros(x.shape, x.dtype)
    np.put_along_axis(out, indices, values, axis=-1)
    return out
