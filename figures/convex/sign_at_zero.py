"""What sign(0) decides: one-bit and ternary scaled signs on the least squares of section 5.

The paper's code is ternary and does not say that its picture depends on it. Coordinates that no
training row touches have gradient exactly 0; with sign(0) = +1 every step moves all of them by the
same amount, and the weight that they end with counts the columns that belong to one test row alone:
one for a positive label, five for a negative one. Without those weights the one-bit sign is as bad
as the ternary one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd import EFSGD, CompressedSGD, Method, ScaledSign
from efsgd.convex.studies.section_five import (
    GRID,
    STEPS,
    Untouched,
    along,
    data_draws,
    draws_in,
    negatives,
    on_grid,
    one_bit_loss,
)
from efsgd.convex.studies.vary import Certified
from efsgd.figures.claims.verdicts import (
    Verdict,
    claim,
    claim_certified,
    claim_virtual,
    observation,
)
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
LABELS = style.labels(METHODS)
LOOKS: dict[str, dict[str, Any]] = {
    BIT: {"color": style.VERMILION, "marker": "v", "linestyle": style.DASHDOT},
    EF_BIT: {"color": style.SKY, "marker": "p", "linestyle": style.SHORT},
}
TOP = 1.4  # of the axes of the loss
MEDIANS = {TERNARY: 0.5, BIT: 0.3, EF_TERNARY: 0.05, EF_BIT: 0.05}  # below it, ternary above it
GENERALISES = 0.95  # test accuracy


def work(quick: bool, seed: int) -> Works:
    """Both signs with and without feedback: along the steps, and at the end over step sizes."""
    data = data_draws(P, 3 if quick else 100, seed)
    works: dict[str, Work] = {}
    for name, method in METHODS.items():
        extra = ("virtual_residual",) * (method.feeds_back and not quick)
        works[name] = along(data, method, LR, ("test_mse", "test_accuracy", *extra))
        works[f"{name} grid"] = on_grid(data, method, GRID[:: 4 if quick else 1])
    if quick:
        return works
    works["untouched"] = Untouched(data, METHODS[BIT], LR)
    return works | {"optima": Certified(data[:3])}


def draw(results: Results) -> Figure:
    """Test loss and accuracy along the steps, and the final test loss over step sizes."""
    figure, axes = style.panels(1, 3, height=2.7)
    loss, accuracy, sizes = axes[0]
    for i, name in enumerate(METHODS):
        history, grid = results[name], results[f"{name} grid"]
        look: dict[str, Any] = LOOKS.get(name, {}) | {"markevery": (4 * i, 16)}
        for ax, series in ((loss, "test_mse"), (accuracy, "test_accuracy")):
            values = history[series][..., 0]
            style.spread(ax, history["step"], values, LABELS[name], centre=np.median, **look)
        lrs = np.array(grid.spec["run"]["lr"])
        final = np.fmin(np.nan_to_num(grid["test_mse"][-1].T, nan=np.inf), 2 * TOP)
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
        title=f"P(y=1) = {P}: median over data draws, bands from 10 to 90 % of them",
        title_fontsize=7,
    )
    return figure


def verdicts(results: Results) -> list[Verdict]:
    """Who generalises with which sign, and by what."""
    rows = []
    for name, bound in MEDIANS.items():
        history = results[name]
        median = float(np.median(history["test_mse"][-1]))
        text = f"{name}: median final test loss over {history['test_mse'].shape[1]} data draws"
        rows.append(claim(text, MINE, median, ">" if name == TERNARY else "<", bound))
        share = float((history["test_accuracy"][-1] >= GENERALISES).mean())
        text = f"{name}: share of data draws with test accuracy >= {GENERALISES}"
        upper = name == TERNARY
        rows.append(claim(text, MINE, share, "<=" if upper else ">=", 0.05 if upper else 0.95))
    bit = np.nanmin(np.median(results[f"{BIT} grid"]["test_mse"][-1], axis=0))
    text = f"{BIT}: least median final test loss over {len(GRID)} step sizes"
    rows.append(observation(text, MINE, f"{bit:.3g}"))
    return [
        *rows,
        *_untouched(results),
        claim_virtual(results),
        claim_certified(results["optima"]),
    ]


def _untouched(results: Results) -> list[Verdict]:
    """One bit gains by nothing but the weights that no training row touches."""
    without, bit = results["untouched"], results[BIT]["test_mse"][-1, :, 0]
    text = f"{BIT}: largest difference among the weights that no training row touches, any draw"
    spread = float((without["greatest"] - without["least"]).max())
    median = float(np.median(without["test_mse"]))
    rows = [
        claim(text, MINE, spread, "<=", 1e-12),
        claim(f"{BIT} with those weights set to 0: median final test loss", MINE, median, ">", 0.5),
    ]
    share = float((without["test_accuracy"] >= GENERALISES).mean())
    text = f"{BIT} with those weights set to 0: share of data draws with test accuracy >= "
    rows.append(claim(f"{text}{GENERALISES}", MINE, share, "<=", 0.05))
    predicted = one_bit_loss(negatives(draws_in(results[BIT].spec["values"])))
    text = f"{BIT}: median distance of the final test loss from a quarter of the share of y = +1"
    return [*rows, claim(text, MINE, float(np.median(abs(bit - predicted))), "<", 0.02)]


PICTURE = Picture(
    "sign-at-zero",
    "What sign(0) decides: scaled signSGD generalises with one bit, not with the ternary sign",
    work,
    draw,
    verdicts,
)
