"""Linear speed-up with the number of workers, under noise that a compressor distorts on average.

f(x) = |x|^2/2 in R^2, each worker with noise of its own, top-1. The gap once it no longer depends
on the start: n times it is the same for all n with SGD, for which it is known exactly, and nearly
so with error feedback. Without memory the gap tends to 1/2: more workers do not help.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from efsgd import EF21, EF21SGDM, EFSGD, SGD, CompressedSGD, Method, TopK
from efsgd.arrays import Array
from efsgd.figures.claims.intervals import Interval, decision, of_mean
from efsgd.figures.claims.slopes import log_slope
from efsgd.figures.claims.verdicts import Verdict, claim, observation
from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results, Works
from efsgd.results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PICTURE", "draw", "verdicts", "work"]

LR = 0.05
NS = (1, 2, 4, 8, 16, 32, 64)
METHODS: dict[str, Method] = {
    "SGD": SGD(),
    "EF": EFSGD(TopK(1)),
    "compressed SGD": CompressedSGD(TopK(1)),
    "EF21": EF21(TopK(1)),
    "EF21-SGDM": EF21SGDM(TopK(1), momentum=0.9),
}
NEAR = 0.1
FLAT = 0.05  # of the exponent of n, which is 0 for a linear speed-up and 1 without any
STUCK = 0.5  # f(0, -1), where the mean of the larger entries of the gradients is 0
SOURCE = "derived here"
SEEN = "measured here"


def work(quick: bool, seed: int) -> Works:
    """Each method for all n."""
    from efsgd.convex.studies.several_workers import StationaryGaps

    steps, replicates = (600, 4) if quick else (2000, 36)
    ns = NS[:5:2] if quick else NS
    return {
        name: StationaryGaps(m, ns, LR, steps=steps, replicates=replicates, seed=seed)
        for name, m in METHODS.items()
    }


def times_n(result: Result) -> Array:
    """n times the mean gap of each replicate, (N, R)."""
    scaled: Array = result["n"][:, None] * result["gap"]
    return scaled


def exponent(result: Result) -> Interval:
    """The slope of log(n gap) over log n, of all n, with the interval of its mean."""
    return of_mean(log_slope(result["n"], times_n(result)))


def verdicts(results: Results) -> list[Verdict]:
    """SGD is as the formula says, EF speeds up linearly, and without memory nothing is gained."""
    text = f"top-1, lr = {LR}, n = {NS[0]} to {NS[-1]} workers"
    slope = f"{text}: slope of log(n times the gap) over log n of"
    without, n = results["compressed SGD"], NS[-1]
    growth = of_mean(np.log(times_n(without)[-1] / times_n(without)[0]))
    stuck = of_mean(without["gap"][-1])
    return [
        _as_derived(results["SGD"]),
        _flat(f"{slope} EF", exponent(results["EF"])),
        _near_sgd(results["EF"], text),
        _flat(f"{slope} SGD", exponent(results["SGD"])),
        decision(f"{slope} compressed SGD", SEEN, exponent(without), above=0.9),
        decision(f"{text}: log10 of n times the gap of compressed SGD at n = {n} over that at 1",
                 SEEN, Interval(*(v / np.log(10) for v in growth)), above=1.8),
        decision(f"{n} workers: gap of compressed SGD, at infinitely many {STUCK} whatever lr",
                 SOURCE, stuck, above=0.8 * STUCK, most=STUCK),
        *(observation(f"{text}: least and largest n times the gap of {name}", SEEN,
                      _ends(results[name])) for name in METHODS),
        *(observation(f"{slope} {name}", SEEN, str(exponent(results[name])))
          for name in ("EF21", "EF21-SGDM")),
    ]  # fmt: skip


def _derived(result: Result) -> Array:
    """The expected gap of SGD for each n, (N,)."""
    from efsgd.convex.problems.several_workers import SkewedNoise

    problem, lr = SkewedNoise(), float(result.spec["lr"])
    return np.array([problem.expected_gap_sgd(lr, int(n)) for n in result["n"]])


def _as_derived(result: Result) -> Verdict:
    """SGD against the formula, for the worst n."""
    gap, derived = result["gap"], _derived(result)
    error = gap.std(axis=1, ddof=1) / np.sqrt(gap.shape[1])
    away = float(np.max(abs(gap.mean(1) - derived) / error))
    text = f"SGD, {gap.shape[0]} numbers of workers: gap off lr E|noise|^2/(2 n (2 - lr)), in s.e."
    return claim(text, SOURCE, away, "<=", 4.0)


def _near_sgd(result: Result, text: str) -> Verdict:
    """EF keeps what SGD reaches, for all n together."""
    over = (result["gap"] / _derived(result)[:, None]).mean(0)
    text = f"{text}: mean over n of the gap of EF over lr E|noise|^2/(2 n (2 - lr)) of SGD"
    return decision(text, SEEN, of_mean(over), above=1 - NEAR, most=1 + NEAR)


def _flat(text: str, slope: Interval) -> Verdict:
    return decision(text, SEEN, slope, above=-FLAT, most=FLAT)


def _ends(result: Result) -> str:
    means = times_n(result).mean(1)
    return f"{means.min():.3g}, {means.max():.3g}"


def draw(results: Results) -> Figure:
    """n times the gap over n."""
    from efsgd.convex.problems.several_workers import SkewedNoise

    figure, axes = style.panels(1, 1, height=3.4)
    ax: Axes = axes[0, 0]
    ns = results["SGD"]["n"]
    for name in METHODS:
        scaled = times_n(results[name])
        look = style.line(name) | {"markevery": 1}
        mean = scaled.mean(1)
        half = np.array([of_mean(row).half for row in scaled])
        ax.errorbar(ns, mean, yerr=half, capsize=2, **look)
    ax.axhline(
        SkewedNoise().expected_gap_sgd(LR, 1),
        color="0.5",
        linestyle=style.DOTTED,
        label="SGD, derived",
        zorder=0,
    )
    ax.plot(ns, STUCK * ns, color="0.5", linewidth=0.8, label="a gap of 1/2", zorder=0)
    ax.set(xscale="log", yscale="log", xlabel="workers n", ylim=(0.02, 60))
    ax.set_xticks(ns, [str(n) for n in ns])
    ax.minorticks_off()
    ax.set_ylabel("n times the mean gap $f(x) - f^*$")
    ax.set_title(f"skewed noise, top-1, lr = {LR}")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    return figure


PICTURE = Picture(
    "speedup",
    "Linear speed-up in the number of workers needs a memory",
    work,
    draw,
    verdicts,
)
