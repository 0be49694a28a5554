"""Products of one matrix with many vectors at once, and minimum-norm least squares.

x is (R, d), one row a replicate. A sparse matrix stays sparse and is cut to the columns it touches,
because a batch of products is bound by memory: on the data of section 5 (100 x 1200, about
260 columns touched) that is several times faster than a dense product.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from efsgd.arrays import Array

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Matrix: TypeAlias = "Array | csr_array"  # any scipy.sparse matrix is accepted, and used as CSR

DENSE_LIMIT = 4_000_000  # entries; up to here the minimum-norm solution uses a dense SVD


class LinearMap:
    """The matrix A (n, d), prepared for A x_r, A' r and single rows, each over R replicates."""

    def __init__(self, matrix: Matrix) -> None:
        self.n, self.d = int(matrix.shape[0]), int(matrix.shape[1])
        self.matrix = as_rows(matrix)
        self.sparse = is_sparse(matrix)
        if self.sparse:
            self.columns = np.unique(self.matrix.indices)
            self._cut = self.matrix[:, self.columns]
            self._transposed = self._cut.T.tocsr()

    def apply(self, x: Array) -> Array:
        """A x_r of each replicate as a column: (R, d) -> (n, R)."""
        product: Array = self._cut @ x.T[self.columns] if self.sparse else self.matrix @ x.T
        return product

    def adjoint(self, r: Array) -> Array:
        """A' r of each column: (n, R) -> (R, d)."""
        if not self.sparse:
            product: Array = r.T @ self.matrix
            return product
        out = np.zeros((r.shape[1], self.d))
        out[:, self.columns] = (self._transposed @ r).T
        return out

    def row_gradient(self, x: Array, y: Array, rows: Array) -> Array:
        """The mean over i in rows[r] of a_i (<a_i, x_r> - y_i): rows (R, b) -> (R, d)."""
        replicates, b = rows.shape
        if not self.sparse:
            a = self.matrix[rows]  # (R, b, d)
            residual = np.vecdot(a, x[:, None]) - y[rows]
            mean: Array = np.einsum("rb,rbd->rd", residual, a) / b
            return mean
        chosen = self.matrix[rows.ravel()]
        owner = np.repeat(np.arange(rows.size), np.diff(chosen.indptr))
        replicate = owner // b
        inner = np.bincount(owner, chosen.data * x[replicate, chosen.indices], minlength=rows.size)
        residual = inner - y[rows.ravel()]
        entry = replicate * self.d + chosen.indices
        total = np.bincount(entry, chosen.data * residual[owner], minlength=replicates * self.d)
        summed: Array = total.reshape(replicates, self.d) / b
        return summed


def is_sparse(matrix: Any) -> bool:
    """Whether ``matrix`` is a scipy.sparse matrix, asked without importing scipy."""
    return hasattr(matrix, "tocsr")


def as_rows(matrix: Any) -> Any:
    """``matrix`` in float64 as a C-contiguous array, or, if sparse, as CSR without duplicates."""
    if not is_sparse(matrix):
        return np.ascontiguousarray(matrix, dtype=np.float64)
    from scipy.sparse import csr_array

    rows = csr_array(matrix, dtype=np.float64, copy=True)
    rows.sum_duplicates()
    rows.eliminate_zeros()
    return rows


def minimum_norm(matrix: Matrix, y: Array) -> Array:
    """The minimiser w (d,) of |Aw - y|^2 of least norm: dense SVD, or LSQR from 0 if A is large.

    Raises ArithmeticError where LSQR has not converged. :func:`optimality` checks the result.
    """
    from scipy.linalg import lstsq

    rows = as_rows(matrix)
    w = np.zeros(rows.shape[1])
    touched = np.unique(rows.indices) if is_sparse(rows) else np.arange(w.size)
    if rows.shape[0] * touched.size <= DENSE_LIMIT:
        dense = rows[:, touched].toarray() if is_sparse(rows) else rows
        w[touched] = lstsq(dense, y)[0]
        return w
    w = _lsqr(rows, y)
    residual = _stationarity(rows, y, w)
    if residual > 1e-8:
        raise ArithmeticError(
            f"LSQR stopped at a relative |A'(Aw - y)| of {residual:.1e}: scale the columns of A"
        )
    return w


def optimality(matrix: Matrix, y: Array, w: Array) -> tuple[float, float]:
    """How far w is from the minimum-norm solution of min |Aw - y|: two relative numbers.

    |A'(Aw - y)| / (|A| |y|), 0 at a minimiser, and the share of w outside the span of the rows of
    A, 0 at the minimiser of least norm; together the two conditions are necessary and sufficient.
    """
    rows = as_rows(matrix)
    outside = float(np.linalg.norm(rows.T @ _lsqr(rows.T, w) - w))
    return _stationarity(rows, y, w), outside / (float(np.linalg.norm(w)) or 1.0)


def _stationarity(rows: Any, y: Array, w: Array) -> float:
    size = float(np.linalg.norm(rows.data if is_sparse(rows) else rows)) * float(np.linalg.norm(y))
    return float(np.linalg.norm(rows.T @ (rows @ w - y))) / (size or 1.0)


def _lsqr(matrix: Any, y: Array) -> Array:
    """LSQR from 0, to rounding: its iterates stay in the row span of the matrix."""
    from scipy.sparse.linalg import lsqr

    limit = 10 * sum(matrix.shape)
    solution: Array = lsqr(matrix, y, atol=1e-15, btol=1e-15, conlim=0, iter_lim=limit)[0]
    return solution
