"""The methods of the picture ``variants`` with batches, about which their theorems say nothing.

Each has the step size of a grid that leaves the least gap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from efsgd.figures.claims.verdicts import Verdict, claim, observation
from efsgd.figures.convex.variants import MINE, draw_gaps, finish
from efsgd.figures.convex.variants_reading import (
    compressor_of,
    curve,
    index,
    method_names,
    tuned_residual,
)
from efsgd.figures.convex.variants_runs import BATCH, BATCHES, PAIRS, side_by_side
from efsgd.figures.make import Picture, Results, Works

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def work(quick: bool, seed: int) -> Works:
    """Every method with every compressor on both problems, at all step sizes of the grid."""
    return side_by_side((BATCHES,), quick, seed)


def draw(results: Results) -> Figure:
    """A column for each compressor, a row for each problem."""
    figure = draw_gaps(results, BATCHES)
    finish(figure, f"Batches of {BATCH} rows, tuned step size")
    return figure


def verdicts(results: Results) -> list[Verdict]:
    """Virtual iterates are those of SGD; how the methods compare."""
    return [_virtual(results), *(_gaps(results, pair) for pair in PAIRS)]


def _virtual(results: Results) -> Verdict:
    """The residual at the step sizes that are chosen."""
    text = "x_t - e_t = x_0 - sum lr g with batches, at the tuned step sizes: largest relative "
    return claim(f"{text}residual", MINE, tuned_residual(results), "<", 1e-10)


def _gaps(results: Results, pair: str) -> Verdict:
    """What is left of the gap with batches."""
    gaps = []
    for name in method_names(pair):
        _, gap = curve(results, pair, BATCHES, index(compressor_of(pair), name))
        gaps.append(f"{name} {gap[-5:].mean() / gap[0]:.2g}")
    text = f"{pair}, batches of {BATCH} rows, tuned: last gap over the first"
    return observation(text, MINE, ", ".join(gaps))


PICTURE = Picture(
    "variants-batches",
    "The descendants of error feedback with batches, byte for byte",
    work,
    draw,
    verdicts,
)
