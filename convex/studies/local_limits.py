"""Where local SGD ends on least squares with full gradients and a constant step size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from efsgd.arrays import Array
from efsgd.convex.studies.absent_workers import quadratics
from efsgd.engine import Split


@dataclass(frozen=True)
class LocalLimits:
    """The limit of local SGD for several numbers H of local steps, in closed form.

    With f_i of Hessian A_i and minimiser c_i, H steps of size lr from x lead worker i to c_i + B_i
    (x - c_i), B_i = (I - lr A_i)^H. The mean over the workers is x itself where sum_i (I - B_i)
    (x - c_i) = 0 (derived here), whatever optimiser takes a step along the mean difference outside.
    """

    problem: Split
    lr: float
    local_steps: tuple[int, ...]
    cost: float = 1.0

    def compute(self) -> dict[str, Array]:
        """ "x" (V, d), and "gap" (V,), f - f* there, for V numbers of local steps."""
        A, g = quadratics(self.problem)  # (n, d, d), and the gradients (n, d) at the optimum
        best = self.problem.optimum.x
        c = best - np.linalg.solve(A, g[..., None])[..., 0]
        limits = []
        for H in self.local_steps:
            moved = np.eye(len(best)) - np.linalg.matrix_power(np.eye(len(best)) - self.lr * A, H)
            limits.append(np.linalg.solve(moved.sum(0), np.einsum("nij,nj->i", moved, c)))
        x = np.array(limits)
        return {"x": x, "gap": self.problem.measure(x)["gap"]}
