"""Smooth functions with all constants known, on which Theorem II is tested by runs."""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot, sqrt

import numpy as np

from efsgd.arrays import Array, Generator
from efsgd.engine.problem import Optimum


@dataclass(frozen=True)
class Valleys:
    """f(x) = (L/2) sum_i log(1 + x_i^2) in R^d, from x_i = ``far``; f* = 0.

    The curvature of each term lies in [-L/8, L] and is negative beyond |x_i| = 1; its slope is at
    most L/2. The noise has ``noise``/sqrt(d) with a random sign in every coordinate.
    """

    d: int = 16
    L: float = 1.0
    far: float = 3.0
    noise: float = 4.0

    @property
    def sigma(self) -> float:
        """The root of a bound on E|g|^2: L^2 d/4 + noise^2."""
        return hypot(self.steepest, self.noise)

    @property
    def steepest(self) -> float:
        """The largest |grad f|."""
        return self.L * sqrt(self.d) / 2

    @property
    def f0(self) -> float:
        """f(x_0) - f*."""
        return float(self.loss(np.full((1, self.d), self.far))[0])

    def x0(self, rng: Generator, replicates: int) -> Array:
        """``far`` in every coordinate."""
        return np.full((replicates, self.d), self.far)

    def loss(self, x: Array) -> Array:
        """f of each replicate, (R, d) -> (R,)."""
        value: Array = self.L / 2 * np.log1p(x**2).sum(axis=1)
        return value

    def full_gradient(self, x: Array) -> Array:
        """L x_i/(1 + x_i^2)."""
        gradient: Array = self.L * x / (1 + x**2)
        return gradient

    def gradient(self, x: Array, rng: Generator) -> Array:
        """The gradient and the noise; draws d signs for each replicate."""
        signs = 2.0 * rng.integers(0, 2, x.shape) - 1.0
        g: Array = self.full_gradient(x) + self.noise / sqrt(self.d) * signs
        return g

    def measure(self, x: Array) -> dict[str, Array]:
        """ "gradient_squared": |grad f(x)|^2."""
        g = self.full_gradient(x)
        return {"gradient_squared": np.vecdot(g, g)}

    @property
    def optimum(self) -> Optimum:
        """0, where f is 0."""
        return Optimum(np.zeros(self.d), 0.0)


@dataclass(frozen=True)
class Huber:
    """f(x) = L x^2/2 up to |x| = ``slope``/L and straight with that slope beyond, for d = 1.

    Without noise: |g| <= ``slope`` everywhere.
    """

    start: float
    slope: float = 1.0
    L: float = 1.0
    d: int = 1

    @property
    def f0(self) -> float:
        """f(x_0) - f*."""
        return float(self.loss(np.array([[self.start]]))[0])

    def x0(self, rng: Generator, replicates: int) -> Array:
        """``start``."""
        return np.full((replicates, 1), self.start)

    def loss(self, x: Array) -> Array:
        """f of each replicate, (R, 1) -> (R,)."""
        near, far = self.L / 2 * x**2, self.slope * (abs(x) - self.slope / self.L / 2)
        value: Array = np.where(self.L * abs(x) <= self.slope, near, far)[:, 0]
        return value

    def gradient(self, x: Array, rng: Generator) -> Array:
        """L x, or the slope with the sign of x; draws nothing."""
        g: Array = np.clip(self.L * x, -self.slope, self.slope)
        return g

    def measure(self, x: Array) -> dict[str, Array]:
        """ "gradient_squared": |grad f(x)|^2."""
        return {"gradient_squared": np.minimum(self.L * abs(x[:, 0]), self.slope) ** 2}

    @property
    def optimum(self) -> Optimum:
        """0, where f is 0."""
        return Optimum(np.zeros(1), 0.0)


@dataclass(frozen=True)
class Crosswind:
    """f(x) = L|x|^2/2 in the plane; the noise is +-``noise`` across x, and so |g| is known."""

    start: float
    noise: float = 1.0
    L: float = 1.0
    d: int = 2

    def x0(self, rng: Generator, replicates: int) -> Array:
        """(start, 0)."""
        return np.tile([self.start, 0.0], (replicates, 1))

    def loss(self, x: Array) -> Array:
        """f of each replicate, (R, 2) -> (R,)."""
        value: Array = self.L / 2 * np.vecdot(x, x)
        return value

    def gradient(self, x: Array, rng: Generator) -> Array:
        """L x and the noise; draws one sign for each replicate."""
        across = np.stack([-x[:, 1], x[:, 0]], axis=1) / np.hypot(x[:, :1], x[:, 1:])
        sign = 2.0 * rng.integers(0, 2, (len(x), 1)) - 1.0
        g: Array = self.L * x + self.noise * sign * across
        return g

    def measure(self, x: Array) -> dict[str, Array]:
        """ "gradient_squared": |grad f(x)|^2."""
        return {"gradient_squared": self.L**2 * np.vecdot(x, x)}
