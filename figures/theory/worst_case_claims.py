"""The claims of the picture worst-case."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from efsgd import bounds
from efsgd.arrays import Array
from efsgd.bounds.letters import gap
from efsgd.figures.claims.extremes import lowest, worse
from efsgd.figures.claims.verdicts import Verdict, claim, observation
from efsgd.figures.make import Results
from efsgd.figures.theory.common import F0, METHODS, L, observe_error
from efsgd.figures.theory.worst_case_work import (
    COMPRESSED,
    DELTAS,
    FACTOR_DELTA,
    FACTOR_STEPS,
    FACTORS,
    PROBLEMS,
    SLOPE_DELTAS,
    STEPS,
    closed,
    key,
    slope_key,
)

if TYPE_CHECKING:
    from efsgd.convex.pep.setting import Class

CGD = "arXiv 1709.05191"
GD = "arXiv 1206.3209, 1705.04398, 2104.05468"
MINE = "derived here"
PEP = "performance estimation"
# (problem, method, delta): the N up to which `closed` is the worst case, as far as seen
EXACT: dict[tuple[str, str, float], int] = {
    **{(problem, "gd", delta): 10 for problem in PROBLEMS for delta in DELTAS},
    **{("strongly-convex", "cgd", delta): 10 for delta in DELTAS},
    **{("nonconvex", "cgd", delta): 10 for delta in DELTAS},
    **{("convex", "cgd", delta): 2 for delta in DELTAS},
    ("convex", "ef", 0.5): 10,
    ("convex", "ef", 0.9): 2,
    ("convex", "ef21", 0.5): 2,
    ("convex", "ef21", 0.9): 1,
}
# (method, factor of the step size): the same for convex f, of the delta and the N computed there
EXACT_AT_OTHERS: dict[tuple[str, float], int] = {
    **{(method, 0.5): 3 for method in COMPRESSED},
    ("cgd", 1.5): 1,
    ("ef", 1.5): 3,
    ("ef21", 1.5): 2,
}
EDGE_DELTAS = (0.01, 0.1, 0.5, 0.9, 1.0)  # at which the step of the bound without noise is judged


def verdicts(results: Results) -> list[Verdict]:
    """The worst cases are the closed forms, and within the bounds."""
    text = "largest relative distance of the worst case from the closed form"
    least = "GD, CGD, EF and EF21, convex: least worst case over its lower bound"
    return [
        claim(f"GD, three problems: {text}", GD, _off(results, "gd"), "<=", 1e-5),
        claim(
            f"CGD, strongly convex: {text}",
            CGD,
            _off(results, "cgd", "strongly-convex"),
            "<=",
            1e-5,
        ),
        claim(f"CGD, nonconvex: {text}", MINE, _off(results, "cgd", "nonconvex"), "<=", 1e-5),
        claim(
            f"CGD, convex, N = 1 and 2: {text}", MINE, _off(results, "cgd", "convex"), "<=", 1e-5
        ),
        claim(
            f"EF and EF21, convex, where it is valid: {text}",
            MINE,
            _off(results, "ef", "convex"),
            "<=",
            1e-5,
        ),
        claim(least, MINE, _least(results), ">=", 1 - 1e-5),
        *_other_steps(results),
        *_noise_free(results),
        *_compared(results),
        observe_error("one worker", [r for r in results.values() if "error" in r.arrays]),
    ]


def _off(results: Results, prefix: str, problem: Class | None = None) -> float:
    """The largest relative distance of worst cases of EXACT from their closed forms.

    Of the methods whose name begins so, for one problem or all.
    """
    off = 0.0
    for (name, method, delta), most in EXACT.items():
        if problem in (None, name) and method.startswith(prefix):
            steps, ratio = _over_form(results, name, method, delta)
            off = worse(off, abs(ratio[steps <= most] - 1))
    return off


def _least(results: Results) -> float:
    """The least ratio of a worst case to its closed form for convex problems, all N."""
    ratios = [_over_form(results, "convex", m, delta)[1] for m in METHODS for delta in DELTAS]
    return lowest(np.inf, np.concatenate(ratios))


def _over_form(
    results: Results, problem: str, method: str, delta: float, factor: float = 1.0
) -> tuple[Array, Array]:
    """The steps N, and the worst cases over their closed form."""
    result = results[key(problem, method, delta, factor)]
    form = closed(problem, method, delta, float(result["lr"][0]), result["steps"])
    return result["steps"], result["value"] / np.asarray(form)


def _other_steps(results: Results) -> list[Verdict]:
    """The closed forms for convex problems at step sizes other than the one that is drawn."""
    off, least = 0.0, np.inf
    for method in COMPRESSED:
        for factor in FACTORS:
            steps, ratio = _over_form(results, "convex", method, FACTOR_DELTA, factor)
            off = worse(off, abs(ratio[steps <= EXACT_AT_OTHERS[method, factor]] - 1))
            least = lowest(least, ratio)
    times = " and ".join(map(str, FACTORS))
    head = f"CGD, EF and EF21, convex, delta = {FACTOR_DELTA}, {times} times the step size, "
    head += f"N = {FACTOR_STEPS[0]} to {FACTOR_STEPS[-1]}: "
    text = f"{head}largest relative distance of the worst case from the closed form where it is "
    return [
        claim(f"{text}valid", MINE, off, "<=", 1e-5),
        claim(f"{head}least worst case over its lower bound", MINE, least, ">=", 1 - 1e-5),
    ]


def _slope(results: Results) -> list[Verdict]:
    """Runs of C(p) = (1-q)p along a slope, where |grad f| stays at sigma, for small delta."""
    shares = []
    for delta in SLOPE_DELTAS:
        result = results[slope_key(delta)]
        bound = bounds.noise_free(
            f0=result["f0"], L=result["L"], delta=result["delta"], T=result["step"][-1]
        )
        shares.append(result["mean"][-1] / bound)  # |grad f| is the same at every t
    deltas = " and ".join(map(str, SLOPE_DELTAS))
    text = f"EF along a slope, delta = {deltas}, T = {result['step'][-1]}: "
    least, largest = lowest(np.inf, np.array(shares)), worse(0, np.array(shares))
    return [
        claim(f"{text}least |grad f|^2 over noise_free", MINE, least, ">=", 0.49),
        claim(f"{text}largest |grad f|^2 over noise_free", MINE, largest, "<=", 1.0),
    ]


def _noise_free(results: Results) -> list[Verdict]:
    """The bound without noise, its step size, and how much of it the worst cases use."""
    from efsgd.convex.lyapunov.rate import quadratic_rate

    used = {method: _used(results, method) for method in METHODS if method != "cgd"}
    used["ef"] += used.pop("gd")[:1]  # GD is EF with delta = 1
    share = {method: np.concatenate(rows) for method, rows in used.items()}
    last = np.array([row[-1] for rows in used.values() for row in rows if row.size])
    x = 1.5
    at_start = bounds.noise_free(f0=L * x**2 / 2, L=L, delta=1.0, T=0) / (L * x) ** 2
    edge = [
        quadratic_rate("ef", lr=2 * float(bounds.noise_free_step(L=L, delta=d)), delta=d, L=L, mu=1)
        for d in EDGE_DELTAS
    ]
    steps = f"N = {STEPS[0]} to {STEPS[-1]}"
    most = "nonconvex: largest worst case over noise_free where this is below 2 L f0, delta = "
    some = ", ".join(map(str, DELTAS))
    return [
        claim(f"EF, {most}{some}, 1 (GD), {steps}", MINE, worse(0, share["ef"]), "<=", 1.0),
        claim(f"EF21, {most}{some}, {steps}", PEP, worse(0, share["ef21"]), "<=", 1.0),
        claim(
            f"GD, EF and EF21, nonconvex, N = {STEPS[-1]}: least worst case over noise_free",
            PEP,
            lowest(np.inf, last),
            ">=",
            0.55,
        ),
        claim(
            "delta = 1, T = 0, f = L x^2/2: distance of |grad f(x_0)|^2 over noise_free from 1",
            MINE,
            abs(float(at_start) - 1),
            "<=",
            1e-12,
        ),
        claim(
            "EF on quadratics at twice noise_free_step: largest distance of its rate from 1, delta "
            f"from {EDGE_DELTAS[0]} to 1",
            MINE,
            worse(0, abs(np.array(edge) - 1)),
            "<=",
            1e-12,
        ),
        *_slope(results),
    ]


def _used(results: Results, method: str) -> list[Array]:
    """Nonconvex worst cases at noise_free_step over noise_free, for each of DELTAS.

    Only at N with N + 1 > K, where noise_free is less than 2 L f0: |grad f(x_0)|^2 is no more in
    any case.
    """
    rows = []
    for delta in DELTAS:
        result, letter = results[key("nonconvex", method, delta)], 1.0 if method == "gd" else delta
        counted = (result["steps"] + 1) * gap(letter) > 1
        bound = bounds.noise_free(f0=F0, L=L, delta=letter, T=result["steps"])
        rows.append((L * F0 * result["value"] / bound)[counted])
    return rows


def _compared(results: Results) -> list[Verdict]:
    """EF and EF21 against CGD at the step sizes of their best rates, from f(x_0) - f* <= 1."""
    rows = []
    for delta in DELTAS:
        last = {m: results[key("strongly-convex", m, delta)]["value"][-1] for m in METHODS}
        ratios = f"{last['ef'] / last['cgd']:.3g} and {last['ef21'] / last['cgd']:.3g}"
        text = (
            f"strongly convex, delta = {delta}, N = {STEPS[-1]}: from f(x_0): EF and EF21 over CGD"
        )
        rows.append(observation(text, PEP, ratios))
    return rows
