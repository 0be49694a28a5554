"""Error feedback with several workers, once more as a plain loop over them, without the engine."""

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
