"""Where signSGD fails: the three counterexamples of section 3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd import EFSGD, SGD, CompressedSGD, Run, ScaledSign, SignSGD, TopK
from efsgd.arrays import Array
from efsgd.convex import CE1, CE2, CE3
from efsgd.convex.studies.vary import Certified, densities
from efsgd.figures.claims.verdicts import Verdict, claim, claim_mean
from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results, Works
from efsgd.schedules import InverseSqrt

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SECTION = "section 3, Counterexample "
METHODS = {
    "SGD": SGD(),
    "signSGD": SignSGD(),
    "scaled signSGD": CompressedSGD(ScaledSign()),
    "EF-signSGD": EFSGD(ScaledSign()),
    "EF-top-1": EFSGD(TopK(1)),
}
LABELS = style.labels(METHODS)
EPS = (0.1, 0.5, 0.9)
LR1, LR2, LR3 = 0.1, 0.1, 0.05  # step sizes of CE1 (constant), CE2 (1/sqrt(t+1)), CE3 (constant)
CE3_EPS = 0.5  # that of the picture
CE3_DRAWN = 300  # steps of CE3 in the picture
CE3_STEPS = 2000
NOTE = """lines: mean over replicates
bands: 10 to 90 % of them
thin lines: $2\\epsilon$, $8\\epsilon^2$

