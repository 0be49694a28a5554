"""Whether the seeds decide which of two methods ends with the higher test accuracy.

Welch's t interval at 95 % of the difference of the means, for each pair of methods alone: with
many pairs a few are decided by chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np

from efsgd.arrays import Array
from efsgd.figures.cifar.study import Cell, Study
from efsgd.figures.claims.intervals import CONFIDENCE, student


@dataclass(frozen=True)
class Order:
    """Two methods at one batch size, by the accuracies after the last epoch."""

    first: Cell
    second: Cell

    @property
    def refusal(self) -> str:
        """Why there is no interval, empty if there is one."""
        a, b = self.first.finals(), self.second.finals()
        if min(len(a), len(b)) < 2:
            return f"{len(a)} and {len(b)} runs are too few"
        return "" if np.isfinite([*a, *b]).all() else "a run diverged"

    @cached_property
    def interval(self) -> tuple[float, float]:
        """How much higher the first ends, in points, and half the width of the interval."""
        return welch(self.first.finals(), self.second.finals())

    @property
    def decided(self) -> bool:
        """Whether 0 lies outside the interval."""
        return not self.refusal and abs(self.interval[0]) > self.interval[1]

    @property
    def above(self) -> str:
        """ "A above B by 2.10 +- 0.40", of a decided order."""
        difference, half = self.interval
        ranked = (self.first, self.second) if difference > 0 else (self.second, self.first)
        above, below = (cell.label for cell in ranked)
        return f"{above} above {below} by {abs(difference):.2f} +- {half:.2f}"

    @property
    def undecided(self) -> str:
        """The interval of an order that is not decided, or why there is none."""
        return self.refusal or "{:+.2f} +- {:.2f} points".format(*self.interval)

    @property
    def verdict(self) -> str:
        """For the table of verdicts: decided or not, and by how much or why."""
        return f"decided: {self.above}" if self.decided else f"not decided: {self.undecided}"

    @property
    def line(self) -> str:
        """The line below a table, which also names the methods and the numbers of seeds."""
        names = f"{self.first.label} and {self.second.label}"
        outcome = (
            f"{self.above} points" if self.decided else f"{names} not decided: {self.undecided}"
        )
        counts = f"n = {len(self.first.results)} and {len(self.second.results)}"
        test = f" (Welch {100 * CONFIDENCE:.0f} %, {counts})"
        return f"batch {self.first.batch}: {outcome}{'' if self.refusal else test}"


def orders(study: Study, batch: int) -> list[Order]:
    """The order of every pair of methods at a batch size."""
    return [Order(first, second) for first, second in combinations(study.cells(batch), 2)]


def welch(a: Array, b: Array, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """mean(a) - mean(b) and half the width of its t interval, variances not assumed equal.

    Degrees of freedom after Welch and Satterthwaite; half is 0 if neither sample varies.
    """
    difference = float(np.mean(a) - np.mean(b))
    squared_errors = np.array([np.var(v, ddof=1) / len(v) for v in (a, b)])
    total = squared_errors.sum()
    if not total:
        return difference, 0.0
    freedom = total**2 / (squared_errors**2 / np.array([len(a) - 1, len(b) - 1])).sum()
    quantile = student(freedom, confidence)
    return difference, quantile * float(np.sqrt(total))
