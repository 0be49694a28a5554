"""The error over the number of workers at equal bytes, each method at its tuned step size.

A quadratic whose gradients have noise of their own at every worker. A budget of bytes is that of
each worker, or that of all together; only what workers send is counted. The expected error of SGD
is known exactly, and so is that of an unbiased rand-k whose entries the workers share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd.figures.claims.intervals import of_mean
from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results
from efsgd.figures.workers.equal_bytes_claims import verdicts
from efsgd.figures.workers.equal_bytes_work import (
    ALL,
    DENSE,
    EACH,
    PLAIN,
    SHARED,
    exact,
    gaps,
    numbers,
    work,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PICTURE", "draw", "verdicts", "work"]

LOOKS: dict[str, tuple[str, Any, str]] = {
    PLAIN: style.METHODS["SGD"],
    "EF, top-k": style.METHODS["EF"],
    "EF, signs": (style.SKY, style.LONG, "X"),
    "EF21-SGDM, top-k": style.METHODS["EF21-SGDM"],
    "DIANA, qsgd": style.METHODS["DIANA"],
    SHARED: (style.VERMILION, style.DOTTED, "v"),
}
TITLES = {EACH: "each worker: {} dense gradients", ALL: "all together: {} dense gradients"}


def draw(results: Results) -> Figure:
    """A panel for each budget: mean gaps with their intervals, and the exact ones as crosses."""
    figure, axes = style.panels(1, 2, height=3.0)
    for ax, kind in zip(axes[0], DENSE, strict=True):
        _draw_budget(ax, results, kind)
    axes[0, 0].set_ylabel("mean gap $f(x) - f^*$, 95 % intervals")
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4)
    return figure


def _draw_budget(ax: Axes, results: Results, kind: str) -> None:
    n = np.array(numbers(results))
    for i, (name, (colour, dashes, marker)) in enumerate(LOOKS.items()):
        every = np.array([gaps(results, kind, k, name) for k in n])
        half = [of_mean(gaps).half for gaps in every]
        at = n * 1.03 ** (i - 2)  # side by side
        look: dict[str, Any] = {"color": colour, "linestyle": dashes, "marker": marker}
        ax.errorbar(at, every.mean(1), half, label=name, capsize=2, **look)
        if name in (PLAIN, SHARED):
            known = [exact(results, kind, k, name) for k in n]
            ax.plot(at, known, "x", color="0.2", markersize=6, zorder=5)
    ax.plot([], [], "x", color="0.2", label="exact expectation")
    ax.set(xscale="log", yscale="log", xlabel="workers n")
    ax.set_title(TITLES[kind].format(DENSE[kind]))
    ax.set_xticks(n, [str(k) for k in n])
    ax.minorticks_off()


PICTURE = Picture(
    "equal-bytes",
    "The error over the number of workers at equal bytes, each method at its tuned step size",
    work,
    draw,
    verdicts,
)
