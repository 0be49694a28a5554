"""The rate of GD, CGD, EF and EF21 against the step size, with the cliff above the best one.

A Lyapunov search gives the rate that a quadratic function proves for all f and all compressors;
two quadratics with linear compressors give a rate that none can beat (derived here). They agree at
every step size, so each is the exact rate. The best step sizes and their rates are those of arXiv
2506.05271.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd.arrays import Array
from efsgd.bounds import rates
from efsgd.figures.claims.verdicts import Verdict, claim
from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results, Works
from efsgd.figures.theory.common import LOOKS, METHODS, NAMES, best_rate, best_step, worse
from efsgd.results import Result, Work

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from efsgd.convex.lyapunov.one_step import Name

SOURCE = "arXiv 2506.05271"
MINE = "derived here"
CERTIFIED = "Lyapunov search"
MU = 0.1
DELTAS = (0.5, 0.9)
BELOW = (0.1, 0.25, 0.4, 0.6, 0.7, 0.8, 0.9, 0.97, 0.99)
ABOVE = (1.01, 1.03, 1.05, 1.08, 1.1, 1.15, 1.2)
FACTORS = (*BELOW, 1.0, *ABOVE)  # of the best step size
BEST = len(BELOW)
CLIFF = {0.8: 0.951, 1.0: 0.939, 1.05: 0.969, 1.1: 1.0}  # at DELTAS[0], to the digits given


def work(quick: bool, seed: int) -> Works:
    """The rate of every method on a grid of step sizes around its best one."""
    from efsgd.convex.studies.worst_cases import LyapunovRates

    factors = (0.4, 1.0) if quick else FACTORS
    works: dict[str, Work] = {}
    for delta in DELTAS:
        for method in METHODS:
            step = best_step(method, mu=MU, delta=delta)
            achieved = 1.0 if method == "gd" else delta
            settings = tuple((factor * step, achieved, MU) for factor in factors)
            works[f"{method}, {delta}"] = LyapunovRates(method=method, settings=settings)
    return works


def lower(method: Name, result: Result) -> Array:
    """What no rate can beat at the step sizes of a result, (S,)."""
    from efsgd.convex.lyapunov.rate import quadratic_rate

    pairs = zip(result["lr"], result["delta"], strict=True)
    return np.array([quadratic_rate(method, lr=lr, delta=delta, mu=MU) for lr, delta in pairs])


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
    from efsgd.convex.lyapunov.rate import quadratic_rate

    for method in METHODS:
        result, (colour, dashes, marker) = results[f"{method}, {delta}"], LOOKS[method]
        achieved, step = float(result["delta"][0]), best_step(method, mu=MU, delta=delta)
        lrs = np.sort(np.append(np.geomspace(0.1, 1.3, 200), 1.0)) * step
        bound = [quadratic_rate(method, lr=lr, delta=achieved, mu=MU) for lr in lrs]
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
    cliff = float(rates.ef_cliff(L=1.0, delta=delta))
    ax.axvline(cliff, color="0.4", linestyle=style.DOTTED)
    ax.annotate("EF stops\nconverging", (cliff, 1.02), (0.97 * cliff, 1.04), ha="right", size=7)
    ax.set(xscale="log", ylim=(0.6, 1.12), xlabel="step size $lr$ ($L = 1$)")
    ax.set_title(f"$\\mu = {MU}$, $\\delta = {delta}$: search (dots), two quadratics (lines)")


def verdicts(results: Results) -> list[Verdict]:
    """The best step, its rate, the cliff, and that no other Lyapunov function proves more."""
    off, residual, difference = 0.0, 0.0, 0.0
    for delta in DELTAS:
        for method in METHODS:
            result = results[f"{method}, {delta}"]
            off = worse(off, abs(result["rate"] / lower(method, result) - 1))
            residual = worse(residual, result["residual"])
        ef, ef21 = (results[f"{method}, {delta}"]["rate"] for method in ("ef", "ef21"))
        difference = worse(difference, abs(ef / ef21 - 1))
    text = f"{len(DELTAS) * len(METHODS) * len(FACTORS)} rates"
    distance = f"{text}: largest relative distance from the worse of two quadratics"
    same = "EF and EF21: largest relative distance of their rates"
    return [
        *_best(results),
        *_cliff(results),
        claim(distance, MINE, off, "<=", 1e-5),
        claim(same, MINE, difference, "<=", 1e-5),
        claim(f"{text}: largest violation of V_+ <= rho V", CERTIFIED, residual, "<=", 1e-9),
    ]


def _best(results: Results) -> list[Verdict]:
    """The closed forms at the best step size, which is the best of the grid."""
    off, wrong = 0.0, 0
    for delta in DELTAS:
        for method in METHODS:
            rate = results[f"{method}, {delta}"]["rate"]
            closed_form = best_rate(method, mu=MU, delta=delta)
            off = worse(off, abs(rate[BEST : BEST + 1] / closed_form - 1))
            wrong += int(np.argmin(rate)) != BEST
    text = "GD, CGD, EF, EF21, delta = .5 and .9, at the best step size of the closed form: "
    return [
        claim(f"{text}largest relative distance of the rate", SOURCE, off, "<=", 1e-5),
        claim(f"{text}how often another step size is better", SOURCE, float(wrong), "==", 0.0),
    ]


def _cliff(results: Results) -> list[Verdict]:
    """The rates around the best step size, and where they reach 1."""
    delta, rows = DELTAS[0], []
    for factor, digits in CLIFF.items():
        i = FACTORS.index(factor)
        pair = np.array([results[f"{method}, {delta}"]["rate"][i] for method in ("ef", "ef21")])
        text = f"EF and EF21, delta = {delta}, mu = {MU}, {factor:g} of the best step size: "
        text += f"distance of the rate from {digits}"
        off = worse(0, abs(pair - digits))
        rows.append(claim(text, "reference value, to three digits", off, "<=", 5e-4))
    edge, off = FACTORS.index(1 + MU), 0.0
    above, below = np.inf, 0.0  # the rates on both sides of it
    for delta in DELTAS:
        for method in ("ef", "ef21"):
            rate = results[f"{method}, {delta}"]["rate"]
            off = worse(off, abs(rate[edge : edge + 1] - 1))
            below, above = worse(below, rate[:edge]), -worse(-above, -rate[edge + 1 :])
    text = "EF and EF21, delta = .5 and .9, "
    return [
        *rows,
        claim(f"{text}at the cliff 2/(K L): distance of the rate from 1", MINE, off, "<=", 1e-5),
        claim(f"{text}all step sizes below the cliff: largest rate", CERTIFIED, below, "<", 1.0),
        claim(f"{text}all step sizes above the cliff: least rate", CERTIFIED, above, ">", 1.0),
    ]


PICTURE = Picture(
    "rate",
    "The rate against the step size: error feedback converges up to a cliff just above its best",
    work,
    draw,
    verdicts,
)
