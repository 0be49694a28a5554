"""The worst case after N steps of GD, CGD, EF and EF21, over all functions and compressors.

By performance estimation, with full gradients, beside the closed forms where there is one. With
V = |x-x*-e|^2 + |e|^2/q of arXiv 2506.05271, |x-x*|^2 <= (1+q)V by Cauchy and Schwarz, so that EF
has f(x_N) - f* <= (1+q)(L/mu) rho*^N (f(x_0) - f*); with |g-d|^2 + q|g|^2 and d_0 = C(g_0) the
same holds for EF21 (both derived here).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd.arrays import Array
from efsgd.bounds import rates
from efsgd.figures.claims.verdicts import Verdict, claim, observation
from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results, Works
from efsgd.figures.theory.common import (
    LOOKS,
    METHODS,
    NAMES,
    best_step,
    claim_solved,
    worse,
)
from efsgd.results import Work

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from efsgd.convex.pep.setting import Class, Criterion, Initial, Name

SOURCE = "arXiv 2506.05271"
GD = "arXiv 1206.3209, 1705.04398, 2104.05468"
MINE = "derived here"
REFERENCE = "reference value, 512-bit solver, agreed with PEPit"
MU = 0.1
DELTAS = (0.5, 0.9)
STEPS = (1, 2, 3, 4, 5, 6, 8, 10)
PROBLEMS: dict[Class, tuple[Criterion, Initial, float]] = {  # and mu
    "strongly-convex": ("f", "f", MU),
    "convex": ("f", "x", 0.0),
    "nonconvex": ("grad", "f", 0.0),
}
TITLES: dict[Class, str] = {
    "strongly-convex": f"strongly convex, $\\mu = {MU}$: $f(x_N) - f^*$",
    "convex": "convex: $f(x_N) - f^*$",
    "nonconvex": "nonconvex: least $|\\nabla f(x_t)|^2$",
}
# (problem, method, delta): the N up to which `closed` is the worst case, as far as seen
EXACT: dict[tuple[str, str, float], int] = {
    **{(problem, "gd", delta): 10 for problem in PROBLEMS for delta in DELTAS},
    **{("strongly-convex", "cgd", delta): 10 for delta in DELTAS},
    **{("nonconvex", "cgd", delta): 10 for delta in DELTAS},
    ("convex", "ef", 0.5): 10,
    ("convex", "ef", 0.9): 2,
    ("convex", "ef21", 0.5): 2,
    ("convex", "ef21", 0.9): 1,
}
REFERENCES = {  # (problem, method, delta, N): value
    ("strongly-convex", "ef", 0.5, 5): 0.8348479602,
    ("strongly-convex", "ef", 0.5, 10): 0.6613191974,
    ("convex", "ef", 0.9, 5): 0.0875036422,
    ("nonconvex", "ef", 0.5, 5): 1.0130382590,
    ("nonconvex", "ef21", 0.5, 5): 1.0075513105,
}
FROM_R: dict[tuple[Name, float], float] = {  # strongly convex, N = 5, from |x_0 - x*| <= 1
    ("ef", 0.9): 0.0587286593,
    ("ef21", 0.5): 0.2129818962,
}


def key(problem: str, method: str, delta: float) -> str:
    """What a result is called; GD has no delta."""
    return f"{problem}, {method}" + ("" if method == "gd" else f", {delta}")


def step_size(problem: str, method: str, delta: float) -> float:
    """The best step size for a strongly convex f; else 1/L, 1/((1+q)L) or 1/(K L)."""
    if problem == "strongly-convex":
        return best_step(method, mu=MU, delta=delta)
    q = float(np.sqrt(1 - delta))
    return {"gd": 1.0, "cgd": 1 / (1 + q)}.get(method, (1 - q) / (1 + q))


def work(quick: bool, seed: int) -> Works:
    """Every problem, method, delta and number of steps."""
    from efsgd.convex.studies.worst_cases import WorstCases

    works: dict[str, Work] = {}
    for problem, (criterion, initial, mu) in PROBLEMS.items():
        for method in METHODS:
            for delta in DELTAS:
                lr = step_size(problem, method, delta)
                works[key(problem, method, delta)] = WorstCases(
                    method=method,
                    settings=tuple((N, lr, 0.0) for N in (STEPS[:3] if quick else STEPS)),
                    delta=None if method == "gd" else delta,
                    mu=mu,
                    problem=problem,
                    criterion=criterion,
                    initial=initial,
                )
    if not quick:
        for name, delta in FROM_R:
            lr = step_size("strongly-convex", name, delta)
            works[f"from R, {name}"] = WorstCases(
                method=name, settings=((5, lr, 0.0),), delta=delta, mu=MU, initial="x"
            )
    return works


def closed(problem: str, method: str, delta: float, N: Array) -> Array | None:
    """The closed form of a worst case, or its lower bound (see EXACT); None where none is known.

    CGD meets GD with the step size (1-q) lr, by the compressor C(x) = (1-q)x.
    """
    lr, q = step_size(problem, method, delta), float(np.sqrt(1 - delta))
    value: Array | float | None = None
    if problem == "strongly-convex" and method == "gd":
        value = rates.gd_rate(L=1.0, mu=MU) ** N
    elif problem == "strongly-convex" and method == "cgd":
        value = rates.cgd_rate(L=1.0, mu=MU, delta=delta) ** N
    elif problem == "convex" and method == "gd":
        value = rates.gd_convex(L=1.0, R=1.0, N=N)
    elif problem == "convex" and method == "cgd":
        value = 1 / (2 + 4 * N * (1 - q) * lr)
    elif problem == "convex":
        value = rates.ef_convex(L=1.0, R=1.0, lr=lr, delta=delta, N=N)
    elif problem == "nonconvex" and method == "gd":
        value = rates.gd_nonconvex(L=1.0, f0=1.0, N=N)
    elif problem == "nonconvex" and method == "cgd":
        h = (1 - q) * lr
        value = 4 / (N * (4 * h - h**2) + 2)
    return None if value is None else np.asarray(value)


def draw(results: Results) -> Figure:
    """A row for each delta, a column for each problem."""
    figure, axes = style.panels(len(DELTAS), len(PROBLEMS), height=2.3)
    for row, delta in zip(axes, DELTAS, strict=True):
        for ax, problem in zip(row, PROBLEMS, strict=True):
            _draw_problem(ax, results, problem, delta)
        row[0].set_ylabel(f"$\\delta = {delta}$: worst case")
    for ax in axes[-1]:
        ax.set_xlabel("steps $N$")
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=len(handles[1]))
    return figure


def _draw_problem(ax: Axes, results: Results, problem: Class, delta: float) -> None:
    """The worst cases as markers, closed forms as lines; else a grey line joins the markers."""
    for method in METHODS:
        result, (colour, dashes, marker) = results[key(problem, method, delta)], LOOKS[method]
        N = np.arange(1, result["steps"].max() + 1)
        form = closed(problem, method, delta, N)
        if form is not None:
            ax.plot(N, form, color=colour, linestyle=dashes)
        else:
            ax.plot(result["steps"], result["value"], color="0.5", linewidth=0.6)
        hollow: dict[str, Any] = (
            {"markerfacecolor": "none", "markersize": 5.5} if method == "ef21" else {}
        )
        ax.plot(result["steps"], result["value"], marker, color=colour, **hollow)
        ax.plot([], [], marker, color=colour, linestyle=dashes, label=NAMES[method], **hollow)
    ax.plot([], [], color="0.5", label="thick: closed forms")
    ax.plot([], [], color="0.5", linewidth=0.6, label="thin: none known")
    ax.locator_params(axis="x", integer=True)
    ax.set(yscale="log", title=TITLES[problem])


def verdicts(results: Results) -> list[Verdict]:
    """The worst cases are the closed forms and the reference values, and within the theorem."""
    text = "largest relative distance of the worst case from the closed form"
    valid = "EF and EF21, convex, where it is valid"
    least = "GD, CGD, EF and EF21, convex: least worst case over its lower bound"
    count = sum(result["value"].size for result in results.values())
    return [
        claim(f"GD, three problems: {text}", GD, _off(results, "gd"), "<=", 1e-5),
        claim(
            f"CGD, strongly convex: {text}",
            SOURCE,
            _off(results, "cgd", "strongly-convex"),
            "<=",
            1e-5,
        ),
        claim(f"CGD, nonconvex: {text}", MINE, _off(results, "cgd", "nonconvex"), "<=", 1e-5),
        claim(f"{valid}: {text}", MINE, _off(results, "ef", "convex"), "<=", 1e-5),
        claim(least, MINE, _least(results), ">=", 1 - 1e-5),
        *_references(results),
        *_contraction(results),
        claim_solved(f"{count} worst cases", results.values()),
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
        form = closed(name, method, delta, result["steps"])
        ratio = result["value"] / np.asarray(form)
        off = worse(off, abs(ratio[result["steps"] <= most] - 1))
    return off


def _least(results: Results) -> float:
    """The least ratio of a worst case to its closed form for convex problems, all N."""
    least = np.inf
    for method in METHODS:
        for delta in DELTAS:
            result = results[key("convex", method, delta)]
            form = closed("convex", method, delta, result["steps"])
            least = -worse(-least, -result["value"] / np.asarray(form))
    return least


def _references(results: Results) -> list[Verdict]:
    """The values of a solver with 512 bits."""
    off = 0.0
    for (problem, method, delta, N), value in REFERENCES.items():
        result = results[key(problem, method, delta)]
        off = worse(off, abs(result["value"][result["steps"] == N] / value - 1))
    for (method, _), value in FROM_R.items():
        off = worse(off, abs(results[f"from R, {method}"]["value"] / value - 1))
    text = f"{len(REFERENCES) + len(FROM_R)} worst cases of EF and EF21, N = 5 and 10: largest"
    return [claim(f"{text} relative distance from the values", REFERENCE, off, "<=", 1e-5)]


def _contraction(results: Results) -> list[Verdict]:
    """EF and EF21 stay under (1+q)(L/mu) rho*^N, see above; how they compare with CGD."""
    largest, comparisons = 0.0, []
    for delta in DELTAS:
        rate, q = rates.ef_rate(L=1.0, mu=MU, delta=delta), float(np.sqrt(1 - delta))
        last = {m: results[key("strongly-convex", m, delta)]["value"][-1] for m in METHODS}
        for method in ("ef", "ef21"):
            result = results[key("strongly-convex", method, delta)]
            bound = (1 + q) / MU * rate ** result["steps"]
            largest = worse(largest, result["value"] / bound)
        ratios = f"{last['ef'] / last['cgd']:.3g} and {last['ef21'] / last['cgd']:.3g}"
        text = f"strongly convex, delta = {delta}, N = {STEPS[-1]}: EF and EF21 over CGD"
        comparisons.append(observation(text, "performance estimation", ratios))
    text = "EF and EF21, strongly convex: largest worst case over (1+q)(L/mu) rho*^N (f_0 - f*)"
    return [claim(text, MINE, largest, "<=", 1.0), *comparisons]


PICTURE = Picture(
    "worst-case",
    "The worst case over all functions and compressors, with closed forms where there are any",
    work,
    draw,
    verdicts,
)
