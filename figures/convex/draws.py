"""How the published least-squares picture depends on the draw of its data and on P(y=1).

The paper's picture comes from one saved draw. This one shows the exact distribution of the final
test loss of its methods, for three P(y=1): error feedback is good on nearly all draws; how bad the
sign methods look is decided by the share of y = -1 in the test set.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from efsgd import Run
from efsgd.arrays import Array
from efsgd.convex.problems.least_squares import WilsonLeastSquares
from efsgd.convex.problems.wilson_counts import WilsonCount
from efsgd.convex.studies import section_five_forms as forms
from efsgd.convex.studies.section_five import (
    COUNTS,
    FEW,
    NEGATIVE,
    ROWS,
    STEPS,
    chances,
    enumerated,
    evenly,
)
from efsgd.convex.studies.vary import Vary
from efsgd.figures.claims.verdicts import Verdict, claim, observation
from efsgd.figures.convex.all_draws import (
    counts,
    losses,
    predictions,
    quantiles,
    weights,
)
from efsgd.figures.convex.least_squares import LABELS, METHODS, MINE, SOURCE, UNDECAYED
from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results, Works
from efsgd.results import Result, Work

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHARES = (0.5, 0.6, 0.7)  # P(y = 1)
BAD, GOOD = 0.5, 0.1  # a final test loss above, and below
LOSSES = np.geomspace(1e-3, 10, 200)  # where the distributions are drawn
ORDERS = (0, 1, 2)  # of the training rows
TIE, TIE_ORDERS = 50, 20  # y = +1 in training where rounding decides, and orders of its rows
DRAWN = 8  # data draws for each of two P(y = 1), run as they are


def work(quick: bool, seed: int) -> Works:
    """Every method on every training set; the paper's momentum on other orders of its rows."""
    sets = FEW if quick else COUNTS
    works: dict[str, Work] = {
        name: enumerated(method, lr, sets) for name, (method, lr) in METHODS.items()
    }
    if quick:
        return works
    for order in ORDERS[1:]:
        works[f"{UNDECAYED} order {order}"] = enumerated(*METHODS[UNDECAYED], sets, order)
    data = tuple(
        WilsonLeastSquares(p=p, seed=1000 * seed + i) for p in SHARES[:2] for i in range(DRAWN)
    )
    tied = tuple(WilsonCount(TIE, order) for order in range(TIE_ORDERS))
    for name, (method, lr) in METHODS.items():
        run = Run(data[0], method, lr, STEPS, record=(STEPS,), metrics=("test_mse",))
        if name != UNDECAYED:
            works[f"{name} drawn"] = Vary(run, "problem", data)
        run = replace(run, problem=tied[0], metrics=("positive", "negative"))
        works[f"{name} tie"] = Vary(run, "problem", tied)
    return works


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
        line = np.linspace(0.15, 0.65, 2)
        formula = forms.signs_loss(forms.FITS, line)
        lower.plot(line, formula, color="0.4", linewidth=0.8, zorder=0, label="formula")
        lower.set(xlabel="share of y = -1 in the test set", ylim=(-0.05, 1.2))
    axes[0, 0].set_ylabel("probability of a smaller loss")
    axes[1, 0].set_ylabel("final test loss")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    formula_handle = axes[1, 0].get_legend_handles_labels()[0][-1]
    figure.legend(
        [*handles, formula_handle],
        [*labels[:-1], f"loss {BAD}, bad above", "loss of signs: 1/16 + 3/2 (share of y = -1)"],
        loc="outside lower center",
        ncols=3,
        title="exact distributions; below: median over all training sets, bands of 10 to 90 %",
        title_fontsize=7,
    )
    return figure


def verdicts(results: Results) -> list[Verdict]:
    """The probabilities that a method fails, and what they are in closed form."""
    return [
        *_enumeration(results),
        *_closed_forms(results),
        *(row for p in SHARES for row in _probabilities(results, p)),
    ]


def _enumeration(results: Results) -> list[Verdict]:
    """The number of y = +1 decides; where a sum is 0 but for rounding, the order of rows does."""
    text = f"of {2 * DRAWN} data draws those without a tie of labels in training: largest distance "
    text += "of the final test loss from that of the training set with as many y = +1"
    rows = []
    for name in METHODS:
        if name != UNDECAYED:
            measured = results[f"{name} drawn"]
            off = abs(measured["test_mse"][-1, :, 0] - _told(results[name], measured))
            worst = float(off[_positives(measured) != TIE].max())
            rows.append(claim(f"{name}, {text}", MINE, worst, "<=", 1e-12))
    differ = counts(results[UNDECAYED])[_ordered(results)]
    text = f"{UNDECAYED}: numbers of y = +1 for which the order of the training rows matters, of "
    text += f"101, by {len(ORDERS)} orders"
    rows.append(observation(text, MINE, f"{len(differ)}: {', '.join(map(str, differ))}"))
    for name in METHODS:
        positive, negative = predictions(results[f"{name} tie"])
        text = f"{name}, {TIE} of 100 y = +1: predictions of y = +1 and -1, least to largest over "
        text += f"{TIE_ORDERS} orders of the training rows"
        spans = [f"{v.min():.3g} to {v.max():.3g}" for v in (positive, negative)]
        rows.append(observation(text, MINE, " and ".join(spans)))
    return rows


