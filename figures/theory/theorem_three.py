"""Theorem III: the paper's bound, its exact form, and runs that attain it.

The exact form is for the mean of f(x_t) - f*. Theorem III bounds f at the mean of the iterates,
which is less by Jensen: equal for the shortest step that is attained, far less for longer ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd import bounds, compressor
from efsgd.arrays import Array
from efsgd.bounds.letters import Bound, Value
from efsgd.figures.claims.verdicts import Verdict, claim, claim_virtual, observation
from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results, Works
from efsgd.results import Result, Work

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAPER, EXACT = bounds.theorem_three, bounds.theorem_three_exact
DELTAS = (0.05, 0.3, 0.9)  # of the curves over T
TS = (1, 2, 5, 10, 20, 50, 100, 200)
GRID_TS = (1, 3, 20, 200)
GRID = (0.01, 0.1, 0.5, 0.9, 1.0)  # deltas of the whole grid
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of log(T+1) in log of R/(lr sigma), which is T+1 at most
RIGHT_PANEL = (50, 0.1)  # T and delta
SPECS = (  # those without randomness
    "scaledsign", "scaledsign:zero=0", "twomeans", "blockwise:4,scaledsign", "signtopk:8", "topk:1",
    "topk:8", "topk:32", "lowrank:1", "threshold:l2=0.5", "threshold:linf=0.5", "natural:nearest",
    "scaled:0.5,topk:8", "identity",
)  # fmt: skip
D = 64
ROUNDED = 1 + 1e-12


def work(quick: bool, seed: int) -> Works:
    """The worst case over T, over the step size and on a grid; compressors on the same f."""
    from efsgd.convex.studies.theorem_three import TheoremThree

    works: dict[str, Work] = {}
    for delta in DELTAS:
        settings = tuple((T, delta, (T + 1) ** -0.5, 1.0) for T in TS)
        works[f"over T, {delta}"] = TheoremThree(settings)
    T, delta = RIGHT_PANEL
    rates = np.geomspace(1 / (T + 1), 2, 3 if quick else 12)
    settings = tuple((T, delta, float(lr), 1.0) for lr in rates)
    works["over lr"] = TheoremThree(settings, answers=0 if quick else T)
    settings = tuple(
        (T, delta, float((T + 1) ** -share / sigma), sigma)
        for T in (GRID_TS[:2] if quick else GRID_TS)
        for delta in GRID
        for share in SHARES
        for sigma in (1.0, 3.0)
    )
    works["grid"] = TheoremThree(settings)
    for spec in SPECS[::5] if quick else SPECS:
        c = compressor(spec)
        settings = tuple((D - 1, c.delta(D), float(D**-share), 1.0) for share in SHARES)
        works[spec] = TheoremThree(settings, compressor=c)
    return works


def letters_of(result: Result) -> dict[str, Array]:
    """The arguments of the bounds, one for each run."""
    return {letter: result[letter] for letter in ("R", "lr", "sigma", "delta", "T")}


def draw(results: Results) -> Figure:
    """The bounds over T, and over the step size."""
    figure, axes = style.panels(1, 2, height=3.0)
    _draw_over_steps(axes[0, 0], results)
    _draw_over_rates(axes[0, 1], results["over lr"])
    return figure


def _draw_over_steps(ax: Axes, results: Results) -> None:
    T = np.unique(np.geomspace(1, 200, 60).round())
    letters: dict[str, Any]
    for delta, colour in zip(DELTAS, style.THREE, strict=True):
        letters = {"R": 1.0, "lr": (T + 1) ** -0.5, "sigma": 1.0, "delta": delta, "T": T}
        ax.plot(T, PAPER(**letters), color=colour, linestyle=style.DOTTED)
        ax.plot(T, EXACT(**letters), color=colour, label=f"$\\delta$ = {delta}")
        result = results[f"over T, {delta}"]
        ax.plot(result["T"], result["mean"], "o", color=colour)
    ax.set(xscale="log", yscale="log", xlabel="T", title="step size $R/(\\sigma\\sqrt{T+1})$")
    ax.set_ylabel("mean over t of $f(x_t)-f^*$, over $R\\sigma$")
    _explain(ax)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=2)


def _draw_over_rates(ax: Axes, result: Result) -> None:
    T, delta = RIGHT_PANEL
    lr = np.geomspace(0.5 / (T + 1), 2, 200)
    letters: dict[str, Any] = {"R": 1.0, "lr": lr, "sigma": 1.0, "delta": delta, "T": T}
    ax.plot(lr, PAPER(**letters), color=style.GREEN, linestyle=style.DOTTED)
    ax.plot(lr, EXACT(**letters), color=style.GREEN)
    ax.plot(result["lr"], result["mean"], "o", color=style.GREEN)
    ax.plot(result["lr"], result["at_mean"], "s", color=style.VERMILION)
    ax.axvline(1 / (T + 1), color="0.6", linestyle=style.DASHED, linewidth=0.8)
    ax.set(xscale="log", yscale="log", xlabel="$lr\\,\\sigma/R$")
    ax.set_ylabel("$f-f^*$, over $R\\sigma$")
    ax.set_title(f"T = {T}, $\\delta$ = {delta}")
    _explain(ax)
    ax.plot([], [], "s", color=style.VERMILION, label="the same run, f at the mean iterate")
    dashed: dict[str, Any] = {"color": "0.6", "linestyle": style.DASHED, "linewidth": 0.8}
    ax.plot([], [], **dashed, label="$lr\\,\\sigma(T+1) = R$: attained from here on")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25))


def _explain(ax: Axes) -> None:
    ax.plot([], [], color="0.3", linestyle=style.DOTTED, label="Theorem III")
    ax.plot([], [], color="0.3", label="exact form")
    ax.plot([], [], "o", color="0.3", label="attained by a run")


def verdicts(results: Results) -> list[Verdict]:
    """The worst case attains the exact form; nothing exceeds it or the paper's."""
    worst = [results["grid"], results["over lr"], *(results[f"over T, {d}"] for d in DELTAS)]
    off = float(np.max([_off(result) for result in worst]))  # NaN fails
    count = sum(result["mean"].size for result in worst)
    achieved = float(np.max([abs(r["achieved"] - r["delta"]).max() for r in worst]))
    real = [results[spec] for spec in SPECS]
    exceeding = {b: sum(_exceeding(r, b) for r in [*worst, *real]) for b in (PAPER, EXACT)}
    runs = count + sum(result["mean"].size for result in real)
    text = f"{runs} runs, {len(SPECS)} compressors among them: how often the mean of f(x_t) - f* "
    return [
        claim(f"{text}exceeds Theorem III", PAPER.source, exceeding[PAPER], "==", 0),
        claim(f"{text}exceeds its exact form", EXACT.source, exceeding[EXACT], "==", 0),
        claim(
            f"{count} worst cases, T up to {TS[-1]}: largest |attained/exact form - 1|",
            EXACT.source,
            off,
            "<=",
            1e-12,
        ),
        claim(
            "the same: largest distance of the delta achieved at a step from the one claimed",
            "arXiv 1901.09847, Assumption A",
            achieved,
            "<=",
            1e-12,
        ),
        *_jensen(results["over lr"]),
        claim_virtual(results),
        *_observations(results, worst),
    ]


