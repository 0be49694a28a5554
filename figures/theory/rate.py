"""The rate of GD, CGD, EF and EF21 against the step size, with the cliff above the best one.

A Lyapunov search gives the rate that a quadratic function proves for all f and all compressors;
two quadratics with linear compressors give a rate that none can beat (derived here). They agree at
every step size that is tried, so each is the exact rate there. That is for one mu and two deltas;
for others, only the quadratics judge the closed forms. The best step sizes and rates of EF and EF21
are those of arXiv 2506.05271, those of CGD those of arXiv 1709.05191.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd.arrays import Array
from efsgd.bounds import rates
from efsgd.figures.claims.extremes import lowest, worse
from efsgd.figures.claims.verdicts import Verdict, claim
from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results, Works
from efsgd.figures.theory.common import LOOKS, METHODS, NAMES, L, best_rate, best_step
from efsgd.results import Result, Work

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from efsgd.convex.lyapunov.one_step import Name

MINE = "derived here"
CERTIFIED = "Lyapunov search"
MU = 0.1
DELTAS = (0.5, 0.9)
BELOW = (0.1, 0.25, 0.4, 0.6, 0.8, 0.9, 0.97, 0.99)
ABOVE = (1.01, 1.03, 1.06, 1.12, 1.2)
FACTORS = (*BELOW, 1.0, *ABOVE)  # of the best step size; the cliff is taken too
OTHERS = tuple((mu, delta) for mu in (0.01, 0.5) for delta in (0.05, 0.2, 0.99))  # quadratics only
AROUND = 1.01 ** np.arange(-20, 21)  # of the best step size there


def work(quick: bool, seed: int) -> Works:
    """The rate of every method on a grid of step sizes around its best one."""
    from efsgd.convex.studies.worst_cases import LyapunovRates

    factors = (0.4, 1.0) if quick else FACTORS
    works: dict[str, Work] = {}
    for delta in DELTAS:
        for method in METHODS:
            step = best_step(method, mu=MU, delta=delta)
            lrs = sorted([*(factor * step for factor in factors), cliff(method, delta)])
            achieved = 1.0 if method == "gd" else delta
            settings = tuple((lr, achieved, MU) for lr in lrs)
            works[f"{method}, {delta}"] = LyapunovRates(method=method, settings=settings)
    return works


def cliff(method: str, delta: float) -> float:
    """The step size, in closed form for L = 1, from which on a method does not converge."""
    if method in ("gd", "cgd"):
        return L * float(rates.cgd_cliff(L=L, delta=1.0 if method == "gd" else delta))
    return L * float(rates.ef_cliff(L=L, delta=delta))


def on_quadratics(method: Name, lrs: Iterable[float], delta: float, mu: float) -> Array:
    """The rate of the worse of two quadratics at each step size; that of GD has no delta."""
    from efsgd.convex.lyapunov.rate import quadratic_rate

    achieved = 1.0 if method == "gd" else delta
    return np.array([quadratic_rate(method, lr=lr, delta=achieved, mu=mu) for lr in lrs])


def lower(method: Name, result: Result) -> Array:
    """What no rate can beat at the step sizes of a result, (S,)."""
    return on_quadratics(method, result["lr"], float(result["delta"][0]), MU)


def draw(results: Results) -> Figure:
    """One panel for each delta."""
    figure, axes = style.panels(1, len(DELTAS), height=3.0)
    for ax, delta in zip(axes[0], DELTAS, strict=True):
        _draw_rates(ax, results, delta)
    axes[0, 0].set_ylabel("rate: $V_{t+1} \\leq$ rate $\\cdot V_t$")
    axes[0, 0].legend(loc="lower left")
    return figure


def _draw_rates(ax: Axes, results: Results, delta: float) -> None:
    """The rate by the search as dots on the rate of the worse of two quadratics."""
    for method in METHODS:
        result, (colour, dashes, marker) = results[f"{method}, {delta}"], LOOKS[method]
        factors = np.sort(np.append(np.geomspace(0.1, 1.3, 200), 1.0))
        lrs = factors * best_step(method, mu=MU, delta=delta)
        bound = on_quadratics(method, lrs, delta, MU)
        wide: dict[str, Any] = (
            {"linewidth": 3.5, "zorder": 1} if method == "ef21" else {}
        )  # below EF
        ax.plot(lrs, bound, color=colour, linestyle=dashes, **wide)
        hollow: dict[str, Any] = (
            {"markerfacecolor": "none", "markersize": 5} if method == "ef21" else {}
        )
        ax.plot(result["lr"], result["rate"], marker, color=colour, **hollow)
        ax.plot([], [], marker, color=colour, linestyle=dashes, label=NAMES[method], **hollow)
    ax.axhline(1, color="0.6", linewidth=0.8)
    edge = cliff("ef", delta)
    ax.axvline(edge, color="0.4", linestyle=style.DOTTED)
    ax.annotate("EF stops\nconverging", (edge, 1.02), (0.97 * edge, 1.04), ha="right", size=7)
    ax.set(xscale="log", ylim=(0.6, 1.12), xlabel="step size $lr$ ($L = 1$)")
    ax.set_title(f"$\\mu = {MU}$, $\\delta = {delta}$: search (dots), two quadratics (lines)")


def verdicts(results: Results) -> list[Verdict]:
    """The best step, its rate, the cliff, and that no other Lyapunov function proves more."""
    off, count = 0.0, 0
    for delta in DELTAS:
        for method in METHODS:
            result = results[f"{method}, {delta}"]
            off = worse(off, abs(result["rate"] / lower(method, result) - 1))
            count += result["rate"].size
    text = f"{count} rates: largest relative distance from the worse of two quadratics"
    best = [row for method in METHODS for row in _best(results, method)]
    return [*best, *_cliffs(results), claim(text, MINE, off, "<=", 1e-5), *_quadratics()]


def _best(results: Results, method: Name) -> list[Verdict]:
    """The closed forms are the best step size of the grid, and the rate there."""
    off_step, off_rate = 0.0, 0.0
    for delta in DELTAS:
        result = results[f"{method}, {delta}"]
        best = np.argmin(result["rate"])
        closed_step = best_step(method, mu=MU, delta=delta)
        closed_rate = best_rate(method, mu=MU, delta=delta)
        off_step = worse(off_step, abs(closed_step / result["lr"][best] - 1))
        off_rate = worse(off_rate, abs(result["rate"][best] / closed_rate - 1))
    text = NAMES[method] if method == "gd" else f"{NAMES[method]}, delta = .5 and .9"
    step_source, rate_source = (
        getattr(rates, f"{method}_{what}").source for what in ("step", "rate")
    )
    step = f"{text}: relative distance of {method}_step from the best of steps 1 % apart"
    rate = f"{text}: relative distance of {method}_rate from the rate there"
    return [
        claim(step, step_source, off_step, "<=", 1e-9),
        claim(rate, rate_source, off_rate, "<=", 1e-5),
    ]


def _cliffs(results: Results) -> list[Verdict]:
    """The rate is 1 at the cliff, below 1 before it, and above 1 past it."""
    below, above = 0.0, np.inf
    off: dict[str, float] = dict.fromkeys(METHODS, 0.0)
    for delta in DELTAS:
        for method in METHODS:
            lr, rate = results[f"{method}, {delta}"]["lr"], results[f"{method}, {delta}"]["rate"]
            edge = cliff(method, delta)
            off[method] = worse(off[method], abs(np.interp([edge], lr, rate) - 1))
            below = worse(below, rate[lr < edge * (1 - 1e-9)])
            above = lowest(above, rate[lr > edge * (1 + 1e-9)])
    at = "delta = .5 and .9: distance of the rate from 1 at"
    without, feedback = (
        worse(off[a], np.array(off[b])) for a, b in (("gd", "cgd"), ("ef", "ef21"))
    )
    return [
        claim(f"GD and CGD, {at} cgd_cliff", MINE, without, "<=", 1e-5),
        claim(f"EF and EF21, {at} ef_cliff", MINE, feedback, "<=", 1e-5),
        claim("All methods: largest rate below their cliff", CERTIFIED, below, "<", 1.0),
        claim("All methods: least rate above their cliff", CERTIFIED, above, ">", 1.0),
    ]


def _quadratics() -> list[Verdict]:
    """The closed forms at other mu and delta, on quadratics with linear compressors alone."""
    off_step, off_rate, off_cliff = 0.0, 0.0, 0.0
    for method in METHODS:
        for mu, delta in OTHERS:
            values = on_quadratics(
                method, AROUND * best_step(method, mu=mu, delta=delta), delta, mu
            )
            off_step = worse(off_step, abs(1 / AROUND[np.argmin(values)] - 1))
            closed_rate = best_rate(method, mu=mu, delta=delta)
            off_rate = worse(off_rate, abs(values.min() / closed_rate - 1))
            near = np.array([0.999, 1.0, 1.001]) * cliff(method, delta)
            below, there, above = on_quadratics(method, near, delta, mu)
            off_cliff = worse(off_cliff, abs(there - 1) if below < 1 < above else np.array(np.inf))
    mus, deltas = ("mu = .01 and .5", "delta = .05, .2 and .99")
    text = f"All methods on quadratics alone, {mus}, {deltas}"
    step = f"{text}: relative distance of *_step from the best of steps 1 % apart"
    rate = f"{text}: relative distance of *_rate from the rate there"
    edge = f"{text}: distance of the rate from 1 at the *_cliff, less .1 % below it, more above"
    return [
        claim(step, MINE, off_step, "<=", 1e-9),
        claim(rate, MINE, off_rate, "<=", 1e-9),
        claim(edge, MINE, off_cliff, "<=", 1e-9),
    ]


PICTURE = Picture(
    "rate",
    "The rate against the step size: error feedback converges up to a cliff just above its best",
    work,
    draw,
    verdicts,
)