def _labels(drawn: Result) -> Array:
    """Which labels of these data draws are +1, (V, 200)."""
    values = drawn.spec["values"]
    return np.array([WilsonLeastSquares(v["rows"], v["p"], v["seed"]).labels > 0 for v in values])


def _positives(drawn: Result) -> Array:
    """The number of y = +1 in the training sets of these data draws, (V,)."""
    positives: Array = _labels(drawn)[:, :ROWS].sum(axis=1)
    return positives


def _told(enumerated: Result, drawn: Result) -> Array:
    """What the enumeration says of the final test loss on data draws, (V,)."""
    negative = (~_labels(drawn)[:, ROWS:]).sum(axis=1)
    found = np.searchsorted(counts(enumerated), _positives(drawn))
    told: Array = losses(enumerated)[found, negative]
    return told


def _ordered(results: Results) -> Array:
    """On which training sets the order of the rows changes the undecayed momentum, (V,)."""
    paths = [results[UNDECAYED], *(results[f"{UNDECAYED} order {i}"] for i in ORDERS[1:])]
    both = np.array([predictions(path, slice(None)) for path in paths])  # (orders, 2, T, V)
    differ: Array = np.ptp(both, axis=0).max(axis=(0, 1)) > 1e-9
    return differ


def _closed_forms(results: Results) -> list[Verdict]:
    """Where y = +1 leads in the training set, the test labels alone decide the loss of signs."""
    scaled = forms.scaled_along(np.array(METHODS["signSGD"][1]), STEPS, ROWS)
    true = forms.unscaled_along(Fraction(1, 20), STEPS, Fraction(9, 10), undecayed=False)[-1]
    rows = []
    for name, a in (("signSGD", float(scaled)), ("signSGDm", float(true))):
        formula = forms.signs_loss(a, NEGATIVE)
        off = losses(results[name])[counts(results[name]) > ROWS // 2] - formula
        text = f"{name}, y = +1 leads in training, any share s of y = -1 in the test: largest "
        text += (
            f"distance of the final test loss from (1 - s) (3a - 1)^2 + s (a + 1)^2, a = {a:.4g}"
        )
        rows.append(claim(text, MINE, float(abs(off).max()), "<=", 1e-12))
        exact = [f"{float(chances(1 - p) @ (formula > BAD)):.4g}" for p in SHARES]
        text = f"{name}, y = +1 leads in training: probability of a final test loss > {BAD} by "
        text += f"this form, at P(y=1) = {', '.join(map(str, SHARES))}"
        rows.append(observation(text, MINE, ", ".join(exact)))
    return rows


def _probabilities(results: Results, p: float) -> list[Verdict]:
    """Exact probabilities over the draws of both halves of the data."""
    of_feedback, _ = chance_range(results, "EF-signSGD", p, lambda loss: loss < GOOD)
    text = f"P(y=1) = {p}: probability that EF-signSGD has a final test loss < {GOOD}"
    rows = [claim(text, SOURCE, of_feedback, ">=", 0.999)]
    for name in METHODS:
        low, median, high = quantiles(results[name], p, (0.1, 0.5, 0.9))
        bad = chance_range(results, name, p, lambda loss: loss > BAD)
        good = chance_range(results, name, p, lambda loss: loss < GOOD)
        text = f"P(y=1) = {p}: {name}, probability of a final test loss > {BAD} and of one "
        text += f"< {GOOD}, from the least to the largest over orders of the rows; 10 %, median "
        text += "and 90 % of the loss"
        measured = f"{_range(bad)} and {_range(good)}; {low:.3g}, {median:.3g}, {high:.3g}"
        rows.append(observation(text, MINE, measured))
    return rows


def chance_range(
    results: Results, name: str, p: float, event: Callable[[Array], Array]
) -> tuple[float, float]:
    """The least and the largest probability of an event of the final test loss over the orders.

    At a tie of the labels any of 20 orders of the rows counts, elsewhere that of the enumeration,
    and for the undecayed momentum each of its three.
    """
    orders = [f"{name} order {i}" for i in ORDERS[1:]] if name == UNDECAYED else []
    tied = event(losses(results[f"{name} tie"])) @ chances(1 - p)
    found = []
    for history in (results[name], *(results[order] for order in orders)):
        chance, is_tie = weights(history, p), counts(history) == TIE
        elsewhere = float((chance * event(losses(history)))[~is_tie].sum())
        found.append(elsewhere + float(chance[is_tie].sum()) * tied)
    return float(np.min(found)), float(np.max(found))


def _range(ends: tuple[float, float]) -> str:
    """One number, or two where they differ in three digits after the point."""
    least, largest = (f"{end:.3f}" for end in ends)
    return least if least == largest else f"{least} to {largest}"


PICTURE = Picture(
    "draws",
    "The published least-squares picture over all draws of its data, for three P(y=1)",
    work,
    draw,
    verdicts,
)
