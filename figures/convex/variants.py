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
    bound,
    compressor_of,
    curve,
    gap_at_budget,
    index,
    largest_sum,
    method_names,
    theorem_of,
    tuned_residual,
)
from efsgd.figures.convex.variants_runs import (
    BATCH,
    BATCHES,
    COMPRESSORS,
    DENSE,
    DROP,
    PAIRS,
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
LEAST_DISTANCE = 1e-3  # of |x_0 - x*|, that a memory which is not rescaled leads away at least
TITLES = {"scaledsign": "scaledsign: EF is EF-signSGD"}
LEGEND_ROOM = 1e-8  # where the gaps of the middle panel begin, which leaves room for a legend
LEAST_SHOWN = 1e-5  # of the first gap: the upper rows cut off smaller ones, which SGD alone has


def draw(results: Results) -> Figure:
    """A column for each compressor; gaps against bytes, the gap at equal bytes, two memories."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(style.PAGE, 9.8))
    axes = figure.subplots(6, 3, height_ratios=(1, 1, 1, 1, 1.4, 0.8))
    for row, (setting, problem) in enumerate(itertools.product((THEOREM, BATCHES), PROBLEMS)):
        for ax, c in zip(axes[row], COMPRESSORS, strict=True):
            _curves(ax, results, f"{problem}, {c}", setting)
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
        ax.set_title(TITLES.get(str(c), str(c)))
    figure.suptitle("Full gradients, step size of the theorem", fontsize=8, fontweight="bold")
    titles = {
        2: f"Batches of {BATCH} rows, tuned step size",
        4: f"Full gradients: the gap over the first, at the bytes of {DENSE} dense gradients",
        5: f"Memory in units of the gradient, batches, lr divided by 10 at step {DROP}",
    }
    for row, text in titles.items():
        axes[row, 1].set_title(text, fontweight="bold")


def _legends(figure: Figure, axes: Array) -> None:
    """Methods and memories below; what the marks of the dots mean where there is room."""
    upper, lowest = (ax.get_legend_handles_labels() for ax in (axes[0, 0], axes[5, 0]))
    handles, labels = upper[0] + lowest[0], upper[1] + lowest[1]
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    ax, kinds = axes[4, 1], itertools.product(zip(PROBLEMS, "os", strict=True), (THEOREM, TUNED))
    for (problem, marker), setting in kinds:
        look = {"color": "0.3", "fillstyle": "none" if setting == THEOREM else "full"}
        ax.plot([], [], marker, label=f"{problem}, {setting}", **look)
    ax.set_xlim(left=LEGEND_ROOM)
    ax.legend(loc="lower left", fontsize=6, handletextpad=0)


def _curves(ax: Axes, results: Results, pair: str, setting: str) -> None:
    c = compressor_of(pair)
    for name in method_names(pair):
        sent, gap = curve(results, pair, setting, index(c, name))
        look = style.line(name) | {"linewidth": 1.0}
        ax.plot(sent[1:], np.maximum(gap[1:], ROUNDING * gap[0]), **look)
    if setting == THEOREM:
        sent, gap = curve(results, pair, setting, index(c, "EF"))
        limit = gap[0] * bound(theorem_of(pair, "EF"), results[f"{pair}, {setting}"]["step"])
        look = {"color": "0.5", "linewidth": 0.8, "label": "proven bound of EF and EF21"}
        ax.plot(sent[1:], limit[1:], **look)
        ax.set(ylim=(LEAST_SHOWN * gap[0], 2 * limit[0]), xlim=(sent[1] / 2, 2 * sent[-1]))
    ax.set(xscale="log", yscale="log", xlabel="bytes sent" if pair.startswith(PROBLEMS[1]) else "")


def _dots(ax: Axes, results: Results, c: str) -> None:
    """Hollow at the step size of the theorem, filled at the tuned one."""
    for row, name in enumerate(reversed(THEOREMS)):
        if name not in method_names(f"{PROBLEMS[0]}, {c}"):
            ax.axhline(row, color="0.8", linewidth=0.5, linestyle=style.DOTTED)
            continue
        colour = style.METHODS[name][0]
        for problem, marker, up in zip(PROBLEMS, "os", (0.17, -0.17), strict=True):
            pair, height = f"{problem}, {c}", [row + up]
            v = index(compressor_of(pair), name)
            gaps = (gap_at_budget(results, pair, setting, v) for setting in (THEOREM, TUNED))
            ends = [max(gap, ROUNDING) for gap in gaps]
            ax.plot(ends, height * 2, color=colour, linewidth=0.8)
            ax.plot(ends[:1], height, marker, color=colour, fillstyle="none")
            ax.plot(ends[1:], height, marker, color=colour)
    ax.set(xscale="log", ylim=(-0.6, len(THEOREMS) - 0.4))
    ax.set_yticks(range(len(THEOREMS)), list(reversed(THEOREMS)))


def _memories(ax: Axes, results: Results, pair: str) -> None:
    """How far the two forms of GradientEF are from EFSGD."""
    for name, column in (("gradient EF", 0), ("gradient EF, not rescaled", 1)):
        distance = results[f"{pair}, decayed"]["apart"][:, column]
        ax.plot(np.maximum(distance, ROUNDING / 10), **style.line(name))
    distance = results[f"{pair}, constant"]["apart"].max(1)
    ax.plot(
        np.maximum(distance, ROUNDING / 10),
        color="0.8",
        linewidth=3,
        zorder=0,
        label="both, constant lr",
    )
    ax.set(yscale="log", ylim=(ROUNDING / 30, 3), xlabel="steps")


def verdicts(results: Results) -> list[Verdict]:
    """Proven bounds hold and memories are equal where they should be; how the methods compare."""
    full = {name: result for name, result in results.items() if name.endswith(THEOREM)}
    return [
        *(_rate(results, name) for name in PROVEN),
        *(_sum(results, name) for name in SUMMED),
        *_units(results),
        claim_virtual(full),
        _virtual(results),
        claim_certified(results["optima"]),
        *(_full(results, pair) for pair in PAIRS),
        *(_batches(results, pair) for pair in PAIRS),
        *(_dropped(results, pair) for pair in PAIRS),
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
    constant, decayed = ([results[f"{pair}, {name}"] for pair in PAIRS] for name in SCHEDULES)
    constant_lr = float(np.max([r["apart"] for r in constant]))
    rescaled = float(np.max([r["apart"][:, 0] for r in decayed]))
    unexplained = float(np.max([r["unexplained"] for r in decayed]))
    before = float(np.max([r["apart"][: DROP + 1, 1] for r in decayed]))
    after = float(np.min([r["apart"][DROP + 1 :, 1].max() for r in decayed]))
    distance = "largest |x - x of EFSGD| over |x_0 - x*|"
    drop = f"GradientEF, lr divided by 10 at step {DROP}"
    lost = "after that: |x - lr e - (x_0 - sum lr g)| beyond sum (lr_(t-1) - lr_t) e_t, relative"
    return [
        claim(
            f"GradientEF, rescaled or not, constant lr: {distance}",
            BYTEPS,
            constant_lr,
            "<=",
            1e-10,
        ),
        claim(f"{drop}, rescaled: {distance}", BYTEPS, rescaled, "<=", 1e-10),
        claim(f"{drop}, not rescaled: {distance}, before", MINE, before, "<=", 1e-10),
        claim(f"{drop}, not rescaled, {lost}", MINE, unexplained, "<=", 1e-10),
        claim(
            f"{drop}, not rescaled: {distance}, after, least of all runs",
            MINE,
            after,
            ">=",
            LEAST_DISTANCE,
        ),
    ]


def _virtual(results: Results) -> Verdict:
    """The residual with batches."""
    text = "the same with batches, at the tuned step sizes: largest relative residual"
    return claim(text, MINE, tuned_residual(results), "<", 1e-10)


def _full(results: Results, pair: str) -> Verdict:
    """The gap that each method reaches with the same bytes, at the theorem's step and tuned."""
    gaps = []
    for name in method_names(pair):
        v = index(compressor_of(pair), name)
        proven, tuned = (gap_at_budget(results, pair, setting, v) for setting in (THEOREM, TUNED))
        gaps.append(f"{name} {proven:.2g} ({max(tuned, ROUNDING):.2g})")
    text = f"{pair}, full gradients: gap over the first at the bytes of {DENSE} dense gradients, "
    return observation(f"{text}step of the theorem (tuned)", MINE, ", ".join(gaps))


def _batches(results: Results, pair: str) -> Verdict:
    """What is left of the gap with batches."""
    gaps = []
    for name in method_names(pair):
        _, gap = curve(results, pair, BATCHES, index(compressor_of(pair), name))
        gaps.append(f"{name} {gap[-5:].mean() / gap[0]:.2g}")
    text = f"{pair}, batches of {BATCH} rows, tuned: last gap over the first"
    return observation(text, MINE, ", ".join(gaps))


def _dropped(results: Results, pair: str) -> Verdict:
    """What the memory that is not rescaled costs, or does not."""
    gap = results[f"{pair}, decayed"]["gap"][DROP + 1 :].mean(0)
    text = f"{pair}, mean gap after lr is divided by 10: EF (GradientEF not rescaled)"
    return observation(text, MINE, f"{gap[0]:.4g} ({gap[2]:.4g})")


PICTURE = Picture(
    "variants",
    "The descendants of error feedback, SGD and compression without feedback at equal bytes",
    work,
    draw,
    verdicts,
)
