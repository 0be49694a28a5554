"""Compressors that keep a given number of entries: TopK, RandK, SignTopK."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from efsgd.arrays import CHUNK, Array, Generator, mean_abs
from efsgd.compressors.base import Compressor, need
from efsgd.compressors.guarantee import Guarantee
from efsgd.compressors.packing import Reader, Shape, Writer, subset_bits
from efsgd.compressors.signs import fill_signs, one_hot, read_signs, with_signs

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
        kept = candidates[top_mask(np.abs(flat[candidates]), k)]
        return kept.reshape(*x.shape[:-1], k)
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
    piece, found = np.empty(CHUNK, x.dtype), []
    for start in range(0, x.size, CHUNK):
        part = x[start : start + CHUNK]
        absolute = np.abs(part, out=piece[: part.size])
        found.append(np.flatnonzero(absolute >= guess) + start)
    candidates = np.concatenate(found)
    return candidates if candidates.size >= k else np.arange(x.size)


def scatter(x: Array, indices: Array, values: Array) -> Array:
    """Zeros of the shape of x with ``values`` (..., k) at ``indices`` (..., k)."""
    out = np.zeros(x.shape, x.dtype)
    np.put_along_axis(out, indices, values, axis=-1)
    return out


class _Counted:
    """Equality by spec: the count 1 and the share 1.0 are equal numbers but not the same k."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


class _IndexedValues(_Counted):
    """What compressors share that send k positions of each vector and their values."""

    fixed_size = True

    def _kept(self, x: Array, drawn: Any) -> tuple[Array, Array]:
        raise NotImplementedError

    def _k(self, d: int) -> int:
        raise NotImplementedError

    def apply(self, x: Array, drawn: Any = None) -> Array:
        """The kept entries, 0 elsewhere."""
        return scatter(x, *self._kept(x, drawn))

    def _bits(self, d: int, width: int) -> int:
        k = self._k(d)
        return k * width + subset_bits(k, d)

    def _write(self, out: Writer, x: Array, drawn: Any) -> None:
        indices, values = self._kept(x, drawn)
        out.floats(values)  # first: one position among one takes no bytes, its value always does
        out.subset(indices, x.shape[-1])

    def _read(self, fields: Reader, shape: Shape) -> Any:
        *lead, d = shape
        k = self._k(d)
        values = fields.floats((*lead, k))
        return fields.subset(tuple(lead), k, d), values

    def _fill(self, out: Array, message: Any) -> None:
        indices, values = message
        out[...] = 0
        np.put_along_axis(out, indices, values, axis=-1)


@dataclass(frozen=True, eq=False)
class TopK(_IndexedValues, Compressor, spec="topk"):
    """The k entries of largest magnitude (of equal ones the first), the others 0.

    ``k`` is a count, or a share of d as a float. delta = k/d, attained at equal magnitudes
    (arXiv 1901.09847, section 2).
    """

    k: float
    projection = True

    def __post_init__(self) -> None:
        """Refuse an impossible k."""
        check_count(self.k)

    @property
    def guarantee(self) -> Guarantee:
        """Holds for every x."""
        return "pathwise"

    def _k(self, d: int) -> int:
        return count(self.k, d)

    def _kept(self, x: Array, drawn: Any) -> tuple[Array, Array]:
        indices = top_indices(x, self._k(x.shape[-1]))
        return indices, np.take_along_axis(x, indices, axis=-1)

    def _delta(self, d: int) -> float:
        return self._k(d) / d

    def _attaining_point(self, d: int, within: float) -> Array:
        return np.ones(d)


@dataclass(frozen=True, eq=False)
class RandK(_IndexedValues, Compressor, spec="randk"):
    """k uniformly random entries, the others 0; times d/k if ``unbiased``.

    Plain: delta = k/d in expectation, with equality at every x. Unbiased: omega = d/k - 1, and
    error feedback needs ``contractive(d)`` (Theorem IV of arXiv 1901.09847).
    """

    k: float
    unbiased: bool = False
    random = True

    def __post_init__(self) -> None:
        """Refuse an impossible k."""
        check_count(self.k)

    @property
    def guarantee(self) -> Guarantee:
        """In expectation over the positions."""
        return "unbiased" if self.unbiased else "expectation"

    @property
    def projection(self) -> bool:
        """What is kept is kept unchanged."""
        return not self.unbiased

    def draw(self, shape: Shape, rng: Generator | None = None, state: Any = None) -> Array:
        """The kept positions, (..., k), increasing."""
        *lead, d = shape
        return sample_subset(need(rng, self), d, self._k(d), tuple(lead))

    def _k(self, d: int) -> int:
        return count(self.k, d)

    def _kept(self, x: Array, drawn: Any) -> tuple[Array, Array]:
        values = np.take_along_axis(x, drawn, axis=-1)
        d = x.shape[-1]
        return drawn, values * np.asarray(d / self._k(d), x.dtype) if self.unbiased else values

    def _delta(self, d: int) -> float:
        return self._k(d) / d

    def _omega(self, d: int) -> float:
        return d / self._k(d) - 1.0

    def _attaining_point(self, d: int, within: float) -> Array:
        return np.ones(d)


@dataclass(frozen=True, eq=False)
class SignTopK(_Counted, Compressor, spec="signtopk"):
    """The signs of the k largest entries times their mean magnitude; sign(0) = +1.

    delta = min(k/d, 1/k), greatest at k = sqrt(d); attained at equal magnitudes where k^2 <= d,
    else at 1-sparse x (derived here).
    """

    k: float
    fixed_size = True
    projection = True

    def __post_init__(self) -> None:
        """Refuse an impossible k."""
        check_count(self.k)

    @property
    def guarantee(self) -> Guarantee:
        """Holds for every x."""
        return "pathwise"

    def apply(self, x: Array, drawn: Any = None) -> Array:
        """The mean magnitude of the kept entries with their signs."""
        indices, size, kept = self._parts(x)
        return scatter(x, indices, with_signs(kept, size))

    def _parts(self, x: Array) -> tuple[Array, Array, Array]:
        indices = top_indices(x, count(self.k, x.shape[-1]))
        kept = np.take_along_axis(x, indices, axis=-1)
        return indices, mean_abs(kept), kept

    def _delta(self, d: int) -> float:
        k = count(self.k, d)
        return min(k / d, 1.0 / k)

    def _attaining_point(self, d: int, within: float) -> Array:
        return np.ones(d) if count(self.k, d) ** 2 <= d else one_hot(d)

    def _bits(self, d: int, width: int) -> int:
        k = count(self.k, d)
        return width + k + subset_bits(k, d)

    def _write(self, out: Writer, x: Array, drawn: Any) -> None:
        indices, size, kept = self._parts(x)
        out.floats(size)
        out.subset(indices, x.shape[-1])
        out.bits(kept < 0)

    def _read(self, fields: Reader, shape: Shape) -> Any:
        *lead, d = shape
        k = count(self.k, d)
        size = fields.floats((*lead, 1))
        return size, fields.subset(tuple(lead), k, d), read_signs(fields, (*lead, k), 1)

    def _fill(self, out: Array, message: Any) -> None:
        size, indices, signs = message
        values = np.empty(indices.shape, out.dtype)
        fill_signs(values, size, signs, 1)
        out[...] = 0
        np.put_along_axis(out, indices, values, axis=-1)
