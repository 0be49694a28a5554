"""Least squares by QR with scaled columns, refined in twice the working precision.

Columns may differ in scale by any factor: they are first scaled to norms near 1, by powers of two
and so exactly. The solution by QR is refined (Bjoerck, BIT 7, 1967) until it stands still, which
proves it to be right: an error would be seen and reduced. Only columns that depend on one another
nearly, but not up to rounding, do not allow this, and are refused. Of a tall matrix Q is too large
to be kept; then Q = B R^-1 is applied, which allows less dependent columns only.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from efsgd.arrays import Array
from efsgd.convex.problems.twofold import product, residual

# Of a column of norm 1, what the others lack: rounding up to 2 eps for each column and 4 more, as
# measured on standardised categories and shares, and what leaves enough digits.
DEPENDENT, INDEPENDENT = 2 * float(np.finfo(float).eps), 1e-11
INDEPENDENT_IF_TALL = 1e-6
BLOCK = 4_000_000  # entries that are factorised at a time
ROUNDS = 30  # of refinement; a few are enough
STILL = 1e-12  # relative change of the solution in the last round
SETTLED = 1e-9  # relative change that one more round would bring to w, whose columns have scales
ADVICE = "scale the columns, and drop those that depend on the others"


class Factors:
    """A (n, d), no column of which is 0, factorised with scaled columns: A = Q R E, E diagonal.

    ``A`` is an array or CSR; if ``tall`` it is read by blocks of rows, and Q is not kept. The first
    ``rank`` columns in the order of pivoting are a basis of the others, but for rounding: what this
    may hide is left to :mod:`efsgd.convex.problems.dependence`.
    """

    def __init__(self, A: Any, y: Array, *, tall: bool = False) -> None:
        from scipy.linalg import qr

        self.A, self.y = A, y
        self.exponents = column_exponents(A)
        B = scaled(A, self.exponents)
        factors = qr(_triangle(B) if tall else B, mode="economic", pivoting=True)
        R, self.order = factors[1], factors[2]
        parts = np.abs(np.diag(R))
        self.rank = k = int(np.count_nonzero(parts > DEPENDENT * (A.shape[1] + 4)))
        if parts[k - 1] < (INDEPENDENT_IF_TALL if tall else INDEPENDENT):
            raise ArithmeticError(
                f"one column depends on the others but for {parts[k - 1]:.0e} of its size, "
                f"which leaves too few digits: {ADVICE}"
            )
        self.R = R[:k]
        self.basis = Basis(B[:, self.order[:k]], R[:k, :k], None if tall else factors[0][:, :k])

    @cached_property
    def refined(self) -> tuple[Array, Array]:
        """w (d,) and y - Aw (n,), both to nearly all digits; ArithmeticError where they are not."""
        z, r = _refined(self.basis, self.y)
        w = self._weights(z)
        step = self._weights(_step(self.basis, r, residual(self.A, w, self.y, r))[0])
        change = _change(step, w, 0.0)
        if not change <= SETTLED:
            raise ArithmeticError(f"one more round would change w by {change:.0e} of it: {ADVICE}")
        return w, r

    def _weights(self, z: Array) -> Array:
        """The w (d,) of least norm with Aw = Bz, for z (rank,)."""
        if not self.independent:
            return self._shortest(self.basis.R @ z)
        w, first = np.empty(self.rank), self.order
        w[first] = np.ldexp(z, -self.exponents[first])
        return w

    @property
    def independent(self) -> bool:
        """Whether all columns are a basis, so that there is one minimiser."""
        return self.rank == len(self.order)

    @property
    def dependent(self) -> int:
        """Columns that could extend the basis, had they not depended on it, up to rounding."""
        return int(min(self.A.shape)) - self.rank

    def combination(self, w: Array) -> Array:
        """u (n,) with A'u nearest to w (d,)."""
        from scipy.linalg import solve_triangular

        Q, R, order, entries = self._span
        weights = np.empty(self.rank)
        weights[order] = solve_triangular(R, Q.T @ w[entries])
        return self.basis.expanded(weights)

    @cached_property
    def _span(self) -> tuple[Array, Array, Array, Array]:
        """Factors of the rows' span (d, rank), and which row of it each of theirs is.

        Large rows come first: then Householder's reflections keep the small ones (Cox and Higham,
        1998).
        """
        from scipy.linalg import qr

        descending = np.argsort(-self.exponents[self.order], kind="stable")
        entries = self.order[descending]
        span = np.ldexp(self.R[:, descending].T, self.exponents[entries][:, None])
        return *qr(span, mode="economic", pivoting=True), entries

    def _shortest(self, coordinates: Array) -> Array:
        """The w (d,) of least norm with Aw = Q times these ``coordinates`` (rank,)."""
        from scipy.linalg import solve_triangular

        Q, R, order, entries = self._span
        w = np.empty(len(entries))
        w[entries] = Q @ solve_triangular(R, coordinates[order], trans="T")
        return w


