"""Products of one matrix with many vectors at once.

x is (R, d), one row a replicate. A sparse matrix stays sparse and is cut to its nonzero columns,
because a batch of products is bound by memory: on the data of section 5 (100 x 1200, about
260 nonzero columns) that is several times faster than a dense product. A large one is not copied:
A' r reads the rows as columns of A', which was measured to be as fast as a transposed copy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from efsgd.arrays import Array
from efsgd.engine.problem import GATHERED

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Matrix: TypeAlias = "Array | csr_array"  # any scipy.sparse matrix is accepted, and used as CSR

Slopes: TypeAlias = Callable[[Array, Array], Array]

COSTLY = 8  # entries for each column; a product with as many is worth caching


class LinearMap:
    """The matrix A (n, d), prepared for A x_r, A' r and single rows, each over R replicates."""

    def __init__(self, matrix: Matrix) -> None:
        self.n, self.d = int(matrix.shape[0]), int(matrix.shape[1])
        self.matrix = as_rows(matrix)
        self.sparse = is_sparse(matrix)
        entries = self.matrix.nnz if self.sparse else self.matrix.size
        self._caches = entries >= COSTLY * self.d
        self._last: tuple[Array, Array] | None = None
        if self.sparse:
            self.columns = np.flatnonzero(np.bincount(self.matrix.indices, minlength=self.d))
            self._whole = self.columns.size == self.d
            self._cut = self.matrix if self._whole else self.matrix[:, self.columns]
            self._cut_T = self._cut.T  # the same arrays, read as columns

    def apply(self, x: Array) -> Array:
        """A x_r of each replicate as a column: (R, d) -> (n, R); a fresh array.

        Of a large matrix the last product is cached, because the loss and the gradient at a point
        need the same one.
        """
        if not self._caches:
            return self._product(x)
        last = self._last
        if last is None or not np.array_equal(last[0], x):
            self._last = last = (x.copy(), self._product(x))
        return last[1].copy()

    def _product(self, x: Array) -> Array:
        """A x_r as columns, (R, d) -> (n, R)."""
        if not self.sparse:
            product: Array = self.matrix @ x.T
        elif len(x) == 1:  # the product with one vector, not with a matrix of one column, is faster
            product = (self._cut @ (x[0] if self._whole else x[0, self.columns]))[:, None]
        else:
            product = self._cut @ (x.T if self._whole else x.T[self.columns])
        return product

    def adjoint(self, r: Array) -> Array:
        """A' r of each column: (n, R) -> (R, d); a fresh array."""
        if not self.sparse:
            product: Array = r.T @ self.matrix
            return product
        touched = (self._cut_T @ r[:, 0])[:, None] if r.shape[1] == 1 else self._cut_T @ r
        if self._whole:
            return np.ascontiguousarray(touched.T)
        padded = np.zeros((r.shape[1], self.d))
        padded.T[self.columns] = touched
        return padded

    def row_gradient(self, x: Array, rows: Array, slopes: Slopes) -> Array:
        """The mean over i in rows[r] of a_i slope_i: rows (R, b) -> (R, d).

        ``slopes`` is given the predictions <a_i, x_r> and the rows, both (R, b), of some replicates
        at a time.
        """
        replicates, b = rows.shape
        entries = self.matrix.nnz / max(self.n, 1) if self.sparse else self.d
        some = max(1, int(GATHERED / max(b * entries, 1)))
        alone = replicates == 1
        parts = [slice(r, r + some) for r in range(0, max(replicates, 1), some)]
        found = [self._row_gradient(x[part], rows[part], slopes, alone) for part in parts]
        return found[0] if len(found) == 1 else np.concatenate(found)

    def _row_gradient(self, x: Array, rows: Array, slopes: Slopes, alone: bool) -> Array:
        """The same of replicates whose rows are gathered; ``alone`` if there is no other one."""
        replicates, b = rows.shape
        if not self.sparse:
            a = self.matrix[rows]  # (R, b, d)
            slope = slopes(np.vecdot(a, x[:, None]), rows)
            mean: Array = np.einsum("rb,rbd->rd", slope, a) / b
            return mean
        chosen = self.matrix[rows.ravel()]
        if alone:
            gradient: Array = chosen.T @ (slopes((chosen @ x[0])[None], rows)[0] / b)
            return gradient[None]
        owner = np.repeat(np.arange(rows.size), np.diff(chosen.indptr))
        replicate = owner // b
        inner = np.bincount(owner, chosen.data * x[replicate, chosen.indices], minlength=rows.size)
        slope = slopes(inner.reshape(rows.shape), rows).ravel()
        entry = replicate * self.d + chosen.indices
        total = np.bincount(entry, chosen.data * slope[owner], minlength=replicates * self.d)
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

    rows = csr_array(matrix, dtype=np.float64)
    if not (rows.has_canonical_format and rows.data.all()):
        rows = rows.copy()
        rows.sum_duplicates()
        rows.eliminate_zeros()
    if rows.indices.dtype != np.int32 and max(rows.nnz, rows.shape[1]) < 2**31:  # less to read
        indices, indptr = rows.indices.astype(np.int32), rows.indptr.astype(np.int32)
        rows = csr_array((rows.data, indices, indptr), shape=rows.shape)
    return rows
