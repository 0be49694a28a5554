"""Momentum on the least squares of section 5: the paper's buffer never decays, the true one does.

The paper's code has buf += m g, so its signSGDm is an oscillator without friction: that, and not
the sign, draws the triangular wave of its figure. With buf = m buf + g the train loss settles, and
the test loss is bad all the same. Error feedback generalises with true momentum too, but with
small steps only: it diverges at 0.1, which moves as far as a step of 1 without momentum, and that
one is fine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd import EFSGD, Method, ScaledSign, Sign, Signum
from efsgd.arrays import Array
from efsgd.convex.studies.section_five import STEPS, along, data_draws, on_grid
from efsgd.convex.studies.vary import Certified
from efsgd.figures.claims.verdicts import (
    Verdict,
    claim,
    claim_certified,
    claim_virtual,
    observation,
)
from efsgd.figures.convex.least_squares import UNDECAYED
from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results, Works
from efsgd.results import Work

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MINE = "derived here"
P = 0.6
TRUE = "signSGDm"  # momentum that decays
EF, EF_MOMENTUM = "EF-signSGD", "EF-signSGD (momentum 0.9)"
SIGNS: dict[str, Method] = {
    UNDECAYED: Signum(Sign(zero=0), form="undecayed"),
    TRUE: Signum(Sign(zero=0)),
}
FEEDBACK: dict[str, Method] = {
    EF: EFSGD(ScaledSign(zero=0)),
    EF_MOMENTUM: EFSGD(ScaledSign(zero=0), momentum=0.9),
}
METHODS = {**SIGNS, **FEEDBACK}
LABELS = style.labels(METHODS)
LOOKS = {EF_MOMENTUM: {"color": style.ORANGE, "marker": "p", "linestyle": style.LONG}}
SIGN_LR = 0.05  # as in the paper's figure
EF_LR = 0.005
LONG = 1000  # iterations of error feedback, which needs small steps with momentum
GRID = tuple(float(f"{lr:.3g}") for lr in np.logspace(-3, 1, 17))


def work(quick: bool, seed: int) -> Works:
    """Both buffers along the paper's 80 steps; feedback with and without, over step sizes."""
    data = data_draws(P, 4 if quick else 100, seed)
    few, steps = data[:20], 100 if quick else LONG
    works: dict[str, Work] = {
        name: along(data, method, SIGN_LR, ("train_mse", "test_mse", "test_accuracy"))
        for name, method in SIGNS.items()
    }
    for name, method in FEEDBACK.items():
        works[f"{name} grid"] = on_grid(few, method, GRID[:: 4 if quick else 1], steps)
    if quick:
        return works
    metrics = ("test_mse", "test_accuracy", "virtual_residual")
    works[EF_MOMENTUM] = along(few, METHODS[EF_MOMENTUM], EF_LR, metrics, steps, 10)
    return works | {"optima": Certified(data[:3])}


def draw(results: Results) -> Figure:
    """The train loss on one draw and on all, the test loss, and feedback over step sizes."""
    figure, axes = style.panels(2, 2, height=2.2)
    for name in SIGNS:
        history = results[name]
        wave, bands, test = axes[0, 0], axes[0, 1], axes[1, 0]
        root = np.sqrt(history["train_mse"][..., 0])
        wave.plot(history["step"], root[:, 0], **style.line(LABELS[name]))
        style.spread(bands, history["step"], root**2, LABELS[name], centre=np.median)
        values = history["test_mse"][..., 0]
        style.spread(test, history["step"], values, LABELS[name], centre=np.median)
    for name in FEEDBACK:
        grid = results[f"{name} grid"]
        final = np.fmin(np.nan_to_num(grid["test_mse"][-1].T, nan=np.inf), 1e6)
        look: dict[str, Any] = LOOKS.get(name, {}) | {"markevery": 2}
        lrs = np.array(grid.spec["run"]["lr"])
        style.spread(axes[1, 1], lrs, final, LABELS[name], centre=np.median, **look)
    wave.set(xlabel="iteration", ylabel="root of the train loss", title="one data draw")
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
        title=f"P(y=1) = {P}: median over data draws, bands from 10 to 90 % of them",
        title_fontsize=7,
    )
    return figure


