"""The delta zoo: what compressors claim, what is proven, what a search finds, what Gaussians show.

The picture shows an unbiased C as C/(1 + omega), which has delta = 1/(1 + omega) (Theorem IV of
arXiv 1901.09847). Beside the worst case stand Gaussian vectors and, for scaled sign, the densities
that trainings have kept; ``benchmarks/real_gradients.py`` measures top-k on gradients too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd.compressors import compressor
from efsgd.convex.studies.bound_checks import (
    BUILT_IN,
    DIMENSIONS,
    OTHERS,
    Bounds,
    ScaledMultiples,
)
from efsgd.figures.bounds import trainings
from efsgd.figures.bounds.trainings import REAL
from efsgd.figures.bounds.zoo_claims import (
    MULTIPLES,
    by_reasoning,
    checks,
    read_off,
    silent,
    solved,
    verdicts,
)
from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results, Works
from efsgd.figures.texts import for_matplotlib
from efsgd.results import Result, Work

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "delta-zoo"
TITLE = "What every compressor claims, what is proven, and the worst that a search finds"
SAMPLES, QUICK_SAMPLES = 1000, 100
QUICK_DIMENSIONS = (2, 16)
PANELS = 2


def dimensions(quick: bool) -> tuple[int, ...]:
    """The dimensions at which compressors are checked."""
    return QUICK_DIMENSIONS if quick else DIMENSIONS


def samples(quick: bool) -> int:
    """The draws over which a random compressor is averaged."""
    return QUICK_SAMPLES if quick else SAMPLES


def work(quick: bool, seed: int) -> Works:
    """Every built-in compressor at every dimension, and what is at one dimension only."""
    pairs = [(c, d) for c in BUILT_IN for d in dimensions(quick)]
    works: dict[str, Work] = {}
    if not quick:
        pairs += [(compressor(spec), d) for spec, d in OTHERS]
        works[MULTIPLES] = ScaledMultiples()
    checks = [Bounds(c, d, seed, samples(quick)) for c, d in pairs]
    return works | {f"{check.compressor}, d = {check.d}": check for check in checks}


def as_delta(result: Result, name: str) -> float:
    """A number of a check as a delta: 1/(1 + omega) for an omega."""
    value = float(result[name])
    return 1 / (1 + value) if str(result["quantity"]) == "omega" else value


def draw(results: Results) -> Figure:
    """A panel for each of the largest dimensions, a row for each compressor at the largest.

    Dimensions that fewer than half of these compressors have are left to the table.
    """
    by_name = checks(results)
    largest = max(d for by_d in by_name.values() for d in by_d)
    by_name = {name: by_d for name, by_d in by_name.items() if largest in by_d}
    have = Counter(d for by_d in by_name.values() for d in by_d)
    dims = sorted(d for d, count in have.items() if 2 * count >= len(by_name))[-PANELS:]
    figure, axes = style.panels(1, len(dims), height=1.4 + 0.19 * len(by_name))
    figure.set_figwidth(style.PAGE)
    heights = {name: len(by_name) - 1 - row for row, name in enumerate(by_name)}
    for ax, d in zip(axes[0], dims, strict=True):
        at_d = {name: by_d[d] for name, by_d in by_name.items() if d in by_d}
        _draw_dimension(ax, at_d, heights, d)
    _draw_real(axes[0, -1], results, heights)
    labels = [_label(name, by_d[max(by_d)]) for name, by_d in by_name.items()]
    axes[0, 0].set_yticks(list(heights.values()), labels)
    for ax in axes[0, 1:]:
        ax.set_yticks(list(heights.values()), [])
    handles, labels = axes[0, -1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _label(name: str, result: Result) -> str:
    shown = for_matplotlib(name)  # a function of the user's own may have any letters
    return f"{shown}, /(1+$\\omega$)" if str(result["quantity"]) == "omega" else shown


def _draw_dimension(ax: Axes, at_d: dict[str, Result], heights: Mapping[str, int], d: int) -> None:
    """All numbers of each compressor at dimension d, at its height."""
    left = 0.25 / d
    claiming = {name: result for name, result in at_d.items() if not silent(result)}
    for name in at_d.keys() - claiming.keys():
        ax.text(0.97, heights[name], "claims nothing", ha="right", va="center", size=6, color="0.5")
    _draw_gaussian(ax, claiming, heights)
    _draw_marks(ax, claiming, heights)
    for name, result in claiming.items():
        if (worst := as_delta(result, "worst")) <= 0:
            y, red = heights[name], style.VERMILION
            ax.plot(left * 1.2, y, "<", color=red, markersize=5)
            ax.text(left * 1.4, y, f" {worst:.3g}", va="center", size=6, color=red)
    ax.set(xscale="log", xlim=(left, 1.3), ylim=(-0.7, len(heights) - 0.3))
    ax.set(xlabel="$\\delta$", title=f"d = {d}")


def _draw_marks(ax: Axes, claiming: dict[str, Result], heights: Mapping[str, int]) -> None:
    """What is claimed, what is proven and how, and the worst that was found."""

    def mark(label: str, number: str, applies: Callable[[Result], bool], **look: Any) -> None:
        marked = {name: result for name, result in claiming.items() if applies(result)}
        if marked:
            x = [as_delta(result, number) for result in marked.values()]
            ax.plot(x, [heights[name] for name in marked], label=label, linestyle="", **look)

    hollow: dict[str, Any] = {"markerfacecolor": "none", "markersize": 6.5}
    mark("claimed", "claimed", lambda r: True, marker="|", markersize=9, color="black")
    mark("certified", "certified", solved, marker="o", color=style.GREEN, **hollow)
    mark("by an argument", "certified", by_reasoning, marker="s", color="0.5", **hollow)
    mark(
        "certified, form read off",
        "certified",
        read_off,
        marker="D",
        color=style.PURPLE,
        **hollow,
    )
    mark("worst found", "worst", lambda r: bool(r["worst"] > 0), marker="x", color=style.VERMILION)


def _draw_real(ax: Axes, results: Results, heights: Mapping[str, int]) -> None:
    """The range of the densities of real gradients, which are the delta of scaled sign there.

    Of the ternary one, which achieves more where x_i = 0, they are a lower bound.
    """
    phi = trainings.densities(results)
    text: str | None = f"{REAL} of {trainings.models(results)}: $\\phi$, means of epochs"
    for name in ("scaledsign", "scaledsign:zero=0"):
        if phi.size and name in heights:
            look: dict[str, Any] = {"color": style.ORANGE, "alpha": 0.5, "linewidth": 6}
            ends = [phi.min(), phi.max()]
            ax.plot(ends, [heights[name]] * 2, label=text, solid_capstyle="butt", zorder=1, **look)
            text = None


def _draw_gaussian(ax: Axes, claiming: dict[str, Result], heights: Mapping[str, int]) -> None:
    """A line from the worst to the mean of the Gaussian vectors, with a dot at the mean."""
    look: dict[str, Any] = {"color": style.SKY, "marker": "o", "markevery": [0], "linewidth": 2.5}
    label: str | None = "Gaussian: mean to worst"
    for name, result in claiming.items():
        if not np.isnan(result["gaussian"]):
            ends = [as_delta(result, "gaussian"), as_delta(result, "gaussian_worst")]
            ax.plot(ends, [heights[name]] * 2, label=label, **look)
            label = None


PICTURE = Picture(NAME, TITLE, work, draw, verdicts)
