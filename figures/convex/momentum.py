"""Momentum on the least squares of section 5: the paper's buffer never decays, the true one does.

The paper's code has buf += m g, so its signSGDm is an oscillator without friction: that, and not
the sign, draws the triangular wave of its figure. In exact arithmetic its buffer is 0 at each turn
of the wave, for the step size of the figure, so that rounding decides how it goes on. With
buf = m buf + g the train loss settles, and the test loss is bad all the same. Error feedback
generalises with true momentum too, but with small steps only: it diverges at 0.1, which moves as
far as a step of 1 without momentum, and that one is fine.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd import EFSGD, Method, ScaledSign
from efsgd.arrays import Array
from efsgd.convex.studies import section_five_forms as forms
from efsgd.convex.studies.section_five import (
    COUNTS,
    FEW,
    ROWS,
    STEPS,
    along,
    enumerated,
    on_grid,
    test_loss,
)
from efsgd.figures.claims.verdicts import Verdict, claim, observation
from efsgd.figures.convex.all_draws import (
    BANDS,
    accurate,
    counts,
    drawn,
    drawn_losses,
    grid_losses,
    majority,
    off,
    predictions,
    weights,
)
from efsgd.figures.convex.least_squares import METHODS, ROUNDING, UNDECAYED
from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results, Works
from efsgd.results import Work

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MINE = "derived here"
P = 0.6
TRUE = "signSGDm"  # momentum that decays
EF, EF_MOMENTUM = "EF-signSGD", "EF-signSGD (momentum 0.9)"
SIGNS = {name: METHODS[name][0] for name in (UNDECAYED, TRUE)}
FEEDBACK: dict[str, Method] = {
    EF: METHODS[EF][0],
    EF_MOMENTUM: EFSGD(ScaledSign(zero=0), momentum=0.9),
}
LABELS = style.labels({**SIGNS, **FEEDBACK})
LOOKS = {EF_MOMENTUM: {"color": style.ORANGE, "marker": "p", "linestyle": style.LONG}}
SIGN_LR = METHODS[TRUE][1]
EF_LR = 0.005
LONG = 1000  # iterations of error feedback, which needs small steps with momentum
GRID = tuple(float(f"{lr:.3g}") for lr in np.logspace(-3, 1, 17))
ONE = 60  # of y = +1: the training set whose wave is drawn
SHARE = 60  # of y = +1 in the test set of the claims over step sizes
TURN = 11  # the first step at which the exact buffer of the undecayed momentum is 0


def work(quick: bool, seed: int) -> Works:
    """Both buffers along the paper's 80 steps; feedback with and without, over step sizes."""
    sets, steps = FEW if quick else COUNTS, 100 if quick else LONG
    works: dict[str, Work] = {
        name: enumerated(method, SIGN_LR, sets) for name, method in SIGNS.items()
    }
    for name, method in FEEDBACK.items():
        works[f"{name} grid"] = on_grid(method, GRID[:: 4 if quick else 1], steps)
    if quick:
        return works
    metrics = ("positive", "negative", "virtual_residual")
    return works | {EF_MOMENTUM: along(FEEDBACK[EF_MOMENTUM], EF_LR, metrics, steps, 10)}


def draw(results: Results) -> Figure:
    """The train loss on one draw and on all, the test loss, and feedback over step sizes."""
    figure, axes = style.panels(2, 2, height=2.2)
    for name in SIGNS:
        history = results[name]
        wave, bands, test = axes[0, 0], axes[0, 1], axes[1, 0]
        at = list(counts(history)).index(ONE)
        root = np.sqrt(history["train_mse"][:, at, 0])
        wave.plot(history["step"], root, **style.line(LABELS[name]))
        values = drawn(history, "train_mse", P)
        style.spread(bands, history["step"], values, LABELS[name], centre=np.median)
        values = drawn_losses(history, P)
        style.spread(test, history["step"], values, LABELS[name], centre=np.median)
    for name in FEEDBACK:
        grid = results[f"{name} grid"]
        final = np.fmin(grid_losses(grid, P), 1e6)
        look: dict[str, Any] = LOOKS.get(name, {}) | {"markevery": 2}
        lrs = np.array(grid.spec["run"]["lr"])
        style.spread(axes[1, 1], lrs, final, LABELS[name], centre=np.median, **look)
    wave.set(
        xlabel="iteration",
        ylabel="root of the train loss",
        title=f"{ONE} of 100 y = +1 in training",
    )
    bands.set(xlabel="iteration", ylabel="train loss", title="all data draws")
    test.set(xlabel="iteration", ylabel="test loss", title="all data draws")
    sizes, steps = axes[1, 1], grid.spec["run"]["steps"]
    sizes.set(xscale="log", yscale="log", ylim=(5e-4, 20), xlabel="step size")
    sizes.set(ylabel="test loss", title=f"with feedback, after {steps} iterations")
    pairs = [ax.get_legend_handles_labels() for ax in (wave, sizes)]
    figure.legend(
        pairs[0][0] + pairs[1][0],
        pairs[0][1] + pairs[1][1],
        loc="outside lower center",
        ncols=2,
        title=f"P(y=1) = {P}: {BANDS}",
        title_fontsize=7,
    )
    return figure


