"""Problems whose stochastic gradients have a known second moment, on which bounds on the error
memory are compared with runs."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np

from efsgd.arrays import Array, Generator
from efsgd.engine.problem import Optimum


@dataclass(frozen=True)
class BoundedNoise:
    """f(x) = sqrt(1 + |x|^2) in R^d; the noise is +-``noise`` on one coordinate drawn at random.

    |grad f| < 1, so E|g|^2 <= 1 + noise^2 = ``sigma``^2 everywhere, and nearly so far from the
    optimum 0. The start lies ``far`` away, along the first ``along`` coordinates: with along = 1
    gradients are sparse, the worst for signs; with along = d they are dense, the worst for top-k.
    """

    d: int = 64
    along: int = 1
    far: float = 1000.0
    noise: float = 0.5

    def __post_init__(self) -> None:
        if not 1 <= self.along <= self.d:
            raise ValueError(f"along must lie in [1, d = {self.d}], not {self.along}")
        for name in ("far", "noise"):
            value = getattr(self, name)
            if not (value >= 0 and isfinite(value)):
                raise ValueError(f"{name} must be finite and at least 0, not {value}: try 1")

    @property
    def sigma(self) -> float:
        """The root of the bound on E|g|^2."""
        return float(np.sqrt(1.0 + self.noise**2))

    def x0(self, rng: Generator, replicates: int) -> Array:
        """``far`` from 0, the first ``along`` coordinates equal."""
        x = np.zeros((replicates, self.d))
        x[:, : self.along] = self.far / np.sqrt(self.along)
        return x

    def loss(self, x: Array) -> Array:
        """f of each replicate, (R, d) -> (R,)."""
        value: Array = np.sqrt(1.0 + np.vecdot(x, x))
        return value

    def full_gradient(self, x: Array) -> Array:
        """x/f(x)."""
        gradient: Array = x / self.loss(x)[:, None]
        return gradient

    def gradient(self, x: Array, rng: Generator) -> Array:
        """The gradient and the noise; draws one coordinate and one sign for each replicate."""
        g = self.full_gradient(x)
        rows = np.arange(len(x))
        sign = 2.0 * rng.integers(0, 2, len(x)) - 1.0
        g[rows, rng.integers(0, self.d, len(x))] += self.noise * sign
        return g

    @property
    def optimum(self) -> Optimum:
        """0, where f is 1."""
        return Optimum(np.zeros(self.d), 1.0)

    def expression(self, x: Any) -> Any:
        """f as a cvxpy expression of the variable x, (d,)."""
        import cvxpy as cp

        return cp.norm(cp.hstack([np.ones(1), x]))


@dataclass(frozen=True)
class Slope:
    """f(x) = ``sigma`` x in R, from 0: a constant gradient, with which the error bound is sharp."""

    sigma: float = 1.0
    d: int = 1

    def loss(self, x: Array) -> Array:
        """f of each replicate, (R, 1) -> (R,)."""
        value: Array = self.sigma * x[:, 0]
        return value

    def gradient(self, x: Array, rng: Generator) -> Array:
        """sigma, exactly."""
        return np.full_like(x, self.sigma)
