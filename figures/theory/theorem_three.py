"""Theorem III: the paper's bound, its exact form, and runs that attain it.

The exact form is for the mean of f(x_t) - f*, and, by Jensen, for f at the mean of the iterates,
which Theorem III is about. Runs attain it for both, at every step size: under |g_t| <= sigma along
the run, which is all that the proof takes, by an f that is steeper than sigma elsewhere. If f is
sigma-Lipschitz the worst f at the mean iterate is, by performance estimation, equal without
compression, for T = 1 and where lr sigma (T+1) <= R, and a little less else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd import bounds, compressor
from efsgd.arrays import Array
from efsgd.figures.claims.extremes import lowest, worse
from efsgd.figures.claims.intervals import span
from efsgd.figures.claims.verdicts import Verdict, claim, observation
from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results, Works
from efsgd.figures.theory.common import ROUNDED, observe_error
from efsgd.results import Result, Work

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAPER, EXACT = bounds.theorem_three, bounds.theorem_three_exact
DELTAS = (0.05, 0.3, 0.9)  # of the curves over T
STEP_SIZES = {"short": 1.5, "edge": 1.0, "middle": 0.5, "long": 0.0}  # R/sigma (T+1)^-power
TS = (1, 2, 5, 10, 20, 50, 100, 200)
LATE = (400, 0.1, 2.0)  # T, delta and lr, where the memory weighs most and is near its limit
TO_AND_FRO = (
    0.995,
    1000,
    20_000,
)  # q = sqrt(1-delta), steps of one sign, and T of a run on sigma |x|
GRID_TS = (1, 3, 20, 100)
GRID = (0.01, 0.1, 0.5, 0.9, 0.99, 1.0)  # deltas of the whole grid
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of log(T+1) in log of R/(lr sigma)
SHORT = (1.2, 2.0)  # the same where lr sigma (T+1) < R
RIGHT_PANEL = (10, 0.1)  # T and delta
SOLVED_TS = (1, 2, 3, 4, 6, 8, 10)  # of the worst cases of f at the mean iterate
PEP = "performance estimation"
SPECS = (  # those without randomness
    "scaledsign", "scaledsign:zero=0", "twomeans", "blockwise:4,scaledsign", "signtopk:8", "topk:1",
    "topk:8", "topk:32", "lowrank:1", "threshold:l2=0.5", "threshold:linf=0.5", "natural:nearest",
    "scaled:0.5,topk:8", "identity",
)  # fmt: skip
D = 64
HOLLOW: dict[str, Any] = {"fillstyle": "none", "markersize": 6}


def work(quick: bool, seed: int) -> Works:
    """The worst case over T, over the step size and on a grid; compressors on the same f."""
    from efsgd.convex.studies.theorem_three import TheoremThree
    from efsgd.convex.studies.theorem_two import Steady

    works: dict[str, Work] = {}
    for delta in DELTAS:
        settings = tuple((T, delta, (T + 1) ** -0.5, 1.0) for T in TS)
        works[f"over T, {delta}"] = TheoremThree(settings)
    T, delta, lr = LATE
    works["late"] = TheoremThree(((T, delta, lr, 1.0),))
    works["far"] = TheoremThree(((20, 0.3, 1.0, 2.0), (20, 0.3, 0.01, 2.0)), R=3.0)
    works["start"] = TheoremThree(((0, 0.5, 10.0, 3.0), (0, 0.5, 0.1, 3.0)), R=2.0)
    q, straight, T = TO_AND_FRO
    works["to and fro"] = Steady(q, straight, T, lr=0.5, L=1e9, sigma=0.5)  # so f is |x|/2
    T, delta = RIGHT_PANEL
    rates = np.geomspace(0.5 / (T + 1), 2, 3 if quick else 12)
    works["over lr"] = TheoremThree(tuple((T, delta, float(lr), 1.0) for lr in rates))
    works |= {"at mean, over lr": _at_mean(delta, [(T, float(lr)) for lr in rates])}
    for delta in (*DELTAS, 1.0):
        for name, power in STEP_SIZES.items():
            steps = [(T, (T + 1) ** -power) for T in (SOLVED_TS[:2] if quick else SOLVED_TS)]
            works[f"at mean, {name}, {delta}"] = _at_mean(delta, steps)
    settings = tuple(
        (T, delta, float((T + 1) ** -share / sigma), sigma)
        for T in (GRID_TS[:2] if quick else GRID_TS)
        for delta in GRID
        for share in (*SHARES, *SHORT)
        for sigma in (1.0, 3.0)
    )
    works["grid"] = TheoremThree(settings)
    for spec in SPECS[::5] if quick else SPECS:
        c = compressor(spec)
        settings = tuple((D - 1, c.delta(D), float(D**-share), 1.0) for share in SHARES)
        works[spec] = TheoremThree(settings, compressor=c)
    return works


def _at_mean(delta: float, settings: Sequence[tuple[int, float]]) -> Work:
    """The worst f - f* at the mean iterate for each (T, lr); R = sigma = 1."""
    from efsgd.convex.studies.worst_cases import WorstCases

    return WorstCases(
        method="ef",
        settings=tuple((T, lr, 0.0) for T, lr in settings),
        delta=delta,
        problem="nonsmooth",
        criterion="f-average",
        initial="x",
    )


def share_at_mean(result: Result) -> Array:
    """The worst f - f* at the mean iterate over the exact form, for each setting."""
    delta = float(result.spec["delta"])
    exact = EXACT(R=1.0, lr=result["lr"], sigma=1.0, delta=delta, T=result["steps"])
    share: Array = result["value"] / exact
    return share


def letters_of(result: Result) -> dict[str, Array]:
    """The arguments of the bounds, one for each run."""
    return {letter: result[letter] for letter in ("R", "lr", "sigma", "delta", "T")}


def draw(results: Results) -> Figure:
    """The bounds over T, and over the step size."""
    figure, axes = style.panels(1, 2, height=3.0)
    _draw_over_steps(axes[0, 0], results)
    _draw_over_rates(axes[0, 1], results["over lr"], results["at mean, over lr"])
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
        at_mean = results[f"at mean, middle, {delta}"]
        ax.plot(at_mean["steps"], at_mean["value"], "s", color=colour, **HOLLOW)
    ax.set(xscale="log", yscale="log", xlabel="T", title="step size $R/(\\sigma\\sqrt{T+1})$")
    ax.set_ylabel("$f-f^*$, over $R\\sigma$")
    _explain(ax)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=2)


def _draw_over_rates(ax: Axes, result: Result, at_mean: Result) -> None:
    T, delta = RIGHT_PANEL
    lr = np.geomspace(0.4 / (T + 1), 2, 200)
    letters: dict[str, Any] = {"R": 1.0, "lr": lr, "sigma": 1.0, "delta": delta, "T": T}
    ax.plot(lr, PAPER(**letters), color=style.GREEN, linestyle=style.DOTTED)
    ax.plot(lr, EXACT(**letters), color=style.GREEN)
    ax.plot(result["lr"], result["mean"], "o", color=style.GREEN)
    ax.plot(at_mean["lr"], at_mean["value"], "s", color=style.GREEN, **HOLLOW)
    ax.axvline(1 / (T + 1), color="0.6", linestyle=style.DASHED, linewidth=0.8)
    ax.set(xscale="log", yscale="log", xlabel="$lr\\,\\sigma/R$")
    ax.set_ylabel("$f-f^*$, over $R\\sigma$")
    ax.set_title(f"T = {T}, $\\delta$ = {delta}")
    _explain(ax)
    dashed: dict[str, Any] = {"color": "0.6", "linestyle": style.DASHED, "linewidth": 0.8}
    ax.plot([], [], **dashed, label="$lr\\,\\sigma(T+1) = R$")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25))


def _explain(ax: Axes) -> None:
    ax.plot([], [], color="0.3", linestyle=style.DOTTED, label="Theorem III")
    ax.plot([], [], color="0.3", label="exact form")
    ax.plot([], [], "o", color="0.3", label="attained by a run, and at its mean iterate")
    label = "worst at the mean iterate, f $\\sigma$-Lipschitz"
    ax.plot([], [], "s", color="0.3", label=label, **HOLLOW)


def verdicts(results: Results) -> list[Verdict]:
    """The worst case attains the exact form; nothing exceeds it or the paper's."""
    worst = [results[name] for name in ("grid", "over lr", "late", "far", "start")]
    worst += [results[f"over T, {delta}"] for delta in DELTAS]
    off, there = (float(np.max([_off(r, name) for r in worst])) for name in ("mean", "at_mean"))
    slope = float(np.max([result["slope"].max() for result in worst]))
    count = sum(result["mean"].size for result in worst)
    achieved = float(np.max([abs(r["achieved"] - r["delta"]).max() for r in worst]))
    real = [results[spec] for spec in SPECS]
    used = np.concatenate([result["mean"] / EXACT(**letters_of(result)) for result in real])
    long = results["to and fro"]
    letters = {name: long[name] for name in ("R", "lr", "sigma", "delta")} | {"T": long["step"]}
    late = long["mean_loss"] / PAPER(**letters)
    shares = np.concatenate([late, *(r["mean"] / PAPER(**letters_of(r)) for r in worst)])
    text = f"{count} worst cases, T up to {LATE[0]}: "
    attained = f"{text}largest |mean of f(x_t) - f* over the exact form - 1|"
    at_mean = f"{text}largest |f - f* at the mean iterate over the exact form - 1|"
    assumption = f"{text}largest distance of the delta achieved at a step from the one claimed"
    most = f"{text[:-2]}, and the next run: largest mean of f(x_t) - f* over Theorem III"
    q, _, T = TO_AND_FRO
    least = f"f = |x|/2, lr = 1/2, C(x) = (1-q)x, then (1+q)x, q = {q}: mean of f(x_t) over"
    compressors = f"{len(SPECS)} compressors on the same f: largest mean over the exact form"
    return [
        claim(attained, EXACT.source, off, "<=", 1e-12),
        claim(at_mean, EXACT.source, there, "<=", 1e-12),
        claim(f"{text}largest |g_t| over sigma", EXACT.source, slope, "<=", ROUNDED),
        claim(assumption, "arXiv 1901.09847, Assumption A", achieved, "<=", 1e-12),
        claim(compressors, EXACT.source, float(np.max(used)), "<=", ROUNDED),
        claim(most, PAPER.source, np.max(shares), "<=", ROUNDED),
        claim(f"{least} Theorem III, T = {T}", PAPER.source, late[-1], ">=", 0.98),
        *_at_the_mean(results),
        *_observations(results, worst),
    ]


