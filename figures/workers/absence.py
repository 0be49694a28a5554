"""Absent workers and lost messages: who ends at the optimum where workers disagree.

Full gradients, so that whatever noise there is comes from the absence. Methods whose server keeps
an estimate of every worker's gradient have none, if it averages the estimates of all. Error
feedback has the noise of SGD, which sees other workers at every step, and more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results
from efsgd.figures.workers.absence_claims import verdicts
from efsgd.figures.workers.absence_work import (
    HALF,
    METHODS,
    PLAIN,
    WORKERS,
    WRONG,
    absent,
    late,
    parts,
    settings,
    work,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PICTURE", "draw", "verdicts", "work"]

LEAST = 1e-17  # where gaps below it are drawn: they are rounding
LOOKS: dict[str, tuple[str, Any, str]] = {
    **{name: style.METHODS[name] for name in METHODS},
    WRONG: (style.BROWN, style.DASHED, "v"),
}


def draw(results: Results) -> Figure:
    """The gap over the steps with half of the workers, and in the long run in every setting."""
    figure, axes = style.panels(1, 2, height=3.0)
    _draw_steps(axes[0, 0], results)
    _draw_settings(axes[0, 1], results)
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4)
    return figure


def _draw_steps(ax: Axes, results: Results) -> None:
    for i, (name, (colour, dashes, marker)) in enumerate(LOOKS.items()):
        result = results[f"{name}, {HALF}"]
        look: dict[str, Any] = {"color": colour, "linestyle": dashes, "marker": marker}
        gap = np.maximum(result["gap"].mean(1), LEAST)
        ax.plot(result["step"], gap, label=name, markevery=(0.02 * i, 0.2), **look)
    ax.set(yscale="log", xlabel="steps", ylabel="mean gap $f(x) - f^*$ (at least $10^{-17}$)")
    ax.set_title(f"half of {WORKERS} workers at each step")


def _draw_settings(ax: Axes, results: Results) -> None:
    found = settings(results)
    for name, (colour, _, marker) in LOOKS.items():
        drawn = parts(found) if name == WRONG else found
        gaps = [max(late(results, name, setting).mean(), LEAST) for setting in drawn]
        at = [found.index(setting) for setting in drawn]
        ax.plot(at, gaps, marker, color=colour, markersize=5)
    at = [found.index(setting) for setting in absent(found)]
    exact = [float(results[f"exact, {setting}"]["gap"]) for setting in absent(found)]
    ax.plot(at, exact, "_", color="0.3", markersize=14, label=f"{PLAIN}, exact", zorder=0)
    ax.legend(loc="center right", bbox_to_anchor=(1.0, 0.6))
    ax.set_xticks(range(len(found)), [s.replace(" lost", "\nlost") for s in found])
    ax.set(yscale="log", xlabel="workers that take part, or messages lost")
    ax.set(xlim=(-0.4, len(found) - 0.6), title="mean gap over the last third of the steps")


PICTURE = Picture(
    "absence",
    "Absent workers and lost messages: methods with an estimate of every worker do not mind",
    work,
    draw,
    verdicts,
)
