"""The descendants of error feedback beside plain SGD and compression without feedback.

Loss gaps against bytes on problems of known curvature: full gradients, every method with the step
size that a theorem gives it. With one worker, full gradients and a smooth, strongly convex f plain
compression needs no feedback; how the methods compare is an observation, of these two problems
only. The pictures ``variants-batches``, ``variants-bytes`` and ``variants-memory`` go on from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from efsgd.figures.claims.verdicts import Verdict, claim, claim_certified, claim_virtual
from efsgd.figures.convex.variants_reading import (
    above_bound,
    bound,
    compressor_of,
    curve,
    index,
    largest_sum,
    method_names,
    theorem_of,
)
from efsgd.figures.convex.variants_runs import (
    COMPRESSORS,
    PROBLEMS,
    ROUNDING,
    THEOREM,
    THEOREMS,
    optima,
    side_by_side,
)
from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results, Works

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TIGHT = "arXiv 2506.05271"
MINE = "derived here"
PROVEN = tuple(name for name, (_, strongly) in THEOREMS.items() if strongly)
SUMMED = ("EF21-SGDM", "EControl")
TITLES = {"scaledsign": "scaledsign\nEF is EF-signSGD (one bit)"}
LEAST_SHOWN = 1e-5  # of the first gap: the panels cut off smaller ones, which SGD alone has


def work(quick: bool, seed: int) -> Works:
    """Every method with every compressor on both problems, at the step size of its theorem."""
    return optima(quick, seed) | side_by_side((THEOREM,), quick, seed)


def draw(results: Results) -> Figure:
    """A column for each compressor, a row for each problem."""
    figure = draw_gaps(results, THEOREM)
    for axes, problem in zip((figure.axes[:3], figure.axes[3:]), PROBLEMS, strict=True):
        for ax, c in zip(axes, COMPRESSORS, strict=True):
            _draw_bound(ax, results, f"{problem}, {c}")
    finish(figure, "Full gradients, step size of the theorem")
    return figure


def draw_gaps(results: Results, setting: str) -> Figure:
    """The gaps of all methods against the bytes that they sent, in one setting."""
    figure, axes = style.panels(len(PROBLEMS), len(COMPRESSORS))
    for row, problem in zip(axes, PROBLEMS, strict=True):
        for ax, c in zip(row, COMPRESSORS, strict=True):
            _draw_pair(ax, results, f"{problem}, {c}", setting)
        row[0].set_ylabel(f"{problem}: $f(x_t) - f^*$")
    for ax in axes[-1]:
        ax.set_xlabel("bytes sent")
    return figure


def finish(figure: Figure, title: str) -> None:
    """The compressors above the columns, a title above them, and one legend below all panels."""
    for ax, c in zip(figure.axes, COMPRESSORS, strict=False):
        ax.set_title(TITLES.get(str(c), str(c)))
    figure.suptitle(title, fontsize=8, fontweight="bold")
    entries = figure.axes[0].get_legend_handles_labels()
    figure.legend(*entries, loc="outside lower center", ncols=4)


def _draw_pair(ax: Axes, results: Results, pair: str, setting: str) -> None:
    c = compressor_of(pair)
    for name in method_names(pair):
        sent, gap = curve(results, pair, setting, index(c, name))
        style.curve(ax, sent[1:], np.maximum(gap[1:], ROUNDING * gap[0]), **style.line(name))
    ax.set(xscale="log", yscale="log")


def _draw_bound(ax: Axes, results: Results, pair: str) -> None:
    sent, gap = curve(results, pair, THEOREM, index(compressor_of(pair), "EF"))
    limit = gap[0] * bound(theorem_of(pair, "EF"), results[f"{pair}, {THEOREM}"]["step"])
    ax.plot(sent[1:], limit[1:], color="0.5", linewidth=0.8, label="proven bound of EF and EF21")
    ax.set(ylim=(LEAST_SHOWN * gap[0], 2 * limit[0]), xlim=(sent[1] / 2, 2 * sent[-1]))


def verdicts(results: Results) -> list[Verdict]:
    """Proven bounds hold, and virtual iterates are those of SGD."""
    runs = {name: result for name, result in results.items() if name.endswith(THEOREM)}
    return [
        *(_rate(results, name) for name in PROVEN),
        *(_sum(results, name) for name in SUMMED),
        claim_virtual(runs),
        claim_certified(results["optima"]),
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


PICTURE = Picture(
    "variants",
    "The descendants of error feedback, SGD and compression without feedback, byte for byte",
    work,
    draw,
    verdicts,
)
