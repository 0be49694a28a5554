"""The descendants of error feedback beside plain SGD and compression without feedback.

Loss gaps against bytes on two problems of known curvature: full gradients, every method with the
step size that a theorem gives it. With feedback the proven rates are far from what is seen there;
they are judged where C(x) = (1+q)x or (1-q)x attains them. How the methods compare holds for these
two problems, and at tuned step sizes it is not the same (``variants-bytes``). The pictures
``variants-batches``, ``variants-bytes`` and ``variants-memory`` go on from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from efsgd.figures.claims.verdicts import Verdict, claim, observation
from efsgd.figures.convex.variants_proven import (
    FORMULAS,
    bound,
    off_attained,
    share_of_bound,
    theorem_of,
)
from efsgd.figures.convex.variants_reading import (
    Ratio,
    at_budget,
    claim_ratio,
    history,
    method_names,
    ratio,
)
from efsgd.figures.convex.variants_runs import (
    COMPRESSORS,
    DENSE,
    NO_FEEDBACK,
    PAIRS,
    PLAIN,
    PROBLEMS,
    ROUNDING,
    THEOREM,
    THEOREMS,
    at_theorems,
    attained,
    optima,
)
from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results, Works

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MINE = "derived here"
PROVEN = tuple(name for name, (_, strongly) in THEOREMS.items() if strongly)
TITLES = {"scaledsign": "scaledsign\nEF is EF-signSGD (one bit)"}
NEAR_BOUND = (PLAIN, NO_FEEDBACK)  # which use half of their bound and more
AHEAD = {"topk:0.02": 8, "randk:0.02": 1.2, "scaledsign": 50}  # by so much, on any seed's data
LEAST_SHOWN = 1e-5  # of the first gap: the panels cut off smaller ones, which SGD alone has


def work(quick: bool, seed: int) -> Works:
    """Every method with every compressor at the step size of its theorem; attained rates."""
    return optima(quick, seed) | at_theorems(quick, seed) | attained(quick, seed)


def draw(results: Results) -> Figure:
    """A column for each compressor, a row for each problem."""
    figure = draw_gaps(results, THEOREM)
    for axes, problem in zip((figure.axes[:3], figure.axes[3:]), PROBLEMS, strict=True):
        for ax, c in zip(axes, COMPRESSORS, strict=True):
            _draw_bound(ax, results, f"{problem}, {c}")
    finish(figure, "Full gradients, step size of the theorem")
    return figure


def draw_gaps(results: Results, setting: str) -> Figure:
    """The mean gaps of all methods against the bytes that they sent, in one setting."""
    figure, axes = style.panels(len(PROBLEMS), len(COMPRESSORS))
    for row, problem in zip(axes, PROBLEMS, strict=True):
        for ax, c in zip(row, COMPRESSORS, strict=True):
            _draw_pair(ax, results, f"{problem}, {c}", setting)
        row[0].set_ylabel(f"{problem}: $f(x_t) - f^*$")
    for ax in axes[-1]:
        ax.set_xlabel("bytes sent")
    return figure


def finish(figure: Figure, title: str) -> None:
    """The compressors above the columns, a title above them, and one legend below all panels."""
    for ax, c in zip(figure.axes, COMPRESSORS, strict=False):
        ax.set_title(TITLES.get(str(c), str(c)))
    figure.suptitle(title, fontsize=8, fontweight="bold")
    entries = figure.axes[0].get_legend_handles_labels()
    figure.legend(*entries, loc="outside lower center", ncols=4)


def _draw_pair(ax: Axes, results: Results, pair: str, setting: str) -> None:
    for name in method_names(pair):
        _, sent, gaps = history(results, pair, setting, name)
        gap = gaps.mean(axis=1)
        style.curve(ax, sent[1:], np.maximum(gap[1:], ROUNDING * gap[0]), **style.line(name))
    ax.set(xscale="log", yscale="log")


def _draw_bound(ax: Axes, results: Results, pair: str) -> None:
    t, sent, gap = history(results, pair, THEOREM, "EF")
    first = float(gap[0].mean())
    limit = first * bound(theorem_of(pair, "EF"), t)
    ax.plot(sent[1:], limit[1:], color="0.5", linewidth=0.8, label="proven bound of EF and EF21")
    ax.set(ylim=(LEAST_SHOWN * first, 2 * limit[0]), xlim=(sent[1] / 2, 2 * sent[-1]))


def verdicts(results: Results) -> list[Verdict]:
    """Proven rates and steps where they are attained; which methods are ahead at those steps."""
    return [
        *_attained(results),
        *(_ahead(results, pair) for pair in PAIRS),
        *_shares(results),
    ]


def _attained(results: Results) -> list[Verdict]:
    """The proven step is the best one where something attains the proven rate, and so is the rate.

    Step sizes lie 1 % apart, and the least measured rate is as sharp as that. EF21 does the same as
    EF there, as C is linear.
    """
    steps_off, rates_off = zip(*(off_attained(results, name) for name in FORMULAS), strict=True)
    text = f"{', '.join(FORMULAS)}, runs on both ends of the curvature, C(x) = (1+q)x and (1-q)x: "
    of_step = "proven step size from the best one, in neighbours 1 % apart"
    of_rate = "log of the proven rate against the least measured one, relative"
    return [
        claim(text + of_step, MINE, float(np.max(steps_off)), "<=", 1),
        claim(text + of_rate, MINE, float(np.max(rates_off)), "<=", 0.02),
    ]


def _ahead(results: Results, pair: str) -> Verdict:
    """Compression alone is ahead of every method with feedback, each at its theorem's step."""
    alone = at_budget(results, pair, THEOREM, NO_FEEDBACK)
    with_feedback = [name for name in method_names(pair) if name not in (PLAIN, NO_FEEDBACK)]
    ratios: dict[str, Ratio] = {
        name: ratio(at_budget(results, pair, THEOREM, name), alone) for name in with_feedback
    }
    least = min(ratios, key=lambda name: ratios[name].low)
    text = f"{pair}, full gradients, step of the theorem, bytes of {DENSE} dense gradients: "
    text += f"least gap with feedback ({least}) over that of compression alone"
    return claim_ratio(text, MINE, ratios[least], ">", AHEAD[pair.rpartition(", ")[2]])


def _shares(results: Results) -> list[Verdict]:
    """How far the runs are from the bounds that their rates give: close without feedback."""
    at = (
        "full gradients, step of the theorem: largest share of the proven bound on the gap, at any "
    )
    at += "recorded step"
    near = [share_of_bound(results, name) for name in NEAR_BOUND]
    others = [name for name in PROVEN if name not in NEAR_BOUND]
    shares = ", ".join(f"{name} {share_of_bound(results, name):.2g}" for name in others)
    return [
        claim(f"{' and '.join(NEAR_BOUND)}, {at}", MINE, float(np.max(near)), "<=", 1.0),
        observation(at, MINE, shares),
    ]


PICTURE = Picture(
    "variants",
    "The descendants of error feedback, SGD and compression without feedback, byte for byte",
    work,
    draw,
    verdicts,
)
