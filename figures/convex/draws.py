"""How the published least-squares picture depends on the draw of its data and on P(y=1).

The paper's picture comes from one saved draw. This one shows the exact distribution of the final
test loss of its methods, for three P(y=1): error feedback is good on nearly all draws; where y = +1
leads in training, how bad scaled signs look is decided by the share of y = -1 in the test set. What
the undecayed momentum does is that of this engine's rounding; exact arithmetic gives other chances.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from efsgd.convex.studies import section_five_forms as forms
from efsgd.convex.studies.section_five import NEGATIVE, chances, evenly, test_loss
from efsgd.figures.convex.all_draws import counts, losses, weights
from efsgd.figures.convex.draws_claims import BAD, verdicts
from efsgd.figures.convex.draws_work import SHARES, work
from efsgd.figures.convex.least_squares import LABELS, METHODS
from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOSSES = np.geomspace(1e-3, 10, 200)  # where the distributions are drawn


def draw(results: Results) -> Figure:
    """The distributions of the final test loss above, and below what it owes to the test labels."""
    figure, axes = style.panels(2, 3, height=2.2)
    for (upper, lower), p in zip(axes.T, SHARES, strict=True):
        for i, name in enumerate(METHODS):
            history = results[name]
            loss, chance = losses(history).ravel(), weights(history, p).ravel()
            rank = np.argsort(loss)
            below = np.concatenate(([0.0], np.cumsum(chance[rank])))
            upper.plot(
                LOSSES,
                below[np.searchsorted(loss[rank], LOSSES, side="right")],
                **style.line(LABELS[name]) | {"markevery": (8 * i, 40)},
            )
        upper.axvline(
            BAD, color="0.4", linestyle=style.DOTTED, linewidth=0.8, zorder=0, label="bad"
        )
        upper.set(xscale="log", xlabel="final test loss", title=f"P(y=1) = {p}")
        seen = chances(1 - p) > 1e-3
        for name in ("signSGD", "EF-signSGD"):
            history = results[name]
            of_share = evenly(losses(history).T[seen], chances(p)[counts(history)])
            style.spread(lower, NEGATIVE[seen], of_share, LABELS[name], centre=np.median)
        shown = (NEGATIVE >= 0.15) & (NEGATIVE <= 0.65)
        formula = test_loss(np.array(3 * forms.FITS), np.array(forms.FITS))[shown]
        lower.plot(NEGATIVE[shown], formula, color="0.4", linewidth=0.8, zorder=0, label="formula")
        lower.set(xlabel="share of y = -1 in the test set", ylim=(-0.05, 1.2))
    axes[0, 0].set_ylabel("probability of a smaller loss")
    axes[1, 0].set_ylabel("final test loss")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    formula_handle = axes[1, 0].get_legend_handles_labels()[0][-1]
    figure.legend(
        [*handles, formula_handle],
        [
            *labels[:-1],
            f"loss {BAD}, bad above",
            "signs, y = +1 leads: 1/16 + 3/2 (share of y = -1)",
        ],
        loc="outside lower center",
        ncols=3,
        title="all training sets, one order of their rows each; below: median, bands of 10 to 90 %",
        title_fontsize=7,
    )
    return figure


PICTURE = Picture(
    "draws",
    "The published least-squares picture over all draws of its data, for three P(y=1)",
    work,
    draw,
    verdicts,
)