Counterexample 2: the largest
loss in each window of steps
Counterexample 1 has d = 1,
where all but signSGD are SGD"""
WINDOW = 16  # on CE2 the loss swings from step to step: recorded and drawn by windows


def work(quick: bool, seed: int) -> Works:
    """Every method on every counterexample, and one step of CE1 from 0, many times."""
    steps, replicates = (400, 10) if quick else (10_000, 50)
    starts = np.geomspace(1, steps - WINDOW, 60).round().astype(int)
    in_windows = tuple(np.unique(starts[:, None] + np.arange(WINDOW)).tolist())
    runs: dict[str, Run | Certified] = {}
    for name, method in METHODS.items():
        metrics = ("loss",) + ("virtual_residual",) * (method.feeds_back and not quick)
        metrics += () if quick else densities(method)
        runs[f"CE1 {name}"] = Run(
            CE1(), method, LR1, 200, seed=seed, replicates=20 * replicates, metrics=("loss",)
        )
        for eps in EPS:
            runs[f"CE2 {eps} {name}"] = Run(
                problem=CE2(eps),
                method=method,
                lr=InverseSqrt(LR2),
                steps=steps,
                seed=seed,
                replicates=replicates,
                record=1 if "signSGD" in name and not method.feeds_back else in_windows,
                metrics=metrics,
            )
        for eps in (CE3_EPS,) if quick else EPS:
            runs[f"CE3 {eps} {name}"] = Run(
                problem=CE3(eps),
                method=method,
                lr=LR3,
                steps=CE3_DRAWN if quick else CE3_STEPS,
                seed=seed,
                replicates=replicates,
                record=1,
                metrics=metrics,
            )
    if quick:
        return runs
    for name in ("SGD", "signSGD"):
        runs[f"one step {name}"] = Run(
            CE1(), METHODS[name], LR1, 1, seed=seed, replicates=200_000, metrics=("loss",)
        )
    others: tuple[CE2 | CE3, ...] = (*(CE2(eps) for eps in EPS), *(CE3(eps) for eps in EPS))
    return runs | {"optima": Certified((CE1(), *others))}


def draw(results: Results) -> Figure:
    """Loss against steps: CE2 at three eps above, CE1 and CE3 below."""
    figure, axes = style.panels(2, 3)
    places = [f"CE2 {eps}" for eps in EPS] + ["CE1", f"CE3 {CE3_EPS}"]
    titles = [f"Counterexample 2, $\\epsilon$ = {eps}" for eps in EPS]
    titles += ["Counterexample 1", f"Counterexample 3, $\\epsilon$ = {CE3_EPS}"]
    for ax, place, title in zip(axes.flat, places, titles, strict=False):
        for name in METHODS:
            history = results[f"{place} {name}"]
            if place.startswith("CE2"):
                style.spread(ax, *_windows(history["step"], history["loss"]), LABELS[name])
            else:
                alike = place == "CE1" and name not in ("SGD", "signSGD")
                share = 0 if alike else 0.8
                style.spread(ax, history["step"], history["loss"], LABELS[name], share=share)
        ax.set(title=title, xlabel="iteration", ylabel="$f(x_t)$")
        if place.startswith("CE2"):
            ax.set(xscale="log", yscale="log", ylim=(5e-4, 4))
            _level(ax, 2 * float(place.split()[1]), "$2\\epsilon$")
        elif place.startswith("CE3"):
            ax.set(yscale="log", ylim=(1e-14, 30), xlim=(0, CE3_DRAWN))
            _level(ax, 8 * CE3_EPS**2, "$8\\epsilon^2$")
    legend = axes[1, 2]
    legend.axis("off")
    entries = axes[0, 0].get_legend_handles_labels()
    legend.legend(*entries, loc="upper left", title=NOTE, title_fontsize=7, alignment="left")
    return figure


def _level(ax: Axes, value: float, name: str) -> None:
    """A level that sign methods stay at: on top of their curves, which would hide it, and named."""
    ax.axhline(value, color="black", linewidth=0.7, zorder=3)
    place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
    ax.annotate(name, (1, value), (0, 2.5), size=7, ha="right", va="bottom", **place)


def _windows(step: Array, loss: Array) -> tuple[Array, Array]:
    """The last step and the largest loss (.., R) of each window of steps, evenly on a log scale."""
    edges = np.unique(np.geomspace(1, step[-1], 50).round())
    window = np.searchsorted(edges, step[1:])
    starts = np.flatnonzero(np.diff(window, prepend=-1))
    ends = np.append(starts[1:], len(window)) - 1
    return step[1:][ends], np.maximum.reduceat(loss[1:], starts, axis=0)


def verdicts(results: Results) -> list[Verdict]:
    """What section 3 claims."""
    rows = []
    for name, change in (("SGD", -LR1 / 16), ("signSGD", LR1 / 8)):
        loss = results[f"one step {name}"]["loss"]
        step = loss[1] - loss[0]
        error = float(step.std(ddof=1) / np.sqrt(step.size))
        text = f"CE1: one step of {name} changes E f by {'-lr/16' if change < 0 else '+lr/8'}"
        rows.append(claim_mean(text, SECTION + "1", float(step.mean()), error, change))
    for eps in EPS:
        for name in ("signSGD", "scaled signSGD"):
            least = float(results[f"CE2 {eps} {name}"]["loss"].min())
            text = f"CE2, eps = {eps}: {name} never falls below 2 eps, least f/(2 eps)"
            rows.append(claim(text, SECTION + "2", least / (2 * eps), ">=", 1 - 1e-9))
        for name in ("EF-signSGD", "EF-top-1"):
            last = float(results[f"CE2 {eps} {name}"]["loss"][-1].max())
            text = f"CE2, eps = {eps}: {name} solves it, largest last f/(2 eps) over replicates"
            rows.append(claim(text, SECTION + "2", last / (2 * eps), "<", 0.02))
    return [*rows, *(row for eps in EPS for row in _third(results, eps))]


def _third(results: Results, eps: float) -> list[Verdict]:
    """Counterexample 3: signs come back to f(x_0) = 8 eps^2 and never below, feedback does."""
    rows, level = [], 8 * eps**2
    for name in ("signSGD", "scaled signSGD"):
        least = float(results[f"CE3 {eps} {name}"]["loss"][1:].min()) / level
        text = f"CE3, eps = {eps}: {name} comes back to f(x_0) = 8 eps^2 and never falls below, "
        text += "|least f/(8 eps^2) - 1| after the start"
        rows.append(claim(text, SECTION + "3", abs(least - 1), "<=", 1e-8))
    for name in ("EF-signSGD", "EF-top-1"):
        last = float(results[f"CE3 {eps} {name}"]["loss"][-1].max()) / level
        text = f"CE3, eps = {eps}: {name} solves it, largest last f/(8 eps^2) over replicates"
        rows.append(claim(text, SECTION + "3", last, "<", 1e-4))
    return rows


PICTURE = Picture(
    "counterexamples",
    "signSGD fails on three convex problems in one and two dimensions, error feedback does not",
    work,
    draw,
    verdicts,
)
