"""The training sets of section 5, one for each number of labels y = +1 in them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from efsgd.arrays import Array
from efsgd.checks import whole
from efsgd.convex.problems.least_squares import LeastSquares, Regression, wilson_matrix
from efsgd.engine.problem import Optimum


def dual(k: int | Array, n: int) -> tuple[Array, Array]:
    """The r with XX'r = y for k of n rows y = +1: its entry for y = +1, and that for y = -1.

    (3k + 1) r_1 + m r_2 = 1 and k r_1 + (3m + 5) r_2 = -1 with m = n - k (derived here).
    """
    m = n - np.asarray(k)
    determinant = (3 * k + 1) * (3 * m + 5) - k * m
    return (4 * m + 5) / determinant, -(4 * k + 1) / determinant


@dataclass(frozen=True)
class WilsonCount(Regression):
    """The data of :class:`WilsonLeastSquares` with ``positives`` labels y = +1 to train on.

    ``rows`` training rows in an order drawn from ``order``, and as many test rows; d = 12 rows.
    Rows with the same label differ by a permutation of their own columns, and so do test rows,
    whose columns no training row touches. Up to rounding, an iterate and its two predictions,
    "positive" for a test row with y = +1 and "negative" for one with y = -1, therefore depend on
    ``positives`` alone. ``measure`` returns both, and "train_mse".
    """

    positives: int
    order: int = 0
    rows: int = 100

    def __post_init__(self) -> None:
        """Refuse more positive rows than rows."""
        whole("rows", self.rows, least=2)
        whole("order", self.order, least=0)
        whole("positives", self.positives, self.rows, least=0)

    @cached_property
    def data(self) -> LeastSquares:
        """The training rows, and the two kinds of test rows."""
        n = self.rows
        y = np.where(np.arange(n) < self.positives, 1.0, -1.0)
        y = np.random.default_rng(self.order).permutation(y)
        test = np.where(np.arange(n) % 2 == 0, 1.0, -1.0)
        X = wilson_matrix(np.concatenate((y, test)))
        return LeastSquares(X[:n], y, X[n : n + 2], test[:2])

    @cached_property
    def optimum(self) -> Optimum:
        """X^+ y, the solution of least norm, which is X'r with the r of :func:`dual`; and 0."""
        r = np.where(self.data.y > 0, *dual(self.positives, self.rows))
        return Optimum(self.data.train.adjoint(r[:, None])[0], 0.0)

    def measure(self, x: Array) -> dict[str, Array]:
        """ "train_mse", |Xw - y|^2/n, and the predictions "positive" and "negative": (R,) each."""
        assert self.data.test is not None
        positive, negative = self.data.test.apply(x)
        train = super().measure(x)["train_mse"]
        return {"train_mse": train, "positive": positive, "negative": negative}
