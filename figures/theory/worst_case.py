"""The worst case after N steps of GD, CGD, EF and EF21, over all functions and compressors.

By performance estimation, with full gradients, beside the closed forms where there is one, and for
nonconvex functions beside the bound without noise. That is derived for EF; the worst case of EF21
is below it at the points that are computed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd import bounds
from efsgd.arrays import Array
from efsgd.bounds import rates
from efsgd.figures.claims.verdicts import Verdict, claim, observation
from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results, Works
from efsgd.figures.theory.common import (
    F0,
    LOOKS,
    METHODS,
    NAMES,
    L,
    R,
    best_rate,
    best_step,
    claim_between,
    observe_error,
    worse,
)
from efsgd.results import Work

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from efsgd.convex.pep.setting import Class, Criterion, Initial, Name

CGD = "arXiv 1709.05191"
GD = "arXiv 1206.3209, 1705.04398, 2104.05468"
MINE = "derived here"
PEP = "performance estimation"
MU = 0.1
DELTAS = (0.5, 0.9)
FEEDBACK: tuple[Name, ...] = ("ef", "ef21")
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
FREE_DELTA, FREE_STEPS = 0.9, 8  # of the bound without noise: delta and N
FREE_FACTORS = (0.25, 0.5, 1.0, 2.0)  # of its step size


def key(problem: str, method: str, delta: float) -> str:
    """What a result is called; GD has no delta."""
    return f"{problem}, {method}" + ("" if method == "gd" else f", {delta}")


def step_size(problem: str, method: str, delta: float) -> float:
    """The best step size for a strongly convex f; else 1/L, 1/((1+q)L) or 1/(K L)."""
    if problem == "strongly-convex":
        return best_step(method, mu=MU, delta=delta)
    if method in ("gd", "cgd"):
        return 1.0 if method == "gd" else 1 / (1 + float(np.sqrt(1 - delta)))
    return L * float(bounds.noise_free_step(L=L, delta=delta))


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
        step = step_size("nonconvex", "ef", FREE_DELTA)
        for name in FEEDBACK:
            works[f"noise-free, {name}"] = WorstCases(
                method=name,
                settings=tuple((FREE_STEPS, factor * step, 0.0) for factor in FREE_FACTORS),
                delta=FREE_DELTA,
                problem="nonconvex",
                criterion="grad",
            )
    return works


def closed(problem: str, method: str, delta: float, lr: float, N: Array) -> Array | None:
    """The closed form of a worst case, or its lower bound (see EXACT); None where none is known.

    For the strongly convex problem at the best step size, for the others at lr = 1/L (GD) or any.

    CGD meets GD with the step size (1-q) lr, by the compressor C(x) = (1-q)x.
    """
    q = float(np.sqrt(1 - delta))
    value: Array | float | None = None
    if (problem == "strongly-convex" and method == "gd") or (
        problem == "strongly-convex" and method == "cgd"
    ):
        value = best_rate(method, mu=MU, delta=delta) ** N
    elif problem == "convex" and method == "gd":
        value = rates.gd_convex(L=L, R=R, N=N) / (L * R**2)
    elif problem == "convex" and method == "cgd":
        value = 1 / (2 + 4 * N * (1 - q) * lr)
    elif problem == "convex":
        value = rates.ef_convex(L=L, R=R, lr=lr / L, delta=delta, N=N) / (L * R**2)
    elif problem == "nonconvex" and method == "gd":
        value = rates.gd_nonconvex(L=L, f0=F0, N=N) / (L * F0)
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
        form = closed(problem, method, delta, float(result["lr"][0]), N)
        if form is not None:
            ax.plot(N, form, color=colour, linestyle=dashes)
        else:
            ax.plot(result["steps"], result["value"], color="0.5", linewidth=0.6)
        hollow: dict[str, Any] = (
            {"markerfacecolor": "none", "markersize": 5.5} if method == "ef21" else {}
        )
        ax.plot(result["steps"], result["value"], marker, color=colour, **hollow)
        ax.plot([], [], marker, color=colour, linestyle=dashes, label=NAMES[method], **hollow)
    ax.plot([], [], color="0.5", label="thick: closed forms or lower bounds")
    ax.plot([], [], color="0.5", linewidth=0.6, label="thin: none known")
    ax.locator_params(axis="x", integer=True)
    ax.set(yscale="log", title=TITLES[problem])


def verdicts(results: Results) -> list[Verdict]:
    """The worst cases are the closed forms, and within the bounds."""
    text = "largest relative distance of the worst case from the closed form"
    valid = "EF and EF21, convex, where it is valid"
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
        claim(f"{valid}: {text}", MINE, _off(results, "ef", "convex"), "<=", 1e-5),
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
    """The bound without noise holds at its step size, with not much to spare."""
    bound = float(bounds.noise_free(f0=F0, L=L, delta=FREE_DELTA, T=FREE_STEPS))
    lr = step_size("nonconvex", "ef", FREE_DELTA)
    rows = []
    for method in FEEDBACK:
        result = results[f"noise-free, {method}"]
        value = float(np.interp(lr, result["lr"], result["value"]))
        text = (
            f"{method.upper()}, nonconvex, delta = {FREE_DELTA}, N = {FREE_STEPS}: worst case at "
            f"noise_free_step over noise_free"
        )
        source = MINE if method == "ef" else PEP  # no proof is known here for EF21
        rows.append(claim_between(text, source, L * F0 * value / bound, 0.6, 1.0))
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


PICTURE = Picture(
    "worst-case",
    "The worst case over all functions and compressors, with closed forms where there are any",
    work,
    draw,
    verdicts,
)
