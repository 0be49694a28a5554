"""Theorem I: on a whole family of problems batch-1 signSGD never leaves a line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd import EFSGD, SGD, Run, ScaledSign, SignSGD
from efsgd.arrays import Array
from efsgd.convex import TheoremOne
from efsgd.convex.studies.vary import Certified, Vary, densities
from efsgd.figures.claims.verdicts import Verdict, claim
from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results, Works
from efsgd.schedules import AdaGradNorm, Constant, InverseSqrt

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SOURCE = "section 3, proof of Theorem I"
MINE = "derived here"
RUNS = {
    "SGD": (SGD(), Constant(0.5)),
    "signSGD (constant)": (SignSGD(), Constant(0.05)),
    "signSGD ($1/\\sqrt{t}$)": (SignSGD(), InverseSqrt(0.1)),
    "signSGD (AdaGrad-norm)": (SignSGD(), AdaGradNorm(0.5)),
    "EF-signSGD": (EFSGD(ScaledSign()), Constant(0.3)),
}
STEP_SIZES = {
    "signSGD (constant)": ", constant step size",
    "signSGD ($1/\\sqrt{t}$)": ", $1/\\sqrt{t}$",
    "signSGD (AdaGrad-norm)": ", AdaGrad-norm",
}
LABELS = {
    name: label + STEP_SIZES.get(name, "")
    for name, label in style.labels({name: method for name, (method, _) in RUNS.items()}).items()
}
LOOKS: dict[str, dict[str, Any]] = {  # three step sizes of one method
    "signSGD (constant)": {"color": style.VERMILION},
    "signSGD ($1/\\sqrt{t}$)": {"color": style.ORANGE, "linestyle": style.LONG, "marker": "s"},
    "signSGD (AdaGrad-norm)": {"color": style.PURPLE, "linestyle": style.DOTTED, "marker": "D"},
}
STEPS, HALFWAY = 2000, 1000  # halfway the distances are far above rounding
AS_FAST = 0.8  # the least share of the rate of SGD
STUCK = [name for name in RUNS if name.startswith("signSGD")]


def problems(quick: bool, seed: int) -> tuple[TheoremOne, ...]:
    """Random members of the family, each with its rows, signs, minimiser and start."""
    return tuple(TheoremOne(seed=1000 * seed + i) for i in range(2 if quick else 10))


def work(quick: bool, seed: int) -> Works:
    """Every method on every problem."""
    members = problems(quick, seed)
    works: dict[str, Vary | Certified] = {} if quick else {"optima": Certified(members)}
    for name, (method, lr) in RUNS.items():
        extra = ("virtual_residual",) * (method.feeds_back and not quick)
        run = Run(
            problem=members[0],
            method=method,
            lr=lr,
            steps=300 if quick else STEPS,
            seed=seed,
            replicates=5,
            record=1,
            metrics=("distance", "off_line", *extra, *(() if quick else densities(method))),
        )
        works[name] = Vary(run, "problem", members)
    return works


def family(results: Results) -> list[TheoremOne]:
    """The problems of these results."""
    return [TheoremOne(v["n"], v["d"], v["seed"]) for v in results["SGD"].spec["values"]]


def lines(results: Results) -> Array:
    """dist(x*, x_0 + span(s)) of each problem, (V, 1)."""
    return np.array([[problem.distance_to_line()] for problem in family(results)])


def draw(results: Results) -> Figure:
    """How far x_t is off the line, and from x*."""
    figure, axes = style.panels(1, 2, height=3.1)
    floor = 1e-17  # where 0 is drawn
    for name in RUNS:
        history = results[name]
        step = history["step"] + 1
        off = history["off_line"].reshape(len(step), -1)
        near = (history["distance"] / lines(results)).reshape(len(step), -1)
        for ax, values in ((axes[0, 0], off), (axes[0, 1], near)):
            label, look = LABELS[name], LOOKS.get(name, {})
            style.spread(ax, step, np.maximum(values, floor), label, **look)
    for ax in axes.flat:
        ax.set(xscale="log", yscale="log", ylim=(floor, 1e3), xlabel="iteration + 1")
    left, right = axes[0]
    left.set(ylabel="distance of $x_t$ to $x_0 + \\mathrm{span}(s)$")
    right.set(ylabel="$|x_t - x^*|$ / dist($x^*$, line)")
    right.axhline(
        1, color="0.6", linewidth=0.8, zorder=0, label="1: the point of the line nearest to $x^*$"
    )
    figure.legend(
        *right.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=3,
        title="means, bands from 10 to 90 % of the runs; 0 is drawn at the lower edge",
        title_fontsize=7,
    )
    return figure


def verdicts(results: Results) -> list[Verdict]:
    """What the proof of Theorem I says, and that feedback overcomes it on these problems.

    That x_t is no closer to x* than the line is (the right panel) follows from the distances.
    """
    rows = []
    for name in STUCK:
        label = name.replace("$1/\\sqrt{t}$", "1/sqrt(t)")
        off = float(results[name]["off_line"].max())
        text = f"{label}: largest distance from the line x_0 + span(s), any step and problem"
        rows.append(claim(text, SOURCE, off, "<=", 1e-12))
    return [*rows, _feedback(results)]


def _feedback(results: Results) -> Verdict:
    """SGD multiplies the mean of x_t - x* by I - lr H; feedback is about as fast in every run.

    H is the Hessian, so that the slowest direction is multiplied by 1 - lr lambda_min(H).
    """
    result, lr = results["EF-signSGD"], RUNS["EF-signSGD"][1](0)
    slow = [np.log1p(-lr * curvature(problem)) for problem in family(results)]
    fallen = np.log(result["distance"][HALFWAY] / result["distance"][0]) / HALFWAY
    text = f"EF-signSGD, T = {HALFWAY}: log(|x_T - x*|/|x_0 - x*|) over T log(1 - lr lambda_min), "
    text += "the rate of the mean of SGD, least of all problems and replicates"
    return claim(text, MINE, float((fallen / np.array(slow)[:, None]).min()), ">=", AS_FAST)


def curvature(problem: TheoremOne) -> float:
    """The least eigenvalue of the Hessian A'A/n."""
    rows = problem.data.X
    return float(np.linalg.eigvalsh(rows.T @ rows / problem.n)[0])


PICTURE = Picture(
    "theorem-one",
    "Batch-1 signSGD stays on a line with each of three kinds of step sizes",
    work,
    draw,
    verdicts,
)
