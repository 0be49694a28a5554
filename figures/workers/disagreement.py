"""Workers whose functions have different optima: what error feedback leaves, and who gets past it.

Full gradients, and the mean of |grad f_i(x*)|^2 is zeta^2. From x* the steps of error feedback are
proportional to zeta, as C(c v) = c C(v) for top-k and any c > 0: the gap is proportional to zeta^2.
What compresses differences of gradients has nothing left to send at x*, and ends there. Each method
has the step of its theorem, EF and compressed SGD that of EF21; then each is tuned. A smaller step
leaves less and arrives later: at small lr the gap of EF is that of gradient descent and
c (lr zeta)^2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results
from efsgd.figures.workers.disagreement_claims import SMALL, verdicts
from efsgd.figures.workers.disagreement_work import (
    METHODS,
    STALL,
    floors,
    over_grid,
    own_gap,
    swept,
    tuned,
    work,
    zetas,
)
from efsgd.results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PICTURE", "draw", "verdicts", "work"]

TUNED = "EF at its best step"


def draw(results: Results) -> Figure:
    """The gap over the steps, and over the step size, at zeta = 1; what is left over zeta."""
    figure, axes = style.panels(1, 3, height=3.0)
    _draw_steps(axes[0, 0], results)
    _draw_step_sizes(axes[0, 1], results)
    _draw_floors(axes[0, 2], results)
    handles, names = axes[0, 0].get_legend_handles_labels()
    of_tuned, name = axes[0, 2].get_legend_handles_labels()
    figure.legend(handles + of_tuned[-1:], names + name[-1:], loc="outside lower center", ncols=4)
    return figure


def _look(name: str) -> dict[str, Any]:
    others = [other for other in METHODS if other not in style.METHODS]
    return style.other(name, others.index(name)) if name in others else style.line(name)


def _draw_steps(ax: Axes, results: Results) -> None:
    for name in METHODS:
        result = results[name]
        at = _middle(result)
        ax.plot(result["step"], result["loss"][:, at].mean(1), **_look(name))
    ax.axhline(SMALL, color="0.5", linewidth=0.8, linestyle=style.DOTTED)
    ax.set(yscale="log", xlabel="step", ylabel="mean gap $f(x) - f^*$", ylim=(1e-20, 5))
    ax.set_title("$\\zeta = 1$, steps of the theorems")


def _middle(result: Result) -> int:
    """Where zeta is 1, or nearest to it."""
    return int(np.argmin(abs(zetas(result) - 1)))


def _draw_step_sizes(ax: Axes, results: Results) -> None:
    for name in METHODS:
        result = results[swept(name)]
        lr, gaps = over_grid(result)
        ax.plot(lr, np.where(np.isfinite(gaps), gaps, np.nan)[_middle(result)], **_look(name))
    own = own_gap(results, lr)[_middle(result)]
    ax.plot(lr, own, color="0.5", linewidth=4, alpha=0.4, zorder=0)
    ax.text(lr[0], own[0] / 10, "$c\\,($lr$\\,\\zeta)^2$", va="top", fontsize=7)
    ax.axhline(SMALL, color="0.5", linewidth=0.8, linestyle=style.DOTTED)
    ax.set(xscale="log", yscale="log", xlabel="step size lr", ylim=(1e-20, 5))
    ax.set_ylabel("mean gap, last third of steps")
    ax.set_title("$\\zeta = 1$, any step size")


def _draw_floors(ax: Axes, results: Results) -> None:
    for name in METHODS:
        result = results[name]
        last = floors(result).mean(1) if name in STALL else result["loss"][-1].mean(1)
        ax.plot(zetas(result), last, **_look(name) | {"markevery": 1})
    zeta = zetas(results["EF"])
    hollow = {"linestyle": "none", "markerfacecolor": "white", "label": TUNED}
    ax.plot(zeta, tuned(results[swept("EF")])[1], **_look("EF") | {"markevery": 1} | hollow)
    reference = floors(results["EF"]).mean() / np.mean(zeta**2) * zeta**2
    ax.plot(zeta, reference, color="0.5", linewidth=4, alpha=0.4, zorder=0)
    ax.text(zeta[1], reference[1] / 1e3, "$\\propto \\zeta^2$", va="top", fontsize=7)
    ax.text(zeta[0], 1e-27, "rounding, the same for all five", fontsize=7)
    ax.axhline(SMALL, color="0.5", linewidth=0.8, linestyle=style.DOTTED)
    ax.set(xscale="log", yscale="log", ylabel="gap that is left")
    ax.set_xlabel("$\\zeta$, r.m.s. of $|\\nabla f_i(x^*)|$")
    ax.set_title(f"after {int(results['EF']['step'][-1])} steps")


PICTURE = Picture(
    "disagreement",
    "Workers that disagree: error feedback leaves a gap, methods of differences leave none",
    work,
    draw,
    verdicts,
)
