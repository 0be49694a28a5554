"""The minimiser of |Aw - y| of least norm, and how far from it some w is, blind to no column.

A small or tall A is factorised (:mod:`efsgd.convex.problems.factors`), which gives the solution to
all digits and so a proof. Another one is left to LSQR: then each column is known to be stationary,
but no bound on f(w) - f* is.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from efsgd.arrays import Array
from efsgd.convex.problems.factors import ADVICE, Factors, column_exponents, scaled
from efsgd.convex.problems.linear_map import Matrix, as_rows, is_sparse
from efsgd.convex.problems.twofold import product, residual

TOLERANCE = 1e-8  # on each number of an Accuracy
DENSE_LIMIT = 4_000_000  # entries of the columns that are not 0: up to here A is factorised
TALL_LIMIT, TALL_COLUMNS = 10**8, 1000  # up to so many entries and columns a tall one is too
LSQR_WORK = 2 * 10**10  # entries that LSQR may read: a minute or so
INTERPOLATED = 1e-6  # of |y|^2: below, |Aw - y|^2 is known to 1e-14 |y|^2, not relatively


class Accuracy(NamedTuple):
    """How far w is from the minimiser of |Aw - y| of least norm, in relative numbers.

    ``value`` and ``distance`` compare with a solution in twice the precision; they are NaN for an A
    that is left to LSQR.
    """

    stationarity: float  # the largest |a_j'(Aw - y)| / (|a_j| |y|) over the columns a_j
    outside: float  # the share of w outside the span of the rows
    value: float  # error of |Aw - y|^2
    distance: float  # error of w
    dependent: int = 0  # columns that depend on the others up to rounding, in excess of d - n

    @property
    def error(self) -> float:
        """The largest of the numbers that are known; NaN where one of these is."""
        return float(np.max(self[:4] if self.proven else self[:2]))

    @property
    def proven(self) -> bool:
        """Whether the value and the minimiser are known, or else stationarity alone."""
        return not np.isnan(self.value)


def minimum_norm(matrix: Matrix, y: Array) -> Array:
    """The minimiser w (d,) of |Aw - y|^2 of least norm.

    Columns that differ from a combination of the others by rounding alone count as dependent.
    Of an A that is left to LSQR w is known to be stationary only: see :func:`accuracy`. Raises
    ArithmeticError, with the remedy, where w cannot be found to TOLERANCE.
    """
    rows, columns = _without_empty_columns(matrix)
    w = np.zeros(matrix.shape[1])
    if columns.size:
        factors = _factors(rows, y)
        w[columns] = _by_lsqr(rows, y) if factors is None else _by_factors(factors, rows, y)
    return w


def accuracy(matrix: Matrix, y: Array, w: Array) -> Accuracy:
    """How far w (d,) is from :func:`minimum_norm`, judged anew from the matrix.

    Raises ArithmeticError where no reference can be found.
    """
    rows, columns = _without_empty_columns(matrix)
    inner = w[columns]
    if not columns.size:
        judged = Accuracy(0.0, 0.0, 0.0, 0.0)
    elif (factors := _factors(rows, y)) is not None:
        judged = _from_factors(factors, inner)
    else:
        outside = _outside(rows, inner, _lsqr(rows.T, inner))
        judged = Accuracy(_stationarity(rows, y, inner), outside, np.nan, np.nan)
    on_empty = _ratio(np.linalg.norm(np.delete(w, columns)), np.linalg.norm(w))
    return judged._replace(outside=max(judged.outside, on_empty))


def _factors(rows: Any, y: Array) -> Factors | None:
    """The factors of a small or tall matrix; None for others, which LSQR has to solve.

    Raises ArithmeticError where the columns of a small one nearly depend on one another.
    """
    n, d = rows.shape
    if n * d <= DENSE_LIMIT:
        return Factors(_dense(rows), y)
    if n < d or n * d > TALL_LIMIT or d > TALL_COLUMNS:
        return None
    with suppress(ArithmeticError):
        factors = Factors(rows, y, tall=True)
        if factors.refined:
            return factors
    return None


def _by_factors(factors: Factors, rows: Any, y: Array) -> Array:
    """LAPACK's solution of a small matrix, LSQR's of a tall one, or else the refined one."""
    from scipy.linalg import lstsq

    small = factors.basis.Q is not None
    w: Array = lstsq(factors.A, y)[0] if small else _lsqr(rows, y)
    if _from_factors(factors, w).error <= TOLERANCE:
        return w
    error = _from_factors(factors, factors.refined[0]).error
    if not error <= TOLERANCE:
        raise ArithmeticError(f"the least-squares solution is exact to {error:.0e} only: {ADVICE}")
    return factors.refined[0]


def _from_factors(factors: Factors, w: Array) -> Accuracy:
    """How far w (d,) is from the refined solution."""
    A, y, (best, r) = factors.A, factors.y, factors.refined
    plain = A @ w - y  # from which the loss of a problem is computed
    square, least = float(plain @ plain), float(r @ r)
    return Accuracy(
        stationarity=_stationarity(A, y, w),
        outside=0.0 if factors.independent else _outside(A, w, factors.combination(w)),
        value=_ratio(abs(square - least), least + INTERPOLATED * float(y @ y)),
        distance=_ratio(np.linalg.norm(w - best), np.linalg.norm(best)),
        dependent=factors.dependent,
    )


def _by_lsqr(rows: Any, y: Array) -> Array:
    """LSQR's solution or, where a column is not stationary there, LSQR's with scaled columns."""
    w = _lsqr(rows, y)
    if _stationarity(rows, y, w) <= TOLERANCE:
        return w
    exponents = column_exponents(rows)
    B = scaled(rows, exponents)
    z = np.ldexp(w, exponents)
    for _ in range(2):  # the second time from a residual that keeps its digits
        z = z + _lsqr(B, residual(B, z, y))
    short: Array = rows.T @ _lsqr(rows.T, np.ldexp(z, -exponents))
    error = _stationarity(rows, y, short)
    if not error <= TOLERANCE:
        raise ArithmeticError(f"LSQR stopped at a relative |a_j'(Aw - y)| of {error:.0e}: {ADVICE}")
    return short


def _lsqr(matrix: Any, y: Array) -> Array:
    """LSQR from 0, to rounding: its iterates stay in the row span of the matrix."""
    from scipy.sparse.linalg import lsqr

    entries = matrix.nnz if is_sparse(matrix) else matrix.size
    limit = min(10 * sum(matrix.shape), max(1000, LSQR_WORK // max(entries, 1)))
    solution: Array = lsqr(matrix, y, atol=1e-15, btol=1e-15, conlim=0, iter_lim=limit)[0]
    return solution


def _stationarity(rows: Any, y: Array, w: Array) -> float:
    """The largest |a_j'(Aw - y)| / (|a_j| |y|); no column is 0."""
    exponents = column_exponents(rows)
    B = scaled(rows, exponents)
    slopes = product(B, residual(rows, w, y), transposed=True)
    norms = np.sqrt((abs(B) ** 2).sum(axis=0))
    return _ratio(np.abs(slopes / norms).max(), np.linalg.norm(y))


def _outside(rows: Any, w: Array, u: Array) -> float:
    """|A'u - w| / |w|: no less than the share of w outside the span of the rows."""
    return _ratio(np.linalg.norm(product(rows, u, transposed=True) - w), np.linalg.norm(w))


def _without_empty_columns(matrix: Matrix) -> tuple[Any, Array]:
    """The rows, cut to the columns that are not 0, and which columns these are."""
    rows = as_rows(matrix)
    columns = np.unique(rows.indices) if is_sparse(rows) else np.flatnonzero(rows.any(axis=0))
    return (rows if columns.size == rows.shape[1] else rows[:, columns]), columns


def _dense(rows: Any) -> Array:
    array: Array = rows.toarray() if is_sparse(rows) else rows
    return array


def _ratio(a: Any, b: Any) -> float:
    """a / b, and a where b is 0."""
    return float(a) / (float(b) or 1.0)
