"""The descendants of error feedback beside plain SGD and compression without feedback.

Loss gaps against bytes on problems of known curvature, with the step sizes of theorems and with
tuned ones; and the memory in units of the gradient, which a change of the step size must rescale.
With one worker, full gradients and a smooth, strongly convex f plain compression needs no feedback;
how the methods compare is an observation, of these two problems only.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from efsgd.arrays import Array
from efsgd.figures import style
from efsgd.figures.convex.variants_reading import (
    above_bound,
    at_budget,
    bound,
    compressor_of,
    curve,
    index,
    largest_sum,
    names_of,
    step_of,
    tuned_residual,
)
from efsgd.figures.convex.variants_runs import (
    ALL,
    BATCH,
    BATCHES,
    COMPRESSORS,
    DENSE,
    DROP,
    PROBLEMS,
    ROUNDING,
    SCHEDULES,
    THEOREM,
    THEOREMS,
    TUNED,
    work,
)
from efsgd.figures.make import Picture, Results
from efsgd.figures.verdicts import Verdict, claim, claim_certified, claim_virtual, observation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TIGHT = "arXiv 2506.05271"
MINE = "derived here"
BYTEPS = "arXiv 1905.10936"
PROVEN = tuple(name for name, (_, strongly) in THEOREMS.items() if strongly)
SUMMED = ("EF21-SGDM", "EControl")
APART = 1e-3  # of |x_0 - x*|: how far a memory that is not rescaled leads at least
SAID = {"scaledsign": "scaledsign: EF is EF-signSGD"}
ROOM = 1e-8  # where the gaps of the middle panel begin, for a legend
SHOWN = 1e-5  # of the first gap: what the upper rows leave out is SGD alone


def draw(results: Results) -> Figure:
    """A column for each compressor; gaps against bytes, the gap at equal bytes, two memories."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(style.PAGE, 9.8))
    axes = figure.subplots(6, 3, height_ratios=(1, 1, 1, 1, 1.4, 0.8))
    for row, (way, problem) in enumerate((w, p) for w in (THEOREM, BATCHES) for p in PROBLEMS):
        for ax, c in zip(axes[row], COMPRESSORS, strict=True):
            _curves(ax, results, f"{problem}, {c}", way)
        axes[row, 0].set_ylabel(f"{problem}\n$f(x_t) - f^*$")
    for c, column in zip(COMPRESSORS, axes.T, strict=True):
        _dots(column[4], results, str(c))
        _memories(column[5], results, f"{PROBLEMS[0]}, {c}")
        column[4].tick_params(labelleft=column[4] is axes[4, 0])
    for ax in axes.flat:
        ax.minorticks_off()  # they would take most of the time to draw
    axes[5, 0].set_ylabel("$|x_t - x_t^{EF}|$\nover $|x_0 - x^*|$")
    _heads(figure, axes)
    _legends(figure, axes)
    return figure


def _heads(figure: Figure, axes: Array) -> None:
    """The compressor of each column and, above the middle one, what the rows below show."""
    for ax, c in zip(axes[0], COMPRESSORS, strict=True):
        ax.set_title(SAID.get(str(c), str(c)))
    figure.suptitle("Full gradients, step size of the theorem", fontsize=8, fontweight="bold")
    said = {
        2: f"Batches of {BATCH} rows, tuned step size",
        4: f"Full gradients: the gap over the first, at the bytes of {DENSE} dense gradients",
        5: f"Memory in units of the gradient, batches, lr divided by 10 at step {DROP}",
    }
    for row, text in said.items():
        axes[row, 1].set_title(text, fontweight="bold")


def _legends(figure: Figure, axes: Array) -> None:
    """Methods and memories below; what the marks of the dots mean where there is room."""
    found = [ax.get_legend_handles_labels() for ax in (axes[0, 0], axes[5, 0])]
    handles, labels = ([*first, *second] for first, second in zip(*found, strict=True))
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    ax, kinds = axes[4, 1], itertools.product(zip(PROBLEMS, "os", strict=True), (THEOREM, TUNED))
    for (problem, marker), way in kinds:
        look = {"color": "0.3", "fillstyle": "none" if way == THEOREM else "full"}
        ax.plot([], [], marker, label=f"{problem}, {way}", **look)
    ax.set_xlim(left=ROOM)
    ax.legend(loc="lower left", fontsize=6, handletextpad=0)


def _curves(ax: Axes, results: Results, at: str, way: str) -> None:
    c = compressor_of(at)
    for name in names_of(at):
        sent, gap = curve(results, at, way, index(c, name))
        look = style.line(name) | {"linewidth": 1.0}
        ax.plot(sent[1:], np.maximum(gap[1:], ROUNDING * gap[0]), **look)
    if way == THEOREM:
        sent, gap = curve(results, at, way, index(c, "EF"))
        limit = gap[0] * bound(step_of(at, "EF"), results[f"{at}, {way}"]["step"])
        look = {"color": "0.5", "linewidth": 0.8, "label": "proven bound of EF and EF21"}
        ax.plot(sent[1:], limit[1:], **look)
        ax.set(ylim=(SHOWN * gap[0], 2 * limit[0]), xlim=(sent[1] / 2, 2 * sent[-1]))
    ax.set(xscale="log", yscale="log", xlabel="bytes sent" if at.startswith(PROBLEMS[1]) else "")


