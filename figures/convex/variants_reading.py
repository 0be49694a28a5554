"""How to read the results of :mod:`efsgd.figures.convex.variants_runs`, and what is proven of them.

Names are as there; v is the index of a method along an axis of the results.
"""

from __future__ import annotations

import math

import numpy as np

from efsgd.arrays import Array
from efsgd.bounds import rates
from efsgd.compressors.base import Compressor
from efsgd.convex.problems.known_curvature import Known
from efsgd.figures.convex.variants_runs import (
    BATCHES,
    COMPRESSORS,
    DENSE,
    GRID,
    NO_FEEDBACK,
    PAIRS,
    ROUNDING,
    THEOREM,
    THEOREMS,
    TUNED,
    D,
    methods,
    problems,
    theorem,
)
from efsgd.figures.make import Results
from efsgd.results import Result
from efsgd.schedules import Theorem


def method_names(pair: str) -> list[str]:
    """The methods of "problem, compressor", in the order of the legend."""
    return [name for name in THEOREMS if name in methods(compressor_of(pair), D)]


def compressor_of(pair: str) -> Compressor:
    """The compressor of "problem, compressor"."""
    return next(c for c in COMPRESSORS if pair.endswith(f", {c}"))


def theorem_of(pair: str, name: str) -> Theorem:
    """The theorem whose step size a method took."""
    problem = problems()[pair.partition(", ")[0]]
    return theorem(name, methods(compressor_of(pair), problem.d)[name], problem)


def index(c: Compressor, name: str) -> int:
    """Where a method stands in the results of a compressor."""
    return list(methods(c, D)).index(name)


def budget(results: Results, pair: str) -> float:
    """The bytes of DENSE uncompressed gradients."""
    result = results[f"{pair}, {THEOREM}"]
    return DENSE * float(result["bytes"][-1, 0].mean() / result["step"][-1])


def by_step_size(result: Result, v: int) -> tuple[Array, Array]:
    """Bytes and gaps of a method on the grid, (T, copies, G) each."""
    shape = (len(result["step"]), -1, len(GRID))
    return result["bytes"][:, v].reshape(shape), result["gap"][:, v].reshape(shape)


def best(results: Results, pair: str, setting: str, v: int) -> int:
    """The index into GRID of the step size that is chosen."""
    result = results[f"{pair}, {setting}"]
    sent, gaps = by_step_size(result, v)
    if setting == TUNED:
        compared = gaps[_last_within(sent[:, 0, 0], budget(results, pair))].mean(0)
    else:
        compared = gaps[result["step"] >= 0.9 * result["step"][-1]].mean((0, 1))
    return int(np.argmin(np.where(np.isfinite(compared), compared, np.inf)))


def curve(results: Results, pair: str, setting: str, v: int) -> tuple[Array, Array]:
    """Bytes sent and the gap, means over replicates, (T,)."""
    result = results[f"{pair}, {setting}"]
    sent, gaps = result["bytes"][:, v], result["gap"][:, v]
    if setting != THEOREM:
        chosen = best(results, pair, setting, v)
        sent, gaps = (values[..., chosen] for values in by_step_size(result, v))
    return sent.mean(1), gaps.mean(1)


def gap_at_budget(results: Results, pair: str, setting: str, v: int) -> float:
    """The gap once the budget's bytes are sent, relative to the first."""
    sent, gap = curve(results, pair, setting, v)
    return float(gap[_last_within(sent, budget(results, pair))] / gap[0])


def _last_within(sent: Array, most: float) -> int:
    return int(np.searchsorted(sent, most, side="right")) - 1


def rate(step: Theorem) -> float:
    """By what one step at the best step size multiplies the Lyapunov function, at worst."""
    assert step.mu is not None  # for the theorems that have a rate
    formula = rates.cgd_rate if step.method in ("gd", "cgd") else rates.ef_rate
    return float(formula(L=step.L, mu=step.mu, delta=step.delta))


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
    for pair in PAIRS:
        c = compressor_of(pair)
        if name not in method_names(pair) or (c.random and name == NO_FEEDBACK):
            continue
        result = results[f"{pair}, {THEOREM}"]
        gap = result["gap"][:, index(c, name)]
        error = gap.std(1, ddof=1) / math.sqrt(gap.shape[1]) if c.random else 0.0
        limit = gap[0].max() * (bound(theorem_of(pair, name), result["step"]) + ROUNDING)
        above += int((~(gap.mean(1) - 4 * error <= limit)).sum())
        total += len(gap)
    return above, total


def largest_sum(results: Results, name: str) -> float:
    """The sum of the recorded gaps over its bound, the largest of all problems and compressors."""
    ratios = []
    for pair in PAIRS:
        gap = results[f"{pair}, {THEOREM}"]["gap"][:, index(compressor_of(pair), name)].mean(1)
        problem = problems()[pair.partition(", ")[0]]
        ratios.append(gap.sum() / gap[0] / summed_bound(theorem_of(pair, name), problem))
    return float(np.max(ratios))


def tuned_residual(results: Results) -> float:
    """The largest residual of a virtual iterate with batches, at the step sizes chosen."""
    worst = []
    for pair in PAIRS:
        result, c = results[f"{pair}, {BATCHES}"], compressor_of(pair)
        virtual = [name for name, method in methods(c, D).items() if method.has_virtual]
        for row, name in enumerate(virtual):
            chosen = best(results, pair, BATCHES, index(c, name))
            residual = result["virtual_residual"][:, row]
            worst.append(residual.reshape(len(result["step"]), -1, len(GRID))[..., chosen].max())
    return float(np.max(worst))
