"""Logistic regression on real data over sixteen workers, with shares by label and at random.

Breast Cancer Wisconsin (Diagnostic), 569 rows of 31 features, whose optimum is certified. With full
gradients all is deterministic but DIANA, so that a method which ends anywhere else has a floor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results
from efsgd.figures.workers.real_data_claims import verdicts
from efsgd.figures.workers.real_data_work import (
    BATCH,
    BATCHES,
    FULL,
    GRID,
    METHODS,
    SHARES,
    long_run,
    work,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PICTURE", "draw", "verdicts", "work"]

LEAST = 1e-17  # where gaps below it are drawn: they are rounding
LOOKS: dict[str, tuple[str, Any, str]] = {name: style.METHODS[name] for name in METHODS}


def draw(results: Results) -> Figure:
    """The long-run gap over the step size with full gradients, and over the bytes with batches."""
    figure, axes = style.panels(1, 2, height=3.0)
    _draw_grid(axes[0, 0], results)
    _draw_bytes(axes[0, 1], results)
    handles, names = axes[0, 1].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4)
    return figure


def _draw_grid(ax: Axes, results: Results) -> None:
    """Filled with shares by label, hollow with shares at random."""
    for name, (colour, dashes, marker) in LOOKS.items():
        for by, fill in zip(SHARES, ("full", "none"), strict=True):
            gap = np.maximum(long_run(results, by, FULL, name), LEAST)
            look: dict[str, Any] = {"color": colour, "marker": marker, "fillstyle": fill}
            line = dashes if by == SHARES[0] else "none"
            ax.plot(GRID, gap, linestyle=line, markersize=4 if fill == "full" else 7, **look)
    steps = results[f"{SHARES[0]}, {FULL}, EF"]["step"][-1]
    ax.set(xscale="log", yscale="log", xlabel="step size", title="full gradients")
    ax.set(ylabel=f"mean gap, last quarter of {steps} steps")
    ax.set_xticks(GRID, [f"1/{1 / lr:g}" if lr < 1 else "1" for lr in GRID])
    ax.minorticks_off()


def _draw_bytes(ax: Axes, results: Results) -> None:
    for i, (name, (colour, dashes, marker)) in enumerate(LOOKS.items()):
        result = results[f"{SHARES[0]}, {BATCHES}, {name}"]
        look: dict[str, Any] = {"color": colour, "linestyle": dashes, "marker": marker}
        sent, gap = result["bytes_worker"].mean(1)[1:] / 1e3, result["gap"].mean(1)[1:]
        ax.plot(sent, gap, label=name, markevery=(0.02 * i, 0.2), **look)
    ax.plot([], [], "s", color="0.3", label="left: shares by label")
    ax.plot([], [], "s", color="0.3", fillstyle="none", label="left: shares at random")
    ax.set(xscale="log", yscale="log", xlabel="kB that a worker has sent", ylabel="mean gap")
    ax.set_title(f"batches of {BATCH}, tuned step sizes, shares by label")


PICTURE = Picture(
    "real-data",
    "Real data on sixteen workers: who reaches the optimum, and with how many bytes",
    work,
    draw,
    verdicts,
)
