"""Small dense problems of known curvature: least squares and l2-logistic regression.

The eigenvalues of their Hessians lie between mu and L, on which theorems base the step size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from efsgd.arrays import Array
from efsgd.checks import positive
from efsgd.convex.problems.least_squares import LeastSquares, Regression
from efsgd.convex.problems.logistic import Logistic, LogisticRegression


def design(n: int, d: int, spectrum: Array, rng: np.random.Generator) -> Array:
    """X (n, d) such that X'X/n has the eigenvalues ``spectrum`` (d,) in a random orthonormal basis.

    Raises ValueError for n < d.
    """
    if n < d:
        raise ValueError(f"n must be at least d = {d}, not {n}: fewer rows have no such spectrum")
    U, _ = np.linalg.qr(rng.standard_normal((n, d)))
    V, _ = np.linalg.qr(rng.standard_normal((d, d)))
    X: Array = (U * np.sqrt(n * spectrum)) @ V.T
    return X


@dataclass(frozen=True)
class KnownSquares(Regression):
    """Least squares whose Hessian has eigenvalues from ``mu`` to L = 1, evenly in their logarithm.

    y = X w + ``noise`` N(0, I) with w ~ N(0, I): rows contradict each other, so that stochastic
    gradients do not vanish at the optimum. Everything is drawn from ``seed``.
    """

    mu: float = 0.1
    noise: float = 0.5
    n: int = 200
    d: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse a mu outside (0, 1]."""
        positive("mu", self.mu, 1.0)

    @property
    def L(self) -> float:
        """The largest eigenvalue of the Hessian."""
        return 1.0

    @cached_property
    def data(self) -> LeastSquares:
        rng = np.random.default_rng(self.seed)
        X = design(self.n, self.d, np.geomspace(self.mu, 1.0, self.d), rng)
        w, noise = rng.standard_normal(self.d), rng.standard_normal(self.n)
        return LeastSquares(X, X @ w + self.noise * noise)

    def measure(self, x: Array) -> dict[str, Array]:
        """The gap f - f*."""
        return {"gap": self.loss(x) - self.optimum.f}


@dataclass(frozen=True)
class KnownLogistic(Logistic):
    """Logistic regression whose Hessian lies between mu = ``l2`` and L = 1 + l2 everywhere.

    X'X/n has eigenvalues from 4/100 to 4, and labels are drawn from the logistic model of a
    w ~ N(0, I). Everything is drawn from ``seed``.
    """

    l2: float = 0.1
    n: int = 200
    d: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse an l2 that is not positive."""
        positive("l2", self.l2)

    @property
    def mu(self) -> float:
        """A lower bound on the eigenvalues of the Hessian."""
        return self.l2

    @property
    def L(self) -> float:
        """An upper bound on the eigenvalues of the Hessian."""
        return 1.0 + self.l2

    @cached_property
    def data(self) -> LogisticRegression:
        rng = np.random.default_rng(self.seed)
        X = design(self.n, self.d, np.geomspace(0.04, 4.0, self.d), rng)
        probability = 1 / (1 + np.exp(-X @ rng.standard_normal(self.d)))  # of the label +1
        y = np.where(rng.random(self.n) < probability, 1.0, -1.0)
        return LogisticRegression(X, y, l2=self.l2)

    def measure(self, x: Array) -> dict[str, Array]:
        """The gap f - f*."""
        best = self.optimum
        assert best is not None  # because l2 > 0
        return {"gap": self.loss(x) - best.f}


Known = KnownSquares | KnownLogistic
