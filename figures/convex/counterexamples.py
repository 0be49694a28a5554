"""Where signSGD fails: the three counterexamples of section 3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd import EFSGD, SGD, CompressedSGD, Run, ScaledSign, SignSGD, TopK
from efsgd.arrays import Array
from efsgd.convex import CE1, CE2, CE3
from efsgd.convex.studies.vary import Certified, densities
from efsgd.figures.claims.verdicts import Verdict, claim, claim_mean
from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results, Works
from efsgd.schedules import InverseSqrt

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SECTION = "section 3, Counterexample "
MINE = "derived here"
AFTER = f"{MINE}, after {SECTION}"  # that the paper says of signSGD, of scaled signSGD
METHODS = {
    "SGD": SGD(),
    "signSGD": SignSGD(),
    "scaled signSGD": CompressedSGD(ScaledSign()),
    "EF-signSGD": EFSGD(ScaledSign()),
    "EF-top-1": EFSGD(TopK(1)),
}
FEEDBACK = ("EF-signSGD", "EF-top-1")
LABELS = style.labels(METHODS)
EPS = (0.1, 0.5, 0.9)
LR1, LR2, LR3 = 0.1, 0.1, 0.05  # step sizes of CE1 (constant), CE2 (1/sqrt(t+1)), CE3 (constant)
CE3_EPS = 0.5  # that of the picture
CE3_DRAWN = 300  # steps of CE3 in the picture
CE3_STEPS = 2000
FALLEN = 400.0  # by so much at most log f falls where rates are compared: far above underflow
AS_FAST = {0.1: 0.1, 0.5: 0.2, 0.9: 0.4}  # by eps: how far rates lie apart, which is of order lr
NOTE = """lines: mean over replicates
bands: 10 to 90 % of them
thin lines: $2\\epsilon$, $8\\epsilon^2$

