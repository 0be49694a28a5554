"""How many steps methods need to a loss, and what that makes of the costs of their steps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from efsgd.arrays import Array
from efsgd.cost import CostMap
from efsgd.engine.runs import Run, run


@dataclass(frozen=True)
class StepsToLoss:
    """The steps after which each of ``runs`` has left ``share`` of its first gap to the optimum.

    The first run is that to which the others are compared. Each has one step size a replicate, and
    each step size on as many replicates: the first half of them chooses the step size that needs
    fewest steps on average, the least of those that do, the second half measures.

    Steps are counted to the recorded ones, which are the same in all runs: a noisy loss is below a
    limit the sooner, the more often one looks. With local steps they are those of exchanges, as
    nobody has the mean model between them. ValueError for other records.
    """

    runs: tuple[Run, ...]
    share: float

    def __post_init__(self) -> None:
        """Refuse runs without a step size for each replicate."""
        if not all(isinstance(each.lr, tuple) for each in self.runs):
            raise ValueError("each run needs a step size a replicate: give lr as a tuple")
        if not 0 < self.share < 1:
            raise ValueError(f"share must lie strictly between 0 and 1, not {self.share}")
        for each in self.runs:
            if each.recorded() != self.runs[0].recorded():
                raise ValueError("all runs must be recorded at the same steps")
            if any(t % each.local_steps for t in each.recorded()):
                raise ValueError(
                    f"{each.local_steps} local steps need records at multiples of it: give record"
                )

    @property
    def cost(self) -> float:
        """The steps of all runs."""
        return float(sum(each.steps for each in self.runs))

    def compute(self) -> dict[str, Array]:
        """``steps`` (S, M) of M measured replicates, inf where one never came there; ``lr`` (S,).

        Besides ``factor`` (S,), their median over that of the first run, but at least 1: a few
        runs are no reason to believe that less information needs fewer steps.
        """
        found = [self._of(each) for each in self.runs]
        steps = np.array([measured for measured, _ in found])
        middle = np.median(steps, axis=1)
        return {
            "steps": steps,
            "lr": np.array([lr for _, lr in found]),
            "factor": np.maximum(middle / middle[0], 1.0),
        }

    def _of(self, work: Run) -> tuple[Array, float]:
        """The steps of the measured replicates of one run, and its step size."""
        problem: Any = work.problem
        history = run(replace(work, metrics=("loss",)), diverged="keep")
        gap = history["loss"] - problem.optimum.f
        there = gap <= self.share * gap[0]
        first = np.where(there.any(0), history["step"][there.argmax(0)], np.inf)
        lrs, group = np.unique(np.array(work.lr), return_inverse=True)
        of_lr = [first[group == i] for i in range(len(lrs))]
        half = len(of_lr[0]) // 2
        best = int(np.argmin([steps[:half].mean() for steps in of_lr]))
        return of_lr[best][half:], float(lrs[best])


@dataclass(frozen=True)
class CostToLoss:
    """A map of costs where each method takes the steps that it needs to a loss, in these runs."""

    map: CostMap
    needed: StepsToLoss

    def __post_init__(self) -> None:
        """Refuse other than one run for each method of the map."""
        if len(self.map.schemes) != len(self.needed.runs):
            raise ValueError(
                f"{len(self.map.schemes)} methods need as many runs, not {len(self.needed.runs)}"
            )

    @property
    def cost(self) -> float:
        """That of the runs."""
        return self.needed.cost

    def compute(self) -> dict[str, Array]:
        """What the runs give, and ``seconds`` (S, N, R) of the map times their factors."""
        needed, seconds = self.needed.compute(), self.map.compute()["seconds"]
        return needed | {"seconds": needed["factor"][:, None, None] * seconds}
