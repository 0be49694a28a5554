"""Methods side by side, and memories in two units on one path."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from efsgd.arrays import Array
from efsgd.compressors.base import Compressor
from efsgd.compressors.sparse import sample_subset
from efsgd.convex.problems.known_curvature import Known
from efsgd.engine.runs import Run, run
from efsgd.methods.base import Memory, Method
from efsgd.methods.feedback import EFSGD
from efsgd.methods.variants import GradientEF
from efsgd.schedules import Schedule


@dataclass(frozen=True)
class SideBySide:
    """Several runs of the same steps and replicates; those that diverge go on as inf and NaN."""

    runs: tuple[Run, ...]

    @property
    def cost(self) -> float:
        """The steps of all runs together."""
        return float(sum(run.steps for run in self.runs))

    def compute(self) -> dict[str, Array]:
        """ "step" (T,), each metric as (T, V, R): of the V runs that record it, in their order."""
        histories = [run(one, diverged="keep") for one in self.runs]
        names = {name for h in histories for name in h if name not in ("step", "x_final")}
        found = {n: np.stack([h[n] for h in histories if n in h], axis=1) for n in sorted(names)}
        return {"step": histories[0]["step"], **found}


@dataclass(frozen=True)
class MemoryUnits:
    """EFSGD, and GradientEF with and without the rescaling of its memory, on the same batches.

    All draw the same rows and the same messages at each step. x_0 = 0.
    """

    problem: Known
    compressor: Compressor
    lr: Schedule
    steps: int
    batch: int
    seed: int

    @property
    def cost(self) -> float:
        """The steps of all three."""
        return 3.0 * self.steps

    def compute(self) -> dict[str, Array]:
        """Arrays over t = 0, ..., steps, lengths in units of |x_0 - x*|.

        "gap" (T, 3), of EFSGD, rescaled and not; "apart" (T, 2), |x - that of EFSGD| of the latter
        two; "lost" (T, 2), |x - lr e - (x_0 - sum lr g)| of these; "unexplained" (T,), the same
        without rescaling after sum (lr_(s-1) - lr_s) e_s is taken off: 0 but for rounding, as that
        is what each step adds (derived here).
        """
        c, best = self.compressor, self.problem.optimum
        assert best is not None  # of either problem
        unit = np.linalg.norm(best.x)
        x, _, _ = self._follow(EFSGD(c))
        found = [self._follow(GradientEF(c, rescaled=rescaled)) for rescaled in (True, False)]
        return {
            "gap": np.stack(
                [self.problem.measure(y)["gap"] for y in (x, *(f[0] for f in found))]
            ).T,
            "apart": np.stack([np.linalg.norm(f[0] - x, axis=1) for f in found]).T / unit,
            "lost": np.stack([np.linalg.norm(f[1], axis=1) for f in found]).T / unit,
            "unexplained": np.linalg.norm(found[1][1] - found[1][2], axis=1) / unit,
        }

    def _follow(self, method: Method) -> tuple[Array, Array, Array]:
        """The iterates, how far x - lr e is from x_0 - sum lr g, and what drops of lr lose of e."""
        rows_rng, message_rng = np.random.default_rng(self.seed).spawn(2)
        shape = (self.steps + 1, self.problem.d)
        xs, shifts, losses = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        sgd, before = np.zeros(self.problem.d), self.lr(0)
        x = np.zeros((1, self.problem.d))
        memory = method.start(x)
        for t in range(self.steps):
            lr = self.lr(t)
            losses[t + 1] = losses[t] + (before - lr) * _entries(memory)
            rows = sample_subset(rows_rng, self.problem.n, self.batch, (1,))
            g = self.problem.batch_gradient(x, rows)
            sgd -= lr * g[0]
            x, memory = method.advance(x, g, memory, lr, message_rng)
            xs[t + 1], before = x[0], lr
            shifts[t + 1] = x[0] - lr * _entries(memory) - sgd
        return xs, shifts, losses


def _entries(memory: Memory) -> Array:
    """e of the one replicate, (d,)."""
    assert memory.e is not None  # of a method with feedback
    found: Array = memory.e[0]
    return found
