"""Compression for free: at lr = 1/sqrt(T+1) the leading term of Theorem II has no delta.

On a quadratic with noise and rand-k all expectations are exact, by a recursion that the picture
``theorem-four`` holds to the compressor itself. There the mean over t = 0, ..., T of E|grad f|^2 is
c/sqrt(T+1) + O(1/T) with c = f0 + L noise^2/2 for every delta, and what error feedback adds to SGD
is c L (1-delta)/delta/(T+1) + o(1/T) (derived here). Other compressors run on a nonconvex problem.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd import bounds, compressor
from efsgd.arrays import Array
from efsgd.bounds.letters import Bound, Value
from efsgd.figures.claims.verdicts import Verdict, claim, observation
from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results, Works
from efsgd.results import Result, Work

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAPER, BEST, SHARP = bounds.theorem_two, bounds.theorem_two_best_rho, bounds.theorem_two_sharp
DELTAS = (0.05, 0.2, 0.5, 1.0)  # of rand-k on the quadratic; 1 is SGD
COLOURS = (style.ORANGE, style.BLUE, style.GREEN, style.BLACK)
TS = tuple(round(10 ** (i / 2)) for i in range(4, 21))  # 1e2 to 1e10
D, RUN_TS = 16, (100, 1000, 10_000)
SPECS = {  # of the runs: those with feedback by name
    "EF, top-1": "topk:1",
    "EF-signSGD (one bit)": "scaledsign",
    "EF, QSGD/k": "contractive,qsgd:1",
}
SGD = "SGD"
LOOKS = ((style.GREEN, "p"), (style.BLUE, "X"), (style.VERMILION, "D"))


def work(quick: bool, seed: int) -> Works:
    """The exact means on the quadratic, and runs on the nonconvex problem."""
    from efsgd.convex.problems.valleys import Valleys
    from efsgd.convex.studies import ExpectedSquares, LongRuns

    settings = tuple((1 / delta, (T + 1) ** -0.5, T) for delta in DELTAS for T in TS)
    works: dict[str, Work] = {
        "exact": ExpectedSquares("U/k with feedback", settings, L=0.1, far=3.0, noise=2.0)
    }
    Ts, replicates = (RUN_TS[:2], 4) if quick else (RUN_TS, 16)
    for name, spec in ({SGD: "identity"} | SPECS).items():
        works[name] = LongRuns(compressor(spec), Valleys(D), Ts, seed, replicates)
    return works


def means(result: Result) -> Array:
    """The exact means over t of E|grad f(x_t)|^2, for each of DELTAS (rows) and TS."""
    return result["mean"].reshape(len(DELTAS), -1)


def bounded(bound: Bound[..., Value], result: Result) -> Array:
    """A bound on the same means; sigma^2 is the noise and the largest sampled E|grad f(x_t)|^2."""
    sigma = np.sqrt(result["noise"] ** 2 + result["most"])
    letters = {"f0": result["f0"], "L": result["L"], "lr": result["lr"], "T": result["T"]}
    value = bound(**letters, sigma=sigma, delta=1 / result["k"])
    return np.asarray(value).reshape(len(DELTAS), -1)


def leading(result: Result) -> float:
    """c = f0 + L noise^2/2 (derived here)."""
    return float(result["f0"] + result["L"] * result["noise"] ** 2 / 2)


def excess(result: Result) -> Array:
    """What error feedback adds to the mean of SGD, for each delta < 1 (rows) and T."""
    mean = means(result)
    more: Array = mean[:-1] - mean[-1]
    return more


def added(result: Result) -> Array:
    """c L (1-delta)/delta, (T+1) times what is added for T -> oo, for each delta < 1."""
    delta = np.array(DELTAS[:-1])
    law: Array = leading(result) * result["L"] * (1 - delta) / delta
    return law


def relative(results: Results, name: str) -> tuple[Array, Array]:
    """The mean of runs with feedback over that of SGD, less 1, and its standard error, (V,).

    Both had the same noise: the error is that of the difference of each pair.
    """
    of_sgd, mean = results[SGD]["mean"], results[name]["mean"]
    difference = (mean - of_sgd) / of_sgd.mean(axis=1, keepdims=True)
    error: Array = difference.std(axis=1, ddof=1) / np.sqrt(difference.shape[1])
    return difference.mean(axis=1), error


def draw(results: Results) -> Figure:
    """The means and the sharper bound, what feedback adds to SGD, and the same in the runs."""
    figure, axes = style.panels(1, 3, height=3.1)
    _draw_means(axes[0, 0], results["exact"])
    _draw_excess(axes[0, 1], results["exact"])
    _draw_runs(axes[0, 2], results)
    return figure


def _draw_means(ax: Axes, result: Result) -> None:
    T = np.array(TS) + 1
    share = np.sqrt(T) / leading(result)
    looks = zip(DELTAS, COLOURS, means(result), bounded(SHARP, result), strict=True)
    for delta, colour, mean, bound in looks:
        label = SGD if delta == 1 else f"EF, rand-k, $\\delta$ = {delta}"
        ax.plot(T, share * mean, color=colour, label=label)
        ax.plot(T, share * bound, color=colour, linestyle=style.DASHED, linewidth=1.0)
    ax.plot([], [], color="0.3", linestyle=style.DASHED, label="the sharper Theorem II")
    ax.set(xscale="log", yscale="log", ylim=(0.5, 20), xlabel="T + 1")
    ax.set_ylabel("mean of $E|\\nabla f(x_t)|^2$, times $\\sqrt{T+1}/c$")
    ax.set_title("quadratic, exact")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22))


def _draw_excess(ax: Axes, result: Result) -> None:
    T = np.array(TS) + 1
    c = leading(result)
    ax.plot(T, means(result)[-1] / c, color=style.BLACK, label="the mean of SGD, over c")
    looks = zip(DELTAS, COLOURS, excess(result), added(result), strict=False)
    for delta, colour, more, law in looks:
        ax.plot(T, more / c, "o", color=colour, label=f"EF adds, $\\delta$ = {delta}")
        ax.plot(T, law / c / T, color=colour, linestyle=style.DOTTED)
    dotted = "$L\\,(1-\\delta)/(\\delta\\,(T+1))$"
    ax.plot([], [], color="0.3", linestyle=style.DOTTED, label=dotted)
    ax.set(xscale="log", yscale="log", xlabel="T + 1", title="the same: what EF adds")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22))


def _draw_runs(ax: Axes, results: Results) -> None:
    for name, (colour, marker) in zip(SPECS, LOOKS, strict=True):
        share, error = relative(results, name)
        T = results[name]["T"] + 1
        look: dict[str, Any] = {"color": colour, "marker": marker, "label": name}
        ax.errorbar(T, 100 * share, 400 * error, capsize=2, **look)
    T = results[SGD]["T"][[0, -1]] + 1
    slope = 10 * np.sqrt(T[0] / T)
    ax.plot(T, slope, color="0.5", linestyle=style.DOTTED, label="$\\propto 1/\\sqrt{T+1}$")
    ax.set(xscale="log", yscale="log", xlabel="T + 1", xlim=(60, 20_000))
    ax.set(ylabel="EF adds to the mean of SGD, %", title=f"nonconvex, d = {D}, runs, 4 s.e.")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22))


def verdicts(results: Results) -> list[Verdict]:
    """The constant and the slope of the mean, what delta adds, the bounds, and the runs."""
    return [*_exact(results["exact"]), *_bounds(results["exact"]), *_runs(results)]


def _exact(result: Result) -> list[Verdict]:
    """Leading term and excess of the exact means."""
    mean, T = means(result), np.array(TS) + 1
    constant = np.sqrt(T[-1]) * mean[:, -1] / leading(result)
    slope = np.log(mean[:, -1] / mean[:, -3]) / np.log(T[-1] / T[-3])
    late = T >= 1e6
    law = excess(result)[:, late] * T[late] / added(result)[:, None]
    head = f"quadratic, rand-k, delta {DELTAS[0]} to {DELTAS[-1]}: "
    text = f"{head}mean of E|grad f|^2 at lr = (T+1)^(-1/2), "
    source = "derived here"
    off_half = float(abs(slope + 0.5).max())
    off = float(abs(constant - 1).max())
    return [
        claim(
            f"{text}T = 1e10, times (T+1)^(1/2) off f0 + L noise^2/2 relatively",
            source,
            off,
            "<=",
            1e-3,
        ),
        claim(f"{text}slope over T from 1e9 to 1e10 off -1/2", source, off_half, "<=", 1e-3),
        claim(
            f"{head}(T+1) times what EF adds to SGD off c L (1-delta)/delta, T from 1e6 to 1e10",
            source,
            float(abs(law - 1).max()),
            "<=",
            0.01,
        ),
    ]


def _bounds(result: Result) -> list[Verdict]:
    """No mean exceeds the least bound, and the bounds have the leading terms that they should."""
    mean = means(result)
    share = {bound: mean / bounded(bound, result) for bound in (PAPER, BEST, SHARP)}
    text = f"quadratic, {len(DELTAS)} deltas, T from 1e2 to 1e10: largest mean of E|grad f|^2 over "
    largest = float(share[SHARP].max())
    rows = [claim(f"{text}the sharper form", SHARP.source, largest, "<=", 1.0)]
    squared = result["noise"] ** 2 + result["most"].reshape(len(DELTAS), -1)[:, -1]
    limit = leading(result) / (result["f0"] + result["L"] * squared / 2)
    text = "quadratic, T = 1e10: mean over "
    names = {PAPER: "Theorem II", BEST: "Theorem II at its best rho", SHARP: "the sharper form"}
    for bound, name in names.items():
        at_end = limit / 2 if bound is PAPER else limit
        off = float(abs(share[bound][:, -1] / at_end - 1).max())
        most = 0.01 if bound is PAPER else 0.05
        of = "half the ratio of leading terms" if bound is PAPER else "the ratio of leading terms"
        rows.append(claim(f"{text}{name}, off {of} relatively", bound.source, off, "<=", most))
    return rows


def _runs(results: Results) -> list[Verdict]:
    """Real compressors: the mean comes to that of SGD, faster than the mean itself falls."""
    rows = []
    of_sgd = results[SGD]
    T, limit = of_sgd["T"] + 1, float(of_sgd["limit"])
    for name in SPECS:
        share, error = relative(results, name)
        delta = float(results[name]["delta"])
        text = f"{name}, delta = {delta:.3g}, nonconvex: mean over that of SGD, less 1, "
        top = float(share[-1] + 4 * error[-1])
        rows.append(claim(f"{text}plus 4 s.e., T = {RUN_TS[-1]}", PAPER.source, top, "<=", 0.02))
        fall = float(share[-1] + 4 * error[-1] - share[-2] + 4 * error[-2])
        late = f"{text}T = {RUN_TS[-1]} against T = {RUN_TS[-2]}, change plus 4 s.e."
        rows.append(claim(late, PAPER.source, fall, "<", 0.0))
    for name in (SGD, *SPECS):
        constants = np.sqrt(T[-1]) * results[name]["mean"][-1] / limit
        error = constants.std(ddof=1) / np.sqrt(constants.size)
        text = f"{name}: (T+1)^(1/2) times the mean over f0 + L noise^2/2, T = {RUN_TS[-1]}"
        rows.append(observation(text, "derived here", f"{constants.mean():.4f} +- {error:.4f}"))
    return rows


PICTURE = Picture(
    "compression-for-free",
    "At lr = 1/sqrt(T+1) delta enters at higher order only: the leading term is that of SGD",
    work,
    draw,
    verdicts,
)