def _dots(ax: Axes, results: Results, c: str) -> None:
    """Hollow at the step size of the theorem, filled at the tuned one."""
    for row, name in enumerate(reversed(THEOREMS)):
        if name not in names_of(f"{PROBLEMS[0]}, {c}"):
            ax.axhline(row, color="0.8", linewidth=0.5, linestyle=style.DOTTED)
            continue
        colour = style.METHODS[name][0]
        for problem, marker, up in zip(PROBLEMS, "os", (0.17, -0.17), strict=True):
            at, height = f"{problem}, {c}", [row + up]
            v = index(compressor_of(at), name)
            found = (at_budget(results, at, way, v) for way in (THEOREM, TUNED))
            ends = [max(gap, ROUNDING) for gap in found]
            ax.plot(ends, height * 2, color=colour, linewidth=0.8)
            ax.plot(ends[:1], height, marker, color=colour, fillstyle="none")
            ax.plot(ends[1:], height, marker, color=colour)
    ax.set(xscale="log", ylim=(-0.6, len(THEOREMS) - 0.4))
    ax.set_yticks(range(len(THEOREMS)), list(reversed(THEOREMS)))


def _memories(ax: Axes, results: Results, at: str) -> None:
    """How far the two forms of GradientEF are from EFSGD."""
    for name, column in (("gradient EF", 0), ("gradient EF, not rescaled", 1)):
        apart = results[f"{at}, decayed"]["apart"][:, column]
        ax.plot(np.maximum(apart, ROUNDING / 10), **style.line(name))
    apart = results[f"{at}, constant"]["apart"].max(1)
    ax.plot(
        np.maximum(apart, ROUNDING / 10),
        color="0.8",
        linewidth=3,
        zorder=0,
        label="both, constant lr",
    )
    ax.set(yscale="log", ylim=(ROUNDING / 30, 3), xlabel="steps")


def verdicts(results: Results) -> list[Verdict]:
    """Proven rates hold, memories are what they should be, and what the rest of it shows."""
    full = {name: result for name, result in results.items() if name.endswith(THEOREM)}
    return [
        *(_rate(results, name) for name in PROVEN),
        *(_sum(results, name) for name in SUMMED),
        *_units(results),
        claim_virtual(full),
        _virtual(results),
        claim_certified(results["optima"]),
        *(_full(results, at) for at in ALL),
        *(_batches(results, at) for at in ALL),
        *(_dropped(results, at) for at in ALL),
    ]


def _rate(results: Results, name: str) -> Verdict:
    """The proven rate."""
    above, total = above_bound(results, name)
    text = f"{name}, full gradients, step of the theorem: recorded steps of {total} above the "
    return claim(f"{text}proven bound on the gap", TIGHT, above, "==", 0)


def _sum(results: Results, name: str) -> Verdict:
    """The small-gain bound."""
    text = f"{name}, full gradients, step of the theorem: sum of the gaps over its proven bound"
    return claim(text, MINE, largest_sum(results, name), "<=", 1)


def _units(results: Results) -> list[Verdict]:
    """Memory in units of the gradient: the same at a constant step size, rescaled at any."""
    constant, decayed = ([results[f"{at}, {name}"] for at in ALL] for name in SCHEDULES)
    same = float(np.max([r["apart"] for r in constant]))
    rescaled = float(np.max([r["apart"][:, 0] for r in decayed]))
    left = float(np.max([r["unexplained"] for r in decayed]))
    before = float(np.max([r["apart"][: DROP + 1, 1] for r in decayed]))
    least = float(np.min([r["apart"][DROP + 1 :, 1].max() for r in decayed]))
    what = "largest |x - x of EFSGD| over |x_0 - x*|"
    drop = f"GradientEF, lr divided by 10 at step {DROP}"
    lost = "after that: |x - lr e - (x_0 - sum lr g)| beyond sum (lr_(t-1) - lr_t) e_t, relative"
    return [
        claim(f"GradientEF, rescaled or not, constant lr: {what}", BYTEPS, same, "<=", 1e-10),
        claim(f"{drop}, rescaled: {what}", BYTEPS, rescaled, "<=", 1e-10),
        claim(f"{drop}, not rescaled: {what}, before", MINE, before, "<=", 1e-10),
        claim(f"{drop}, not rescaled, {lost}", MINE, left, "<=", 1e-10),
        claim(f"{drop}, not rescaled: {what}, after, least of all runs", MINE, least, ">=", APART),
    ]


def _virtual(results: Results) -> Verdict:
    """The residual with batches."""
    text = "the same with batches, at the tuned step sizes: largest relative residual"
    return claim(text, MINE, tuned_residual(results), "<", 1e-10)


def _full(results: Results, at: str) -> Verdict:
    """What theorem and tuning make of the same bytes."""
    told = []
    for name in names_of(at):
        v = index(compressor_of(at), name)
        first, second = (at_budget(results, at, way, v) for way in (THEOREM, TUNED))
        told.append(f"{name} {first:.2g} ({max(second, ROUNDING):.2g})")
    text = f"{at}, full gradients: gap over the first at the bytes of {DENSE} dense gradients, "
    return observation(f"{text}step of the theorem (tuned)", MINE, ", ".join(told))


def _batches(results: Results, at: str) -> Verdict:
    """What batches leave of the gap."""
    told = []
    for name in names_of(at):
        _, gap = curve(results, at, BATCHES, index(compressor_of(at), name))
        told.append(f"{name} {gap[-5:].mean() / gap[0]:.2g}")
    text = f"{at}, batches of {BATCH} rows, tuned: last gap over the first"
    return observation(text, MINE, ", ".join(told))


def _dropped(results: Results, at: str) -> Verdict:
    """What the memory that is not rescaled costs, or does not."""
    gap = results[f"{at}, decayed"]["gap"][DROP + 1 :].mean(0)
    text = f"{at}, mean gap after lr is divided by 10: EF (GradientEF not rescaled)"
    return observation(text, MINE, f"{gap[0]:.4g} ({gap[2]:.4g})")


PICTURE = Picture(
    "variants",
    "The descendants of error feedback, SGD and compression without feedback at equal bytes",
    *(work, draw, verdicts),
)
