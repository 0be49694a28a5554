"""How to read the results of :mod:`efsgd.figures.convex.variants_runs`, and what is proven of them.

Names are as there: ``at`` is "problem, compressor", ``way`` one of WAYS, v the place of a method.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from efsgd.arrays import Array
from efsgd.compressors.base import Compressor
from efsgd.convex.problems.known_curvature import Known
from efsgd.figures.convex.variants_runs import (
    ALL,
    ALONE,
    BATCHES,
    COMPRESSORS,
    DENSE,
    GRID,
    ROUNDING,
    THEOREM,
    THEOREMS,
    TUNED,
    D,
    methods,
    problems,
    theorem,
)
from efsgd.results import Result
from efsgd.schedules import Theorem

Results: TypeAlias = Mapping[str, Result]


def names_of(at: str) -> list[str]:
    """The methods of "problem, compressor", in the order of the legend."""
    return [name for name in THEOREMS if name in methods(compressor_of(at), D)]


def compressor_of(at: str) -> Compressor:
    """The compressor of "problem, compressor"."""
    return next(c for c in COMPRESSORS if at.endswith(f", {c}"))


def step_of(at: str, name: str) -> Theorem:
    """The theorem whose step size a method took."""
    problem = problems()[at.partition(", ")[0]]
    return theorem(name, methods(compressor_of(at), problem.d)[name], problem)


def index(c: Compressor, name: str) -> int:
    """Where a method stands in the results of a compressor."""
    return list(methods(c, D)).index(name)


def budget(results: Results, at: str) -> float:
    """The bytes of DENSE uncompressed gradients."""
    result = results[f"{at}, {THEOREM}"]
    return DENSE * float(result["bytes"][-1, 0].mean() / result["step"][-1])


def by_rate(result: Result, v: int) -> tuple[Array, Array]:
    """Bytes and gaps of a method on the grid, (T, copies, G) each."""
    shape = (len(result["step"]), -1, len(GRID))
    return result["bytes"][:, v].reshape(shape), result["gap"][:, v].reshape(shape)


def best(results: Results, at: str, way: str, v: int) -> int:
    """The index into GRID of the step size that is chosen."""
    result = results[f"{at}, {way}"]
    sent, gaps = by_rate(result, v)
    if way == TUNED:
        late = gaps[_last_within(sent[:, 0, 0], budget(results, at))].mean(0)
    else:
        late = gaps[result["step"] >= 0.9 * result["step"][-1]].mean((0, 1))
    return int(np.argmin(np.where(np.isfinite(late), late, np.inf)))


def curve(results: Results, at: str, way: str, v: int) -> tuple[Array, Array]:
    """Bytes sent and the gap, means over replicates, (T,)."""
    result = results[f"{at}, {way}"]
    sent, gaps = result["bytes"][:, v], result["gap"][:, v]
    if way != THEOREM:
        chosen = best(results, at, way, v)
        sent, gaps = (values[..., chosen] for values in by_rate(result, v))
    return sent.mean(1), gaps.mean(1)


def at_budget(results: Results, at: str, way: str, v: int) -> float:
    """The gap once BUDGET bytes are sent, relative to the first."""
    sent, gap = curve(results, at, way, v)
    return float(gap[_last_within(sent, budget(results, at))] / gap[0])


def _last_within(sent: Array, most: float) -> int:
    return int(np.searchsorted(sent, most, side="right")) - 1


def rate(step: Theorem) -> float:
    """What an optimally tuned step makes of the Lyapunov function, at worst (2506.05271)."""
    q, L, mu = step.q, step.L, step.mu
    assert mu is not None  # for the theorems that have a rate
    if step.method in ("gd", "cgd"):
        k = (1 + q) / (1 - q) * L / mu
        return ((k - 1) / (k + 1)) ** 2
    root = math.sqrt((1 + q) ** 2 + 16 * q * L * mu / (L - mu) ** 2)
    return q + (1 - q) / 2 * ((L - mu) / (L + mu)) ** 2 * (1 - q + root)


def bound(step: Theorem, t: Array) -> Array:
    """A bound on the gap at step t over that at 0: rate^t, with feedback (1+q) L/mu times that.

    With the Lyapunov functions of arXiv 2506.05271, |x - x* - e|^2 + |e|^2/q for EF, so that
    |x - x*|^2 <= (1+q) rate^t |x_0 - x*|^2, and |g - h|^2 + q |g|^2 <= (1+q) q rate^t |g_0|^2 for
    EF21; then f - f* lies between mu/2 |x - x*|^2 and L/2 |x - x*|^2, |g|^2/(2 L) and |g|^2/(2 mu).
    """
    assert step.mu is not None  # as above
    factor = 1.0 if step.method in ("gd", "cgd") else (1 + step.q) * step.L / step.mu
    limit: Array = factor * rate(step) ** t
    return limit


def summed_bound(step: Theorem, problem: Known) -> float:
    """A bound on the sum over all steps of the gap, over that at 0 (derived here).

    sum |grad f(x_t)|^2 <= 2 L (1+A) f_0 + A^2 (1+A) |grad f(x_0)|^2 where L lr = 1/(1+A) for
    methods that start from h = 0 and move along an estimate that is at most A L lr off, in l2 over
    the steps; and 2 mu (f - f*) <= |grad f|^2 <= 2 L (f - f*).
    """
    A = 1 / (step.L * step.lr) - 1
    return float(step.L / problem.mu * (1 + A) * (1 + A * A))


# -- measured --------------------------------------------------------------------------------------


def above_bound(results: Results, name: str) -> tuple[int, int]:
    """Recorded steps above the bound, and all of them, with full gradients at the theorem's step.

    Of random compressors the mean counts, of which the bound is proven, four standard errors above;
    without feedback it is only proven for each message.
    """
    above, total = 0, 0
    for at in ALL:
        c = compressor_of(at)
        if name not in names_of(at) or (c.random and name == ALONE):
            continue
        result = results[f"{at}, {THEOREM}"]
        gap = result["gap"][:, index(c, name)]
        error = gap.std(1, ddof=1) / math.sqrt(gap.shape[1]) if c.random else 0.0
        limit = gap[0].max() * (bound(step_of(at, name), result["step"]) + ROUNDING)
        above += int((~(gap.mean(1) - 4 * error <= limit)).sum())
        total += len(gap)
    return above, total


def largest_sum(results: Results, name: str) -> float:
    """The sum of the recorded gaps over its bound, the largest of all problems and compressors."""
    ratios = []
    for at in ALL:
        gap = results[f"{at}, {THEOREM}"]["gap"][:, index(compressor_of(at), name)].mean(1)
        problem = problems()[at.partition(", ")[0]]
        ratios.append(gap.sum() / gap[0] / summed_bound(step_of(at, name), problem))
    return float(np.max(ratios))


def tuned_residual(results: Results) -> float:
    """The largest residual of a virtual iterate with batches, at the step sizes chosen."""
    worst = []
    for at in ALL:
        result, c = results[f"{at}, {BATCHES}"], compressor_of(at)
        kept = [name for name, method in methods(c, D).items() if method.has_virtual]
        for row, name in enumerate(kept):
            chosen = best(results, at, BATCHES, index(c, name))
            residual = result["virtual_residual"][:, row]
            worst.append(residual.reshape(len(result["step"]), -1, len(GRID))[..., chosen].max())
    return float(np.max(worst))
