"""Generalisation: the over-parametrised least squares of section 5, over many draws of its data.

All signs are ternary here, as in the paper's code: coordinates that no training row touches have
gradient exactly 0. One trajectory of a sign method depends on the order of summation, so everything
is shown and claimed over many data draws.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from efsgd import EFSGD, SGD, CompressedSGD, Method, ScaledSign, Sign, SignSGD, Signum
from efsgd.arrays import Array
from efsgd.convex.studies.section_five import GRID, STEPS, along, data_draws, on_grid
from efsgd.convex.studies.vary import Certified, Vary
from efsgd.figures.claims.verdicts import (
    Verdict,
    claim,
    claim_certified,
    claim_virtual,
    observation,
)
from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results, Works

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SOURCE = "section 5"
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
SIGN_METHODS = [name for name in ON_GRID if name.startswith("signSGD")]
ONE_BIT: dict[str, Method] = {  # with sign(0) = +1: an observation, not drawn
    "signSGD (one bit)": CompressedSGD(ScaledSign()),
    "EF-signSGD (one bit)": EFSGD(ScaledSign()),
}
SHARES = (0.6, 0.5)  # P(y = 1)
LINEAR = 0.1  # up to here the axes of the losses are linear, as some are 0
PANELS = {
    "span_distance": "distance to the gradient span",
    "train_mse": "train loss",
    "test_mse": "test loss",
}


def work(quick: bool, seed: int) -> Works:
    """Every method at the paper's step size and on a grid, for many draws of the data."""
    data = {p: data_draws(p, 3 if quick else 100, seed) for p in SHARES}
    works: dict[str, Vary | Certified] = {}
    for name, (method, lr) in METHODS.items():
        extra = ("memory_norm", "virtual_residual") if method.feeds_back and not quick else ()
        for p in SHARES:
            works[f"{name} p={p}"] = along(
                data[p], method, lr, metrics=(*PANELS, *extra, "test_accuracy")
            )
    if quick:
        return works
    paper = data[SHARES[0]]
    works["optima"] = Certified(paper[:3])
    for name, method in ONE_BIT.items():
        works[f"{name} p={SHARES[0]}"] = along(paper, method, 10.0, metrics=("test_mse",))
    for name, (method, _) in ON_GRID.items():
        works[f"{name} grid"] = on_grid(paper, method)
    return works


def draw(results: Results) -> Figure:
    """The paper's three panels, for P(y=1) = 0.6 above and 0.5 below."""
    figure, axes = style.panels(2, 3, height=2.3)
    for row, p in zip(axes, SHARES, strict=True):
        for ax, (series, label) in zip(row, PANELS.items(), strict=True):
            for i, name in enumerate(METHODS):
                history = results[f"{name} p={p}"]
                style.spread(
                    ax,
                    history["step"],
                    history[series][..., 0],
                    LABELS[name],
                    centre=np.median,
                    markevery=(3 * i, 16),
                )
            ax.set(xlabel="iteration", ylabel=label, title=f"P(y=1) = {p}")
            if series != "span_distance":
                ax.set_yscale("symlog", linthresh=LINEAR)
                ax.set_ylim(0, 5)
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=3,
        title="median over data draws, bands from 10 to 90 % of them; "
        f"losses: linear axis from 0 to {LINEAR:g}, logarithmic above",
        title_fontsize=7,
    )
    return figure


def verdicts(results: Results) -> list[Verdict]:
    """What section 5 claims about generalisation and the gradient span."""
    return [
        *_generalisation(results),
        *_grid(results),
        *_span(results),
        *_momentum(results),
        *_zeros(results),
        claim_virtual(results),
        claim_certified(results["optima"]),
    ]


def final(results: Results, name: str, p: float, series: str = "test_mse") -> Array:
    """The final value of a series over the data draws, (V,)."""
    return results[f"{name} p={p}"][series][-1, :, 0]