def verdicts(results: Results) -> list[Verdict]:
    """Who makes the wave, who settles, who generalises."""
    return [
        *_wave(results),
        *_feedback(results),
        claim_virtual(results),
        claim_certified(results["optima"]),
    ]


def _wave(results: Results) -> list[Verdict]:
    """The undecayed buffer swings for ever; the true one settles and is as bad on the test set."""
    late = {name: results[name]["train_mse"][STEPS // 2 :, :, 0] for name in SIGNS}
    swing = {name: values.max(axis=0) - values.min(axis=0) for name, values in late.items()}
    draws = len(swing[TRUE])
    text = (
        f"share of {draws} data draws whose train loss swings by more than 1 in the last 40 steps"
    )
    rows = [
        claim(f"{UNDECAYED}: {text}", MINE, float((swing[UNDECAYED] > 1).mean()), ">=", 0.95),
        claim(f"{TRUE}: {text}", MINE, float((swing[TRUE] > 1).mean()), "<=", 0.05),
    ]
    ratio = float(np.median(swing[UNDECAYED]) / np.median(swing[TRUE]))
    text = "median swing of the train loss, undecayed over true momentum"
    rows.append(claim(text, MINE, ratio, ">=", 10.0))
    moved = abs(np.diff(np.sqrt(late[UNDECAYED]), axis=0))
    share = float((abs(moved - 4 * SIGN_LR) < 1e-6).mean())
    text = f"{UNDECAYED}: the root of the train loss is a triangle, share of the last 40 steps in "
    text += "which it moves by 4 lr, within 1e-6"
    rows.append(claim(text, MINE, share, ">=", 0.6))
    settled = float(np.median(late[TRUE].max(axis=0)))
    text = f"{TRUE}: median over draws of the largest train loss in the last 40 steps"
    rows.append(claim(text, MINE, settled, "<", 0.1))
    good = float((results[TRUE]["test_accuracy"][-1] >= 0.95).mean())
    text = f"{TRUE}: share of data draws with test accuracy >= 0.95"
    return [*rows, claim(text, MINE, good, "<=", 0.1)]


def _feedback(results: Results) -> list[Verdict]:
    """Error feedback generalises with momentum, but bears smaller steps."""
    history = results[EF_MOMENTUM]
    at = f"{EF_MOMENTUM}, step size {EF_LR}, {LONG} steps: share of {history['test_mse'].shape[1]} "
    loss, accuracy = (history[series][-1] for series in ("test_mse", "test_accuracy"))
    rows = [
        observation(f"{at}draws with test loss < 0.1", MINE, f"{(loss < 0.1).mean():.2f}"),
        claim(
            f"{at}draws with test accuracy >= 0.95",
            MINE,
            float((accuracy >= 0.95).mean()),
            ">=",
            0.95,
        ),
    ]
    final = {name: np.nan_to_num(_final(results, name), nan=np.inf) for name in FEEDBACK}
    plain, heavy = final[EF][:, GRID.index(1.0)], final[EF_MOMENTUM][:, GRID.index(0.1)]
    text = f"{EF}, step size 1: largest final test loss over the draws"
    rows.append(claim(text, MINE, float(plain.max()), "<", 0.05))
    text = f"{EF_MOMENTUM} diverges at step size 0.1: least final test loss over the draws"
    rows.append(claim(text, MINE, float(heavy.min()), ">", 1.0))
    for name, values in final.items():
        good = np.array(GRID)[np.median(values, axis=0) < 0.1]
        text = f"{name}: step sizes with a median final test loss below 0.1"
        rows.append(observation(text, MINE, f"{good.min():g} to {good.max():g}"))
    return rows


def _final(results: Results, name: str) -> Array:
    """The final test loss on every draw with every step size, (V, R)."""
    final: Array = results[f"{name} grid"]["test_mse"][-1]
    return final


PICTURE = Picture(
    "momentum",
    "The paper's momentum never decays and makes the wave; true momentum settles, and fails too",
    work,
    draw,
    verdicts,
)
