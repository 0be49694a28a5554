"""Products of a matrix with a vector in about twice the working precision, in any NumPy.

The product of two entries is kept with its rounding error (Dekker, Numerische Mathematik 18, 1971).
Of each such product the leading digits are summed on a grid on which additions are exact, and the
rest beside it (Rump, Ogita, Oishi, SIAM Journal on Scientific Computing 31, 2008). So a residual
keeps its digits where large terms cancel, whatever the scales of the columns are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from efsgd.arrays import Array

BLOCK = 2**18  # entries that are worked on at a time
SPLITTER = 2.0**27 + 1  # halves the 53 digits of a float

Twofold = tuple[Array, Array]  # two arrays whose sum it is, the second about 2^-53 of the first


def product(rows: Any, x: Array, *, transposed: bool = False) -> Array:
    """A x for x (d,), or A'x for x (n,) if ``transposed``, with an error of rounding it once.

    ``rows`` is A, an array or CSR without duplicates; entries have to lie below 1e300.
    """
    leading, rest = _twofold(rows, x, transposed)
    total: Array = leading + rest
    return total


def residual(rows: Any, x: Array, y: Array, r: Array | float = 0.0) -> Array:
    """y - A x - r, rounded once; r is (n,)."""
    leading, rest = _twofold(rows, x, False)
    first, first_error = _added(y, -leading)
    second, second_error = _added(first, -np.asarray(r))
    difference: Array = second + (second_error + (first_error - rest))
    return difference


def magnitude(rows: Any, x: Array, *, transposed: bool = False) -> Array:
    """|A||x|, or |A'||x|: the size of what is added in :func:`product`."""
    size = np.abs(x)
    if hasattr(rows, "indptr"):
        sizes: Array = (abs(rows).T if transposed else abs(rows)) @ size
        return sizes
    sizes = np.zeros(rows.shape[transposed])
    for block in _slices(rows):  # a copy of a large array would be too much
        if transposed:
            sizes += np.abs(rows[block]).T @ size[block]
        else:
            sizes[block] = np.abs(rows[block]) @ size
    return sizes


def _slices(rows: Array) -> list[slice]:
    """The rows of an array, some at a time."""
    step = max(1, BLOCK // max(1, rows.shape[1]))
    return [slice(start, start + step) for start in range(0, len(rows), step)]


def _twofold(rows: Any, x: Array, transposed: bool) -> Twofold:
    """:func:`product` as a sum; its error is about 2^-100 times :func:`magnitude`."""
    sizes = magnitude(rows, x, transposed=transposed)
    grid = np.ldexp(1.0, np.frexp(sizes)[1] + 1)
    leading, rest = np.zeros_like(sizes), np.zeros_like(sizes)
    for i, j, entries in _blocks(rows):
        source, target = (i, j) if transposed else (j, i)
        terms, errors = _multiplied(entries, x[source])
        on_grid = (grid[target] + terms) - grid[target]
        leading += np.bincount(target, on_grid, minlength=len(sizes))
        rest += np.bincount(target, (terms - on_grid) + errors, minlength=len(sizes))
    return leading, rest


def _blocks(rows: Any) -> Iterator[tuple[Array, Array, Array]]:
    """The entries of A: their rows, columns and values, some rows at a time."""
    n, d = rows.shape
    if not hasattr(rows, "indptr"):
        for block in _slices(rows):
            i, j = np.indices(rows[block].shape)
            yield block.start + i.ravel(), j.ravel(), rows[block].ravel()
        return
    per_block = max(BLOCK, d)
    cuts = np.unique(np.searchsorted(rows.indptr, np.arange(0, max(1, rows.nnz), per_block)))
    for start, stop in zip(cuts, [*cuts[1:], n], strict=True):
        first, last = rows.indptr[start], rows.indptr[stop]
        i = np.repeat(np.arange(start, stop), np.diff(rows.indptr[start : stop + 1]))
        yield i, rows.indices[first:last], rows.data[first:last]


def _added(a: Array, b: Array) -> Twofold:
    """a + b and its rounding error."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _multiplied(a: Array, b: Array) -> Twofold:
    """a b and its rounding error."""
    (a_high, a_low), (b_high, b_low) = _halves(a), _halves(b)
    total = a * b
    return total, ((a_high * b_high - total) + a_high * b_low + a_low * b_high) + a_low * b_low


def _halves(a: Array) -> Twofold:
    """a as a sum of two floats of 26 digits."""
    scaled = SPLITTER * a
    high = scaled - (scaled - a)
    return high, a - high