def _off(result: Result) -> float:
    """The largest relative distance of what was attained from the formula; NaN if any is."""
    return float(abs(result["mean"] / EXACT(**letters_of(result)) - 1).max())


def _exceeding(result: Result, bound: Bound[..., Value]) -> int:
    """How many runs exceed a bound, or are NaN."""
    return int((~(result["mean"] <= bound(**letters_of(result)) * ROUNDED)).sum())


def _jensen(result: Result) -> list[Verdict]:
    """f at the mean iterate is less than the mean of f, except where lr sigma (T+1) = R."""
    share = result["at_mean"] / EXACT(**letters_of(result))
    T, delta = RIGHT_PANEL
    text = f"T = {T}, delta = {delta}: share of the exact form at the mean iterate, "
    off = float(abs(share[0] - 1))
    return [
        claim(f"{text}lr sigma (T+1) = R: distance from 1", EXACT.source, off, "<=", 1e-12),
        claim(f"{text}largest for longer steps", "Jensen", float(share[1:].max()), "<", 1.0),
    ]


def _observations(results: Results, worst: list[Result]) -> list[Verdict]:
    """How much of the paper's bound is used."""
    shares = np.concatenate([r["mean"] / PAPER(**letters_of(r)) for r in worst])
    text = "the worst cases: share of Theorem III's bound that is attained"
    rows = [observation(text, PAPER.source, f"{shares.min():.3g} to {shares.max():.3g}")]
    for spec in SPECS:
        result = results[spec]
        exact, paper = (
            float((result["mean"] / bound(**letters_of(result))).max()) for bound in (EXACT, PAPER)
        )
        text = f"{spec} on the same f: largest mean over the exact form and Theorem III's"
        rows.append(observation(text, EXACT.source, f"{exact:.3g} and {paper:.3g}"))
    return rows


PICTURE = Picture(
    "theorem-three",
    "Theorem III, its exact form, and the runs that attain it",
    work,
    draw,
    verdicts,
)
