"""The memory |e_t|^2 of built-in compressors, beside the paper's error lemma and its sharp form.

C(x) = (1-q)x with q = sqrt(1-delta) attains the sharp form on a constant gradient. The formulas are
:func:`efsgd.bounds.error_lemma` and ``error_sharp``; that it is attained, how tight they are over
delta, and what step sizes that vary do is judged in ``efsgd-figures theory error-lemma``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd import EFSGD, Identity, Run, Scaled, bounds, compressor
from efsgd.arrays import Array
from efsgd.convex.problems.bounded_noise import BoundedNoise, Slope
from efsgd.convex.studies.vary import Certified, Vary, densities
from efsgd.figures.claims.verdicts import Verdict, claim, observation
from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results, Works
from efsgd.results import Result, Work

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEMMA, SHARP = bounds.error_lemma, bounds.error_sharp
D, LR, STEPS = 64, 0.1, 400
SPECS = (  # all built-in ones but `sign` and `threshold:abs=`, which have no delta
    "scaledsign", "scaledsign:zero=0", "twomeans", "blockwise:16,scaledsign", "signtopk:8",
    "topk:4", "topk:16", "randk:8", "randk:8,unbiased", "lowrank:2", "threshold:l2=0.5",
    "threshold:linf=0.5", "qsgd:2", "terngrad", "natural", "natural:nearest", "scaled:0.5,topk:8",
    "identity",
)  # fmt: skip
PROBLEMS = (BoundedNoise(D, 1), BoundedNoise(D, D))  # the worst for signs, and for top-k
QS = (0.5, 0.9, 0.99)  # of the extremal instance
SIGMA = Slope().sigma


def work(quick: bool, seed: int) -> Works:
    """Every compressor with feedback on both problems, and the extremal instance."""
    works: dict[str, Work] = {} if quick else {"optima": Certified(PROBLEMS)}
    metrics = ("memory_norm",) if quick else ("memory_norm", "virtual_residual")
    steps, replicates, record = (100, 5, 10) if quick else (STEPS, 50, 4)
    for spec in SPECS:
        method = EFSGD(compressor(spec).contractive(D))
        run = Run(
            problem=PROBLEMS[0],
            method=method,
            lr=LR,
            steps=steps,
            seed=seed,
            replicates=replicates,
            record=record,
            metrics=metrics + (() if quick else densities(method)),
        )
        works[spec] = Vary(run, "problem", PROBLEMS)
    for q in QS:
        shrink = EFSGD(Scaled(Identity(), 1 - q))
        works[f"extremal q={q}"] = Run(Slope(), shrink, LR, STEPS, record=1, metrics=metrics)
    return works


def sharp(delta: float | Array, t: float | Array) -> Array:
    """The root of the sharp form, over lr sigma."""
    return np.sqrt(SHARP(lr=1.0, sigma=1.0, delta=delta, t=t))


def lemma(delta: float | Array) -> Array:
    """The root of the lemma, over lr sigma."""
    return np.sqrt(LEMMA(lr=1.0, sigma=1.0, delta=delta))


def delta_of(spec: str) -> float:
    """That of the compressor which error feedback uses at d = D."""
    return float(compressor(spec).contractive(D).delta(D))


def lossy() -> list[str]:
    """The compressors that lose something."""
    return [spec for spec in SPECS if delta_of(spec) < 1]


def memory(results: Results, spec: str) -> tuple[Array, Array]:
    """The steps (T,), and the root of the mean |e_t|^2 over lr sigma on each problem, (T, V)."""
    e = results[spec]["memory_norm"]
    return results[spec]["step"], np.sqrt((e**2).mean(axis=-1)) / (LR * PROBLEMS[0].sigma)


def draw(results: Results) -> Figure:
    """The extremal instance over time, and the last memory of every compressor."""
    figure, axes = style.panels(1, 2, height=3.6)
    _draw_extremal(axes[0, 0], results)
    _draw_all(axes[0, 1], results)
    entries = axes[0, 1].get_legend_handles_labels()
    figure.legend(*entries, loc="outside lower right", ncols=3)
    return figure


def _draw_extremal(ax: Axes, results: Results) -> None:
    """The extremal instance on its sharp bound, and under the lemma."""
    t = np.arange(1, STEPS + 1)
    for q, colour in zip(QS, style.THREE, strict=True):
        delta = 1 - q**2
        ax.plot(t, sharp(delta, t), color=colour, label=f"q = {q}")
        ax.axhline(float(lemma(delta)), color=colour, linestyle=style.DOTTED)
        history = results[f"extremal q={q}"]
        at = np.unique(np.geomspace(1, STEPS, 12).round().astype(int))
        ax.plot(at, history["memory_norm"][at, 0] / (LR * SIGMA), "o", color=colour)
    ax.set(xscale="log", yscale="log", xlabel="iteration t", ylim=(0.3, 1000))
    ax.set(ylabel="$|e_t|/(lr\\,\\sigma)$", title="C(x) = (1-q)x, constant gradient: dots")
    ax.plot([], [], color="0.3", label="sharp form")
    ax.plot([], [], color="0.3", linestyle=style.DOTTED, label="the paper's lemma")
    ax.legend(loc="upper left", ncols=2)


def _draw_all(ax: Axes, results: Results) -> None:
    """The largest memory of every compressor beside its two bounds."""
    specs = sorted(lossy(), key=delta_of)
    rows = np.arange(len(specs))[::-1]
    delta = np.array([delta_of(spec) for spec in specs])
    last = memory(results, specs[0])[0][-1]
    for v, (marker, colour) in enumerate((("X", style.BLUE), ("p", style.ORANGE))):
        largest = np.array([memory(results, spec)[1][:, v].max() for spec in specs])
        gradient = ("sparse", "dense")[v]
        ax.plot(largest, rows, marker, color=colour, label=f"measured, {gradient} gradients")
        for row in rows[largest == 0]:  # which a logarithmic axis cannot show
            at_edge: dict[str, Any] = {"transform": ax.get_yaxis_transform(), "clip_on": False}
            ax.plot(0, row, marker, color=colour, fillstyle="none", **at_edge)
    ax.plot(sharp(delta, last), rows, "|", markersize=8, color="0.2", label="sharp form")
    ax.plot(lemma(delta), rows, ">", color=style.VERMILION, label="the paper's lemma")
    names = {"scaledsign": "scaledsign (EF-signSGD)"}
    ax.set_yticks(rows, [names.get(spec, spec) for spec in specs])
    ax.set(xscale="log", xlabel="$(E|e_t|^2)^{1/2}/(lr\\,\\sigma)$", ylim=(-0.7, len(specs) - 0.3))
    ax.set_title(f"EF, d = {D}: largest over {last} steps")
    ax.plot([], [], "p", color="0.3", fillstyle="none", label="hollow, at the left edge: exactly 0")


def verdicts(results: Results) -> list[Verdict]:
    """No compressor exceeds the sharp form; that it is attained is judged in ``error-lemma``."""
    used, observations = [], []
    for spec in SPECS:
        (t, norms), delta = memory(results, spec), delta_of(spec)
        bound = sharp(delta, t)[:, None]
        used.append(_used(results[spec], delta))
        if delta < 1:
            of_sharp = float(np.max(norms[1:] / bound[1:]) ** 2)
            of_lemma = float(np.max(norms) / lemma(delta)) ** 2
            text = f"{spec}, delta = {delta:.3g}: largest E|e_t|^2 over the sharp form and over "
            measured = f"{of_sharp:.3g} and {of_lemma:.3g}"
            observations.append(observation(f"{text}the lemma", SHARP.source, measured))
    text = f"{len(SPECS)} compressors, {len(PROBLEMS)} problems: largest E|e_t|^2 at any recorded "
    text += "step, less 4 s.e., over the sharp form"
    largest = claim(text, SHARP.source, float(np.max(used)), "<=", 1 + 1e-12)
    return [largest, _extremal(results), *observations]


def _used(result: Result, delta: float) -> float:
    """The largest share of the sharp form that the mean |e_t|^2 is, less 4 s.e.; inf of a bound 0.

    NaN where a run diverged.
    """
    squares = result["memory_norm"][1:] ** 2
    error = squares.std(axis=-1, ddof=1) / np.sqrt(squares.shape[-1])
    t, sigma = result["step"][1:, None], np.array([problem.sigma for problem in PROBLEMS])
    bound = SHARP(lr=LR, sigma=sigma, delta=delta, t=t)
    least = squares.mean(axis=-1) - 4 * error
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.max(np.where(least == 0, 0.0, least / bound)))


def _extremal(results: Results) -> Verdict:
    """How close C(x) = (1-q)x comes on a constant gradient: the dots of the left panel."""
    off = []
    for q in QS:
        history = results[f"extremal q={q}"]
        bound = SHARP(lr=LR, sigma=SIGMA, delta=1 - q**2, t=history["step"][1:])
        off.append(abs(history["memory_norm"][1:, 0] ** 2 / bound - 1).max())
    text = f"C(x) = (1-q)x, constant gradient, q = {', '.join(map(str, QS))}: largest relative "
    text += "distance of |e_t|^2 from the sharp form, any step"
    return observation(text, SHARP.source, f"{np.max(off):.2g}")


PICTURE = Picture(
    "error-norm",
    f"The memory of {len(SPECS)} compressors, the error lemma and its sharp form",
    work,
    draw,
    verdicts,
)
