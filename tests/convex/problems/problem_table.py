"""What the tests of the convex problems share: instances of every class, points, differences."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_array

from efsgd.arrays import Array
from efsgd.convex.problems import (
    CE1,
    CE2,
    CE3,
    BoundedNoise,
    Crosswind,
    Disagreement,
    Huber,
    KnownLogistic,
    KnownSquares,
    LeastSquares,
    LogisticRegression,
    NoisySlope,
    OneAgainstTwo,
    SkewedNoise,
    Slope,
    SparseNoise,
    TheoremOne,
    Valleys,
    WilsonCount,
    WilsonLeastSquares,
)


def least_squares(sparse: bool, n: int = 12, d: int = 7) -> LeastSquares:
    """A regression that no w solves exactly, with a column that no row touches."""
    rng = np.random.default_rng(5)
    X = rng.standard_normal((n, d)) * (rng.random((n, d)) < 0.5)
    X[:, 2] = 0.0
    y = rng.standard_normal(n)
    return LeastSquares(csr_array(X) if sparse else X, y)


def logistic(
    n: int = 30, d: int = 12, l2: float = 0.05, sparse: bool = True, scale: float = 1.0
) -> LogisticRegression:
    """Rows with a column that none of them touches, and labels that no w separates."""
    rng = np.random.default_rng(n + d)
    X = scale * rng.standard_normal((n, d)) * (rng.random((n, d)) < 0.6)
    X[:, 2] = 0.0
    y = np.where(X @ rng.standard_normal(d) + scale * rng.standard_normal(n) > 0, 1.0, -1.0)
    test = n // 3
    matrix: Any = csr_array if sparse else np.asarray
    return LogisticRegression(matrix(X[test:]), y[test:], matrix(X[:test]), y[:test], l2=l2)


PROBLEMS: list[Any] = [
    CE1(),
    CE1(start=0.5),
    CE2(0.1),
    CE2(0.9),
    CE3(0.5),
    TheoremOne(),
    TheoremOne(n=30, d=8, seed=3),
    SparseNoise(),
    SparseNoise(d=4, sigma=0.5),
    WilsonLeastSquares(rows=20, seed=1),
    least_squares(sparse=False),
    least_squares(sparse=True),
    logistic(sparse=False),
    logistic(sparse=True),
    KnownSquares(n=20, d=6),
    KnownLogistic(n=20, d=6),
    BoundedNoise(d=8, along=3, far=10.0),
    Slope(sigma=2.0),
    Valleys(),
    Huber(start=2.0),
    WilsonCount(6, rows=20),
    Crosswind(start=3.0),
    SkewedNoise(),
    Disagreement(zeta=2.0, workers=4, d=6),
    OneAgainstTwo(),
    NoisySlope(sigma=0.5, d=3),
    NoisySlope("laplace", d=3),
]


def points(problem: Any, replicates: int = 5, seed: int = 0) -> Array:
    """Random feasible points, (R, d)."""
    x = np.random.default_rng(seed).standard_normal((replicates, problem.d))
    projected: Array = problem.project(x) if hasattr(problem, "project") else x
    return projected


def name(problem: Any) -> str:
    return type(problem).__name__


def central_difference(problem: Any, x: Array, h: float = 1e-5) -> Array:
    """The gradient of the loss at each row of x, coordinate by coordinate, error O(h^2)."""
    steps = h * np.eye(problem.d)
    columns = [(problem.loss(x + step) - problem.loss(x - step)) / (2 * h) for step in steps]
    return np.stack(columns, axis=1)
