"""Generalisation: the over-parametrised least squares of section 5, over all draws of its data.

All signs are ternary here, as in the paper's code: coordinates that no training row touches have
gradient exactly 0. The methods run on each of the 101 training sets that can be drawn, and bands
and probabilities are exact. With more y = +1 than -1 in training, what the sign methods do has a
closed form (efsgd.convex.studies.section_five_forms).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from efsgd import EFSGD, SGD, CompressedSGD, Method, ScaledSign, Sign, SignSGD, Signum
from efsgd.convex.problems.wilson_counts import WilsonCount
from efsgd.convex.studies import section_five_forms as forms
from efsgd.convex.studies.section_five import (
    COUNTS,
    FEW,
    GRID,
    NEGATIVE,
    ROWS,
    STEPS,
    along,
    enumerated,
    on_grid,
    test_loss,
)
from efsgd.convex.studies.vary import Certified
from efsgd.figures.claims.verdicts import Verdict, claim, observation
from efsgd.figures.convex.all_draws import (
    BANDS,
    accurate,
    claim_right,
    counts,
    drawn,
    drawn_losses,
    grid_losses,
    majority,
    off,
    predictions,
    quantiles,
)
from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results, Works
from efsgd.results import Work

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SOURCE = "derived here, after section 5"
MINE = "derived here"
UNDECAYED = "signSGDm, undecayed (the paper's code)"
METHODS: dict[str, tuple[Method, float]] = {  # with the step sizes of the paper's figure
    "SGD": (SGD(), 0.5),
    "signSGD": (CompressedSGD(ScaledSign(zero=0)), 10.0),
    UNDECAYED: (Signum(Sign(zero=0), form="undecayed"), 0.05),
    "signSGDm": (Signum(Sign(zero=0)), 0.05),
    "EF-signSGD": (EFSGD(ScaledSign(zero=0)), 10.0),
}
LABELS = style.labels({name: method for name, (method, _) in METHODS.items()})
ON_GRID = {**METHODS, "signSGD (unscaled)": (SignSGD(Sign(zero=0)), 0.05)}
SHARES = (0.6, 0.5)  # P(y = 1)
ALL_RIGHT = (1, 94)  # of 100 y = +1 in training: with so many feedback is right in any test
LONG = 1000  # steps until error feedback has converged
LINEAR = 0.1  # up to here the axes of the losses are linear, as some are 0
ROUNDING = 1e-13
PANELS = {
    "span_distance": "distance to the gradient span",
    "train_mse": "train loss",
    "test_mse": "test loss",
}


def at_paper_step(quick: bool) -> dict[str, Work]:
    """Every method on every training set at the paper's step size, if quick on few."""
    sets = FEW if quick else COUNTS
    return {name: enumerated(method, lr, sets) for name, (method, lr) in METHODS.items()}


def work(quick: bool, seed: int) -> Works:
    """Every method on every training set at the paper's step size, and on a grid of them."""
    works = at_paper_step(quick)
    if quick:
        return works
    works["optima"] = Certified(tuple(WilsonCount(k) for k in (40, 50, 60)))
    works["to the end"] = along(*METHODS["EF-signSGD"], ("distance",), LONG, LONG)
    for name, (method, _) in ON_GRID.items():
        works[f"{name} grid"] = on_grid(method)
    return works


def draw(results: Results) -> Figure:
    """The paper's three panels, for P(y=1) = 0.6 above and 0.5 below."""
    figure, axes = style.panels(2, 3, height=2.3)
    for row, p in zip(axes, SHARES, strict=True):
        for ax, (series, label) in zip(row, PANELS.items(), strict=True):
            for i, name in enumerate(METHODS):
                history = results[name]
                is_test = series == "test_mse"
                values = drawn_losses(history, p) if is_test else drawn(history, series, p)
                every = (3 * i, 16)
                style.spread(
                    ax, history["step"], values, LABELS[name], centre=np.median, markevery=every
                )
            ax.set(xlabel="iteration", ylabel=label, title=f"P(y=1) = {p}")
            if series != "span_distance":
                ax.set_yscale("symlog", linthresh=LINEAR)
                ax.set_ylim(0, 5)
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=3,
        title=f"{BANDS}; losses: linear axis from 0 to {LINEAR:g}, logarithmic above",
        title_fontsize=7,
    )
    return figure


def verdicts(results: Results) -> list[Verdict]:
    """What section 5 claims about generalisation and the gradient span."""
    return [
        *_generalisation(results),
        *_limit(results),
        *_line(results),
        *_grid(results),
    ]


def _generalisation(results: Results) -> list[Verdict]:
    """Who generalises; the losses are those of the picture `draws`."""
    rows = [claim_right(results["EF-signSGD"], "EF-signSGD", *ALL_RIGHT, MINE)]
    for name in METHODS:
        for p in SHARES:
            (median,) = quantiles(results[name], p, (0.5,))
            text = f"P(y=1) = {p}: {name}, median final test loss, and probability of a test "
            text += "accuracy >= 0.95"
            measured = f"{median:.3g} and {accurate(results[name], p):.3g}"
            rows.append(observation(text, SOURCE, measured))
    return rows


