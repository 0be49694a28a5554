"""Losses of a linear prediction: what least squares and logistic regression share.

f(w) = (1/n) sum_i phi(<a_i, w>, y_i) + (l2/2) |w|^2 over the training rows a_i. A subclass says
what phi and its slope are, and what its data is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from efsgd.arrays import Array, Generator
from efsgd.convex.problems.linear_map import LinearMap, Matrix, as_rows, is_sparse


@dataclass(frozen=True, eq=False)
class Samples:
    """X (n, d), an array or a scipy.sparse matrix, and y (n,).

    ``X_test``, ``y_test`` only add series to the history. Do not change the arrays afterwards.
    Raises ValueError for shapes that do not fit, and for NaN and inf.
    """

    X: Matrix
    y: Array
    X_test: Matrix | None = None
    y_test: Array | None = None

    def __post_init__(self) -> None:
        """Refuse shapes that do not fit, and NaN and inf."""
        _check_pair("X", self.X, "y", self.y)
        if (self.X_test is None) != (self.y_test is None):
            single = "X_test" if self.y_test is None else "y_test"
            raise ValueError(f"{single} came alone: give X_test and y_test both, or neither")
        if self.X_test is not None:
            _check_pair("X_test", self.X_test, "y_test", self.y_test)
            if self.X_test.shape[1] != self.X.shape[1]:
                raise ValueError(
                    f"X_test has {self.X_test.shape[1]} columns and X {self.X.shape[1]}: "
                    "give both the same features"
                )

    @cached_property
    def train(self) -> LinearMap:
        """The training rows."""
        return LinearMap(self.X)

    @cached_property
    def test(self) -> LinearMap | None:
        """The test rows, if there are any."""
        return None if self.X_test is None else LinearMap(self.X_test)

    @cached_property
    def binary(self) -> bool:
        """Whether there are test labels and all of them are -1 or +1."""
        return self.y_test is not None and bool(np.isin(self.y_test, (-1, 1)).all())


class LinearModel(ABC):
    """A finite sum of n rows with a quadratic penalty of weight ``l2``."""

    l2: float = 0.0
    curvature: ClassVar[float]  # the largest second derivative of phi

    @property
    @abstractmethod
    def data(self) -> Samples:
        """Training rows and, perhaps, test rows."""

    @abstractmethod
    def values(self, z: Array, y: Array) -> Array:
        """phi(z, y), entry by entry."""

    @abstractmethod
    def slopes(self, z: Array, y: Array) -> Array:
        """The derivative of phi(z, y) by z, entry by entry; may overwrite z."""

    @abstractmethod
    def _on(self, X: Matrix, y: Array) -> LinearModel:
        """The same problem on other rows."""

    @property
    def d(self) -> int:
        return self.data.train.d

    @property
    def n(self) -> int:
        return self.data.train.n

    @property
    def targets(self) -> Array:
        """The right-hand side or label of each row, (n,)."""
        return self.data.y

    def share(self, rows: Array) -> LinearModel:
        """The same problem on some of its rows alone."""
        data = self.data
        matrix = data.X[rows] if isinstance(data.X, np.ndarray) else as_rows(data.X)[rows]
        return self._on(matrix, data.y[rows])

    def loss(self, x: Array) -> Array:
        """f of each replicate, (R, d) -> (R,)."""
        mean: Array = self.values(self.data.train.apply(x), self.data.y[:, None]).mean(0)
        if self.l2:
            mean += (0.5 * self.l2) * np.vecdot(x, x)
        return mean

    def gradient(self, x: Array, rng: Generator) -> Array:
        """The gradient of f over all rows: nothing is drawn from ``rng``."""
        return self.full_gradient(x)

    def oracle(self, rng: Generator, replicates: int) -> Callable[[Array], Array]:
        """``gradient`` for a whole run; each array is fresh."""
        return self.full_gradient

    def full_gradient(self, x: Array) -> Array:
        """The gradient of f, (R, d) -> (R, d)."""
        slopes = self.slopes(self.data.train.apply(x), self.data.y[:, None])
        slopes /= self.n
        return self._penalised(self.data.train.adjoint(slopes), x)

    def batch_gradient(self, x: Array, rows: Array) -> Array:
        """The mean over rows (R, b) of the gradients of their summands, (R, d)."""
        y = self.data.y
        mean = self.data.train.row_gradient(x, rows, lambda z, i: self.slopes(z, y[i]))
        return self._penalised(mean, x)

    def smoothness(self, iterations: int = 30) -> float:
        """The largest eigenvalue of curvature X'X/n + l2, by power iteration from below.

        That is the Hessian where phi is quadratic, and a bound on it elsewhere.
        """
        train = self.data.train
        v = np.random.default_rng(0).standard_normal((1, self.d))
        eigenvalue = 0.0  # of X'X
        for _ in range(iterations):
            v = train.adjoint(train.apply(v / (np.linalg.norm(v) or 1.0)))
            eigenvalue = float(np.linalg.norm(v))
        return self.curvature * eigenvalue / self.n + self.l2

    def _penalised(self, g: Array, x: Array) -> Array:
        """g and the gradient of the penalty, added in place."""
        if self.l2:
            g += self.l2 * x
        return g


def _check_pair(name: str, matrix: Any, y_name: str, y: Any) -> None:
    """ValueError where a matrix and its right-hand side do not fit, or hold NaN or inf."""
    for label, value, ndim in ((name, matrix, 2), (y_name, y, 1)):
        if not (isinstance(value, np.ndarray) or is_sparse(value)) or value.ndim != ndim:
            kind = f"shape {value.shape}" if hasattr(value, "shape") else type(value).__name__
            raise ValueError(f"{label} must be a {ndim}-dimensional array, not {kind}: convert it")
        if isinstance(value, np.ma.MaskedArray):
            raise ValueError(f"{label} is a masked array: drop or fill what it masks")
        if value.dtype.kind not in "biuf":
            raise ValueError(f"{label} holds {value.dtype} entries, not real numbers: convert it")
        entries = as_rows(value).data if is_sparse(value) else value
        if not np.isfinite(entries).all():
            raise ValueError(f"{label} holds NaN or inf: drop or fill those entries")
    if matrix.shape[0] != y.shape[0] or not y.size:
        raise ValueError(
            f"{name} has {matrix.shape[0]} rows and {y_name} {y.shape[0]} entries: "
            "give one right-hand side for each row, and at least one"
        )
