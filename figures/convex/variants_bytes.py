"""What the methods of the picture ``variants`` reach with the bytes of a few dense gradients.

Full gradients, at the step sizes of theorems and at tuned ones.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from efsgd.figures.claims.verdicts import Verdict, observation
from efsgd.figures.convex.variants import MINE, TITLES
from efsgd.figures.convex.variants_batches import edges
from efsgd.figures.convex.variants_reading import (
    Relation,
    at_budget,
    claim_ratio,
    method_names,
    ratio,
)
from efsgd.figures.convex.variants_runs import (
    COMPRESSORS,
    DENSE,
    NO_FEEDBACK,
    PAIRS,
    PROBLEMS,
    ROUNDING,
    THEOREM,
    THEOREMS,
    TUNED,
    at_theorems,
    tuned,
)
from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results, Works

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEEDBACK: dict[str, tuple[Relation, float]] = {  # gap of EF over that of compression alone, tuned
    "least squares, topk:0.02": (">", 150),
    "logistic, topk:0.02": (">", 150),
    "least squares, randk:0.02": (">", 2),
    "logistic, randk:0.02": (">", 2),
    "least squares, scaledsign": ("<=", 1e-5),  # EF comes to rounding, 1e-15 of the first gap
    "logistic, scaledsign": ("<=", 1e-8),
}


def work(quick: bool, seed: int) -> Works:
    """Every method with every compressor on both problems, at step sizes of both kinds."""
    return at_theorems(quick, seed) | tuned(TUNED, quick, seed)


def draw(results: Results) -> Figure:
    """A panel for each compressor, a row for each method."""
    figure, axes = style.panels(1, len(COMPRESSORS), height=3.0)
    for ax, c in zip(axes[0], COMPRESSORS, strict=True):
        _draw_compressor(ax, results, str(c))
        ax.set(title=TITLES.get(str(c), str(c)))
        ax.set_xlabel("gap over the first (at least $10^{-15}$)")
        ax.set_yticks(range(len(THEOREMS)), list(reversed(THEOREMS)) if ax is axes[0, 0] else [])
    figure.suptitle(
        f"Full gradients: the gap at the bytes of {DENSE} dense gradients",
        fontsize=8,
        fontweight="bold",
    )
    ax, kinds = axes[0, 0], itertools.product(zip(PROBLEMS, "os", strict=True), (THEOREM, TUNED))
    for (problem, marker), setting in kinds:
        look = {"color": "0.3", "fillstyle": "none" if setting == THEOREM else "full"}
        label = "step of the theorem" if setting == THEOREM else "tuned"
        ax.plot([], [], marker, label=f"{problem}, {label}", **look)
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _draw_compressor(ax: Axes, results: Results, c: str) -> None:
    """Hollow at the step size of the theorem, filled at the tuned one."""
    for row, name in enumerate(reversed(THEOREMS)):
        if name not in method_names(f"{PROBLEMS[0]}, {c}"):
            place: dict[str, Any] = {"transform": ax.get_yaxis_transform(), "va": "center"}
            ax.text(0.03, row, "takes no random compressor", size=6, color="0.4", **place)
            continue
        colour = style.METHODS[name][0]
        for problem, marker, up in zip(PROBLEMS, "os", (0.17, -0.17), strict=True):
            pair, height = f"{problem}, {c}", [row + up]
            ends = [at_budget(results, pair, kind, name).mean() for kind in (THEOREM, TUNED)]
            ax.plot(ends, height * 2, color=colour, linewidth=0.8)
            ax.plot(ends[:1], height, marker, color=colour, fillstyle="none")
            ax.plot(ends[1:], height, marker, color=colour)
    ax.set(xscale="log", ylim=(-0.6, len(THEOREMS) - 0.4))


def verdicts(results: Results) -> list[Verdict]:
    """Tuned, feedback costs with top-k and rand-k and pays with signs; how all compare."""
    return [
        *(_feedback(results, pair) for pair in PAIRS),
        edges(results, TUNED),
        *(_gaps(results, pair) for pair in PAIRS),
    ]


def _feedback(results: Results, pair: str) -> Verdict:
    """What feedback gains or costs, each at its own tuned step size."""
    found = ratio(*(at_budget(results, pair, TUNED, name) for name in ("EF", NO_FEEDBACK)))
    text = f"{pair}, full gradients, tuned, bytes of {DENSE} dense gradients: gap of EF over that "
    text += f"of compression alone, gaps below {ROUNDING:g} of the first counted as that"
    return claim_ratio(text, MINE, found, *FEEDBACK[pair])


def _gaps(results: Results, pair: str) -> Verdict:
    """The gap that each method reaches with the same bytes, at the theorem's step and tuned."""
    gaps = []
    for name in method_names(pair):
        proven, best = (at_budget(results, pair, kind, name).mean() for kind in (THEOREM, TUNED))
        gaps.append(f"{name} {proven:.2g} ({best:.2g})")
    text = f"{pair}, full gradients: gap over the first at the bytes of {DENSE} dense gradients, "
    return observation(f"{text}step of the theorem (tuned)", MINE, ", ".join(gaps))


PICTURE = Picture(
    "variants-bytes",
    "What the descendants of error feedback reach with the bytes of ten dense gradients",
    work,
    draw,
    verdicts,
)
