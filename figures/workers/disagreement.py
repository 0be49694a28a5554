"""Workers whose functions have different optima: what error feedback leaves, and who gets past it.

Full gradients, and the mean of |grad f_i(x*)|^2 is zeta^2. From x* the steps of error feedback are
proportional to zeta, as C(c v) = c C(v) for top-k and any c > 0: the gap is proportional to zeta^2.
What compresses differences of gradients has nothing left to send at x*, and ends there. No step
size is tuned: each method has that of its theorem, EF and compressed SGD have that of EF21.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd import (
    DASHA,
    DIANA,
    EF21,
    EFSGD,
    MARINA,
    CompressedSGD,
    EControl,
    Method,
    RandK,
    Run,
    TopK,
)
from efsgd.arrays import Array
from efsgd.figures.claims.intervals import decision, of_mean
from efsgd.figures.claims.verdicts import Verdict, claim, observation
from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results, Works
from efsgd.results import Result, Work
from efsgd.schedules import Theorem

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PICTURE", "draw", "verdicts", "work"]

N, D, MU = 10, 20, 0.1  # workers, dimension, least eigenvalue of any Hessian; the largest is 1
ZETAS = (0.1, 1.0, 10.0)
TOP, RAND, P, ETA = TopK(4), RandK(5, unbiased=True), 0.25, 0.02
DELTA, OMEGA = TOP.delta(D), RAND.omega(D)
_OF_TOP: dict[str, Any] = {"L": 1.0, "delta": DELTA}
_OF_RAND: dict[str, Any] = {"L": 1.0, "omega": OMEGA, "workers": N}
EF21_STEP = Theorem("ef21-pl", mu=MU, **_OF_TOP)
METHODS: dict[str, tuple[Method, Theorem]] = {  # nothing is tuned: each at the step of its theorem
    "EF": (EFSGD(TOP), EF21_STEP),  # that of EF21, to be compared with it
    "compressed SGD": (CompressedSGD(TOP), EF21_STEP),
    "EF21": (EF21(TOP), EF21_STEP),
    "EControl": (EControl(TOP, eta=ETA), Theorem("econtrol", eta=ETA, **_OF_TOP)),
    "DIANA": (DIANA(RAND), Theorem("diana", mu=MU, **_OF_RAND)),
    "MARINA": (MARINA(RAND, probability=P), Theorem("marina", probability=P, **_OF_RAND)),
    "DASHA": (DASHA(RAND), Theorem("dasha", **_OF_RAND)),
}
PAST = ("EF21", "EControl", "DIANA", "MARINA", "DASHA")
STALL = ("EF", "compressed SGD")
STEPS, EVERY, REPLICATES = 2000, 20, 6
FACTORS = (1.0, 2.0, 8.0, 1 / 64)  # of zeta; powers of 2, so that rounding changes nothing
FROM_OPTIMUM, EXACT_STEPS = "EF from x*", 500
LOOP = "EF from x*, plain loop"  # at zeta = 1
SMALL = 1e-12
SOURCE = "derived here"
SEEN = "measured here"


def work(quick: bool, seed: int) -> Works:
    """Every method for every zeta, and error feedback from x* for a few."""
    from efsgd.convex.problems.several_workers import Disagreement
    from efsgd.convex.studies import PlainFeedback, SideBySide

    steps, replicates = (100, 2) if quick else (STEPS, REPLICATES)
    options: dict[str, Any] = {"seed": seed, "workers": N, "metrics": ("loss",)}
    works: dict[str, Work] = {}
    for name, (method, lr) in METHODS.items():
        problems = [Disagreement(z, N, D, MU, 1.0, seed) for z in ZETAS[:: 2 if quick else 1]]
        more = {"replicates": replicates, "record": EVERY} | options
        works[name] = SideBySide(tuple(Run(p, method, lr, steps, **more) for p in problems))
    method, lr = METHODS["EF"]
    exact = 50 if quick else EXACT_STEPS
    at_optimum = [Disagreement(z, N, D, MU, 0.0, seed) for z in FACTORS]
    more = {"record": 1} | options | {"metrics": ("loss", "memory_norm")}
    runs = tuple(Run(p, method, lr, exact, **more) for p in at_optimum)
    works[FROM_OPTIMUM] = SideBySide(runs)
    works[LOOP] = PlainFeedback(at_optimum[0], int(TOP.k), float(lr.lr), steps)
    return works


def zetas(result: Result) -> Array:
    """The zeta of each run."""
    return np.array([run["problem"]["zeta"] for run in result.spec["runs"]])


def floors(result: Result) -> Array:
    """The mean gap over the last third of the steps, (V, R)."""
    late = result["step"] >= 2 * result["step"][-1] / 3
    mean: Array = result["loss"][late].mean(0)
    return mean


def verdicts(results: Results) -> list[Verdict]:
    """The gap of EF is proportional to zeta^2 and that of a plain loop; others leave none."""
    text = f"{N} workers, full gradients, zeta = {ZETAS[0]} to {ZETAS[-1]:g}"
    end = f"largest gap after {STEPS} steps, at the step of its theorem,"
    return [
        _proportional(results[FROM_OPTIMUM]),
        _first_memories(results[FROM_OPTIMUM]),
        _as_the_loop(results),
        _size(results, text),
        _slope(results["EF"], text),
        _above(results),
        *(claim(f"{text}: {end} of {name}", METHODS[name][1].source,
                float(results[name]["loss"][-1].max()), "<=", SMALL) for name in PAST),
        *(observation(f"{text}: mean gap of {name} over the last third of the steps, over zeta^2",
                      SEEN, _ends(results[name])) for name in STALL),
    ]  # fmt: skip


def _proportional(result: Result) -> Verdict:
    """To the bit, at each step, for zeta times powers of 2."""
    gap, factor = result["loss"][1:, :, 0], zetas(result) ** 2
    off = float(abs(gap / factor / gap[:, :1] - 1).max())
    text = (
        f"EF with top-k from x*, {len(gap)} steps, zeta times {', '.join(map(_plain, FACTORS[1:]))}"
    )
    return claim(f"{text}: gap over zeta^2, relative change at any step", SOURCE, off, "==", 0.0)


def _first_memories(result: Result) -> Verdict:
    """At x* worker i has the gradient zeta s_i and keeps what is not among its own largest k."""
    from efsgd.convex.problems.several_workers import Disagreement

    slopes = Disagreement(1.0, N, D, MU, seed=result.spec["runs"][0]["seed"]).slopes
    small = np.sort(abs(slopes), axis=1)[:, : D - int(TOP.k)]
    kept = float(EF21_STEP.lr) * zetas(result) * np.sqrt((small**2).sum(1)).mean()
    off = float(abs(result["memory_norm"][1, :, 0] / kept - 1).max())
    text = "EF with top-k from x*: mean |e_i| after a step, off what the workers do not send of "
    return claim(f"{text}lr grad f_i(x*), relatively", SOURCE, off, "<=", 1e-12)


def _as_the_loop(results: Results) -> Verdict:
    """From x* at zeta = 1: a memory for each worker, the mean of what is sent, downwards."""
    gap = results[FROM_OPTIMUM]["loss"][1:, 0, 0]
    off = float(abs(gap / results[LOOP]["gap"][1 : len(gap) + 1] - 1).max())
    text = (
        f"EF with top-k from x*, {len(gap)} steps: gap off that of a plain loop over the workers, "
    )
    return claim(f"{text}relatively", SOURCE, off, "<=", 1e-12)


def _size(results: Results, text: str) -> Verdict:
    """The gap that is left does not remember where the run began."""
    plain, ef = results[LOOP]["gap"], results["EF"]
    over = floors(ef) / zetas(ef)[:, None] ** 2 / plain[2 * len(plain) // 3 :].mean()
    mean = over.mean(0)
    found = f"{text}: mean gap of EF over the last third, over zeta^2 and that of a plain loop "
    found += f"from x*, {mean.size} starts"
    return decision(found, SEEN, of_mean(mean), 0.8, 1.25)


def _slope(result: Result, text: str) -> Verdict:
    """From elsewhere, after the start is forgotten."""
    x = np.log(zetas(result))
    slopes = np.polynomial.polynomial.polyfit(x, np.log(floors(result)), 1)[1]
    found = f"{text}: slope over log zeta of the log of EF's mean gap over the last third, from "
    found += f"{slopes.size} starts"
    return decision(found, SOURCE, of_mean(slopes), 1.95, 2.05)


def _above(results: Results) -> Verdict:
    """CGD is worse than EF."""
    over = floors(results["compressed SGD"]).min(1) / floors(results["EF"]).max(1)
    text = f"{N} workers, full gradients, any zeta, at EF21's step: least mean gap "
    return claim(
        f"{text}of compressed SGD over the largest of EF", SEEN, float(over.min()), ">", 100.0
    )


def _ends(result: Result) -> str:
    over = floors(result).mean(1) / zetas(result) ** 2
    return f"{over.min():.3g} to {over.max():.3g}"


def _plain(value: float) -> str:
    return f"{value:g}" if value >= 1 else f"1/{1 / value:g}"


def draw(results: Results) -> Figure:
    """The gap over the steps at zeta = 1, and what is left over zeta."""
    figure, axes = style.panels(1, 2, height=3.0)
    _draw_steps(axes[0, 0], results)
    _draw_floors(axes[0, 1], results)
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=4)
    return figure


def _look(name: str) -> dict[str, Any]:
    others = [other for other in METHODS if other not in style.METHODS]
    return style.other(name, others.index(name)) if name in others else style.line(name)


def _draw_steps(ax: Axes, results: Results) -> None:
    for name in METHODS:
        result = results[name]
        at = int(np.argmin(abs(zetas(result) - 1)))
        ax.plot(result["step"], result["loss"][:, at].mean(1), **_look(name))
    ax.axhline(SMALL, color="0.5", linewidth=0.8, linestyle=style.DOTTED)
    ax.set(yscale="log", xlabel="step", ylabel="mean gap $f(x) - f^*$", ylim=(1e-20, 5))
    ax.set_title("$\\zeta = 1$, at the steps of the theorems")


def _draw_floors(ax: Axes, results: Results) -> None:
    for name in METHODS:
        result = results[name]
        last = floors(result).mean(1) if name in STALL else result["loss"][-1].mean(1)
        ax.plot(zetas(result), last, **_look(name) | {"markevery": 1})
    zeta = zetas(results["EF"])
    reference = floors(results["EF"]).mean() / np.mean(zeta**2) * zeta**2
    ax.plot(zeta, reference, color="0.5", linewidth=4, alpha=0.4, zorder=0)
    ax.text(zeta[1], reference[1] / 1e3, "$\\propto \\zeta^2$", va="top", fontsize=7)
    ax.text(zeta[0], 1e-27, "rounding, the same for all five", fontsize=7)
    ax.axhline(SMALL, color="0.5", linewidth=0.8, linestyle=style.DOTTED)
    ax.set(xscale="log", yscale="log", ylabel="gap that is left")
    ax.set_xlabel("disagreement $\\zeta$, r.m.s. of $|\\nabla f_i(x^*)|$")
    ax.set_title(f"after {int(results['EF']['step'][-1])} steps")


PICTURE = Picture(
    "disagreement",
    "Workers that disagree: error feedback leaves a gap, methods of differences leave none",
    work,
    draw,
    verdicts,
)
