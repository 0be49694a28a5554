"""What is proven of the methods of the picture ``variants``, beside what its runs show.

Rates and bounds on gaps at the step sizes of theorems, and the rates that are measured where
C(x) = (1+q)x or (1-q)x attains them.
"""

from __future__ import annotations

import numpy as np

from efsgd.arrays import Array
from efsgd.bounds import rates
from efsgd.bounds.letters import Bound, Value
from efsgd.figures.convex.variants_reading import compressor_of, history, method_names
from efsgd.figures.convex.variants_runs import (
    ATTAINED_GRID,
    ATTAINED_MU,
    ATTAINED_STEPS,
    NO_FEEDBACK,
    PAIRS,
    PLAIN,
    ROUNDING,
    THEOREM,
    methods,
    problems,
    theorem,
)
from efsgd.figures.make import Results
from efsgd.schedules import Theorem

NOTHING = 1e-25  # of the first gap: what is left is rounding
FORMULAS: dict[str, tuple[Bound[..., Value], Bound[..., Value]]] = {  # the best step and its rate
    PLAIN: (rates.gd_step, rates.gd_rate),
    NO_FEEDBACK: (rates.cgd_step, rates.cgd_rate),
    "EF": (rates.ef_step, rates.ef_rate),
}


def theorem_of(pair: str, name: str) -> Theorem:
    """The theorem whose step size a method took."""
    problem = problems()[pair.partition(", ")[0]]
    return theorem(name, methods(compressor_of(pair), problem.d)[name], problem)


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


# -- measured --------------------------------------------------------------------------------------


def share_of_bound(results: Results, name: str) -> float:
    """The largest gap over its bound at any recorded step after the first, of the means.

    Without feedback the bound is only proven for each message, so not of random compressors.
    """
    shares = []
    for pair in PAIRS:
        random = compressor_of(pair).random
        if name not in method_names(pair) or (random and name == NO_FEEDBACK):
            continue
        t, _, gap = history(results, pair, THEOREM, name)
        limit = gap[0].mean() * (bound(theorem_of(pair, name), t) + ROUNDING)
        shares.append((gap.mean(1) / limit)[1:].max())
    return float(np.max(shares))


def _worst_rates(results: Results, name: str, delta: float) -> Array:
    """By what a step multiplies the gap in the long run, the worst of all instances, (G,)."""
    result = results[f"attained, delta={delta}, {name}"]
    steps, (first, middle, last) = result["step"], result["gap"]
    with np.errstate(all="ignore"):  # where it diverges
        rate = (last / middle) ** (1 / (steps[-1] - steps[-2]))
    rate = np.where(np.isfinite(rate), rate, np.inf)
    worst: Array = np.where(middle < NOTHING * first, 0.0, rate).max(axis=0)
    return worst


def off_attained(results: Results, name: str) -> tuple[float, float]:
    """The largest distance of the proven step from the best one, and of the rate from its rate.

    The first is that of the logarithms, relative to that of neighbours in the grid; the second that
    of the logarithms, relative to the measured one.
    """
    steps_off, rates_off = [], []
    for delta in ATTAINED_STEPS[name]:
        letters = {"L": 1.0, "mu": ATTAINED_MU} | ({} if name == PLAIN else {"delta": delta})
        step, proven = (float(formula(**letters)) for formula in FORMULAS[name])
        worst = _worst_rates(results, name, delta)
        best = int(np.argmin(worst))
        spacing = np.log(ATTAINED_GRID[1] / ATTAINED_GRID[0])
        steps_off.append(abs(np.log(step / ATTAINED_GRID[best])) / spacing)
        rates_off.append(abs(np.log(proven) / np.log(worst[best]) - 1))
    return float(np.max(steps_off)), float(np.max(rates_off))
