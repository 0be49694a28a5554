"""Local steps: fewer messages, and where workers disagree another limit than the optimum.

Least squares with full gradients and a constant step size, so that nothing is random. Local SGD
ends at the fixed point of the mean of the workers' affine maps, which is known in closed form; it
is the optimum with one local step, or if all workers have the same minimiser.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results
from efsgd.figures.workers.local_steps_claims import limits, verdicts
from efsgd.figures.workers.local_steps_work import (
    AGREED,
    DENSE,
    FEEDBACK,
    HS,
    IID,
    OUTSIDE,
    SORTED,
    SPARSE,
    work,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PICTURE", "draw", "verdicts", "work"]

LEAST = 1e-17  # where gaps below it are drawn: they are rounding
COLOURS = dict(
    zip(HS, (style.BLACK, style.BLUE, style.GREEN, style.ORANGE, style.VERMILION), strict=True)
)
LINES: dict[str, Any] = {DENSE: style.SOLID, FEEDBACK: style.SHORT}
ENDS: dict[tuple[str, str], tuple[str, str, str]] = {  # name, colour and marker at the right
    (SORTED, DENSE): ("local SGD, sorted", style.BLACK, "o"),
    (IID, DENSE): ("local SGD, iid", style.BLUE, "s"),
    (AGREED, DENSE): ("local SGD, one minimiser", style.GREEN, "v"),
    (SORTED, OUTSIDE): ("DiLoCo, sorted", style.PURPLE, "D"),
    (SORTED, FEEDBACK): ("EF, top 4, sorted", style.ORANGE, "^"),
    (SORTED, SPARSE): ("SparseLoCo's way, sorted", style.VERMILION, "X"),
}


def draw(results: Results) -> Figure:
    """The gap over the bytes of a worker, and where each method ends over H."""
    figure, axes = style.panels(1, 2, height=3.3)
    _draw_bytes(axes[0, 0], results)
    _draw_ends(axes[0, 1], results)
    for ax in axes[0]:
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    return figure


def _draw_bytes(ax: Axes, results: Results) -> None:
    for name, dashes in LINES.items():
        for H, colour in COLOURS.items():
            result = results[f"{SORTED}, {name}, {H}"]
            gap = np.maximum(result["gap"][1:, 0], LEAST)
            ax.plot(result["bytes_worker"][1:, 0] / 1e3, gap, color=colour, linestyle=dashes)
    for H, colour in COLOURS.items():
        ax.plot([], [], color=colour, label=f"H = {H}")
    for name, dashes in LINES.items():
        ax.plot([], [], color="0.3", linestyle=dashes, label=name)
    ax.set(xscale="log", yscale="log", ylim=(1e-5, None), xlabel="kB that a worker has sent")
    ax.set(ylabel="gap $f(x) - f^*$", title="H local steps, sorted shares")


def _draw_ends(ax: Axes, results: Results) -> None:
    for (kind, name), (label, colour, marker) in ENDS.items():
        ends = [max(results[f"{kind}, {name}, {H}"]["gap"][-1, 0], LEAST) for H in HS]
        look: dict[str, Any] = {"markersize": 5}
        if (kind, name) == (SORTED, DENSE):  # where another one is, too
            look = {"markersize": 9, "fillstyle": "none"}
        ax.plot(HS, ends, marker, color=colour, label=label, **look)
    for kind in (SORTED, IID):
        gap = np.maximum(limits(results, kind, "gap")[1:], LEAST)
        ax.plot(HS[1:], gap, color=ENDS[kind, DENSE][1], linewidth=0.9, zorder=0)
    ax.plot([], [], color="0.3", linewidth=0.9, label="closed form")
    ax.set(xscale="log", yscale="log", xlabel="local steps H between two messages")
    ax.set(ylabel="last gap (at least $10^{-17}$)", title="where it ends")
    ax.set_xticks(HS, [str(H) for H in HS])
    ax.minorticks_off()


PICTURE = Picture(
    "local-steps",
    "Local steps save bytes, and move the limit of workers that disagree",
    work,
    draw,
    verdicts,
)
