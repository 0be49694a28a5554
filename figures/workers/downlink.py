"""The way down: what the server sends, compressed with a memory of its own or without.

Least squares whose rows are sorted by their targets over ten workers, full gradients, top-k both
ways, one step size for all. With memories on both sides nothing is lost: x less all memories moves
along the gradient. A server without memory loses what it does not send, on average, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd import EF21, EFSGD, CompressedSGD, Identity, Method, Run, Split, TopK
from efsgd.arrays import Array
from efsgd.figures.claims.verdicts import Verdict, claim, observation
from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results, Works
from efsgd.results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PICTURE", "draw", "verdicts", "work"]

N, D, MU, STEPS = 10, 20, 0.1, 2000
LR = 0.2  # over L = 1, for all
TOP = TopK(4)
DENSE, TWO_SIDED, FORGETS, BC = (
    "EF, dense down",
    "EF, both ways",
    "EF up, no memory down",
    "EF21-BC",
)
METHODS: dict[str, tuple[Method, Method | None]] = {
    DENSE: (EFSGD(TOP), None),
    TWO_SIDED: (EFSGD(TOP), EFSGD(TOP)),
    FORGETS: (EFSGD(TOP), CompressedSGD(TOP)),
    BC: (EF21(TOP), EF21(TOP)),
}
LOOKS: dict[str, tuple[str, Any, str]] = {
    DENSE: (style.BLACK, style.DASHED, "o"),
    TWO_SIDED: (style.BLUE, style.SOLID, "X"),
    FORGETS: (style.VERMILION, style.DASHDOT, "d"),
    BC: (style.ORANGE, style.SHORT, "D"),
}
NOTHING_LOST = (DENSE, TWO_SIDED)
SOURCE = "derived here"
SEEN = "measured here"
LATE_OVER = 0.0025  # times T^2: what two memories may differ by counts less and less


def work(quick: bool, seed: int) -> Works:
    """The four of them on the same problem."""
    from efsgd.convex.problems import KnownSquares
    from efsgd.convex.studies.several_workers import MeanIterates

    split = Split(KnownSquares(MU, 1.0, 200, D, seed), N, by="sorted")
    steps = 100 if quick else STEPS
    works = {}
    for name, (method, downlink) in METHODS.items():
        exact = ("virtual_residual",) if name in NOTHING_LOST else ()
        metrics = ("bytes_up", "bytes_down", *exact)
        run = Run(split, method, LR, steps, seed, record=1, metrics=metrics, workers=N,
                  downlink=downlink)  # fmt: skip
        works[name] = MeanIterates(run)
    return works


def verdicts(results: Results) -> list[Verdict]:
    """Bytes, what is lost and what is not, and where all end.

    That x less all memories is SGD's iterate is judged with that of all other runs.
    """
    text = f"{N} workers, sorted least squares, lr = {LR}/L"
    floor = {name: float(_late(result).mean()) for name, result in results.items()}
    last = float(abs(results[BC]["gap"][-1]))
    steps = int(results[FORGETS]["step"][-1])
    late = f"{text}: gap at the mean of x_t, t from T/2 to T, {FORGETS} over the larger of "
    late += f"{DENSE} and {TWO_SIDED}, T ="
    before = [steps // 8, steps // 4, steps // 2]
    over = floor[FORGETS] / max(floor[TWO_SIDED], floor[DENSE])
    return [
        *(_bytes(results[name], name) for name in METHODS),
        *(_mean_gap(results[name], f"{text}: {name}") for name in NOTHING_LOST),
        claim(f"{late} {steps}", SEEN, _late_over(results, steps), ">=", LATE_OVER * steps**2),
        observation(f"{late} {', '.join(map(str, before))}", SEEN,
                    ", ".join(f"{_late_over(results, T):.3g}" for T in before)),
        claim(f"{text}: mean gap over the last half of the steps, {FORGETS} over the larger of "
              f"{DENSE} and {TWO_SIDED}", SEEN, over, ">=", 3.0),
        claim(f"{text}: gap of {BC} after {STEPS} steps", SEEN, last, "<=", 1e-12),
        *(observation(f"{text}: mean gap of {name} over the last half of the steps", SEEN,
                      f"{value:.3g}") for name, value in floor.items()),
    ]  # fmt: skip


def _late(result: Result) -> Array:
    """The gaps of the last half of the steps."""
    gap: Array = result["gap"][len(result["gap"]) // 2 :]
    return gap


def _late_over(results: Results, steps: int) -> float:
    """What is lost on average in so many steps, over what two memories may differ by."""
    kept = np.max([results[name]["late_gap"][steps] for name in NOTHING_LOST])
    return float(results[FORGETS]["late_gap"][steps] / kept)


def over_limit(result: Result) -> Array:
    """The gap at the mean of x_0, ..., x_(T-1), times (lr T)^2, over its limit; NaN at T = 0."""
    over: Array = result["mean_gap"] * (_lr(result) * result["step"]) ** 2 / result["limit"]
    return over


def _lr(result: Result) -> float:
    return float(result.spec["run"]["lr"])


def _mean_gap(result: Result, text: str) -> Verdict:
    """Nothing is lost: gradients add up to (x_0 - x* - what is in memories)/lr."""
    off = abs(over_limit(result)[-1] - 1)
    found = f"{text}, the gap at the mean of all x times (lr T)^2, off its limit if nothing is lost"
    return claim(f"{found}, relatively", SOURCE, off, "<=", 0.01)


def _bytes(result: Result, name: str) -> Verdict:
    """Each step brings each worker one message."""
    sent = Identity() if METHODS[name][1] is None else TOP
    message = sent.encode(np.random.default_rng(0).standard_normal(D))
    off = abs(result["bytes_down"] - len(message) * result["step"]).max()
    text = f"{name}: bytes down off those of one encoded message a step, at any step"
    return claim(text, "len(encode)", float(off), "==", 0)


def draw(results: Results) -> Figure:
    """The gap over the bytes that each worker receives, and the gap at the mean over the steps."""
    figure, axes = style.panels(1, 2, height=3.0)
    _draw_gaps(axes[0, 0], results)
    _draw_means(axes[0, 1], results)
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=4)
    return figure


def _draw_gaps(ax: Axes, results: Results) -> None:
    for i, (name, (colour, dashes, marker)) in enumerate(LOOKS.items()):
        result = results[name]
        at = _thinned(result)
        ax.plot(result["bytes_down"][at] / 1000, _shown(result["gap"][at]), color=colour,
                linestyle=dashes, marker=marker, label=name, markevery=(0.05 * i, 0.2))  # fmt: skip
    ax.set(xscale="log", yscale="log", xlabel="kB that each worker receives")
    ax.set_ylabel("gap $f(x_t) - f^*$")
    ax.set_title("the last iterate")


def _draw_means(ax: Axes, results: Results) -> None:
    for i, (name, (colour, dashes, marker)) in enumerate(LOOKS.items()):
        result = results[name]
        at = _thinned(result)
        ax.plot(at, _shown(result["late_gap"][at]), color=colour, linestyle=dashes, marker=marker,
                markevery=(0.05 * i, 0.2))  # fmt: skip
    ax.set(xscale="log", yscale="log", xlabel="steps T", ylabel="gap at that mean")
    ax.set_title("the mean of $x_{T/2}, ..., x_{T-1}$")


def _thinned(result: Result) -> Array:
    """Some of the steps, evenly in their logarithm."""
    steps: Array = np.unique(np.geomspace(2, result["step"][-1], 60).round().astype(int))
    return steps


def _shown(gap: Array) -> Array:
    """What is below rounding is not drawn."""
    return np.where(gap > 1e-15, gap, np.nan)


PICTURE = Picture(
    "downlink",
    "The way down: a server that compresses needs a memory, too",
    work,
    draw,
    verdicts,
)
