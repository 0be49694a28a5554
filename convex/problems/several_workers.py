"""Problems of several workers: skewed noise, workers that disagree, and signs that are put to vote.

Arrays: x (R, d), or a model of each worker (R, n, d); gradients of the workers (R, n, d).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import isfinite, sqrt
from typing import Any, ClassVar, Literal, TypeAlias, get_args

import numpy as np

from efsgd.arrays import Array, Generator
from efsgd.checks import positive, whole
from efsgd.engine.problem import Optimum

Law: TypeAlias = Literal["gaussian", "laplace"]


@dataclass(frozen=True)
class SkewedNoise:
    """f(x) = |x|^2/2 in R^2 with noise that top-1 distorts on average.

    The noise is (2, 0), (0, 1) or (-2, -1), each with probability 1/3: its mean is 0, that of its
    larger entries is (0, 1/3). So what a compressor without memory sends is wrong on average, for
    any number of workers, and its mean vanishes at (0, -1) only.
    """

    d: ClassVar[int] = 2
    NOISE: ClassVar[tuple[tuple[float, float], ...]] = ((2.0, 0.0), (0.0, 1.0), (-2.0, -1.0))

    @property
    def variance(self) -> float:
        """E|noise|^2 = 10/3."""
        return sum(a * a + b * b for a, b in self.NOISE) / len(self.NOISE)

    def loss(self, x: Array) -> Array:
        """f of each replicate, (R, 2) -> (R,)."""
        return np.asarray(0.5 * np.vecdot(x, x))

    def full_gradient(self, x: Array) -> Array:
        """x."""
        return x.copy()

    def gradient(self, x: Array, rng: Generator) -> Array:
        """x and the noise, one draw a row."""
        return np.asarray(x + np.array(self.NOISE)[rng.integers(0, len(self.NOISE), len(x))])

    @property
    def optimum(self) -> Optimum:
        """0, where f is 0."""
        return Optimum(np.zeros(self.d), 0.0)

    def expected_gap_sgd(self, lr: float, workers: int) -> float:
        """E f(x_t) of SGD with n workers once it no longer depends on the start, lr in (0, 2).

        Derived here: x <- (1-lr) x - lr noise, whose variance is E|noise|^2/n, so that
        (1 - (1-lr)^2) E|x|^2 = lr^2 E|noise|^2/n and E f = lr E|noise|^2/(2 n (2-lr)).
        """
        if not 0 < lr < 2:
            raise ValueError(f"lr must lie in (0, 2), not {lr}: SGD diverges at 2 and above")
        return lr * self.variance / (2 * workers * (2 - lr))

    def expression(self, x: Any) -> Any:
        """f as a cvxpy expression of the variable x, (d,)."""
        import cvxpy as cp

        return cp.sum_squares(x) / 2


@dataclass(frozen=True)
class Disagreement:
    """n quadratics f_i(x) = x' diag(a_i) x/2 + zeta <s_i, x>; the sum of the s_i is 0.

    The mean over i of |s_i|^2 is 1 and f(x) = x' diag(mean a_i) x/2, so that x* = 0, f* = 0, and
    ``zeta``^2 is the mean of |grad f_i(x*)|^2. The entries of a_i lie in [``mu``, 1], evenly in
    their logarithm and shuffled for each worker. Runs start at distance ``far`` from x*, in a
    direction of their own. s_i and the a_i are drawn from ``seed``.
    """

    zeta: float = 1.0
    workers: int = 10
    d: int = 20
    mu: float = 0.1
    far: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse impossible numbers."""
        whole("workers", self.workers, least=2)
        whole("d", self.d)
        positive("mu", self.mu, 1.0)
        for name in ("zeta", "far"):
            value = getattr(self, name)
            if not (value >= 0 and isfinite(value)):
                raise ValueError(f"{name} must be finite and at least 0, not {value}: try 1")

    @property
    def L(self) -> float:
        """The largest eigenvalue of the Hessian of any f_i."""
        return 1.0

    @cached_property
    def curvatures(self) -> Array:
        """The a_i, (n, d)."""
        rows = np.tile(np.geomspace(self.mu, 1.0, self.d), (self.workers, 1))
        return np.random.default_rng(self.seed).permuted(rows, axis=1)

    @cached_property
    def slopes(self) -> Array:
        """The s_i, (n, d)."""
        rng = np.random.default_rng(self.seed).spawn(1)[0]
        s = rng.standard_normal((self.workers, self.d))
        s -= s.mean(0)
        unit: Array = s / np.sqrt(np.vecdot(s, s).mean())
        return unit

    def x0(self, rng: Generator, replicates: int) -> Array:
        """``far`` from 0 in random directions."""
        x = rng.standard_normal((replicates, self.d))
        start: Array = self.far * x / np.linalg.norm(x, axis=1)[:, None]
        return start

    def loss(self, x: Array) -> Array:
        """f of each replicate, (R, d) -> (R,)."""
        return np.asarray(0.5 * np.vecdot(x, self.full_gradient(x)))

    def full_gradient(self, x: Array) -> Array:
        """The gradient of f, (R, d)."""
        return np.asarray(self.curvatures.mean(0) * x)

    def gradient(self, x: Array, rng: Generator) -> Array:
        """The same: nothing is drawn."""
        return self.full_gradient(x)

    def worker_gradients(self, x: Array, rng: Generator) -> Array:
        """The gradients of the f_i, (R, n, d): nothing is drawn."""
        models = x if x.ndim == 3 else x[:, None]
        return np.asarray(self.curvatures * models + self.zeta * self.slopes)

    @property
    def optimum(self) -> Optimum:
        """0, where f is 0."""
        return Optimum(np.zeros(self.d), 0.0)

    def expression(self, x: Any) -> Any:
        """f as a cvxpy expression of the variable x, (d,)."""
        import cvxpy as cp

        return cp.sum_squares(cp.multiply(np.sqrt(self.curvatures.mean(0) / 2), x))


