"""How the published least-squares picture depends on the draw of its data and on P(y=1).

The paper's picture comes from one saved draw. This one shows the final test loss of its methods
over many draws, for three P(y=1): error feedback is good on all of them; how bad the sign methods
look is decided by the share of y = -1 in the test set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from efsgd import Run
from efsgd.convex.studies.section_five import (
    STEPS,
    data_draws,
    draws_in,
    negatives,
    ternary_loss,
)
from efsgd.convex.studies.vary import Certified, Vary
from efsgd.figures.claims.verdicts import (
    Verdict,
    claim,
    claim_certified,
    claim_virtual,
    observation,
)
from efsgd.figures.convex.least_squares import (
    LABELS,
    METHODS,
    MINE,
    SOURCE,
    UNDECAYED,
    final,
)
from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results, Works
from efsgd.results import Work

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHARES = (0.5, 0.6, 0.7)  # P(y = 1)
BAD = 0.5  # a final test loss above it
LOSSES = np.geomspace(1e-3, 10, 200)  # where the distributions are drawn


def work(quick: bool, seed: int) -> Works:
    """Every method on every draw, recorded at the end."""
    works: dict[str, Work] = {}
    for p in SHARES:
        data = data_draws(p, 6 if quick else 200, seed)
        for name, (method, lr) in METHODS.items():
            extra = ("virtual_residual",) * (method.feeds_back and not quick)
            metrics = ("test_mse", "test_accuracy", *extra)
            run = Run(data[0], method, lr, STEPS, record=(STEPS,), metrics=metrics)
            works[f"{name} p={p}"] = Vary(run, "problem", data)
        if not quick and p == SHARES[-1]:
            works["optima"] = Certified(data[:3])
    return works


def draw(results: Results) -> Figure:
    """The distributions of the final test loss above, signSGD against its test labels below."""
    figure, axes = style.panels(2, 3, height=2.2)
    for (upper, lower), p in zip(axes.T, SHARES, strict=True):
        for i, name in enumerate(METHODS):
            loss = final(results, name, p)
            below = (loss[:, None] <= LOSSES).mean(axis=0)
            upper.plot(LOSSES, below, **style.line(LABELS[name]) | {"markevery": (8 * i, 40)})
        upper.axvline(
            BAD, color="0.4", linestyle=style.DOTTED, linewidth=0.8, zorder=0, label="bad"
        )
        upper.set(xscale="log", xlabel="final test loss", title=f"P(y=1) = {p}")
        negative = negatives(draws_in(results[f"signSGD p={p}"].spec["values"]))
        for name in ("signSGD", "EF-signSGD"):
            look = style.line(LABELS[name])
            loss, (colour, marker) = final(results, name, p), (look["color"], look["marker"])
            lower.scatter(negative, loss, s=5, color=colour, marker=marker)
        line = np.linspace(0.15, 0.65, 2)
        lower.plot(line, ternary_loss(line), color="0.4", linewidth=0.8, zorder=0, label="formula")
        lower.set(xlabel="share of y = -1 in the test set", ylim=(-0.05, 1.2))
    axes[0, 0].set_ylabel("share of data draws")
    axes[1, 0].set_ylabel("final test loss")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    formula, _ = axes[1, 0].get_legend_handles_labels()
    figure.legend(
        [*handles, *formula],
        [*labels[:-1], f"loss {BAD}, bad above", "loss of signs: 1/16 + 3/2 (share of y = -1)"],
        loc="outside lower center",
        ncols=3,
    )
    return figure


def verdicts(results: Results) -> list[Verdict]:
    """Which methods fail on which share of the draws, and why that share moves."""
    rows = []
    for p in SHARES:
        at = f"P(y=1) = {p}, share of {len(final(results, 'SGD', p))} data draws"
        share = float((final(results, "EF-signSGD", p) < 0.1).mean())
        rows.append(
            claim(f"{at} with final test loss of EF-signSGD < 0.1", SOURCE, share, ">=", 0.99)
        )
        text = f"{at} with final test loss of {UNDECAYED} > 0.5"
        rows.append(claim(text, SOURCE, _bad(results, UNDECAYED, p), ">=", 0.75))
        text = f"{at} with final test loss of signSGD > 0.5"
        if p < SHARES[-1]:
            rows.append(claim(text, SOURCE, _bad(results, "signSGD", p), ">=", 0.9))
        else:  # the picture of the paper does not come out on every draw
            rows.append(claim(text, MINE, _bad(results, "signSGD", p), "<=", 0.7))
        for name in METHODS:
            low, median, high = np.quantile(final(results, name, p), (0.1, 0.5, 0.9))
            text = f"P(y=1) = {p}: {name}, 10 %, median and 90 % of the final test loss"
            rows.append(observation(text, SOURCE, f"{low:.3g}, {median:.3g}, {high:.3g}"))
    return [*rows, *_formula(results), claim_virtual(results), claim_certified(results["optima"])]


def _formula(results: Results) -> list[Verdict]:
    """Where y = +1 leads in the training set, the test labels alone decide signSGD's loss."""
    rows = []
    for p in SHARES[1:]:
        negative = negatives(draws_in(results[f"signSGD p={p}"].spec["values"]))
        off = abs(final(results, "signSGD", p) - ternary_loss(negative))
        text = f"P(y=1) = {p}: share of draws where signSGD's test loss is within 0.02 of "
        text += "1/16 + 3/2 (share of y = -1 in the test set)"
        rows.append(claim(text, MINE, float((off <= 0.02).mean()), ">=", 0.8))
    return rows


def _bad(results: Results, name: str, p: float) -> float:
    """The share of data draws with a final test loss above 0.5."""
    return float((final(results, name, p) > 0.5).mean())


PICTURE = Picture(
    "draws",
    "The published least-squares picture over many draws of its data and three P(y=1)",
    work,
    draw,
    verdicts,
)
