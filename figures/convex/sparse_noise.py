"""Sparse noise: where the sign methods gain, and error feedback does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from efsgd import EFSGD, SGD, CompressedSGD, Run, ScaledSign, SignSGD, Signum
from efsgd.arrays import Array
from efsgd.convex import SparseNoise
from efsgd.convex.studies.vary import Certified, Vary, densities
from efsgd.figures.claims.verdicts import Verdict, claim
from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results, Works
from efsgd.results import Work

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SOURCE = "derived here, after the appendix"
MINE = "derived here"
PROBLEM = SparseNoise()
METHODS = {
    "SGD": SGD(),
    "signSGD": SignSGD(),
    "scaled signSGD": CompressedSGD(ScaledSign()),
    "signSGDm": Signum(),
    "EF-signSGD": EFSGD(ScaledSign()),
}
LABELS = style.labels(METHODS)
SIGN_METHODS = ("signSGD", "scaled signSGD", "signSGDm")
STEPS = 1000
COMPARED = ("SGD", "EF-signSGD")
MANY = 3000  # replicates where these two are compared
GRID = tuple(float(f"{lr:.3g}") for lr in np.logspace(-4, -1.5, 16))


def step_sizes(quick: bool) -> tuple[float, ...]:
    """The grid and the step size that is best for SGD, or every fifth of the grid."""
    if quick:
        return GRID[::5]
    best, _ = PROBLEM.best_sgd(STEPS)
    return tuple(sorted((*GRID, float(f"{best:.6g}"))))


def recorded_step_sizes(results: Results) -> Array:
    """The step sizes of these results, (V,)."""
    return np.array(results["SGD"].spec["values"])


def work(quick: bool, seed: int) -> Works:
    """Every method at every step size, all with the same noise; two with many replicates at one."""
    works: dict[str, Work] = {} if quick else {"optima": Certified((PROBLEM,))}
    lrs = step_sizes(quick)
    for name, method in METHODS.items():
        extra = ("virtual_residual",) * (method.feeds_back and not quick)
        run = Run(
            problem=PROBLEM,
            method=method,
            lr=GRID[0],
            steps=STEPS,
            seed=seed,
            replicates=10 if quick else 100,
            record=20 if quick else 10,
            metrics=("loss", *extra, *(() if quick else densities(method))),
        )
        works[name] = Vary(run, "lr", lrs)
    if quick:
        return works
    best, _ = PROBLEM.best_sgd(STEPS)
    for name in COMPARED:
        works[f"{name}, many"] = Run(
            problem=PROBLEM,
            method=METHODS[name],
            lr=float(f"{best:.6g}"),
            steps=STEPS,
            seed=seed + 1,  # not the noise that the others see
            replicates=MANY,
            record=STEPS,
            metrics=("loss",),
        )
    return works


def draw(results: Results) -> Figure:
    """The final loss against the step size, and the loss at each method's best step size."""
    figure, axes = style.panels(1, 2, height=2.8)
    lrs = recorded_step_sizes(results)
    left, right = axes[0]
    fine = np.geomspace(lrs[0], lrs[-1], 300)
    exact = PROBLEM.expected_loss_sgd(fine, STEPS)
    left.plot(fine, exact, color="0.6", linewidth=3, label="SGD, closed form", zorder=0)
    for name in METHODS:
        history = results[name]
        mean, error = _moments(history["loss"][-1])
        look = style.line(name) | {"markevery": None}
        left.errorbar(lrs, mean, 2 * error, elinewidth=0.8, capsize=1.5, **look)
        best = int(np.argmin(mean))
        label = f"{LABELS[name]}: step {lrs[best]:.2g}"
        style.spread(right, history["step"], history["loss"][:, best], label)
    left.set(xscale="log", yscale="log", xlabel="step size")
    left.set_ylabel(f"$f(x_T)$ after T = {STEPS} iterations")
    right.set(yscale="log", xlabel="iteration", ylabel="$f(x_t)$ at the best step size")
    left.set_title("mean over replicates $\\pm$ 2 s.e.")
    right.set_title("mean, bands from 10 to 90 %")
    handles, labels = right.get_legend_handles_labels()
    closed_form = left.get_lines()[:1]
    figure.legend(
        [*closed_form, *handles],
        ["SGD, closed form", *labels],
        loc="outside lower center",
        ncols=3,
    )
    return figure


def verdicts(results: Results) -> list[Verdict]:
    """SGD follows its closed form, EF-signSGD follows SGD, the sign methods beat both."""
    lrs = recorded_step_sizes(results)
    final = {name: results[name]["loss"][-1] for name in METHODS}
    mean, error = _moments(final["SGD"])
    score = np.abs(mean - PROBLEM.expected_loss_sgd(lrs, STEPS)) / error
    text = f"SGD: largest deviation from the closed form over {len(lrs)} step sizes, in s.e."
    rows = [claim(text, MINE, float(score.max()), "<=", 4.0)]
    best, least = PROBLEM.best_sgd(STEPS)
    sgd, feedback = (results[f"{name}, many"]["loss"][-1] for name in COMPARED)
    (difference,), (its_error,) = _moments((feedback - sgd)[None])
    far = (abs(difference) + 4 * its_error) / least
    text = f"EF-signSGD minus SGD, same noise, SGD's best step size {best:.2g}, {MANY} replicates: "
    text += (
        f"final loss {difference:.2g} +- {its_error:.2g}, |difference| + 4 s.e. over {least:.3g}"
    )
    rows.append(claim(text, MINE, float(far), "<=", 0.1))
    for name in SIGN_METHODS:
        half = final[name].shape[1] // 2
        chosen = int(np.argmin(final[name][:, :half].mean(axis=1)))
        (loss,), (its_error,) = _moments(final[name][chosen, half:][None])
        text = f"{name}: mean final loss + 4 s.e. over {least:.3g}, the least of SGD, at the step "
        text += "size that is best on other replicates"
        rows.append(claim(text, SOURCE, float(loss + 4 * its_error) / least, "<", 0.25))
    return rows


def _moments(values: Array) -> tuple[Array, Array]:
    """The mean over replicates of values (V, R) and its standard error, (V,) each."""
    return values.mean(-1), values.std(-1, ddof=1) / np.sqrt(values.shape[-1])


PICTURE = Picture(
    "sparse-noise",
    "With noise on one coordinate the sign methods win; error feedback inherits SGD's noise",
    work,
    draw,
    verdicts,
)