def _off(result: Result, name: str) -> float:
    """The largest relative distance of what was attained from the formula; NaN if any is."""
    return float(abs(result[name] / EXACT(**letters_of(result)) - 1).max())


def _at_the_mean(results: Results) -> list[Verdict]:
    """f at the mean iterate if f is sigma-Lipschitz."""
    shares = {name: share_at_mean(r) for name, r in results.items() if name.startswith("at mean, ")}
    short = [shares[f"at mean, {name}, {delta}"] for name in ("short", "edge") for delta in DELTAS]
    plain = [shares[f"at mean, {name}, 1.0"] for name in STEP_SIZES]
    one = [s[:1] for name, s in shares.items() if name != "at mean, over lr"]
    off = worse(0, abs(np.concatenate([*short, *plain, *one]) - 1))
    middle = np.array([shares[f"at mean, middle, {delta}"] for delta in DELTAS])
    long = np.array([shares[f"at mean, long, {delta}"] for delta in DELTAS])
    text = "sigma-Lipschitz f, worst f - f* at the mean of x_0, ..., x_T over the exact form: "
    equal = f"{text}distance from 1 where delta = 1, T = 1 or lr sigma (T+1) <= R"
    rest = f"delta < 1, T = 3 to {SOLVED_TS[-1]}"
    longer = f"{text}lr = R/(sigma sqrt(T+1)), {rest}"
    second = np.stack([middle, long])[..., 1]
    solved = [r for name, r in results.items() if name.startswith("at mean, ")]
    return [
        claim(equal, PEP, off, "<=", 1e-5),
        claim(f"{longer}: least", PEP, lowest(np.inf, middle[:, 2:]), ">=", 0.985),
        claim(f"{longer}: largest", PEP, worse(0, middle[:, 2:]), "<", 1 - 1e-5),
        observation(
            f"{text}lr = R/sigma, {rest}", PEP, span(long[:, 2:].min(), long[:, 2:].max(), 4)
        ),
        observation(f"{text}both, T = 2", PEP, span(second.min(), second.max(), 4)),
        observe_error("f at the mean iterate", solved),
    ]


def _observations(results: Results, worst: list[Result]) -> list[Verdict]:
    """How steep f is at the mean iterate, and how much of the bounds compressors use."""
    steep = np.concatenate([result["slope_at_mean"] for result in worst])
    text = f"{len(steep)} worst cases: subgradient at the mean iterate over sigma"
    rows = [observation(text, EXACT.source, span(steep.min(), steep.max(), 2))]
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
