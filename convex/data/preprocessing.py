"""Preprocessing of a data file: standardise features, append an intercept, equalise the widths.

Rows are pairs X (n, d), y (n,), X an array or CSR. Of several pairs the first is the training set,
whose kind of X the others take. Sparse data is scaled but never centred.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from efsgd.arrays import Array
from efsgd.convex.problems.linear_map import Matrix, is_sparse

Rows = tuple[Matrix, Array]  # X and y


def smaller_sparse(nnz: int, n: int, d: int) -> bool:
    """Whether ``nnz`` entries, 12 bytes each, take less memory than an array (n, d)."""
    return 12 * nnz < 8 * n * d


def same_columns(*parts: Rows) -> list[Rows]:
    """All X as wide as the widest: the last features may not occur in some file.

    All are of the first one's kind, or sparse where that takes less memory for the widened first.
    """
    d, first = max(X.shape[1] for X, _ in parts), parts[0][0]
    sparse = is_sparse(first) or smaller_sparse(int(np.count_nonzero(first)), first.shape[0], d)
    return [(_widened(X, d, sparse), y) for X, y in parts]


def _widened(X: Any, d: int, sparse: bool) -> Any:
    """X with columns of zeros up to d, as CSR or as an array."""
    from scipy.sparse import csr_array

    if not sparse:
        X = X.toarray() if is_sparse(X) else X
        return np.pad(X, ((0, 0), (0, d - X.shape[1])))
    X = csr_array(X, copy=True)
    X.resize((X.shape[0], d))
    return X


def standardised(parts: list[Rows], *, centre_targets: bool = True) -> list[Rows]:
    """Each feature divided by its standard deviation in the first pair; dense ones centred first.

    So are the targets y of dense data, if they have more than two values; not with
    ``centre_targets`` false, where y holds classes. A feature that is constant in the first pair
    keeps its scale.
    """
    X, y = parts[0]
    if is_sparse(X):
        deviation = _sparse_deviation(X)
        return [(_divided(X, deviation), y) for X, y in parts]
    constant = X.max(0) == X.min(0)
    mean = np.where(constant, X[0], X.mean(0))  # a mean of equal numbers may round
    deviation = _or_one((X - mean).std(0), mean, constant)
    centre = float(y.mean()) if centre_targets and len(np.unique(y)) > 2 else 0.0
    return [((X - mean) / deviation, y - centre) for X, y in parts]


def _sparse_deviation(X: Any) -> Array:
    """The standard deviations (d,), from distances to the mean: E x^2 - (E x)^2 would cancel."""
    n, d = X.shape
    mean = np.bincount(X.indices, X.data, minlength=d) / n
    stored = np.bincount(X.indices, minlength=d)  # entries of each column; the others are 0
    squares = np.bincount(X.indices, (X.data - mean[X.indices]) ** 2, minlength=d)
    deviation = np.sqrt((squares + (n - stored) * mean**2) / n)
    constant = X.max(0).toarray().ravel() == X.min(0).toarray().ravel()
    return _or_one(deviation, mean, constant)


def _or_one(deviation: Array, mean: Array, constant: Array) -> Array:
    """The deviations, but 1 where a feature is constant up to rounding, to be divided by."""
    return np.where(constant | (deviation <= 1e-12 * np.abs(mean)), 1.0, deviation)


def _divided(X: Any, deviation: Array) -> Any:
    """The sparse X with each column divided by its deviation."""
    return type(X)((X.data / deviation[X.indices], X.indices, X.indptr), shape=X.shape)


def with_ones(X: Any) -> Any:
    """X with a last column of ones."""
    ones = np.ones((X.shape[0], 1))
    if not is_sparse(X):
        return np.hstack((X, ones))
    from scipy.sparse import csr_array, hstack

    return hstack((X, csr_array(ones)), format="csr")
