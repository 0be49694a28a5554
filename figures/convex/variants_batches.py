"""The methods of the picture ``variants`` with batches, about which their theorems say nothing.

Each has the step size of a grid that leaves the least gap, chosen on runs with other batches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd.figures.claims.intervals import student
from efsgd.figures.claims.verdicts import Verdict, claim, observation
from efsgd.figures.convex.variants import MINE, draw_gaps, finish
from efsgd.figures.convex.variants_reading import (
    Ratio,
    Relation,
    claim_ratio,
    history,
    late,
    method_names,
    ratio,
)
from efsgd.figures.convex.variants_runs import (
    BATCH,
    BATCHES,
    COPIES,
    NO_FEEDBACK,
    PAIRS,
    PLAIN,
    PROBLEMS,
    tuned,
)
from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results, Works

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SQUARES, LOGISTIC = PROBLEMS
# limits hold for the data of seeds 0, 1 and 2; how far EF is above SGD is not the same for them
COMPARISONS: tuple[tuple[str, str, str, Relation, float], ...] = (
    (f"{SQUARES}, topk:0.02", NO_FEEDBACK, "EF", ">", 40),
    (f"{LOGISTIC}, topk:0.02", NO_FEEDBACK, "EF", ">", 4),
    (f"{SQUARES}, topk:0.02", "EF21", "EF21-SGDM", ">", 80),
    (f"{LOGISTIC}, topk:0.02", "EF21", "EF21-SGDM", ">", 8),
    (f"{SQUARES}, topk:0.02", "EF", PLAIN, ">", 1),
    (f"{SQUARES}, topk:0.02", "EF", PLAIN, "<=", 1.6),
    (f"{LOGISTIC}, topk:0.02", "EF", PLAIN, "<=", 1.2),
    (f"{SQUARES}, scaledsign", NO_FEEDBACK, "EF", ">", 1.5),
    (f"{LOGISTIC}, scaledsign", NO_FEEDBACK, "EF", ">", 1.15),
    (f"{SQUARES}, scaledsign", "EF", PLAIN, "<=", 1.05),
    (f"{LOGISTIC}, scaledsign", "EF", PLAIN, "<=", 1.05),
)


def work(quick: bool, seed: int) -> Works:
    """Every method with every compressor on both problems, tuned on runs of another seed."""
    return tuned(BATCHES, quick, seed)


def draw(results: Results) -> Figure:
    """A column for each compressor, a row for each problem."""
    figure = draw_gaps(results, BATCHES)
    for ax, pair in zip(figure.axes, PAIRS, strict=True):
        _draw_intervals(ax, results, pair)
    title = f"Batches of {BATCH} rows, step size tuned on other batches: "
    finish(figure, f"{title}mean of {COPIES[BATCHES]} runs, 95 % interval")
    return figure


def _draw_intervals(ax: Axes, results: Results, pair: str) -> None:
    for name in method_names(pair):
        _, sent, gaps = history(results, pair, BATCHES, name)
        if (n := gaps.shape[1]) == 1:  # quick
            continue
        mean, half = gaps.mean(1), student(n - 1) * gaps.std(1, ddof=1) / np.sqrt(n)
        look: dict[str, Any] = {"color": style.METHODS[name][0], "alpha": 0.2, "linewidth": 0}
        ax.fill_between(sent[1:], (mean - half)[1:], (mean + half)[1:], **look)


def verdicts(results: Results) -> list[Verdict]:
    """What intervals decide about the methods, and how all of them compare with SGD."""
    return [
        *(_compared(results, *comparison) for comparison in COMPARISONS),
        *(_to_sgd(results, pair) for pair in PAIRS),
        edges(results, BATCHES),
    ]


def _compared(
    results: Results, pair: str, above: str, below: str, relation: Relation, limit: float
) -> Verdict:
    """How the late gaps of two methods compare."""
    side = "more" if relation == ">" else "no more"
    text = f"{pair}, batches of {BATCH} rows, tuned: late gap of {above} over that of {below}, "
    found = _ratio(results, pair, above, below)
    return claim_ratio(f"{text}{side} than {limit:g}", MINE, found, relation, limit)


def _ratio(results: Results, pair: str, above: str, below: str) -> Ratio:
    """The late gap of one method over that of another."""
    return ratio(late(results, pair, BATCHES, above), late(results, pair, BATCHES, below))


def _to_sgd(results: Results, pair: str) -> Verdict:
    """The late gaps of all methods, over that of SGD."""
    names = [name for name in method_names(pair) if name != PLAIN]
    ratios = ", ".join(f"{name} {_ratio(results, pair, name, PLAIN)}" for name in names)
    text = f"{pair}, batches of {BATCH} rows, tuned: late gap over that of SGD (95 %)"
    return observation(text, MINE, ratios)


def edges(results: Results, setting: str) -> Verdict:
    """No step size was chosen at an end of its grid, where a better one could lie beyond it."""
    tunings = [result["tuning"] for result in results.values() if "tuning" in result.arrays]
    at_end = sum(int(np.argmin(tuning)) in (0, len(tuning) - 1) for tuning in tunings)
    text = f"{setting}: of {len(tunings)} step sizes chosen, those at an end of the grid"
    return claim(text, MINE, at_end, "==", 0)


PICTURE = Picture(
    "variants-batches",
    "The descendants of error feedback with batches, byte for byte",
    work,
    draw,
    verdicts,
)