@dataclass(frozen=True)
class OneAgainstTwo:
    """Three workers with gradients 1, 1 and -3, plus x/10, in each of three coordinates.

    In coordinate i it is worker i whose gradient is -3 + x/10. Their mean -1/3 + x/10 vanishes at
    10/3, their median 1 + x/10 at -10.
    """

    d: ClassVar[int] = 3
    workers: ClassVar[int] = 3
    curvature: ClassVar[float] = 0.1

    @property
    def slopes(self) -> Array:
        """The gradients at 0, (3, 3): one row a worker."""
        slopes: Array = 1.0 - 4.0 * np.eye(3)
        return slopes

    @property
    def median(self) -> float:
        """-10, where in each coordinate the median of the gradients is 0."""
        return float(-np.median(self.slopes[:, 0]) / self.curvature)

    def loss(self, x: Array) -> Array:
        """f of each replicate, (R, 3) -> (R,)."""
        return np.asarray(x @ self.slopes.mean(0) + 0.5 * self.curvature * np.vecdot(x, x))

    def full_gradient(self, x: Array) -> Array:
        """The gradient of f, (R, 3)."""
        return np.asarray(self.slopes.mean(0) + self.curvature * x)

    def gradient(self, x: Array, rng: Generator) -> Array:
        """The same: nothing is drawn."""
        return self.full_gradient(x)

    def worker_gradients(self, x: Array, rng: Generator) -> Array:
        """The gradients of the workers, (R, 3, 3): nothing is drawn."""
        models = x if x.ndim == 3 else x[:, None]
        return np.asarray(self.slopes + self.curvature * models)

    def measure(self, x: Array) -> dict[str, Array]:
        """The largest and the least coordinate."""
        return {"largest": x.max(1), "least": x.min(1)}

    @property
    def optimum(self) -> Optimum:
        """10/3 in each coordinate."""
        x = -self.slopes.mean(0) / self.curvature
        return Optimum(x, float(self.loss(x[None])[0]))

    def expression(self, x: Any) -> Any:
        """f as a cvxpy expression of the variable x, (d,)."""
        import cvxpy as cp

        return self.slopes.mean(0) @ x + 0.5 * self.curvature * cp.sum_squares(x)


@dataclass(frozen=True)
class NoisySlope:
    """f(x) = x_1 + ... + x_d from 0; each entry of the gradient is 1 and noise of this ``law``.

    The noise is symmetric and of variance ``sigma``^2.
    """

    law: Law = "gaussian"
    sigma: float = 1.0
    d: int = 1

    def __post_init__(self) -> None:
        """Refuse an unknown law and impossible numbers."""
        if self.law not in get_args(Law):
            raise ValueError(f"law must be one of {', '.join(get_args(Law))}, not {self.law!r}")
        positive("sigma", self.sigma)
        whole("d", self.d)

    def loss(self, x: Array) -> Array:
        """f of each replicate, (R, d) -> (R,)."""
        return np.asarray(x.sum(1))

    def full_gradient(self, x: Array) -> Array:
        """1 in each entry."""
        return np.ones_like(x)

    def gradient(self, x: Array, rng: Generator) -> Array:
        """1 and the noise."""
        if self.law == "gaussian":
            return rng.normal(1.0, self.sigma, x.shape)
        return rng.laplace(1.0, self.sigma / sqrt(2), x.shape)
