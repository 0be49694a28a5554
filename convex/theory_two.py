"""Theorem II at work: a smooth nonconvex problem with all its constants known, and a worst case.

The worst case (derived here) shows that the middle term L lr sigma^2 of Theorem II cannot be
halved. On f = L|x|^2/2 in the plane the noise is orthogonal to x, so that it always lengthens the
virtual iterate v = x - e, and the compressor leaves an error along v as long as it may. With
h = lr L, r = |v| and a = |e|, so that |x| = r + a:

    r+^2 = r^2 - 2hr(r+a) + h^2(r+a)^2 + lr^2 s^2
    a+^2 = (1-delta)((a + h(r+a))^2 + lr^2 s^2)
"""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot, sqrt

import numpy as np

from efsgd.arrays import Array, Generator
from efsgd.base import Compressor
from efsgd.convex.worst_compressors import AlongVirtual
from efsgd.engine import Run, run
from efsgd.methods import EFSGD
from efsgd.problem import Optimum


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
        return hypot(self.L * sqrt(self.d) / 2, self.noise)

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
class MeanGradients:
    """The mean over s = 0, ..., t of E|grad f(x_s)|^2 under error feedback, for each step size.

    Arrays: "mean" (V, T+1), over ``replicates`` runs; "lr" (V,); "f0", "L", "sigma" and "delta",
    numbers; "virtual_residual" (T+1,).
    """

    compressor: Compressor
    problem: Valleys
    rates: tuple[float, ...]
    steps: int
    seed: int = 0
    replicates: int = 20

    @property
    def cost(self) -> float:
        """The steps of all runs together."""
        return float(self.steps * len(self.rates) * self.replicates)

    def compute(self) -> dict[str, Array]:
        """One run, in which each step size has its replicates."""
        lrs = tuple(lr for lr in self.rates for _ in range(self.replicates))
        metrics = ("gradient_squared", "virtual_residual")
        method, start = EFSGD(self.compressor), (self.seed, len(lrs))
        history = run(Run(self.problem, method, lrs, self.steps, *start, record=1, metrics=metrics))
        squared = history["gradient_squared"].reshape(self.steps + 1, len(self.rates), -1)
        many = np.arange(1, self.steps + 2)
        return {
            "mean": (squared.mean(axis=2).cumsum(axis=0) / many[:, None]).T,
            "virtual_residual": history["virtual_residual"].max(axis=1),
            "lr": np.array(self.rates),
            **{name: np.array(getattr(self.problem, name)) for name in ("f0", "L", "sigma")},
            "delta": np.array(self.compressor.delta(self.problem.d)),
        }


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


@dataclass(frozen=True)
class Halved:
    """The worst case of the module docstring, replayed as a run from 1.02 times where it settles.

    Arrays over t = 0, ..., T: "squared", |grad f(x_t)|^2, which no draw changes; "recursion", the
    same from the recursion; "achieved" (T,), the delta of each step; and the numbers "lr", "L",
    "delta", "noise", "f0".
    """

    lr: float = 0.1
    delta: float = 0.9
    L: float = 1.0
    noise: float = 1.0
    steps: int = 10_000
    seed: int = 0

    @property
    def cost(self) -> float:
        """The steps."""
        return float(self.steps)

    def compute(self) -> dict[str, Array]:
        """The run, and the recursion beside it."""
        start = 1.02 * self._settled()
        method = EFSGD(AlongVirtual(start, self.delta))
        metrics = ("gradient_squared", "achieved_delta", "virtual_residual")
        problem = Crosswind(start, self.noise, self.L)
        one = Run(problem, method, self.lr, self.steps, self.seed, record=1, metrics=metrics)
        history, numbers = run(one), ("lr", "delta", "L", "noise")
        return {
            "squared": history["gradient_squared"][:, 0],
            "recursion": np.array([(self.L * x) ** 2 for x in self._lengths(start, self.steps)]),
            "achieved": history["achieved_delta"][:-1, 0],
            "virtual_residual": history["virtual_residual"][:, 0],
            "f0": np.array(self.L / 2 * start**2),
            **{name: np.array(getattr(self, name)) for name in numbers},
        }

    def _lengths(self, start: float, steps: int) -> list[float]:
        """|x_t| = r + a for t = 0, ..., steps."""
        r, a, h = start, 0.0, self.lr * self.L
        lengths = [start]
        for _ in range(steps):
            x, across = r + a, self.lr * self.noise
            r, a = hypot(r - h * x, across), sqrt(1 - self.delta) * hypot(a + h * x, across)
            lengths.append(r + a)
        return lengths

    def _settled(self) -> float:
        """Where |x_t| settles, whatever the start."""
        return self._lengths(1.0, 2000)[-1]  # by 1 - h at each step, to the last bit
