"""The claims of the picture worst-case."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from efsgd import bounds
from efsgd.arrays import Array
from efsgd.figures.claims.verdicts import Verdict, claim, observation
from efsgd.figures.make import Results
from efsgd.figures.theory.common import F0, METHODS, L, observe_error, worse
from efsgd.figures.theory.worst_case_work import DELTAS, FEEDBACK, PROBLEMS, STEPS, closed, key

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
        *_noise_free(results),
        *_compared(results),
        observe_error("one worker", results.values()),
    ]


def _off(results: Results, prefix: str, problem: Class | None = None) -> float:
    """The largest relative distance of worst cases of EXACT from their closed forms.

    Of the methods whose name begins so, for one problem or all.
    """
    off = 0.0
    for (name, method, delta), most in EXACT.items():
        if problem not in (None, name) or not method.startswith(prefix):
            continue
        result = results[key(name, method, delta)]
        form = closed(name, method, delta, float(result["lr"][0]), result["steps"])
        ratio = result["value"] / np.asarray(form)
        off = worse(off, abs(ratio[result["steps"] <= most] - 1))
    return off


def _least(results: Results) -> float:
    """The least ratio of a worst case to its closed form for convex problems, all N."""
    least = np.inf
    for method in METHODS:
        for delta in DELTAS:
            result = results[key("convex", method, delta)]
            form = closed("convex", method, delta, float(result["lr"][0]), result["steps"])
            least = -worse(-least, -result["value"] / np.asarray(form))
    return least


def _noise_free(results: Results) -> list[Verdict]:
    """The bound without noise, its step size, and how much of it the worst cases use."""
    from efsgd.convex.lyapunov.rate import quadratic_rate

    share = {method: _used(results, method) for method in FEEDBACK}
    share["ef"] = np.vstack([share["ef"], _used(results, "gd")[:1]])  # GD is EF with delta = 1
    last = np.concatenate([of_method[:, -1] for of_method in share.values()])
    x = 1.5
    at_start = bounds.noise_free(f0=L * x**2 / 2, L=L, delta=1.0, T=0) / (L * x) ** 2
    edge = [
        quadratic_rate("ef", lr=2 * float(bounds.noise_free_step(L=L, delta=d)), delta=d, L=L, mu=1)
        for d in EDGE_DELTAS
    ]
    steps = f"N = {STEPS[0]} to {STEPS[-1]}"
    most = "nonconvex: largest worst case over noise_free, delta = "
    some = ", ".join(map(str, DELTAS))
    return [
        claim(f"EF, {most}{some}, 1 (GD), {steps}", MINE, worse(0, share["ef"]), "<=", 1.0),
        claim(f"EF21, {most}{some}, {steps}", PEP, worse(0, share["ef21"]), "<=", 1.0),
        claim(
            f"GD, EF and EF21, nonconvex, N = {STEPS[-1]}: least worst case over noise_free",
            PEP,
            -worse(-np.inf, -last),
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
    ]


def _used(results: Results, method: str) -> Array:
    """Nonconvex worst cases at noise_free_step over noise_free, for each of DELTAS and STEPS."""
    rows = []
    for delta in DELTAS:
        result, letter = results[key("nonconvex", method, delta)], 1.0 if method == "gd" else delta
        bound = bounds.noise_free(f0=F0, L=L, delta=letter, T=result["steps"])
        rows.append(L * F0 * result["value"] / bound)
    return np.array(rows)


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
