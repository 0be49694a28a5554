"""Theorem IV: an unbiased U, scaled to U/k, may be used behind error feedback.

What U/k achieves, what feedback makes of U without that scaling, and where k enters the gap of SGD.
All expectations are exact: over all draws, or by the recursion of their squares, which is held to
the compressors themselves over all draws. Only how the entries of one memory grow is sampled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results
from efsgd.figures.theory.theorem_four_claims import verdicts
from efsgd.figures.theory.theorem_four_work import (
    ALONE,
    KS,
    PATHS,
    SCALED,
    SHARES,
    TS,
    UNBIASED,
    WITHOUT,
    gaps,
    memory_alone,
    memory_scaled,
    sharp_bound,
    work,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PICTURE", "draw", "verdicts", "work"]


def draw(results: Results) -> Figure:
    """The delta of scaled U, the memory with and without the scaling, and the gap over T."""
    figure, axes = style.panels(1, 3, height=3.1)
    _draw_scales(axes[0, 0], results)
    _draw_memory(axes[0, 1], results)
    _draw_gaps(axes[0, 2], results)
    return figure


def _draw_scales(ax: Axes, results: Results) -> None:
    share = np.linspace(0, 3, 200)
    ax.plot(share, share * (2 - share), color="0.3", label="$s\\,(2-s)$")
    markers = ("o", "s", "D", "^", "v")
    looks = zip(UNBIASED, style.OTHERS, markers, range(len(markers)), strict=False)
    for name, (colour, *_), marker, first in looks:
        result = results[name]
        y = result["k"] * result["delta"][:, 0]
        at = slice(first, None, len(markers))  # each fifth dot, so that all are seen
        ax.plot(np.array(SHARES)[at], y[at], marker, color=colour, label=name)
    ax.axhline(0, color="0.6", linewidth=0.8)
    ax.axvline(1, color="0.6", linewidth=0.8)
    ax.set(xlabel="s: scaled to $s\\,U/k$", ylabel="k times the delta achieved", ylim=(-3.2, 1.3))
    ax.set_title("where $E|U(x)|^2 = k|x|^2$")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2)


def _draw_memory(ax: Axes, results: Results) -> None:
    t = np.arange(1, 25)
    looks = zip(PATHS, (style.SKY, style.ORANGE, style.VERMILION), strict=True)
    for k, colour in looks:
        ax.plot(t, memory_alone(k, t), color=colour, label=f"U alone, k = {k:g}")
        squared = results[f"memory, {ALONE}, {k}"]["e_squared"]
        ax.plot(np.arange(1, squared.size), squared[1:], "o", color=colour)
    k = max(PATHS)
    squared = results[f"memory, {SCALED}, {k}"]["e_squared"]
    ax.plot(t, memory_scaled(k, t[-1])[1:], color=style.BLUE, label=f"U/k, k = {k:g}")
    ax.plot(np.arange(1, squared.size), squared[1:], "s", color=style.BLUE)
    dotted: dict[str, Any] = {"color": style.BLUE, "linestyle": style.DOTTED}
    ax.plot(t, sharp_bound(k, t), label="sharp lemma, $\\delta = 1/k$", **dotted)
    ax.set(yscale="log", ylim=(0.3, 1e4), xlabel="t", title="constant gradient")
    ax.set_ylabel("$E|e_t|^2/(lr\\,|g|)^2$")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22))


def _draw_gaps(ax: Axes, results: Results) -> None:
    T = np.array(TS)
    root = np.sqrt(T + 1)
    of = {form: root * gaps(results[f"gap, {form}"]) for form in (SCALED, WITHOUT)}
    ax.plot(T + 1, of[SCALED][0], color=style.BLACK, linestyle=style.DASHED, label="SGD")
    for i, (k, colour) in enumerate(zip(KS, (style.SKY, style.BLUE), strict=True), start=1):
        ax.plot(T + 1, of[SCALED][i], color=colour, label=f"U/k with feedback, k = {k:g}")
    for i, (k, colour) in enumerate(zip(KS, (style.ORANGE, style.VERMILION), strict=True), start=1):
        look: dict[str, Any] = {"color": colour, "linestyle": style.DASHDOT}
        ax.plot(T + 1, of[WITHOUT][i], label=f"U without feedback, k = {k:g}", **look)
    ax.set(xscale="log", yscale="log", xlabel="T + 1", title="quadratic, lr = $1/\\sqrt{T+1}$")
    ax.set_ylabel("$\\sqrt{T+1}\\;(E f(x_T) - f^*)$")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22))


PICTURE = Picture(
    "theorem-four",
    "Theorem IV: an unbiased compressor over k behind error feedback, and without the k",
    work,
    draw,
    verdicts,
)