def _generalisation(results: Results) -> list[Verdict]:
    p = SHARES[0]
    at = f"P(y=1) = {p}, share of {len(final(results, 'SGD', p))} data draws"
    rows = [
        claim(f"{at} with final test loss of EF-signSGD < 0.1", SOURCE, share, ">=", 0.99)
        for share in [float((final(results, "EF-signSGD", p) < 0.1).mean())]
    ]
    for name, least in (("signSGD", 0.9), (UNDECAYED, 0.8), ("signSGDm", 0.8)):
        share = float((final(results, name, p) > 0.5).mean())
        text = f"{at} with final test loss of {name} > 0.5"
        rows.append(claim(text, SOURCE, share, ">=", least))
    for name in METHODS:
        for p in SHARES:
            loss, accuracy = (final(results, name, p, s) for s in ("test_mse", "test_accuracy"))
            text = f"P(y=1) = {p}: {name}, median final test loss and accuracy over the draws"
            measured = f"{np.median(loss):.3g} and {np.median(accuracy):.3g}"
            rows.append(observation(text, SOURCE, measured))
    return rows


def _grid(results: Results) -> list[Verdict]:
    """No step size mends a sign method; many serve error feedback."""
    rows = []
    for name in SIGN_METHODS:
        median = np.median(results[f"{name} grid"]["test_mse"][-1], axis=0)
        text = f"{name}: least median final test loss over {len(GRID)} step sizes"
        rows.append(claim(text, SOURCE, float(np.min(median)), ">", 0.5))
    median = np.median(results["EF-signSGD grid"]["test_mse"][-1], axis=0)
    inside = median[(np.array(GRID) >= 1) & (np.array(GRID) <= 75)]
    text = "EF-signSGD: largest median final test loss over the step sizes from 1 to 75"
    rows.append(claim(text, MINE, float(inside.max()), "<", 0.05))
    return rows


def _span(results: Results) -> list[Verdict]:
    """Section 5: dist(x_t, x_0 + span of the gradients) <= |e_t|."""
    sgd = float(np.max([results[f"SGD p={p}"]["span_distance"].max() for p in SHARES]))
    feedback = [results[f"EF-signSGD p={p}"] for p in SHARES]
    excess = float(np.max([(r["span_distance"] - r["memory_norm"]).max() for r in feedback]))
    return [
        claim("SGD: largest distance to the gradient span", SOURCE, sgd, "<", 1e-8),
        claim(
            "EF-signSGD: largest distance to the gradient span minus |e_t|, any step",
            SOURCE,
            excess,
            "<=",
            1e-8,
        ),
    ]


def _momentum(results: Results) -> list[Verdict]:
    """The paper's picture of signSGDm is made by its momentum, which never decays."""
    p, swing = SHARES[0], {}
    for name in (UNDECAYED, "signSGDm"):
        late = results[f"{name} p={p}"]["train_mse"][STEPS // 2 :, :, 0]
        swing[name] = float(np.median(late.max(0) - late.min(0)))
    text = "the triangular wave of signSGDm: median swing of its train loss over the last 40 steps"
    measured = f"{swing[UNDECAYED]:.3g} undecayed, {swing['signSGDm']:.3g} with true momentum"
    return [observation(text, "section 5, figure", measured)]


def _zeros(results: Results) -> list[Verdict]:
    """What sign(0) does: most coordinates of a gradient are exactly 0 here."""
    p, rows = SHARES[0], []
    for name in ("signSGD", "EF-signSGD"):
        ternary, bit = (np.median(final(results, n, p)) for n in (name, f"{name} (one bit)"))
        text = f"{name}: median final test loss with sign(0) = 0, as above, and with sign(0) = +1"
        rows.append(observation(text, MINE, f"{ternary:.3g} and {bit:.3g}"))
    return rows


PICTURE = Picture(
    "least-squares",
    "Sign methods leave the span of the gradients and do not generalise, error feedback does",
    work,
    draw,
    verdicts,
)