class Basis:
    """Independent columns B (n, k) = QR; without Q it is B R^-1."""

    def __init__(self, B: Any, R: Array, Q: Array | None) -> None:
        self.B, self.R, self.Q = B, R, Q

    def solved(self, v: Array, *, transposed: bool = False) -> Array:
        """R^-1 v, or R'^-1 v if ``transposed``; v is (k,)."""
        from scipy.linalg import solve_triangular

        solution: Array = solve_triangular(self.R, v, trans="T" if transposed else "N")
        return solution

    def coordinates(self, v: Array) -> Array:
        """Q'v for v (n,)."""
        if self.Q is None:
            return self.solved(product(self.B, v, transposed=True), transposed=True)
        coordinates: Array = self.Q.T @ v
        return coordinates

    def expanded(self, v: Array) -> Array:
        """Qv for v (k,)."""
        vector: Array = self.B @ self.solved(v) if self.Q is None else self.Q @ v
        return vector


def _refined(basis: Basis, y: Array) -> tuple[Array, Array]:
    """z (k,) and r (n,) with r + Bz = y and B'r = 0."""
    z, r, change = np.zeros(len(basis.R)), y.astype(np.float64), np.inf
    tiny = float(np.finfo(float).eps * np.linalg.norm(y))
    for _ in range(ROUNDS):
        z_step, r_step = _step(basis, r, residual(basis.B, z, y, r))
        z, r = z + z_step, r + r_step
        last, change = change, _change(z_step, z, tiny) + _change(r_step, r, tiny)
        if not STILL * STILL < change < last / 2:
            break
    if not change <= STILL:
        raise ArithmeticError(f"refinement ended with relative changes of {change:.0e}: {ADVICE}")
    return z, r


def _step(basis: Basis, r: Array, s: Array) -> tuple[Array, Array]:
    """What z and r lack where r + Bz = y - s."""
    t = -product(basis.B, r, transposed=True)
    across = basis.coordinates(s) - basis.solved(t, transposed=True)
    return basis.solved(across), s - basis.expanded(across)


def _triangle(B: Any) -> Array:
    """R (d, d) of a tall array or CSR."""
    n, d = B.shape
    R, step = np.empty((0, d)), max(1, BLOCK // d)
    for start in range(0, n, step):
        block = B[start : start + step]
        block = block.toarray() if hasattr(block, "toarray") else block
        R = np.linalg.qr(np.vstack((R, block))).R
    return R


def _change(step: Array, x: Array, tiny: float) -> float:
    return float(np.linalg.norm(step)) / (float(np.linalg.norm(x)) + tiny or 1.0)


def column_exponents(rows: Any) -> Array:
    """For each column of an array or CSR the e (d,) of integers with 2^-e |a_j| in [1/2, 1)."""
    largest = abs(rows).max(axis=0)
    largest = largest.toarray().ravel() if hasattr(largest, "toarray") else largest
    exponents = np.frexp(largest)[1]
    norms = np.sqrt((abs(scaled(rows, exponents)) ** 2).sum(axis=0))
    total: Array = exponents + np.frexp(norms)[1]
    return total


def scaled(rows: Any, exponents: Array) -> Any:
    """The columns of an array or CSR times 2^-exponents, exactly."""
    if not hasattr(rows, "indptr"):
        return np.ldexp(rows, -exponents)
    entries = np.ldexp(rows.data, -exponents[rows.indices])
    return type(rows)((entries, rows.indices, rows.indptr), shape=rows.shape)
