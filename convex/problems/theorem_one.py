"""The family of Theorem I, on which batch-1 signSGD never leaves a line (arXiv 1901.09847)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from efsgd.arrays import Array, Generator
from efsgd.convex.problems.least_squares import LeastSquares, Regression
from efsgd.engine.problem import Optimum


@dataclass(frozen=True)
class TheoremOne(Regression):
    """f(x) = mean_i (<a_i, x> - b_i)^2 / 2 with sign(a_i) = +-s for one sign vector s.

    n rows of unit length: random signs times |N(0, I)| times s, normalised. The minimiser x* is
    drawn from N(0, I), b_i = <a_i, x*>: f* = 0, and it is unique because n >= d random rows have
    rank d. A stochastic gradient is that of one random row, so its sign is +-s: batch-1 signSGD
    stays on the line x_0 + span(s), for any step sizes, and no closer to x* than
    ``distance_to_line()`` (Theorem I). The start is drawn from N(0, I) too and is part of the
    problem, the same for all replicates: the off-line component is measured from it.
    """

    n: int = 50
    d: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.d < 2:
            raise ValueError(f"d must be at least 2, not {self.d}: on a line nothing is off it")
        if self.n < self.d:
            raise ValueError(
                f"n must be at least d = {self.d}, not {self.n}: fewer rows leave x* not unique"
            )

    @cached_property
    def draw(self) -> tuple[Array, Array, Array, Array]:
        """s (d,) of -1.0 and +1.0, the rows (n, d), x* (d,) and x_0 (d,)."""
        rng = np.random.default_rng(self.seed)
        s, row_sign = rng.choice((-1.0, 1.0), self.d), rng.choice((-1.0, 1.0), (self.n, 1))
        rows = row_sign * s * np.abs(rng.standard_normal((self.n, self.d)))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return s, rows, rng.standard_normal(self.d), rng.standard_normal(self.d)

    @property
    def s(self) -> Array:
        """The common sign vector, (d,)."""
        return self.draw[0]

    @property
    def start(self) -> Array:
        """x_0, (d,)."""
        return self.draw[3]

    @cached_property
    def data(self) -> LeastSquares:
        _, rows, minimiser, _ = self.draw
        return LeastSquares(rows, rows @ minimiser)

    def x0(self, rng: Generator, replicates: int) -> Array:
        return np.tile(self.start, (replicates, 1))

    def gradient(self, x: Array, rng: Generator) -> Array:
        """a_i (<a_i, x> - b_i) for one row i a replicate: (R, d)."""
        return self.batch_gradient(x, rng.integers(self.n, size=(len(x), 1)))

    def off_line(self, x: Array) -> Array:
        """|P(x - x_0)|, P the projection orthogonal to s: the distance of x (R, d) to the line."""
        step = x - self.start
        along: Array = step @ self.s / self.d
        distance: Array = np.linalg.norm(step - along[:, None] * self.s, axis=1)
        return distance

    def distance_to_line(self) -> float:
        """dist(x*, x_0 + span(s)): no iterate of batch-1 signSGD comes closer to x*."""
        return float(self.off_line(self.optimum.x[None])[0])

    def measure(self, x: Array) -> dict[str, Array]:
        return {"off_line": self.off_line(x)}

    @cached_property
    def optimum(self) -> Optimum:
        return Optimum(self.draw[2], 0.0)
