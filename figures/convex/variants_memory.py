"""The memory in units of the gradient, which a change of the step size must rescale.

Such a memory is the one of error feedback over the step size: the same iterates at a constant one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd.figures.claims.verdicts import Verdict, claim, observation
from efsgd.figures.convex.variants import MINE, TITLES
from efsgd.figures.convex.variants_runs import (
    BATCH,
    COMPRESSORS,
    DROP,
    PAIRS,
    PROBLEMS,
    ROUNDING,
    SCHEDULES,
    memories,
)
from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results, Works

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BYTEPS = "arXiv 1905.10936"
LEAST_DISTANCE = 1e-3  # of |x_0 - x*|, that a memory which is not rescaled leads away at least


def work(quick: bool, seed: int) -> Works:
    """Both units, with a constant step size and with one that drops."""
    return memories(quick, seed)


def draw(results: Results) -> Figure:
    """A panel for each compressor, on the first problem."""
    figure, axes = style.panels(1, len(COMPRESSORS), height=2.6)
    for ax, c in zip(axes[0], COMPRESSORS, strict=True):
        _draw_distances(ax, results, f"{PROBLEMS[0]}, {c}")
        ax.set(title=TITLES.get(str(c), str(c)), xlabel="iteration")
    axes[0, 0].set_ylabel("$|x_t - x_t^{EF}|$ over $|x_0 - x^*|$")
    text = f"Memory in units of the gradient, {PROBLEMS[0]}, batches of {BATCH} rows, "
    text += f"step size divided by 10 at iteration {DROP}"
    figure.suptitle(text, fontsize=8, fontweight="bold")
    entries = axes[0, 0].get_legend_handles_labels()
    figure.legend(*entries, loc="outside lower center", ncols=3)
    return figure


def _draw_distances(ax: Axes, results: Results, pair: str) -> None:
    """How far the two forms of GradientEF are from EFSGD."""
    for name, column in (("gradient EF", 0), ("gradient EF, not rescaled", 1)):
        distance = results[f"{pair}, decayed"]["apart"][:, column]
        ax.plot(np.maximum(distance, ROUNDING / 10), **style.line(name))
    distance = results[f"{pair}, constant"]["apart"].max(1)
    look: dict[str, Any] = {
        "color": "0.8",
        "linewidth": 3,
        "zorder": 0,
        "label": "both, constant step size",
    }
    ax.plot(np.maximum(distance, ROUNDING / 10), **look)
    ax.set(yscale="log", ylim=(ROUNDING / 30, 3))


def verdicts(results: Results) -> list[Verdict]:
    """The same at a constant step size, rescaled at any; what a drop costs."""
    return [*_units(results), *(_dropped(results, pair) for pair in PAIRS)]


def _units(results: Results) -> list[Verdict]:
    """Memory in units of the gradient: the same at a constant step size, rescaled at any."""
    constant, decayed = ([results[f"{pair}, {name}"] for pair in PAIRS] for name in SCHEDULES)
    constant_lr = float(np.max([r["apart"] for r in constant]))
    rescaled = float(np.max([r["apart"][:, 0] for r in decayed]))
    unexplained = float(np.max([r["unexplained"] for r in decayed]))
    after = float(np.min([r["apart"][DROP + 1 :, 1].max() for r in decayed]))
    distance = "largest |x - x of EFSGD| over |x_0 - x*|"
    drop = f"GradientEF, lr divided by 10 at step {DROP}"
    lost = "|x - lr e - (x_0 - sum lr g)| beyond sum (lr_(t-1) - lr_t) e_t, relative"
    least = f"{drop}, not rescaled: {distance} after it, the least of {len(decayed)} runs"
    return [
        claim(
            f"GradientEF, rescaled or not, constant lr: {distance}", MINE, constant_lr, "<=", 1e-10
        ),
        claim(f"{drop}, rescaled: {distance}", BYTEPS, rescaled, "<=", 1e-10),
        claim(f"{drop}, not rescaled: {lost}", MINE, unexplained, "<=", 1e-10),
        claim(least, MINE, after, ">=", LEAST_DISTANCE),
    ]


def _dropped(results: Results, pair: str) -> Verdict:
    """What the memory that is not rescaled costs, or does not."""
    gap = results[f"{pair}, decayed"]["gap"][DROP + 1 :].mean(0)
    text = f"{pair}, mean gap after lr is divided by 10: EF (GradientEF not rescaled)"
    return observation(text, MINE, f"{gap[0]:.4g} ({gap[2]:.4g})")


PICTURE = Picture(
    "variants-memory",
    "The memory in units of the gradient, and what a drop of the step size does to it",
    work,
    draw,
    verdicts,
)
