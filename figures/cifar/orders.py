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

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Order:
    """Two methods at one batch size, by the accuracies after the last epoch."""

    one: Cell
    two: Cell

    @property
    def refusal(self) -> str:
        """Why there is no interval, empty if there is one."""
        a, b = self.one.finals(), self.two.finals()
        if min(len(a), len(b)) < 2:
            return f"{len(a)} and {len(b)} runs are too few"
        return "" if np.isfinite([*a, *b]).all() else "a run diverged"

    @cached_property
    def interval(self) -> tuple[float, float]:
        """How much higher the first ends, in points, and half the width of the interval."""
        return welch(self.one.finals(), self.two.finals())

    @property
    def decided(self) -> bool:
        """Whether 0 lies outside the interval."""
        return not self.refusal and abs(self.interval[0]) > self.interval[1]

    @property
    def above(self) -> str:
        """ "A above B by 2.10 +- 0.40", of a decided order."""
        difference, half = self.interval
        above, below = (self.one, self.two) if difference > 0 else (self.two, self.one)
        return f"{above.label} above {below.label} by {abs(difference):.2f} +- {half:.2f}"

    @property
    def open(self) -> str:
        """The interval of an order that is not decided, or why there is none."""
        return self.refusal or "{:+.2f} +- {:.2f} points".format(*self.interval)

    @property
    def verdict(self) -> str:
        """What the table of verdicts says: decided or not, and by how much or why."""
        return f"decided: {self.above}" if self.decided else f"not decided: {self.open}"

    @property
    def line(self) -> str:
        """What stands below a table, a sentence of its own."""
        names = f"{self.one.label} and {self.two.label}"
        told = f"{self.above} points" if self.decided else f"{names} not decided: {self.open}"
        counts = len(self.one.results), len(self.two.results)
        how = f" (Welch {CONFIDENCE:.0%}, n = {counts[0]} and {counts[1]})".replace("%", " %")
        return f"batch {self.one.batch}: {told}{'' if self.refusal else how}"


def orders(study: Study, batch: int) -> list[Order]:
    """Those of every pair of methods at a batch size."""
    return [Order(*two) for two in combinations(study.cells(batch), 2)]


def welch(a: Array, b: Array, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """mean(a) - mean(b) and half the width of its t interval, variances not assumed equal.

    Degrees of freedom after Welch and Satterthwaite; half is 0 if neither sample varies.
    """
    from scipy import stats

    share = np.array([np.var(v, ddof=1) / len(v) for v in (a, b)])
    if not share.sum():
        return float(np.mean(a) - np.mean(b)), 0.0
    freedom = share.sum() ** 2 / (share**2 / np.array([len(a) - 1, len(b) - 1])).sum()
    quantile = float(stats.t.ppf((1 + confidence) / 2, freedom))
    return float(np.mean(a) - np.mean(b)), quantile * float(np.sqrt(share.sum()))
