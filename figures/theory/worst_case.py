"""The worst case after N steps of GD, CGD, EF and EF21, over all functions and compressors.

By performance estimation, with full gradients, beside the closed forms where there is one. For
nonconvex functions the claims hold it to the bound without noise, too, where that is less than
2 L f0, which |grad f(x_0)|^2 never exceeds: where N + 1 > K. The bound is derived for EF; the worst
case of EF21 is below it at the points that are computed. For delta = .01 and .1 a run along a slope
of a Huber function takes the place of the worst case: it uses half of the bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results
from efsgd.figures.theory.common import LOOKS, METHODS, NAMES
from efsgd.figures.theory.worst_case_claims import verdicts
from efsgd.figures.theory.worst_case_work import DELTAS, MU, PROBLEMS, closed, key, work

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from efsgd.convex.pep.setting import Class

__all__ = ["PICTURE", "draw", "verdicts", "work"]

TITLES: dict[Class, str] = {
    "strongly-convex": f"strongly convex, $\\mu = {MU}$: $f(x_N) - f^*$",
    "convex": "convex: $f(x_N) - f^*$",
    "nonconvex": "nonconvex: least $|\\nabla f(x_t)|^2$",
}


def draw(results: Results) -> Figure:
    """A row for each delta, a column for each problem."""
    figure, axes = style.panels(len(DELTAS), len(PROBLEMS), height=2.3)
    for row, delta in zip(axes, DELTAS, strict=True):
        for ax, problem in zip(row, PROBLEMS, strict=True):
            _draw_problem(ax, results, problem, delta)
        row[0].set_ylabel(f"$\\delta = {delta}$: worst case")
    for ax in axes[-1]:
        ax.set_xlabel("steps $N$")
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=3)
    return figure


def _draw_problem(ax: Axes, results: Results, problem: Class, delta: float) -> None:
    """The worst cases as markers, closed forms as lines; else a grey line joins the markers."""
    for method in METHODS:
        result, (colour, dashes, marker) = results[key(problem, method, delta)], LOOKS[method]
        N = np.arange(1, result["steps"].max() + 1)
        form = closed(problem, method, delta, float(result["lr"][0]), N)
        if form is not None:
            ax.plot(N, form, color=colour, linestyle=dashes)
        else:
            ax.plot(result["steps"], result["value"], color="0.5", linewidth=0.6)
        hollow: dict[str, Any] = (
            {"markerfacecolor": "none", "markersize": 5.5} if method == "ef21" else {}
        )
        ax.plot(result["steps"], result["value"], marker, color=colour, **hollow)
        ax.plot([], [], marker, color=colour, linestyle=dashes, label=NAMES[method], **hollow)
    ax.plot([], [], color="0.5", label="thick: closed forms or lower bounds")
    ax.plot([], [], color="0.5", linewidth=0.6, label="thin: none known")
    ax.locator_params(axis="x", integer=True)
    ax.set(yscale="log", title=TITLES[problem])


PICTURE = Picture(
    "worst-case",
    "The worst case over all functions and compressors, with closed forms where there are any",
    work,
    draw,
    verdicts,
)
