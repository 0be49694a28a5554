"""Claims that an interval decides: they hold, they fail, or the runs leave them open.

All intervals are at 95 %, each for itself: of many, a few are wrong by chance. One that reaches to
both sides of a limit decides nothing, and what it leaves open is an observation: neither right nor
wrong, and no claim that a command could count as passed.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from efsgd.arrays import Array
from efsgd.figures.claims.verdicts import Verdict, observation

CONFIDENCE = 0.95
NOTE = f"{100 * CONFIDENCE:.0f} %"  # what stands beside the source of such a claim


def student(freedom: float, confidence: float = CONFIDENCE) -> float:
    """Half the width of a two-sided interval in standard errors, for so many degrees of freedom."""
    from scipy import stats

    return float(stats.t.ppf((1 + confidence) / 2, freedom))


def binomial(count: int, draws: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The interval of a probability after ``count`` events in ``draws`` (Clopper, Pearson 1934)."""
    from scipy import stats

    tail = (1 - confidence) / 2
    low = stats.beta.ppf(tail, count, draws - count + 1) if count else 0.0
    high = stats.beta.ppf(1 - tail, count + 1, draws - count) if count < draws else 1.0
    return float(low), float(high)


class Interval(NamedTuple):
    """An estimate and half the width of its interval: NaN if a run diverged, inf for one run."""

    middle: float
    half: float

    @property
    def low(self) -> float:
        """Where it begins."""
        return self.middle - self.half

    @property
    def high(self) -> float:
        """Where it ends."""
        return self.middle + self.half

    def __str__(self) -> str:
        """ "+0.68 +- 0.23", or what there is of it."""
        if not math.isfinite(self.half):
            return f"{self.middle:+.3g}, no interval"
        return f"{self.middle:+.3g} +- {self.half:.2g}"


def of_mean(values: Array) -> Interval:
    """The mean of independent values, (R,): of one value a seed or a replicate."""
    n = len(values)
    if n < 2 or not np.isfinite(values).all():
        return Interval(float(np.mean(values)) if n else math.nan, math.inf)
    half = student(n - 1) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return Interval(float(np.mean(values)), half)


def decision(
    text: str,
    source: str,
    interval: Interval,
    above: float = -math.inf,
    most: float = math.inf,
    *,
    exact: bool = False,
) -> Verdict:
    """The claim that a number lies in (above, most].

    It holds if all of the interval does, fails if none of it does or if a run diverged that the
    number needs, and is an observation where the interval reaches to both sides. ``exact``: nothing
    is random, and half is 0.
    """
    low, high = interval.low, interval.high
    source = source if exact else f"{source}, {NOTE}"
    if math.isfinite(above):
        expected = f"> {above:g}" if math.isinf(most) else f"> {above:g} and <= {most:g}"
    else:
        expected = f"<= {most:g}"
    if low <= above < high or low <= most < high:
        return observation(text, source, f"not decided: {interval}", expected)
    passed = bool(above < low and high <= most)
    return Verdict(text, source, expected, str(interval), passed)


def span(least: float, largest: float, digits: int = 3) -> str:
    """One number, or two where they differ in so many digits after the point."""
    ends = dict.fromkeys((f"{least:.{digits}f}", f"{largest:.{digits}f}"))
    return " to ".join(ends)
