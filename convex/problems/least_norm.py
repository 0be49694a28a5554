"""The minimiser of |Aw - y| of least norm, and how far from it some w is, blind to no column.

A small or tall A is factorised (:mod:`efsgd.convex.problems.factors`), which gives the solution to
all digits and so a proof, if columns that depend on others hide nothing
(:mod:`efsgd.convex.problems.dependence`). Another one is left to LSQR: then each column is known to
be stationary, but no bound on f(w) - f* is.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from efsgd.arrays import Array
from efsgd.convex.problems.dependence import Dependence
from efsgd.convex.problems.factors import ADVICE, Factors, column_exponents, scaled
from efsgd.convex.problems.linear_map import Matrix, as_rows, is_sparse
from efsgd.convex.problems.twofold import product, residual

TOLERANCE = 1e-8  # on each number of an Accuracy
DENSE_LIMIT = 4_000_000  # entries of the columns that are not 0: up to here A is factorised
TALL_LIMIT, TALL_COLUMNS = 10**8, 1000  # up to so many entries and columns a tall one is too
LSQR_WORK = 2 * 10**10  # entries that LSQR may read: a minute or so
EPS = float(np.finfo(float).eps)
ROUNDED, ROUNDED_BY_LSQR = 16 * EPS, 1e6 * EPS  # |Aw - y| over |y - its mean|, where Aw = y


class Accuracy(NamedTuple):
    """How far w is from the minimiser of |Aw - y| of least norm, in relative numbers.

    ``value`` and ``distance`` compare with a solution in twice the precision. For an A that is left
    to LSQR there is none: ``distance`` is NaN, and ``value`` compares with |Aw - y|^2 at this w.
    """

    stationarity: float  # the largest |a_j'(Aw - y)| / (|a_j| |y|) over the columns a_j
    outside: float  # the share of w outside the span of the rows
    value: float  # error of |Aw - y|^2, over |y|^2 if ``interpolates``
    distance: float  # error of w
    hidden: float = 0.0  # how much lower columns that seem dependent may make it, in the same unit
    dependent: int = 0  # columns that depend on the others up to rounding, in excess of d - n
    exact: bool = True  # whether they do so without rounding: if not, w may be no minimiser
    interpolates: bool = False  # whether |Aw - y| is as small as the rounding of y

    @property
    def error(self) -> float:
        """The largest of the numbers that are known; NaN where one of these is."""
        return float(np.max(self[:5] if self.proven else self[:3]))

    @property
    def proven(self) -> bool:
        """Whether the least value is known, or else stationarity alone."""
        return not np.isnan(self.distance)

    @property
    def refusal(self) -> str:
        """What is wrong where the error is above TOLERANCE, and the remedy."""
        if self.error == self.value:
            return (
                f"the least square has a relative error of {self.error:.0e}, since y is far larger "
                "than what w leaves of it: centre y, or subtract a first fit from it"
            )
        return f"the least-squares solution has a relative error of {self.error:.0e}: {ADVICE}"


def minimum_norm(matrix: Matrix, y: Array) -> Array:
    """The minimiser w (d,) of |Aw - y|^2 of least norm.

    Columns that differ from a combination of the others by rounding alone count as dependent; where
    that is not exact and may change the least square, it is refused. Of an A that is left to LSQR w
    is known to be stationary only: see :func:`accuracy`. Raises ArithmeticError, with the remedy,
    where w cannot be found to TOLERANCE.
    """
    rows, columns = _without_empty_columns(matrix)
    w = np.zeros(matrix.shape[1])
    if columns.size:
        reference = _reference(rows, y, columns)
        w[columns] = _by_lsqr(rows, y) if reference is None else _by_factors(reference, rows, y)
    return w


def accuracy(matrix: Matrix, y: Array, w: Array, f: float | None = None) -> Accuracy:
    """How far w (d,) is from :func:`minimum_norm`, judged anew from the matrix.

    ``f`` is what is claimed to be |Aw - y|^2 / (2n); if None, it is computed in plain float64.
    Raises ArithmeticError where no reference can be found.
    """
    rows, columns = _without_empty_columns(matrix)
    inner = w[columns]
    square = _square(rows, y, inner) if f is None else 2 * len(y) * f
    if not columns.size:
        judged = Accuracy(0.0, 0.0, _ratio(abs(square - y @ y), y @ y), 0.0)
    elif (reference := _reference(rows, y, columns)) is not None:
        judged = _from_factors(reference, inner, square)
    else:
        value, interpolates = _value(square, residual(rows, inner, y), y, ROUNDED_BY_LSQR)
        outside = _outside(rows, inner, _lsqr(rows.T, inner))
        judged = Accuracy(_stationarity(rows, y, inner), outside, value, np.nan)
        judged = judged._replace(interpolates=interpolates)
    on_empty = _ratio(np.linalg.norm(np.delete(w, columns)), np.linalg.norm(w))
    return judged._replace(outside=max(judged.outside, on_empty))


def _reference(rows: Any, y: Array, columns: Array) -> Dependence | None:
    """The factors of a small or tall matrix; None for others, which LSQR has to solve.

    ``columns`` are the numbers of its columns in the data. Raises ArithmeticError where the columns
    of a small one nearly depend on one another.
    """
    n, d = rows.shape
    if n * d <= DENSE_LIMIT:
        return Dependence(Factors(_dense(rows), y), columns)
    if n < d or n * d > TALL_LIMIT or d > TALL_COLUMNS:
        return None
    with suppress(ArithmeticError):
        factors = Factors(rows, y, tall=True)
        if factors.refined:
            return Dependence(factors, columns)
    return None


def _by_factors(reference: Dependence, rows: Any, y: Array) -> Array:
    """LAPACK's solution of a small matrix, LSQR's of a tall one, or else the refined one."""
    from scipy.linalg import lstsq

    factors = reference.factors
    small = factors.basis.Q is not None
    w: Array = lstsq(factors.A, y)[0] if small else _lsqr(rows, y)
    for candidate in (w, factors.refined[0]):
        judged = _from_factors(reference, candidate, _square(factors.A, y, candidate))
        if judged.error <= TOLERANCE:
            return candidate
    raise ArithmeticError(judged.refusal)


def _from_factors(reference: Dependence, w: Array, square: float) -> Accuracy:
    """How far w (d,) and ``square`` are from the refined solution.

    Raises ArithmeticError where columns outside the basis may lower the least square.
    """
    factors = reference.factors
    A, y, (best, r) = factors.A, factors.y, factors.refined
    value, interpolates = _value(square, r, y, ROUNDED)
    hidden = 0.0 if interpolates else _ratio(reference.decrease, r @ r)
    if not hidden <= TOLERANCE:
        raise ArithmeticError(reference.refusal(hidden))
    return Accuracy(
        stationarity=_stationarity(A, y, w),
        outside=0.0 if factors.independent else _outside(A, w, factors.combination(w)),
        value=value,
        distance=_ratio(np.linalg.norm(w - best), np.linalg.norm(best)),
        hidden=hidden,
        dependent=factors.dependent,
        exact=reference.exact,
        interpolates=interpolates,
    )


def _square(rows: Any, y: Array, w: Array) -> float:
    """|Aw - y|^2 in plain float64, as the loss of a problem is computed."""
    plain = rows @ w - y
    return float(plain @ plain)


def _value(square: float, r: Array, y: Array, rounded: float) -> tuple[float, bool]:
    """The error of ``square`` as |r|^2, over |y|^2 if r (n,) is as small as the rounding of y.

    And whether it is: y is rounded to EPS/2 of its entries, and a product Aw to a few EPS. A mean
    that dwarfs the differences is excepted there, as y can be centred.
    """
    least, size = float(r @ r), float(np.linalg.norm(y))
    rounding = 0.5 * EPS * size + rounded * float(np.linalg.norm(y - y.mean()))
    interpolates = least <= rounding**2
    return _ratio(abs(square - least), size**2 if interpolates else least), interpolates


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