def _limit(results: Results) -> list[Verdict]:
    """SGD and error feedback end at X^+ y, the one solution in the span of the gradients.

    SGD comes there in 80 steps unless nearly all labels are equal. Error feedback takes longer, and
    is judged on a few training sets: it returns to the span that its memory led it out of.
    """
    sgd, feedback, end = results["SGD"], results["EF-signSGD"], results["to the end"]
    usual = (counts(sgd) >= 20) & (counts(sgd) <= 80)
    at = "any training set with 20 to 80 of 100 y = +1"
    far = float(sgd["distance"][-1, usual].max())
    positive, negative, _ = forms.least_norm(counts(sgd)[usual], ROWS)
    final, best = predictions(sgd), test_loss(positive, negative)
    apart = float(abs(test_loss(final[0][usual], final[1][usual]) - best).max())
    ratio = feedback["span_distance"][1:] / feedback["memory_norm"][1:]
    last = float((end["distance"][-1] / end["distance"][0]).max())
    of_few = f"training sets with {FEW[0]}, {FEW[1]}, ..., {FEW[-1]} y = +1"
    return [
        claim(f"SGD, {at}: largest final |x - X^+ y|", SOURCE, far, "<=", 1e-8),
        claim(
            f"SGD, {at}: largest distance of its test loss from the closed form of X^+ y",
            MINE,
            apart,
            "<=",
            1e-8,
        ),
        claim(
            "SGD: largest distance to the gradient span, any step",
            SOURCE,
            float(sgd["span_distance"].max()),
            "<=",
            ROUNDING,
        ),
        claim(
            "EF-signSGD: largest distance to the gradient span over |e_t|, any step",
            SOURCE,
            float(ratio.max()),
            "<=",
            1 + 1e-9,
        ),
        claim(
            f"EF-signSGD, {of_few}: largest |x_T - X^+ y| / |X^+ y| at T = {LONG}, so that it "
            "returns to the span",
            MINE,
            last,
            "<=",
            1e-6,
        ),
    ]


def _line(results: Results) -> list[Verdict]:
    """Scaled signs stay on the line span(s): predictions, distances and losses in closed form."""
    history, lr = results["signSGD"], METHODS["signSGD"][1]
    more = counts(history) > ROWS // 2
    k = counts(history)[more]
    a = np.array([forms.scaled_along(np.array(lr), t, ROWS) for t in range(STEPS + 1)])
    path = float(off(majority(history, slice(None)), a).max())
    at = "signSGD, any training set with more y = +1 than -1"
    rows = [
        claim(
            f"{at}, any step: largest distance of the predictions for y = +1 and -1 from 3a_t and "
            "a_t, a_t = (1 - (1 - lr/75)^t)/4",
            MINE,
            path,
            "<=",
            ROUNDING,
        )
    ]
    for series, name, form in (
        ("span_distance", "the distance to the gradient span", forms.from_span),
        ("distance", "|x - X^+ y|", forms.from_least_norm),
    ):
        wanted = form(a[1:, None], k, ROWS)
        error = float(abs(history[series][1:, more, 0] / wanted - 1).max())
        text = f"{at}, any step: largest relative distance of {name} from its closed form"
        rows.append(claim(text, MINE, error, "<=", 1e-12))
    typical = forms.from_span(np.array(forms.FITS), np.array(60), ROWS)
    text = "signSGD: distance to the gradient span at which it ends, 60 of 100 y = +1"
    return [*rows, observation(text, MINE, f"{typical:.3g}")]


def _grid(results: Results) -> list[Verdict]:
    """No step size mends a sign method; many serve error feedback."""
    scaled = results["signSGD grid"]
    more = counts(scaled) > ROWS // 2
    positive, negative = (scaled[name][-1, more].T for name in ("positive", "negative"))
    wrong = float(off((positive, negative), forms.scaled_along(np.array(GRID), STEPS, ROWS)).max())
    at = f"{len(GRID)} step sizes"
    text = f"signSGD, {at}, more y = +1 than -1 in training: largest distance of the final "
    rows = [claim(f"{text}predictions from the closed form", MINE, wrong, "<=", ROUNDING)]
    middle = (NEGATIVE >= 0.3) & (NEGATIVE <= 0.6)
    loss = test_loss(positive, negative)[..., middle].min(axis=0)
    ratio = float((loss / forms.least_signs_loss(NEGATIVE[middle])).max())
    text = f"signSGD, {at}, share s of y = -1 in the test from 0.3 to 0.6: largest ratio of its "
    text += "least test loss to 16 s (1 - s) / (9 - 8 s)"
    rows.append(claim(text, MINE, ratio, "<=", 1.02))
    for name in ("signSGDm", "signSGD (unscaled)"):
        positive, negative = (
            results[f"{name} grid"][s][-1, more] for s in ("positive", "negative")
        )
        text = f"{name}, {at}, more y = +1 than -1 in training: largest distance from the line "
        text += "where the test loss is at least 16 s (1 - s) / (9 - 8 s)"
        apart = float(abs(positive - 3 * negative).max())
        rows.append(claim(text, MINE, apart, "<=", 1e-9))
    p = SHARES[0]
    median = np.median(grid_losses(results[f"{UNDECAYED} grid"], p), axis=1)
    text = f"P(y=1) = {p}: {UNDECAYED}, least median final test loss over {at}"
    rows.append(claim(text, SOURCE, float(median.min()), ">", 0.5))
    median = np.median(grid_losses(results["EF-signSGD grid"], p), axis=1)
    inside = median[(np.array(GRID) >= 1) & (np.array(GRID) <= 75)]
    text = f"P(y=1) = {p}: EF-signSGD, largest median final test loss over step sizes from 1 to 75"
    return [*rows, claim(text, MINE, float(inside.max()), "<", 0.02)]


PICTURE = Picture(
    "least-squares",
    "Ternary signs leave the span of the gradients and do not generalise, error feedback does",
    work,
    draw,
    verdicts,
)
