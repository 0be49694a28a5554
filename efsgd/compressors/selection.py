"""Choosing k of d entries: the k of largest magnitude, k at random, or k that a seed determines.

:class:`efsgd.compressors.RandK` and the batches of the engine draw with the same function.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from efsgd.arrays import CHUNK, Array, Generator
from efsgd.compressors.packing import Shape

LONG = 2**14  # entries of a vector that is searched through a few candidates
SAMPLE = 2**12  # entries of it that guess a threshold for them
# SplitMix64 (Steele, Lea, Flood, 2014): the step of its counter, then (shift, multiplier) of a mix.
STEP = 0x9E3779B97F4A7C15
MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1))


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


def splitmix64(seeds: Array, start: int, stop: int) -> Array:
    """Outputs ``start`` to ``stop`` of SplitMix64 for each seed: (..., n) words, uint64.

    ``seeds`` (...) are its 64-bit states, also as int64. Output i is a bijection of seed + (i+1)
    times an odd constant, so that no two words of one seed are equal. Plain integer arithmetic:
    the words are the same in NumPy, in torch and in every version of either.
    """
    counters = np.arange(start + 1, stop + 1, dtype=np.uint64) * np.uint64(STEP)
    words: Array = np.asarray(seeds).astype(np.uint64)[..., None] + counters
    for shift, multiplier in MIX:
        words ^= words >> np.uint64(shift)
        words *= np.uint64(multiplier)
    return words


def seeded_subset(seeds: Array, d: int, k: int) -> Array:
    """The k of d positions that each 64-bit seed determines: (..., k), int64, increasing.

    They are those of the k largest of the first d words of :func:`splitmix64`.
    """
    seeds = np.asarray(seeds)
    if k == d:
        return np.broadcast_to(np.arange(d), (*seeds.shape, d))
    flat = seeds.reshape(-1)
    out = np.empty((flat.size, k), np.int64)
    rows = max(1, CHUNK // d)  # at a time
    for at in range(0, flat.size, rows):
        if d > CHUNK:
            out[at] = _seeded_of_long(flat[at], d, k)
        else:
            words = splitmix64(flat[at : at + rows], 0, d)
            chosen = np.argpartition(words, d - k, axis=-1)[..., d - k :]
            out[at : at + rows] = np.sort(chosen, axis=-1)
    return out.reshape(*seeds.shape, k)


def _seeded_of_long(seed: Array, d: int, k: int) -> Array:
    """:func:`seeded_subset` of one seed, without holding all of the d words."""
    spread = 8.0 * math.sqrt(k * (1.0 - k / d)) + 8.0  # standard deviations: hardly ever outside
    least, positions = _kth_word(seed, d, k, spread), []
    for start, words in _words(seed, d):
        positions.append(np.flatnonzero(words >= least) + start)
    return np.concatenate(positions)


def _kth_word(seed: Array, d: int, k: int, spread: float) -> Any:
    """The k-th largest of the d words; those are held whose rank is within ``spread`` of k."""
    ends = (min(1.0, max(0.0, 1.0 - (k + side) / d)) for side in (spread, -spread))
    low, high = (np.uint64(min(int(end * 2.0**64), 2**64 - 1)) for end in ends)
    above, band = 0, []
    for _, words in _words(seed, d):
        above += int(np.count_nonzero(words > high))
        band.append(words[(words >= low) & (words <= high)])
    near = np.concatenate(band)
    room = k - above
    if not 0 < room <= near.size:
        return _kth_word(seed, d, k, float(d))
    return np.partition(near, near.size - room)[near.size - room]


def _words(seed: Array, d: int) -> Iterator[tuple[int, Array]]:
    """The d words of one seed in pieces of at most CHUNK, each with its first position."""
    for start in range(0, d, CHUNK):
        yield start, splitmix64(seed, start, min(start + CHUNK, d))


def top_mask(magnitude: Array, k: int, kth: Array | None = None) -> Array:
    """Mark the k largest entries of each vector (..., d); of equal ones the first.

    ``kth`` is the k-th largest of each, (..., 1), where it is known.
    """
    if k >= magnitude.shape[-1]:
        return np.ones(magnitude.shape, bool)
    if kth is None:
        kth = _kth_largest(magnitude, k)
    above, tied = magnitude > kth, magnitude == kth
    room = k - above.sum(-1, keepdims=True)
    if np.array_equal(np.count_nonzero(tied, axis=-1, keepdims=True), room):
        return np.asarray(above | tied)
    mask: Array = above | (tied & (np.cumsum(tied, axis=-1) <= room))
    return mask


def top_indices(x: Array, k: int) -> Array:
    """Increasing positions (..., k) of the k largest |x_i| of each vector; of equal ones the first.

    One long vector is searched through the few entries above a threshold guessed from a sample.
    """
    d = x.shape[-1]
    if x.size == d and d > LONG and k < d // 8:
        flat = x.reshape(-1)
        candidates = _candidates(flat, k)
        largest = candidates[top_mask(np.abs(flat[candidates]), k)]
        return largest.reshape(*x.shape[:-1], k)
    if k == 1:
        first: Array = np.abs(x).argmax(-1)[..., None]
        return first
    magnitude = np.abs(x)
    kth = _kth_largest(magnitude, k)
    positions = _untied(magnitude, k, kth)
    if positions is None:
        positions = np.nonzero(top_mask(magnitude, k, kth))[-1].reshape(*x.shape[:-1], k)
    return positions


def _kth_largest(magnitude: Array, k: int) -> Array:
    """The k-th largest entry of each vector (..., d), (..., 1)."""
    kth: Array = np.partition(magnitude, -k, axis=-1)[..., -k, None]
    return kth


def _untied(magnitude: Array, k: int, kth: Array) -> Array | None:
    """The positions of :func:`top_indices` where each vector has just k entries from its k-th on.

    None where some do not, because of ties or NaN: these need :func:`top_mask`.
    """
    *lead, d = magnitude.shape
    kept = np.flatnonzero(magnitude >= kth)
    rows = math.prod(lead)
    if kept.size != rows * k:
        return None
    positions = kept.reshape(rows, k) - d * np.arange(rows)[:, None]
    of_own_row = (positions >= 0) & (positions < d)
    return positions.reshape(*lead, k) if of_own_row.all() else None


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


def gather(x: Array, indices: Array) -> Array:
    """The entries of x (..., d) at ``indices`` (..., k)."""
    entries: Array = x.reshape(-1).take(_of_all(indices, x.shape[-1]))
    return entries


def scatter(x: Array, indices: Array, values: Array) -> Array:
    """Zeros of the shape of x with ``values`` (..., k) at ``indices`` (..., k)."""
    out = np.zeros(x.shape, x.dtype)
    out.reshape(-1)[_of_all(indices, x.shape[-1])] = values
    return out


def _of_all(indices: Array, d: int) -> Array:
    """The places among all entries of vectors (..., d) that have the places ``indices`` in each.

    NumPy's own functions along an axis build an index for each axis, which takes longer.
    """
    *lead, _ = indices.shape
    rows = math.prod(lead)
    return indices if rows == 1 else indices + d * np.arange(rows).reshape(*lead, 1)