Counterexample 2: the largest
loss in each window of steps
Counterexample 1 has d = 1,
where all but signSGD are SGD"""
WINDOW = 16  # on CE2 the loss swings from step to step: recorded and drawn by windows


def work(quick: bool, seed: int) -> Works:
    """Every method on every counterexample, and one step of CE1 from 0, many times."""
    steps, replicates = (400, 10) if quick else (10_000, 50)
    starts = np.geomspace(1, steps - WINDOW, 60).round().astype(int)
    in_windows = tuple(np.unique(starts[:, None] + np.arange(WINDOW)).tolist())
    runs: dict[str, Run | Certified] = {}
    for name, method in METHODS.items():
        metrics = ("loss",) + ("memory_norm", "virtual_residual") * (
            method.feeds_back and not quick
        )
        metrics += () if quick else densities(method)
        runs[f"CE1 {name}"] = Run(
            CE1(), method, LR1, 200, seed=seed, replicates=20 * replicates, metrics=("loss",)
        )
        for eps in EPS:
            runs[f"CE2 {eps} {name}"] = Run(
                problem=CE2(eps),
                method=method,
                lr=InverseSqrt(LR2),
                steps=steps,
                seed=seed,
                replicates=replicates,
                record=1 if "signSGD" in name and not method.feeds_back else in_windows,
                metrics=metrics,
            )
        for eps in (CE3_EPS,) if quick else EPS:
            runs[f"CE3 {eps} {name}"] = Run(
                problem=CE3(eps),
                method=method,
                lr=LR3,
                steps=CE3_DRAWN if quick else CE3_STEPS,
                seed=seed,
                replicates=replicates,
                record=1,
                metrics=metrics,
            )
    if quick:
        return runs
    for name in ("SGD", "signSGD"):
        runs[f"one step {name}"] = Run(
            CE1(), METHODS[name], LR1, 1, seed=seed, replicates=200_000, metrics=("loss",)
        )
    others: tuple[CE2 | CE3, ...] = (*(CE2(eps) for eps in EPS), *(CE3(eps) for eps in EPS))
    return runs | {"optima": Certified((CE1(), *others))}


def draw(results: Results) -> Figure:
    """Loss against steps: CE2 at three eps above, CE1 and CE3 below."""
    figure, axes = style.panels(2, 3)
    places = [f"CE2 {eps}" for eps in EPS] + ["CE1", f"CE3 {CE3_EPS}"]
    titles = [f"Counterexample 2, $\\epsilon$ = {eps}" for eps in EPS]
    titles += ["Counterexample 1", f"Counterexample 3, $\\epsilon$ = {CE3_EPS}"]
    for ax, place, title in zip(axes.flat, places, titles, strict=False):
        for name in METHODS:
            history = results[f"{place} {name}"]
            if place.startswith("CE2"):
                style.spread(ax, *_windows(history["step"], history["loss"]), LABELS[name])
            else:
                alike = place == "CE1" and name not in ("SGD", "signSGD")
                share = 0 if alike else 0.8
                style.spread(ax, history["step"], history["loss"], LABELS[name], share=share)
        ax.set(title=title, xlabel="iteration", ylabel="$f(x_t)$")
        if place.startswith("CE2"):
            ax.set(xscale="log", yscale="log", ylim=(5e-4, 4))
            _level(ax, 2 * float(place.split()[1]), "$2\\epsilon$")
        elif place.startswith("CE3"):
            ax.set(yscale="log", ylim=(1e-14, 30), xlim=(0, CE3_DRAWN))
            _level(ax, 8 * CE3_EPS**2, "$8\\epsilon^2$")
    legend = axes[1, 2]
    legend.axis("off")
    entries = axes[0, 0].get_legend_handles_labels()
    legend.legend(*entries, loc="upper left", title=NOTE, title_fontsize=7, alignment="left")
    return figure


def _level(ax: Axes, value: float, name: str) -> None:
    """A level that sign methods stay at: on top of their curves, which would hide it, and named."""
    ax.axhline(value, color="black", linewidth=0.7, zorder=3)
    place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
    ax.annotate(name, (1, value), (0, 2.5), size=7, ha="right", va="bottom", **place)


def _windows(step: Array, loss: Array) -> tuple[Array, Array]:
    """The last step and the largest loss (.., R) of each window of steps, evenly on a log scale."""
    edges = np.unique(np.geomspace(1, step[-1], 50).round())
    window = np.searchsorted(edges, step[1:])
    starts = np.flatnonzero(np.diff(window, prepend=-1))
    ends = np.append(starts[1:], len(window)) - 1
    return step[1:][ends], np.maximum.reduceat(loss[1:], starts, axis=0)


def verdicts(results: Results) -> list[Verdict]:
    """What section 3 claims of signs, and how feedback solves the same problems."""
    rows = []
    for name, change, source in (
        ("SGD", -LR1 / 16, MINE),
        ("signSGD", LR1 / 8, f"{SECTION}1"),
    ):
        loss = results[f"one step {name}"]["loss"]
        step = loss[1] - loss[0]
        error = float(step.std(ddof=1) / np.sqrt(step.size))
        text = f"CE1: one step of {name} changes E f by {'-lr/16' if change < 0 else '+lr/8'}"
        rows.append(claim_mean(text, source, float(step.mean()), error, change))
    for eps in EPS:
        for name, source in (("signSGD", f"{SECTION}2"), ("scaled signSGD", f"{AFTER}2")):
            least = float(results[f"CE2 {eps} {name}"]["loss"].min())
            text = f"CE2, eps = {eps}: {name} never falls below 2 eps, least f/(2 eps)"
            rows.append(claim(text, source, least / (2 * eps), ">=", 1 - 1e-9))
        rows += [_solved(results, eps, name) for name in FEEDBACK]
    rows += [_remembered(results, name) for name in FEEDBACK]
    return [*rows, *(row for eps in EPS for row in _third(results, eps))]


def largest_entry(name: str, eps: float) -> float:
    """The largest entry of a gradient of CE2 in the basis in which feedback keeps one entry of two.

    For top-1 the usual basis. Scaled sign sends the entry of larger size along (1, 1) or (1, -1),
    because it is then p_1 + p_2 or p_1 - p_2 that has the size |p|_1.
    """
    return 1 + eps if METHODS[name].compresses == TopK(1) else float(np.sqrt(2))


def ceiling(name: str, eps: float, steps: int) -> Array:
    """A limit of f(x_t) on CE2 with feedback, t = 1, ..., steps (derived here).

    In the basis of :func:`largest_entry` the memory has one entry, so that of the two entries of
    p_t one is that of lr_t g alone. The smaller one is kept: |e_(t+1)| <= lr_t max|g|. Let E_t be
    the most that it is in u = x_1 + x_2 or in v = x_1 - x_2. The virtual iterate x - e moves by
    lr_t times 2 eps in u and 2 in v, towards 0 where it is farther from 0 than E_t. So it is within
    B_(t+1) = max(B_t - lr_t slope, E_t + lr_t slope), and f = eps |u| + |v|.
    """
    lrs = LR2 / np.sqrt(np.arange(steps) + 1)
    worst = 2.0 if name == "EF-signSGD" else largest_entry(name, eps)  # of |e| in u or in v
    total = np.zeros(steps)
    for weight, far in ((eps, 2.0), (1.0, 0.0)):
        slope, e = 2 * weight, 0.0
        for t, lr in enumerate(lrs):
            far, e = max(far - lr * slope, e + lr * slope), worst * lr
            total[t] += weight * (far + e)
    return total


def _solved(results: Results, eps: float, name: str) -> Verdict:
    """Counterexample 2: feedback comes as close as its memory lets it, which is of the size lr."""
    history = results[f"CE2 {eps} {name}"]
    late = history["step"] > history["step"][-1] / 2
    limit = ceiling(name, eps, int(history["step"][-1]))[history["step"][late] - 1]
    largest = float((history["loss"][late].max(axis=1) / limit).max())
    text = f"CE2, eps = {eps}: {name} solves it, largest f(x_t) in the last half of the steps over "
    text += f"its limit, at the end {limit[-1]:.2g}"
    return claim(text, MINE, largest, "<=", 1.0)


def _remembered(results: Results, name: str) -> Verdict:
    """Counterexample 2: feedback remembers one entry of one step, and no more."""
    shares = []
    for eps in EPS:
        history = results[f"CE2 {eps} {name}"]
        lr = LR2 / np.sqrt(history["step"][1:])  # of the step before
        most = lr * largest_entry(name, eps)
        shares.append(float((history["memory_norm"][1:].max(axis=1) / most).max()))
    text = f"CE2, eps = {', '.join(map(str, EPS))}: {name}, |largest |e_(t+1)|/(lr_t max|g|) - 1|"
    return claim(text, MINE, float(abs(np.max(shares) - 1)), "<=", 1e-9)


def _third(results: Results, eps: float) -> list[Verdict]:
    """Counterexample 3: signs come back to f(x_0) = 8 eps^2 and never below, feedback does.

    x_1 + x_2 is the slow direction, which SGD multiplies by 1 - 8 eps^2 lr in the mean. The virtual
    iterate of feedback does the same but for its memory, which is of the size lr.
    """
    rows, level = [], 8 * eps**2
    for name, source in (("signSGD", f"{SECTION}3"), ("scaled signSGD", f"{AFTER}3")):
        least = float(results[f"CE3 {eps} {name}"]["loss"][1:].min()) / level
        text = f"CE3, eps = {eps}: {name} comes back to f(x_0) = 8 eps^2 and never falls below, "
        text += "|least f/(8 eps^2) - 1| after the start"
        rows.append(claim(text, source, abs(least - 1), "<=", 1e-8))
    slow = -2 * np.log(1 - level * LR3)  # of log f, a step
    steps = min(CE3_STEPS, int(FALLEN / slow))
    for name in FEEDBACK:
        last = float(results[f"CE3 {eps} {name}"]["loss"][steps].max())
        text = f"CE3, eps = {eps}: {name} solves it as fast as SGD, largest f(x_T) over replicates "
        text += f"at T = {steps}: |log(f/f(x_0)) over 2T log(1 - 8 eps^2 lr) - 1|"
        share = -np.log(last / level) / (slow * steps)
        rows.append(claim(text, MINE, float(abs(share - 1)), "<=", AS_FAST[eps]))
    return rows


PICTURE = Picture(
    "counterexamples",
    "signSGD fails on three convex problems in one and two dimensions, error feedback does not",
    work,
    draw,
    verdicts,
)
