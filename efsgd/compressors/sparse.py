"""Compressors that keep a given number of entries: TopK, RandK, SignTopK."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from efsgd.arrays import Array, Generator, mean_abs
from efsgd.compressors.base import Compressor, need
from efsgd.compressors.guarantee import Guarantee
from efsgd.compressors.packing import Reader, Shape, Writer, place, subset_bits
from efsgd.compressors.selection import (
    check_count,
    count,
    gather,
    sample_subset,
    scatter,
    top_indices,
)
from efsgd.compressors.signs import fill_signs, one_hot, read_signs, with_signs


class _Counted:
    """What compressors share that keep k entries of each vector, k a count or a share of d.

    Equality is by spec: the count 1 and the share 1.0 are equal numbers but not the same k.
    """

    k: float

    def __post_init__(self) -> None:
        """Refuse an impossible k."""
        check_count(self.k)

    def _k(self, d: int) -> int:
        return count(self.k, d)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


class _IndexedValues(_Counted):
    """What compressors share that send k positions of each vector and their values."""

    fixed_size = True

    def _entries(self, x: Array, drawn: Any) -> tuple[Array, Array]:
        """The positions (..., k), increasing, and the values (..., k) that are sent."""
        raise NotImplementedError

    def apply(self, x: Array, drawn: Any = None) -> Array:
        """The kept entries, 0 elsewhere."""
        return scatter(x, *self._entries(x, drawn))

    def _bits(self, d: int, width: int) -> int:
        k = self._k(d)
        return k * width + subset_bits(k, d)

    def _write(self, out: Writer, x: Array, drawn: Any) -> None:
        indices, values = self._entries(x, drawn)
        out.floats(values)  # first: one position among one takes no bytes, its value always does
        out.subset(indices, x.shape[-1])

    def _read(self, fields: Reader, shape: Shape) -> Any:
        *lead, d = shape
        k = self._k(d)
        values = fields.floats((*lead, k))
        return fields.subset(tuple(lead), k, d), values

    def _fill(self, out: Array, message: Any) -> None:
        positions, values = message
        place(out, positions, values)


@dataclass(frozen=True, eq=False)
class TopK(_IndexedValues, Compressor, spec="topk"):
    """The k entries of largest magnitude (of equal ones the first), the others 0.

    ``k`` is a count, or a share of d as a float. delta = k/d, attained at equal magnitudes
    (arXiv 1901.09847, section 2).
    """

    k: float
    projection = True

    @property
    def guarantee(self) -> Guarantee:
        """Holds for every x."""
        return "pathwise"

    def _entries(self, x: Array, drawn: Any) -> tuple[Array, Array]:
        indices = top_indices(x, self._k(x.shape[-1]))
        return indices, gather(x, indices)

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

    def _entries(self, x: Array, drawn: Any) -> tuple[Array, Array]:
        values = gather(x, drawn)
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

    @property
    def guarantee(self) -> Guarantee:
        """Holds for every x."""
        return "pathwise"

    def apply(self, x: Array, drawn: Any = None) -> Array:
        """The mean magnitude of the kept entries with their signs."""
        indices, size, entries = self._parts(x)
        return scatter(x, indices, with_signs(entries, size))

    def _parts(self, x: Array) -> tuple[Array, Array, Array]:
        """The positions (..., k), the mean magnitude (..., 1) and the entries of x (..., k)."""
        indices = top_indices(x, self._k(x.shape[-1]))
        entries = gather(x, indices)
        return indices, mean_abs(entries), entries

    def _delta(self, d: int) -> float:
        k = self._k(d)
        return min(k / d, 1.0 / k)

    def _attaining_point(self, d: int, within: float) -> Array:
        return np.ones(d) if self._k(d) ** 2 <= d else one_hot(d)

    def _bits(self, d: int, width: int) -> int:
        k = self._k(d)
        return width + k + subset_bits(k, d)

    def _write(self, out: Writer, x: Array, drawn: Any) -> None:
        indices, size, entries = self._parts(x)
        out.floats(size)
        out.subset(indices, x.shape[-1])
        out.bits(entries < 0)

    def _read(self, fields: Reader, shape: Shape) -> Any:
        *lead, d = shape
        k = self._k(d)
        size = fields.floats((*lead, 1))
        return size, fields.subset(tuple(lead), k, d), read_signs(fields, (*lead, k), 1)

    def _fill(self, out: Array, message: Any) -> None:
        size, positions, signs = message
        values = np.empty((*out.shape[:-1], self._k(out.shape[-1])), out.dtype)
        fill_signs(values, size, signs, 1)
        place(out, positions, values)
