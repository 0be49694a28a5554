"""The intervals that decide claims about trainings: Student's t over the seeds."""

from __future__ import annotations

import math

import numpy as np

from efsgd.arrays import Array
from efsgd.figures.cifar.orders import welch
from efsgd.figures.claims.intervals import Interval


def of_difference(a: Array, b: Array) -> Interval:
    """mean(a) - mean(b) of two methods, whose seeds are not paired (Welch)."""
    if min(len(a), len(b)) < 2 or not np.isfinite([*a, *b]).all():
        return Interval(float(np.mean(a) - np.mean(b)) if len(a) and len(b) else math.nan, math.inf)
    return Interval(*welch(a, b))
