"""The quadratic with noise in one coordinate only (the toy example of arXiv 1901.09847)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain, repeat
from math import isfinite
from typing import Any

import numpy as np

from efsgd.arrays import Array, Generator
from efsgd.engine.problem import Optimum

AHEAD = 64  # steps whose noise is drawn at once


@dataclass(frozen=True)
class SparseNoise:
    """f(x) = |x|^2/2 in R^d, x_0 ~ N(0, I); the gradient's noise is N(0, sigma^2) on coordinate 1.

    The sign methods gain here because the sign bounds the one noisy coordinate; EF-signSGD, which
    applies every gradient in the end, has the noise of SGD.
    """

    d: int = 100
    sigma: float = 100.0

    def __post_init__(self) -> None:
        if self.d < 1:
            raise ValueError(f"d must be at least 1, not {self.d}: the noise needs a coordinate")
        if not (self.sigma >= 0 and isfinite(self.sigma)):
            raise ValueError(f"sigma must be finite and at least 0, not {self.sigma}: try 100")

    def x0(self, rng: Generator, replicates: int) -> Array:
        return rng.standard_normal((replicates, self.d))

    def loss(self, x: Array) -> Array:
        value: Array = np.vecdot(x, x)
        value *= 0.5
        return value

    def gradient(self, x: Array, rng: Generator) -> Array:
        g = x.copy()
        noisy = g[:, 0]
        noisy += rng.normal(0.0, self.sigma, len(x))
        return g

    def oracle(self, rng: Generator, replicates: int) -> Callable[[Array], Array]:
        """``gradient`` for a whole run with the same noise, drawn AHEAD steps at a time."""
        noise = chain.from_iterable(
            rng.normal(0.0, self.sigma, (AHEAD, replicates)) for _ in repeat(None)
        )

        def gradient(x: Array) -> Array:
            g = x.copy()
            noisy = g[:, 0]
            noisy += next(noise)
            return g

        return gradient

    def full_gradient(self, x: Array) -> Array:
        return x.copy()

    @property
    def optimum(self) -> Optimum:
        return Optimum(np.zeros(self.d), 0.0)

    def expected_loss_sgd(self, lr: float | Array, steps: int | Array) -> Array:
        """E f(x_T) of SGD with constant step lr in [0, 2) after T = steps steps; broadcasts.

        Derived here: x_T = q^T x_0 - lr sum_{s<T} q^s noise_s with q = 1 - lr, so that
        E f = (d q^(2T) + sigma^2 lr^2 sum_{s<T} q^(2s)) / 2, and lr^2 / (1 - q^2) = lr / (2 - lr).
        """
        lr = np.asarray(lr, dtype=np.float64)
        if not ((lr >= 0) & (lr < 2)).all():
            raise ValueError(f"lr must lie in [0, 2), not {lr}: SGD diverges at 2 and above")
        decay = (1.0 - lr) ** (2 * np.asarray(steps))  # q^(2T)
        loss: Array = 0.5 * (self.d * decay + self.sigma**2 * lr * (1.0 - decay) / (2.0 - lr))
        return loss

    def best_sgd(self, steps: int) -> tuple[float, float]:
        """The constant step in (0, 1] with the least E f(x_T) after ``steps`` steps, and that loss.

        Above 1 nothing is gained: q^2 is symmetric about 1 and the noise grows. Found on a grid,
        then refined between the neighbours of its best point to about 1e-8 relative in lr.
        """
        from scipy.optimize import minimize_scalar

        if steps < 1:
            raise ValueError(f"steps must be at least 1, not {steps}: no step, no best step size")

        def loss(power: Any) -> Any:  # of lr = 10^power
            return self.expected_loss_sgd(10.0**power, steps)

        grid = np.linspace(-12.0, 0.0, 1201)  # log10 lr
        best = int(np.argmin(loss(grid)))
        bounds = (grid[max(best - 1, 0)], grid[min(best + 1, grid.size - 1)])
        refined = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-9})
        power = min(float(refined.x), float(grid[best]), key=loss)  # the least may be at lr = 1
        return 10.0**power, float(loss(power))

    def expression(self, x: Any) -> Any:
        """f as a cvxpy expression of the variable x, (d,)."""
        import cvxpy as cp

        return cp.sum_squares(x) / 2
