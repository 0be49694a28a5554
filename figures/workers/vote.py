"""Majority vote goes to the median of the gradients, error feedback to their mean.

Three workers with gradients 1, 1 and -3, plus x/10: the vote ends at -10, where the median is 0,
the optimum is 10/3. Where the noise of all workers is symmetric the two are the same, and a vote is
wrong with the probability that the binomial distribution says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd.arrays import Array
from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results
from efsgd.figures.workers.vote_claims import of_right, probabilities, verdicts, votes
from efsgd.figures.workers.vote_work import EF, LR, NS, VOTE, work

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PICTURE", "draw", "verdicts", "work"]


def draw(results: Results) -> Figure:
    """The coordinates over the steps, and the share of wrong votes over n."""
    figure, axes = style.panels(1, 2, height=2.9)
    _draw_places(axes[0, 0], results)
    _draw_votes(axes[0, 1], results)
    return figure


def _draw_places(ax: Axes, results: Results) -> None:
    from efsgd.convex.problems.several_workers import OneAgainstTwo

    looks: dict[str, Any] = {VOTE: (style.VERMILION, style.DASHDOT), EF: (style.BLUE, style.SOLID)}
    for name, (colour, dashes) in looks.items():
        result = results[name]
        step, coordinate = result["step"], result["largest"][:, 0]
        ax.plot(step, coordinate, color=colour, linestyle=dashes, label=name)
    problem = OneAgainstTwo()
    ends = {"optimum 10/3: mean gradient 0": problem.optimum.x[0],
            "-10: median gradient 0": problem.median}  # fmt: skip
    for (name, value), line in zip(ends.items(), (style.DOTTED, style.DASHED), strict=True):
        ax.axhline(value, color="0.5", linestyle=line, linewidth=0.9, label=name)
    ax.set(xlabel="step", ylabel="largest coordinate of $x$", ylim=(-12, 6))
    ax.set_title(f"gradients 1, 1, -3, plus x/10, lr = {LR}")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2)


def _draw_votes(ax: Axes, results: Results) -> None:
    looks: dict[str, Any] = {"gaussian": (style.BLUE, "o"), "laplace": (style.ORANGE, "s")}
    names = {"gaussian": "Gaussian", "laplace": "Laplace"}
    many = np.arange(1, NS[-1] + 1)
    for law, (colour, marker) in looks.items():
        result = results[law]
        p = of_right(result)
        for name, parity, line in (("wrong", 1, style.SOLID), ("tie", 0, style.DOTTED)):
            ns = many[many % 2 == parity]
            exact = [probabilities(p, int(n))[name] for n in ns]
            ax.plot(ns, exact, color=colour, linestyle=line, linewidth=0.9)
            at = result["n"] % 2 == parity
            share: Array = result[name][at] / votes(result)
            filled: dict[str, Any] = {} if parity else {"markerfacecolor": "white"}
            label = f"{names[law]}: {'wrong, odd n' if parity else 'tie, even n'}"
            ax.plot(result["n"][at], share, marker, color=colour, label=label, **filled)
    ax.set(yscale="log", xlabel="workers n", ylabel="share of votes")
    ax.set_title("noise of deviation 2 at a slope of 1")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2)


PICTURE = Picture(
    "vote",
    "A vote of signs goes to the median of the gradients, error feedback to their mean",
    work,
    draw,
    verdicts,
)
