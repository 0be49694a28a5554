"""Several methods in the same steps, and error feedback with its memory in two different units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from efsgd.arrays import Array
from efsgd.compressors.base import Compressor
from efsgd.compressors.selection import sample_subset
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
        histories = [run(experiment, diverged="keep") for experiment in self.runs]
        names = {name for h in histories for name in h if name not in ("step", "x_final")}
        stacked = {n: np.stack([h[n] for h in histories if n in h], axis=1) for n in sorted(names)}
        return {"step": histories[0]["step"], **stacked}


class _Path(NamedTuple):
    """A run with its sums along the way, for t = 0, ..., steps."""

    x: Array  # (T, d) iterates
    lost: Array  # (T, d) x - lr e - (x_0 - sum lr g)
    explained: Array  # (T, d) sum (lr_(s-1) - lr_s) e_s


@dataclass(frozen=True)
class MemoryUnits:
    """EFSGD, and GradientEF with and without the rescaling of its memory, on the same batches.

    All use the same rows and the same random numbers at each step. x_0 = 0.
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

        "gap" (T, 3), of EFSGD, rescaled and not; "apart" (T, 2), |x - x of EFSGD| for the latter
        two; "lost" (T, 2), |x - lr e - (x_0 - sum lr g)| for these; "unexplained" (T,), the length
        of the same without rescaling minus sum (lr_(s-1) - lr_s) e_s: 0 but for rounding, as each
        step adds one term of that sum (derived here).
        """
        c, best = self.compressor, self.problem.optimum
        assert best is not None  # of either problem
        unit = np.linalg.norm(best.x)
        efsgd = self._path(EFSGD(c))
        rescaled = self._path(GradientEF(c, rescaled=True))
        plain = self._path(GradientEF(c, rescaled=False))
        paths, variants = (efsgd, rescaled, plain), (rescaled, plain)
        return {
            "gap": np.stack([self.problem.measure(path.x)["gap"] for path in paths]).T,
            "apart": np.stack([np.linalg.norm(p.x - efsgd.x, axis=1) for p in variants]).T / unit,
            "lost": np.stack([np.linalg.norm(p.lost, axis=1) for p in variants]).T / unit,
            "unexplained": np.linalg.norm(plain.lost - plain.explained, axis=1) / unit,
        }

    def _path(self, method: Method) -> _Path:
        """Run the method."""
        rows_rng, message_rng = np.random.default_rng(self.seed).spawn(2)
        shape = (self.steps + 1, self.problem.d)
        path = _Path(x=np.zeros(shape), lost=np.zeros(shape), explained=np.zeros(shape))
        sgd, previous_lr = np.zeros(self.problem.d), self.lr(0)  # x_0 - sum lr g
        x = np.zeros((1, self.problem.d))
        memory = method.start(x)
        for t in range(self.steps):
            lr = self.lr(t)
            path.explained[t + 1] = path.explained[t] + (previous_lr - lr) * _error(memory)
            rows = sample_subset(rows_rng, self.problem.n, self.batch, (1,))
            g = self.problem.batch_gradient(x, rows)
            sgd -= lr * g[0]
            x, memory = method.advance(x, g, memory, lr, message_rng)
            path.x[t + 1], previous_lr = x[0], lr
            path.lost[t + 1] = x[0] - lr * _error(memory) - sgd
        return path


def _error(memory: Memory) -> Array:
    """e of the one replicate, (d,)."""
    assert memory.e is not None  # of a method with feedback
    e: Array = memory.e[0]
    return e
