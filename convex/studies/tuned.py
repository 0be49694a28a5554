"""A run at a step size that was chosen on other runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from efsgd.arrays import Array
from efsgd.engine.runs import Run, run


@dataclass(frozen=True)
class Tuned:
    """The step size that leaves the least gap in the tuning runs, measured in runs of its own.

    ``tuning`` has one step size a replicate, each as often as it likes, and records the gap at the
    steps over which it is averaged, beside the first one. The measured runs differ from it in their
    seed, so that nothing is chosen on the runs that are shown.
    """

    tuning: Run
    seed: int
    replicates: int
    record: int
    metrics: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse a tuning run with one step size, and one with the seed of the measured runs."""
        if not isinstance(self.tuning.lr, tuple):
            raise ValueError(f"tuning needs a step size a replicate, not {self.tuning.lr!r}")
        if self.seed == self.tuning.seed:
            raise ValueError(f"the seed {self.seed} is that of the tuning runs: take another one")

    @property
    def cost(self) -> float:
        """The steps of both kinds of runs."""
        return 2.0 * self.tuning.steps

    def compute(self) -> dict[str, Array]:
        """The history of the measured runs, and how they were tuned.

        "lrs" (G,) are the step sizes in increasing order, "tuning" (G,) the mean gap that each left
        over the first one, inf where it diverged, and "lr" the one that was chosen.
        """
        lrs, left = self._tune()
        lr = float(lrs[np.argmin(left)])
        measured = replace(
            self.tuning,
            lr=lr,
            seed=self.seed,
            replicates=self.replicates,
            record=self.record,
            metrics=self.metrics,
        )
        history = run(measured, diverged="keep")
        del history["x_final"]
        return history | {"lrs": lrs, "tuning": left, "lr": np.array(lr)}

    def _tune(self) -> tuple[Array, Array]:
        """The step sizes (G,), and the mean gap of their replicates over the first one (G,)."""
        gap = run(self.tuning, diverged="keep")["gap"]
        left = gap[1:].mean(axis=0) / gap[0]
        left = np.where(np.isfinite(left), left, np.inf)
        lr: Sequence[float] = self.tuning.lr  # type: ignore[assignment]  # checked
        lrs, group = np.unique(np.array(lr), return_inverse=True)
        return lrs, np.array([left[group == i].mean() for i in range(len(lrs))])
