"""Least squares on given data, and on the over-parametrised data of section 5 of the paper.

The objective is f(w) = |Xw - y|^2 / (2n), whose gradient X'(Xw - y)/n is the step of the paper's
code. ``measure`` returns the losses that the paper reports, |Xw - y|^2/n.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from efsgd.arrays import Array
from efsgd.convex.problems.least_norm import minimum_norm
from efsgd.convex.problems.linear_map import Matrix
from efsgd.convex.problems.linear_model import LinearModel, Samples
from efsgd.convex.problems.optima import unit
from efsgd.engine.problem import Optimum


class Regression(LinearModel):
    """f(w) = |Xw - y|^2 / (2n), a finite sum of n rows; a subclass says what its ``data`` is."""

    curvature = 1.0

    @property
    @abstractmethod
    def data(self) -> LeastSquares:
        """Training rows and, perhaps, test rows."""

    def values(self, z: Array, y: Array) -> Array:
        """(z - y)^2 / 2, entry by entry."""
        return 0.5 * (z - y) ** 2

    def slopes(self, z: Array, y: Array) -> Array:
        """z - y, written into z."""
        z -= y
        return z

    def loss(self, x: Array) -> Array:
        """f of each replicate, (R, d) -> (R,)."""
        return 0.5 * _mean_square(self._residual(x))

    def measure(self, x: Array) -> dict[str, Array]:
        """train_mse and, with test rows, test_mse: |Xw - y|^2/n. If those labels are all -1 or +1
        also test_accuracy, the share with sign(<a_i, w>) = y_i; a prediction of exactly 0 is wrong.
        """
        data = self.data
        series = {"train_mse": _mean_square(self._residual(x))}
        if data.test is not None and data.y_test is not None:
            predicted = data.test.apply(x)
            labels = data.y_test[:, None]
            if data.binary:
                series["test_accuracy"] = np.mean(labels * predicted > 0, axis=0)
            series["test_mse"] = _mean_square(predicted - labels)
        return series

    @cached_property
    def optimum(self) -> Optimum:
        """The minimiser of least norm, where gradient descent from 0 ends, and its value."""
        w = minimum_norm(self.data.train.matrix, self.data.y)
        return Optimum(w, float(self.loss(w[None])[0]))

    def _on(self, X: Matrix, y: Array) -> LeastSquares:
        return LeastSquares(X, y)

    def expression(self, x: Any) -> Any:
        """f as a cvxpy expression of the variable x, (d,); residuals are in a unit near |y|."""
        import cvxpy as cp

        size = unit(float(np.sqrt(np.mean(self.data.y**2))))
        residual = (self.data.train.matrix @ x - self.data.y) / size
        return cp.sum_squares(residual) * (size**2 / (2 * self.n))

    def _residual(self, x: Array) -> Array:
        """Xw - y of each replicate as a column, (n, R); a fresh array."""
        residual = self.data.train.apply(x)
        residual -= self.data.y[:, None]
        return residual


@dataclass(frozen=True, eq=False)
class LeastSquares(Samples, Regression):
    """f(w) = |Xw - y|^2 / (2n) with X (n, d) an array or a scipy.sparse matrix, y (n,).

    ``X_test``, ``y_test`` only add series to the history. Do not change the arrays afterwards.
    """

    @cached_property
    def data(self) -> LeastSquares:
        """Itself."""
        return self


@dataclass(frozen=True)
class WilsonLeastSquares(Regression):
    """The over-parametrised least squares of section 5, after Wilson et al. 2017 (1705.08292).

    ``rows`` labels y in {-1, +1}, +1 with probability ``p``; X has d = 6 rows columns. Column 1 is
    y, columns 2 and 3 are 1, and row i has five columns of its own: the first of them is 1 if
    y_i = +1, all five are 1 if y_i = -1. The rest is 0. The first half of the rows is trained on,
    the second half is the test set, whose own columns no training row touches.

    p = 0.6 because Wilson et al. ask for more positive than negative labels; the paper's picture
    comes from one saved draw. Everything is drawn from ``seed``.
    """

    rows: int = 200
    p: float = 0.6
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rows < 4 or self.rows % 2:
            raise ValueError(
                f"rows must be even and at least 4, not {self.rows}: half of them are the test set"
            )
        if not 0 < self.p < 1:
            raise ValueError(
                f"p must lie strictly between 0 and 1, not {self.p}: "
                "it is the probability of y = +1, try 0.6"
            )

    @cached_property
    def labels(self) -> Array:
        """y of all rows, (rows,) of -1.0 and +1.0."""
        uniform = np.random.default_rng(self.seed).random(self.rows)
        return np.where(uniform < self.p, 1.0, -1.0)

    @cached_property
    def data(self) -> LeastSquares:
        y, half = self.labels, self.rows // 2
        X = wilson_matrix(y)
        return LeastSquares(X[:half], y[:half], X[half:], y[half:])


def wilson_matrix(y: Array) -> Any:
    """The rows of Wilson et al. for the labels y in {-1, +1}: CSR, (n, 6n), at most 8 a row."""
    from scipy.sparse import csr_array

    n = len(y)
    blocks = np.arange(3, 3 + 5 * n).reshape(n, 5)  # the five columns of each row
    columns = np.hstack((np.tile([0, 1, 2], (n, 1)), blocks))
    values = np.ones((n, 8))
    values[:, 0] = y
    values[y > 0, 4:] = 0.0
    starts = np.arange(0, 8 * n + 1, 8)
    matrix = csr_array((values.ravel(), columns.ravel(), starts), shape=(n, 6 * n))
    matrix.eliminate_zeros()
    return matrix


def _mean_square(columns: Array) -> Array:
    """The mean square of each column, (n, R) -> (R,)."""
    mean: Array = np.einsum("nr,nr->r", columns, columns) / len(columns)
    return mean
