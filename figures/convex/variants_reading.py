"""How to read the results of :mod:`efsgd.figures.convex.variants_runs`.

Names are as there. Gaps of several replicates are compared by the ratio of their means, with an
interval: replicate r of every method sees the same batches.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import numpy as np

from efsgd.arrays import Array
from efsgd.compressors.base import Compressor
from efsgd.figures.claims.intervals import Interval, decision, student
from efsgd.figures.claims.verdicts import Verdict
from efsgd.figures.convex.variants_runs import (
    COMPRESSORS,
    DENSE,
    ROUNDING,
    THEOREM,
    THEOREMS,
    D,
    message,
    methods,
)
from efsgd.figures.make import Results

Relation: TypeAlias = Literal[">", "<="]


def method_names(pair: str) -> list[str]:
    """The methods of "problem, compressor", in the order of the legend."""
    return [name for name in THEOREMS if name in methods(compressor_of(pair), D)]


def compressor_of(pair: str) -> Compressor:
    """The compressor of "problem, compressor"."""
    return next(c for c in COMPRESSORS if pair.endswith(f", {c}"))


def index(c: Compressor, name: str) -> int:
    """Where a method stands in the results at the step sizes of theorems."""
    return list(methods(c, D)).index(name)


def history(results: Results, pair: str, setting: str, name: str) -> tuple[Array, Array, Array]:
    """The steps (T,), the bytes sent (T,) and the gaps (T, R) of a method."""
    if setting == THEOREM:
        result, v = results[f"{pair}, {setting}"], index(compressor_of(pair), name)
        return result["step"], result["bytes"][:, v, 0], result["gap"][:, v]
    result = results[f"{pair}, {setting}, {name}"]
    return result["step"], result["bytes"][:, 0], result["gap"]


def at_budget(results: Results, pair: str, setting: str, name: str) -> Array:
    """The gaps over the first once the bytes of DENSE uncompressed gradients are sent, (R,)."""
    _, sent, gap = history(results, pair, setting, name)
    within = sent <= DENSE * message(methods(COMPRESSORS[0], D)["SGD"].compresses)
    relative: Array = gap[within][-1] / gap[0]
    return np.maximum(relative, ROUNDING)


def late(results: Results, pair: str, setting: str, name: str) -> Array:
    """The mean gap over the last tenth of the steps, over the first, (R,)."""
    step, _, gap = history(results, pair, setting, name)
    relative: Array = gap[step >= 0.9 * step[-1]].mean(0) / gap[0]
    return relative


# -- ratios ----------------------------------------------------------------------------------------


class Ratio(Interval):
    """A ratio of two means and its interval at 95 %; half is 0 where nothing is random."""

    __slots__ = ()

    def __str__(self) -> str:
        """ "1.16 (1.11 to 1.21)", or the number itself."""
        text = f"{self.middle:.3g}"
        return text if self.half == 0 else f"{text} ({self.low:.3g} to {self.high:.3g})"


def ratio(above: Array, below: Array) -> Ratio:
    """The mean of the first over that of the second, replicates (R,) in pairs.

    By the delta method: Student's t interval of the mean of above - value * below, over the mean of
    below.
    """
    value, n = float(above.mean() / below.mean()), len(above)
    if n == 1:
        return Ratio(value, 0.0)
    residual = (above - value * below) / below.mean()
    return Ratio(value, student(n - 1) * float(residual.std(ddof=1)) / math.sqrt(n))


def claim_ratio(text: str, source: str, found: Ratio, relation: Relation, limit: float) -> Verdict:
    """A claim that a ratio lies above (">") or below ("<=") a limit, decided by its interval."""
    above, most = (limit, math.inf) if relation == ">" else (-math.inf, limit)
    return decision(text, source, found, above, most, exact=found.half == 0)
