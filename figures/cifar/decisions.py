"""Claims that an interval decides: they hold, they fail, or the seeds leave them open.

All intervals are t intervals at 95 %, each for itself: of many, a few are wrong by chance.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from efsgd.arrays import Array
from efsgd.figures.cifar.orders import welch
from efsgd.figures.claims.intervals import CONFIDENCE, student
from efsgd.figures.claims.verdicts import Verdict, observation

NOTE = f"{100 * CONFIDENCE:.0f} %"  # what stands beside the source of such a claim


class Interval(NamedTuple):
    """An estimate and half the width of its interval: NaN if a run diverged, inf for one run."""

    middle: float
    half: float

    def __str__(self) -> str:
        """ "+0.68 +- 0.23", or what there is of it."""
        if not math.isfinite(self.half):
            return f"{self.middle:+.3g}, no interval"
        return f"{self.middle:+.3g} +- {self.half:.2g}"


def of_mean(values: Array) -> Interval:
    """The mean of one value a seed, (R,)."""
    n = len(values)
    if n < 2 or not np.isfinite(values).all():
        return Interval(float(np.mean(values)) if n else math.nan, math.inf)
    half = student(n - 1) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return Interval(float(np.mean(values)), half)


def of_difference(a: Array, b: Array) -> Interval:
    """mean(a) - mean(b) of two methods, whose seeds are not paired (Welch)."""
    if min(len(a), len(b)) < 2 or not np.isfinite([*a, *b]).all():
        return Interval(float(np.mean(a) - np.mean(b)) if len(a) and len(b) else math.nan, math.inf)
    return Interval(*welch(a, b))


def decision(
    text: str,
    source: str,
    interval: Interval,
    above: float = -math.inf,
    most: float = math.inf,
) -> Verdict:
    """The claim that a number lies in (above, most].

    It holds if all of the interval does, fails if none of it does or if a run diverged that the
    number needs, and is an observation where the interval reaches to both sides.
    """
    low, high = interval.middle - interval.half, interval.middle + interval.half
    source = f"{source}, {NOTE}"
    if math.isfinite(above):
        expected = f"> {above:g}" if math.isinf(most) else f"> {above:g} and <= {most:g}"
    else:
        expected = f"<= {most:g}"
    if low <= above < high or low <= most < high:
        return observation(text, source, f"not decided: {interval}", expected)
    passed = above < low and high <= most
    return Verdict(text, source, expected, str(interval), passed)