def verdicts(results: Results) -> list[Verdict]:
    """Who makes the wave, who settles, who generalises."""
    return [*_exact(results), *_wave(results), *_feedback(results)]


def _exact(results: Results) -> list[Verdict]:
    """Both buffers against exact arithmetic, where y = +1 leads in the training set."""
    apart, last = {}, {}
    for name in SIGNS:
        lr, momentum = Fraction(str(SIGN_LR)), Fraction(9, 10)
        a = forms.unscaled_along(lr, STEPS, momentum, undecayed=name == UNDECAYED)
        apart[name], last[name] = off(majority(results[name], slice(None)), a), (4 * a[-1] - 1) ** 2
    at = "any training set with more y = +1 than -1"
    text = "largest distance of the predictions from those in exact arithmetic"
    first = float(apart[UNDECAYED][:TURN].max())
    left = float(apart[UNDECAYED].max(axis=0).min())
    drawn_one = list(counts(results[UNDECAYED])).index(ONE)
    here = results[UNDECAYED]["train_mse"][-1, drawn_one, 0]
    return [
        claim(f"{TRUE}, {at}, any step: {text}", MINE, float(apart[TRUE].max()), "<=", ROUNDING),
        claim(
            f"{UNDECAYED}, {at}, to the first turn of the wave: {text}", MINE, first, "<=", ROUNDING
        ),
        claim(
            f"{UNDECAYED}, {at}, after it, where rounding decides, as the exact buffer is 0: least "
            "over the sets of the largest distance",
            MINE,
            left,
            ">=",
            SIGN_LR,
        ),
        observation(
            f"{UNDECAYED}: final train loss in exact arithmetic, and with {ONE} of 100 y = +1 here",
            MINE,
            f"{last[UNDECAYED]:.3g} and {here:.3g}",
        ),
    ]


def _wave(results: Results) -> list[Verdict]:
    """The undecayed buffer swings on; the true one settles and is as bad on the test set.

    That of the true one follows from its exact path where y = +1 leads in the training set.
    """
    late = {name: results[name]["train_mse"][STEPS // 2 :, :, 0] for name in SIGNS}
    chance = weights(results[UNDECAYED], P).sum(axis=1)
    text = "probability that the train loss swings by more than 1 in the last 40 steps"
    swings = {name: float(chance @ (np.ptp(late[name], axis=0) > 1)) for name in SIGNS}
    moved = abs(np.diff(np.sqrt(late[UNDECAYED]), axis=0))
    share = float((abs(moved - 4 * SIGN_LR) < 1e-6).mean(axis=0) @ chance)
    triangle = (
        f"P(y=1) = {P}: {UNDECAYED}, the root of the train loss is a triangle, mean share of "
    )
    triangle += "the last 40 steps in which it moves by 4 lr, within 1e-6"
    right = f"P(y=1) = {P}: {TRUE}, probability of a test accuracy >= 0.95"
    return [
        claim(f"P(y=1) = {P}: {UNDECAYED}, {text}", MINE, swings[UNDECAYED], ">=", 0.999),
        claim(triangle, MINE, share, ">=", 0.85),
        observation(f"P(y=1) = {P}: {TRUE}, {text}", MINE, f"{swings[TRUE]:.3g}"),
        observation(right, MINE, f"{accurate(results[TRUE], P):.3g}"),
    ]


def _feedback(results: Results) -> list[Verdict]:
    """Error feedback generalises with momentum, but bears smaller steps."""
    few = f"{FEW[0]}, {FEW[1]}, ..., {FEW[-1]} of 100 y = +1 in training"
    positive, negative = predictions(results[EF_MOMENTUM])
    text = (
        f"{EF_MOMENTUM}, step size {EF_LR}, {LONG} steps, {few}: least prediction of a test row, "
    )
    text += "times its label"
    rows = [claim(text, MINE, float(np.minimum(positive, -negative).min()), ">", 0.5)]
    plain = _final(results, EF)[:, GRID.index(1.0)]
    heavy = _final(results, EF_MOMENTUM)[:, GRID.index(0.1)]
    at = f"{few} and {SHARE} in the test"
    text = f"{EF}, step size 1: largest final test loss with {at}"
    rows.append(claim(text, MINE, float(plain.max()), "<", 0.01))
    text = f"{EF_MOMENTUM} diverges at step size 0.1: least final test loss with {at}"
    rows.append(claim(text, MINE, float(heavy.min()), ">", 10.0))
    for name in FEEDBACK:
        median = np.median(grid_losses(results[f"{name} grid"], P), axis=1)
        good = np.array(GRID)[median < 0.1]
        text = f"P(y=1) = {P}: {name}, step sizes with a median final test loss below 0.1"
        sizes = f"{len(good)} of {len(GRID)}, from {good.min():g} to {good.max():g}"
        rows.append(observation(text, MINE, sizes))
    return rows


def _final(results: Results, name: str) -> Array:
    """The final test loss on a few training sets with every step size, (V, R); inf: diverged."""
    grid = results[f"{name} grid"]
    loss = test_loss(grid["positive"][-1], grid["negative"][-1])[..., ROWS - SHARE]
    return np.nan_to_num(loss, nan=np.inf)


PICTURE = Picture(
    "momentum",
    "The paper's momentum never decays and makes the wave; true momentum settles, and fails too",
    work,
    draw,
    verdicts,
)
