"""What sign(0) decides: one-bit and ternary scaled signs on the least squares of section 5.

The paper's code is ternary (np.sign and torch.sign). Coordinates that no training row touches have
gradient exactly 0; with sign(0) = +1 every step moves all of them by the same amount, and the
weight that they end with counts the columns that belong to one test row alone: one for a positive
label, five for a negative one. Without those weights the one-bit sign is as bad as the ternary one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd import EFSGD, CompressedSGD, Method, ScaledSign
from efsgd.convex.studies import section_five_forms as forms
from efsgd.convex.studies.section_five import (
    COUNTS,
    FEW,
    GRID,
    ROWS,
    STEPS,
    Untouched,
    enumerated,
    evenly,
    on_grid,
    test_accuracy,
    training_sets,
)
from efsgd.figures.claims.verdicts import Verdict, claim, observation
from efsgd.figures.convex.all_draws import (
    BANDS,
    accurate,
    claim_good,
    claim_right,
    drawn_losses,
    grid_losses,
    majority,
    off,
    predictions,
    quantiles,
    weights,
)
from efsgd.figures.convex.least_squares import ROUNDING
from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results, Works
from efsgd.results import Work

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MINE = "derived here"
P, LR = 0.6, 10.0  # as in the paper's figure
BIT, TERNARY = "signSGD (one bit)", "signSGD (ternary)"
EF_BIT, EF_TERNARY = "EF-signSGD (one bit)", "EF-signSGD (ternary)"
METHODS: dict[str, Method] = {
    TERNARY: CompressedSGD(ScaledSign(zero=0)),
    BIT: CompressedSGD(ScaledSign()),
    EF_TERNARY: EFSGD(ScaledSign(zero=0)),
    EF_BIT: EFSGD(ScaledSign()),
}
ALL_RIGHT = {BIT: (6, 100), EF_BIT: (1, 94)}  # of 100 y = +1 in training: right in any test
ALL_GOOD = (6, 85)  # the same: EF-signSGD with one bit is good in any test
LABELS = style.labels(METHODS)
LOOKS: dict[str, dict[str, Any]] = {
    BIT: {"color": style.VERMILION, "marker": "v", "linestyle": style.DASHDOT},
    EF_BIT: {"color": style.SKY, "marker": "p", "linestyle": style.SHORT},
}
TOP = 1.4  # of the axes of the loss


def work(quick: bool, seed: int) -> Works:
    """Both signs with and without feedback: along the steps, and at the end over step sizes."""
    sets = FEW if quick else COUNTS
    works: dict[str, Work] = {}
    for name, method in METHODS.items():
        works[name] = enumerated(method, LR, sets)
        works[f"{name} grid"] = on_grid(method, GRID[:: 4 if quick else 1])
    return (
        works if quick else works | {"untouched": Untouched(training_sets(FEW), METHODS[BIT], LR)}
    )


def draw(results: Results) -> Figure:
    """Test loss and accuracy along the steps, and the final test loss over step sizes."""
    figure, axes = style.panels(1, 3, height=2.7)
    loss, accuracy, sizes = axes[0]
    for i, name in enumerate(METHODS):
        history, grid = results[name], results[f"{name} grid"]
        look: dict[str, Any] = LOOKS.get(name, {}) | {"markevery": (4 * i, 16)}
        right = test_accuracy(*predictions(history, slice(None)))
        for ax, values in (
            (loss, drawn_losses(history, P)),
            (accuracy, evenly(right, weights(history, P))),
        ):
            style.spread(ax, history["step"], values, LABELS[name], centre=np.median, **look)
        lrs = np.array(grid.spec["run"]["lr"])
        final = np.fmin(grid_losses(grid, P), 2 * TOP)
        look |= {"markevery": (i, 4), "share": 0}
        style.spread(sizes, lrs, final, LABELS[name], centre=np.median, **look)
    loss.set(xlabel="iteration", ylabel="test loss", ylim=(0, TOP), title=f"step size {LR:g}")
    accuracy.set(xlabel="iteration", ylabel="test accuracy", title=f"step size {LR:g}")
    sizes.set(xscale="log", xlabel="step size", ylabel="test loss", ylim=(0, TOP))
    sizes.set_title(f"after {STEPS} iterations")
    figure.legend(
        *loss.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=len(METHODS),
        title=f"P(y=1) = {P}: {BANDS}",
        title_fontsize=7,
    )
    return figure


def verdicts(results: Results) -> list[Verdict]:
    """Who generalises with which sign, and by what; the ternary ones are in `least-squares`."""
    rows = [claim_right(results[name], name, *ALL_RIGHT[name], MINE) for name in ALL_RIGHT]
    rows.append(claim_good(results[EF_BIT], EF_BIT, *ALL_GOOD, MINE))
    for name in METHODS:
        (median,) = quantiles(results[name], P, (0.5,))
        text = f"P(y=1) = {P}: {name}, probability of a test accuracy >= 0.95; median final test "
        text += f"loss at step size {LR:g}, and the least median over {len(GRID)} step sizes"
        least_median = np.median(grid_losses(results[f"{name} grid"], P), axis=1).min()
        measured = f"{accurate(results[name], P):.3g}; {median:.3g} and {least_median:.3g}"
        rows.append(observation(text, MINE, measured))
    return [*rows, *_untouched(results)]


def _untouched(results: Results) -> list[Verdict]:
    """One bit gains by nothing but the weights that no training row touches."""
    without = results["untouched"]
    a = np.array([forms.scaled_along(np.array(LR), t, ROWS) for t in range(STEPS + 1)])
    path = float(off(majority(results[BIT], slice(None)), a, of_negative=-4, of_positive=2).max())
    more = np.array([v["positives"] for v in without.spec["problems"]]) > ROWS // 2
    set_to_0 = (without["positive"][None, more], without["negative"][None, more])
    spread = float((without["greatest"] - without["least"]).max())
    of_few = f"{FEW[0]}, {FEW[1]}, ..., {FEW[-1]} of 100 y = +1"
    leads = "more y = +1 than -1 in training"
    return [
        claim(
            f"{BIT}, any training set with {leads}, any step: largest distance of the predictions "
            "for y = +1 and -1 from 2a_t and -4a_t, a_t = (1 - (1 - lr/75)^t)/4",
            MINE,
            path,
            "<=",
            ROUNDING,
        ),
        claim(
            f"{BIT}, {of_few}: largest difference among the weights that no training row touches",
            MINE,
            spread,
            "==",
            0.0,
        ),
        claim(
            f"{BIT} with those weights set to 0, {leads}: largest distance of the predictions from "
            "those of the ternary sign, 3a and a",
            MINE,
            float(off(set_to_0, a[-1:]).max()),
            "<=",
            ROUNDING,
        ),
    ]


PICTURE = Picture(
    "sign-at-zero",
    "What sign(0) decides: scaled signSGD generalises with one bit, not with the ternary sign",
    work,
    draw,
    verdicts,
)
