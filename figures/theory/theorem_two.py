"""Theorem II on a smooth nonconvex problem, and runs that need all its terms.

All constants are known, so the bounds hold with nothing to fit: Theorem II, the same at its best
rho, and the sharper one of :mod:`efsgd.bounds`. The mean of |grad f|^2 is at most sigma^2 whatever
they say, so a comparison counts only where they say less than what is known of sup |grad f|^2.
Along other runs |grad f| stays at sigma, which no bound may deny: a term of Theorem II or of the
sharper form that is much too small shows there, and the middle term in a run of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from efsgd.arrays import Array
from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results
from efsgd.figures.theory.theorem_two_claims import verdicts
from efsgd.figures.theory.theorem_two_work import (
    BEST,
    BOUNDS,
    LABELS,
    PAPER,
    RATES,
    SHARP,
    SPECS,
    STEADY_STEPS,
    TO_AND_FRO,
    halved,
    letters_of,
    steady_letters,
    work,
)
from efsgd.results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PICTURE", "draw", "verdicts", "work"]

COLOURS = (style.BLACK, style.ORANGE, style.BLUE)  # of LABELS
DRAWN_RATE = 3  # of RATES, in the first panel


def draw(results: Results) -> Figure:
    """Means of |grad f|^2 over time, what is used of the bounds, and the runs that use most."""
    figure, axes = style.panels(2, 2, height=3.4)
    _draw_runs(axes[0, 0], results)
    _draw_shares(axes[0, 1], results)
    _draw_steady(axes[1, 0], results)
    _draw_halved(axes[1, 1], results["halved"])
    return figure


def _draw_runs(ax: Axes, results: Results) -> None:
    for (spec, label), colour, width in zip(LABELS.items(), COLOURS, (4, 2.5, 1), strict=True):
        result = results[spec]
        t = np.arange(result["mean"].shape[1])
        at = np.unique(np.geomspace(9, t[-1], 60).round().astype(int))
        ax.plot(at + 1, result["mean"][DRAWN_RATE, at], color=colour, linewidth=width, label=label)
        for bound, line in ((PAPER, style.DOTTED), (SHARP, style.DASHED)):
            value = np.broadcast_to(bound(**letters_of(result)), result["mean"].shape)
            ax.plot(at + 1, value[DRAWN_RATE, at], color=colour, linestyle=line, linewidth=1.0)
    ax.plot([], [], color="0.3", linestyle=style.DOTTED, label="Theorem II")
    ax.plot([], [], color="0.3", linestyle=style.DASHED, label="sharper form")
    ax.set(xscale="log", yscale="log", xlabel="T + 1", title=f"nonconvex, lr = {RATES[DRAWN_RATE]}")
    ax.set_ylabel("mean over t of $E|\\nabla f(x_t)|^2$")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25))


def _draw_shares(ax: Axes, results: Results) -> None:
    """The share of each bound that the last mean uses, against A/B: how much the memory weighs."""
    looks = ((PAPER, ">", style.VERMILION), (SHARP, "o", style.BLUE))
    for bound, marker, colour in looks:
        weight, share = [], []
        for result in (results[spec] for spec in SPECS if spec in results):
            value = bound(**letters_of(result))
            share.append((result["mean"] / value)[:, -1])
            weight.append(_weight(result))
        name = "Theorem II" if bound is PAPER else "sharper form"
        label = f"share of {'' if bound is PAPER else 'the '}{name}"
        x, y = np.concatenate(weight), np.concatenate(share)
        ax.plot(x, y, marker, color=colour, alpha=0.7, label=label)
    ax.set(xscale="log", yscale="log", ylim=(None, 1.3), title=f"{len(SPECS)} compressors, all lr")
    ax.set(xlabel="bound over SGD's, less 1 (at least $10^{-3}$)", ylabel="share of the bound used")
    ax.axhline(1, color="0.5", linewidth=0.8)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25))


def _weight(result: Result) -> Array:
    """The sharper bound over that of SGD, minus 1 (at least 1e-3), for each step size."""
    letters = letters_of(result)
    of_sgd = SHARP(**(letters | {"delta": 1.0}))
    excess: Array = np.asarray(SHARP(**letters) / of_sgd)[:, -1] - 1
    return np.maximum(excess, 1e-3)


def _draw_steady(ax: Axes, results: Results) -> None:
    """The last mean of runs to and fro, over sigma^2, and what the bounds say there."""
    runs = [results[f"steady, {q}"] for q in TO_AND_FRO]
    unit = np.array([float(run["sigma"]) ** 2 for run in runs])
    means = np.array([float(run["mean"][-1]) for run in runs])
    looks = ((PAPER, style.VERMILION, ">"), (BEST, style.ORANGE, "p"), (SHARP, style.BLUE, "o"))
    for (name, bound), (_, colour, marker) in zip(BOUNDS.items(), looks, strict=True):
        last = [np.ravel(bound(**steady_letters(run)))[-1] for run in runs]
        ax.plot(TO_AND_FRO, last / unit, marker, color=colour, linestyle="-", label=name)
    ax.plot(TO_AND_FRO, means / unit, "x", color=style.BLACK, label="the run", zorder=3)
    ax.axhline(1, color="0.5", linewidth=0.8)
    ax.set(xlabel="$q = \\sqrt{1-\\delta}$, lr = 2/(K L)", ylim=(0.9, 2.1))
    ax.set_ylabel("mean over t of $|\\nabla f(x_t)|^2$, over $\\sigma^2$")
    ax.set_title(f"$|\\nabla f|$ stays at $\\sigma$, T = {STEADY_STEPS}")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25))


def _draw_halved(ax: Axes, result: Result) -> None:
    t = np.arange(result["squared"].size)
    at = np.unique(np.geomspace(1, t[-1], 200).round().astype(int))
    ax.plot(at, result["squared"][at], color=style.BLUE, label="the run")
    dots = np.unique(np.geomspace(1, t[-1], 12).round().astype(int))
    ax.plot(dots, result["recursion"][dots], "o", color=style.BLUE, label="its recursion")
    looks = (
        (style.VERMILION, style.DOTTED),
        (style.BLACK, style.DASHED),
        (style.ORANGE, style.LONG),
    )
    values = halved(result)
    names = ("Theorem II", "the sharper form", "its middle term halved")
    for name, (colour, line) in zip(names, looks, strict=True):
        ax.axhline(values[name], color=colour, linestyle=line, label=name)
    ax.set(
        xscale="log",
        xlabel="t",
        ylabel="$|\\nabla f(x_t)|^2$, bounds on its mean",
        ylim=(0.05, 0.12),
        title=f"worst case, $\\delta$ = {result['delta']}",
    )
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25))


PICTURE = Picture(
    "theorem-two",
    "Theorem II on a nonconvex problem, and runs that need all its terms",
    work,
    draw,
    verdicts,
)
