"""Error feedback of workers without the engine: a plain loop, and what is left by small steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from efsgd.arrays import Array
from efsgd.convex.problems.several_workers import Disagreement


@dataclass(frozen=True)
class PlainFeedback:
    """EF with top-``k`` on the full gradients of the workers of ``problem``, from x* = 0.

    Each worker sends the k largest entries of p = e + lr g and keeps the others as its e; x moves
    by the mean of what is sent (arXiv 1901.09847, Algorithm 2, with a memory for each worker).
    """

    problem: Disagreement
    k: int
    lr: float
    steps: int

    @property
    def cost(self) -> float:
        """The steps of all workers."""
        return float(self.steps * self.problem.workers)

    def compute(self) -> dict[str, Array]:
        """ "gap" (T,), f(x_t) - f* for t = 0, ..., steps."""
        a, slopes, n = self.problem.curvatures, self.problem.slopes, self.problem.workers
        x, gap = np.zeros(self.problem.d), []
        memories = [np.zeros(self.problem.d) for _ in range(n)]
        for _ in range(self.steps + 1):
            gap.append(0.5 * np.sum(a.mean(0) * x * x))
            moved = np.zeros(self.problem.d)
            for i in range(n):
                p = memories[i] + self.lr * (a[i] * x + self.problem.zeta * slopes[i])
                largest = np.argsort(-abs(p))[: self.k]
                moved[largest] += p[largest]
                p[largest] = 0.0
                memories[i] = p
            x = x - moved / n
        return {"gap": np.array(gap)}


@dataclass(frozen=True)
class SmallStepFeedback:
    """What EF with top-``k`` leaves on ``problem`` as its step size tends to 0.

    Derived here, but for one step. Near x* the gradients of the workers are zeta s_i + O(lr), so
    that for some steps the memories are e_i = lr zeta u_i + O(lr^2), where u_i <- u_i + s_i -
    top-k(u_i + s_i) knows neither lr nor x. Later a near tie of top-k goes the other way, and they
    part; that means over time stay alike is measured, and not proven. As x - mean e moves by
    -lr grad f(x), the mean of grad f(x_t) over T steps is O(1/(lr T)): f is quadratic, so x* is the
    mean of x_t over time, and x_t - x* is lr zeta times the mean of the u_i less its mean over
    time. The first quarter of the ``steps`` does not count.
    """

    problem: Disagreement
    k: int
    steps: int

    @property
    def cost(self) -> float:
        """The steps."""
        return float(self.steps)

    def compute(self) -> dict[str, Array]:
        """ "gap" (), the mean over time of f(x_t) - f* over (lr zeta)^2, as such u_i make it."""
        slopes = self.problem.slopes
        u, means = np.zeros_like(slopes), []
        for _ in range(self.steps):
            u = u + slopes
            largest = np.argsort(-abs(u), axis=1)[:, : self.k]
            np.put_along_axis(u, largest, 0.0, axis=1)
            means.append(u.mean(0))
        late = np.array(means[self.steps // 4 :])
        away = late - late.mean(0)
        return {"gap": np.array(self.problem.loss(away).mean())}
