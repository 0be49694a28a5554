"""The error lemma, its sharp form and its form for step sizes that vary: how tight each is.

E|e_t|^2 is compared with what :mod:`efsgd.bounds` gives for the step sizes of the run, at every
recorded step. C(x) = (1-q)x attains the sharp forms. The other compressors here use up to half of
the lemma on these problems, and rand-k most of it where every gradient points along its memory.
``efsgd-figures convex error-norm`` shows each compressor by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results
from efsgd.figures.theory.error_lemma_claims import verdicts
from efsgd.figures.theory.error_lemma_work import (
    ALONG_D,
    CONSTANT,
    DRAWN_Q,
    GRADIENTS,
    RATES,
    SPECS,
    D,
    along,
    extremal,
    last_share,
    lemma,
    lossy,
    shares,
    varying,
    work,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PICTURE", "SPECS", "draw", "verdicts", "work"]


def draw(results: Results) -> Figure:
    """How much of the lemma is used against delta, and memories under step sizes that vary."""
    figure, axes = style.panels(1, 2, height=3.0)
    _draw_tightness(axes[0, 0], results)
    _draw_varying(axes[0, 1], results)
    return figure


def _draw_tightness(ax: Axes, results: Results) -> None:
    delta = np.linspace(0.005, 1, 200)
    q = np.sqrt(1 - delta)
    ax.axhline(1, color=style.VERMILION, linestyle=style.DASHED, label="the paper's lemma")
    ax.plot(delta, (1 + q) ** 2 / 4, color="0.2", label="sharp form, $(1+q)^2/4$")
    points = [(float(r["delta"]), last_share(r)) for r in extremal(results)]
    ax.plot(*np.transpose(points), "o", color="0.2", label="C(x) = (1-q)x, constant gradient")
    looks = (("X", style.BLUE), ("p", style.ORANGE))
    for row, (gradient, (marker, colour)) in enumerate(zip(GRADIENTS, looks, strict=True)):
        points = [
            (float(r["delta"]), float(shares(r)[1][2 * row : 2 * row + 2].max()))
            for r in lossy(results).values()
        ]
        label = f"built-in compressors, {gradient} gradients"
        ax.plot(*np.transpose(points), marker, color=colour, alpha=0.8, markersize=4.5, label=label)
    share, error = along(results["along"])
    look: dict[str, Any] = {"color": style.GREEN, "markersize": 6}
    label = f"rand-k, d = {ALONG_D}, gradients along its memory"
    ax.errorbar(float(results["along"]["delta"]), share, 2 * error, fmt="*", label=label, **look)
    ax.set(
        xlabel="$\\delta$",
        xlim=(0, 1.02),
        ylim=(-0.035, 1.05),
        title=f"constant step sizes, d = {D} but for the star",
    )
    ax.set_ylabel("$E|e_t|^2$ over the lemma's bound")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25))


def _draw_varying(ax: Axes, results: Results) -> None:
    result = results[f"extremal q={DRAWN_Q}"]
    unit = float(result["sigma"][0]) ** 2
    step, names = result["step"][1:], ("lr/10 from step 100 on", "$lr/\\sqrt{t+1}$")
    bound, latest, squared = (
        v[0] / unit for v in (varying(result), lemma(result), result["squared"])
    )
    at = np.unique(np.geomspace(1, step[-1], 24).round().astype(int)) - 1
    rows = range(CONSTANT, len(RATES))
    for row, colour, name in zip(rows, style.THREE, names, strict=False):
        ax.plot(step, bound[row, 1:], color=colour, label=f"its bound, {name}")
        ax.plot(step[at], squared[row, 1:][at], "o", color=colour)
        ax.plot(step, latest[row], color=colour, linestyle=style.DOTTED)
    ax.plot([], [], "o", color="0.3", label="C(x) = (1-q)x attains it")
    ax.plot([], [], color="0.3", linestyle=style.DOTTED, label="the lemma with $lr_t$: exceeded")
    ax.set(xscale="log", yscale="log", xlabel="iteration t", ylabel="$|e_t|^2/\\sigma^2$")
    ax.set_title(f"step sizes that vary, q = {DRAWN_Q}")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25))


PICTURE = Picture(
    "error-lemma",
    "How tight the error lemma is, its sharp form, and its form for step sizes that vary",
    work,
    draw,
    verdicts,
)
