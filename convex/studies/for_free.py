"""Runs at lr = 1/sqrt(T+1), at which delta enters the mean of E|grad f|^2 at higher order only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from efsgd.arrays import Array
from efsgd.compressors.base import Compressor
from efsgd.convex.problems.valleys import Valleys
from efsgd.engine.runs import Run, run
from efsgd.methods.feedback import EFSGD


@dataclass(frozen=True)
class LongRuns:
    """Error feedback with lr = 1/sqrt(T+1), one run of T steps for each T of ``Ts``.

    The noise is the same for every compressor. Arrays: "T" (V,); "mean" (V, R), the mean over
    t = 0, ..., T of |grad f(x_t)|^2 in each replicate; numbers "limit", f0 + L noise^2/2, and
    "delta"; of the shortest run (T+1, R): "achieved_delta", "phi_p", "virtual_residual".
    """

    compressor: Compressor
    problem: Valleys
    Ts: tuple[int, ...]
    seed: int = 0
    replicates: int = 16

    @property
    def cost(self) -> float:
        """The steps of all runs together."""
        return float(sum(self.Ts) * self.replicates)

    def compute(self) -> dict[str, Array]:
        """Run each T."""
        watched = ("achieved_delta", "phi_p", "virtual_residual")
        shortest = self._history(min(self.Ts), watched)
        histories = [self._history(T, ()) for T in self.Ts]
        f = self.problem
        return {
            "T": np.array(self.Ts),
            "mean": np.stack([h["gradient_squared"].mean(axis=0) for h in histories]),
            **{name: shortest[name] for name in watched},
            "limit": np.array(f.f0 + f.L * f.noise**2 / 2),
            "delta": np.array(self.compressor.delta(f.d)),
        }

    def _history(self, T: int, more: tuple[str, ...]) -> dict[str, Array]:
        return run(
            Run(
                problem=self.problem,
                method=EFSGD(self.compressor),
                lr=(T + 1) ** -0.5,
                steps=T,
                seed=self.seed,
                replicates=self.replicates,
                record=1,
                metrics=("gradient_squared", *more),
            )
        )
