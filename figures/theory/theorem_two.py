"""Theorem II on a smooth nonconvex problem, and a run that shows its middle term cannot be halved.

All constants of the problem are known, so the bounds hold with nothing to fit: the paper's, the
same at its best rho, and the sharper one of :mod:`efsgd.bounds`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from efsgd import bounds, compressor
from efsgd.arrays import Array
from efsgd.figures.claims.verdicts import Verdict, claim, claim_virtual, does_not_hold, observation
from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results, Works
from efsgd.results import Result, Work

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAPER, BEST, SHARP = bounds.theorem_two, bounds.theorem_two_best_rho, bounds.theorem_two_sharp
BOUNDS = {"Theorem II": PAPER, "Theorem II at its best rho": BEST, "the sharper form": SHARP}
D, STEPS = 16, 2000
RATES = (0.001, 0.003, 0.01, 0.03, 0.1)
SPECS = (
    "scaledsign", "scaledsign:zero=0", "twomeans", "blockwise:4,scaledsign", "signtopk:4", "topk:1",
    "topk:4", "topk:8", "randk:4", "randk:4,unbiased", "lowrank:1", "qsgd:2", "threshold:l2=0.5",
    "threshold:linf=0.5", "terngrad", "natural", "natural:nearest", "identity",
)  # fmt: skip
LABELS = {"identity": "SGD", "topk:4": "EF, top-4", "scaledsign": "EF-signSGD (one bit)"}
COLOURS = (style.BLACK, style.ORANGE, style.BLUE)  # of LABELS
DRAWN_RATE = 3  # of RATES, in the first panel
ROUNDED = 1 + 1e-12


def work(quick: bool, seed: int) -> Works:
    """Every compressor with feedback, and the run against the halved term."""
    from efsgd.convex.problems.valleys import Valleys
    from efsgd.convex.studies.theorem_two import Halved, MeanGradients

    replicates, steps = (2, 200) if quick else (20, STEPS)
    works: dict[str, Work] = {"halved": Halved(steps=steps if quick else 10_000, seed=seed)}
    for spec in sorted({*LABELS, *SPECS[::5]}) if quick else SPECS:
        c = compressor(spec).contractive(D)
        works[spec] = MeanGradients(c, Valleys(D), RATES, steps, seed, replicates)
    return works


def letters_of(result: Result) -> dict[str, Array]:
    """The arguments of the bounds, for every step size and every t: (V, 1) and (T+1,)."""
    numbers = {letter: result[letter] for letter in ("f0", "L", "sigma", "delta")}
    return numbers | {"lr": result["lr"][:, None], "T": np.arange(result["mean"].shape[1])}


def halved(result: Result) -> dict[str, float]:
    """The bounds for the run against the halved term, whose |grad f| is the same in every draw."""
    squared = result["squared"]
    numbers = {letter: float(result[letter]) for letter in ("f0", "lr", "L", "delta")}
    sigma = float(np.sqrt(result["noise"] ** 2 + squared.max()))
    T = squared.size - 1
    values = {name: float(bound(sigma=sigma, T=T, **numbers)) for name, bound in BOUNDS.items()}
    half = values["Theorem II"] - numbers["L"] * numbers["lr"] * sigma**2 / 2
    return values | {"its middle term halved": half}


def draw(results: Results) -> Figure:
    """Means of |grad f|^2 over time, what is used of the bounds, and the halved term."""
    figure, axes = style.panels(1, 3, height=3.0)
    _draw_runs(axes[0, 0], results)
    _draw_shares(axes[0, 1], results)
    _draw_halved(axes[0, 2], results["halved"])
    return figure


def _draw_runs(ax: Axes, results: Results) -> None:
    for (spec, label), colour, width in zip(LABELS.items(), COLOURS, (4, 2.5, 1), strict=True):
        result = results[spec]
        t = np.arange(result["mean"].shape[1])
        at = np.unique(np.geomspace(9, t[-1], 60).round().astype(int))
        ax.plot(at + 1, result["mean"][DRAWN_RATE, at], color=colour, linewidth=width, label=label)
        for bound, line in ((PAPER, style.DOTTED), (SHARP, style.DASHED)):
            value = np.broadcast_to(bound(**letters_of(result)), result["mean"].shape)
            ax.plot(at + 1, value[DRAWN_RATE, at], color=colour, linestyle=line, linewidth=1.0)
    ax.plot([], [], color="0.3", linestyle=style.DOTTED, label="Theorem II")
    ax.plot([], [], color="0.3", linestyle=style.DASHED, label="sharper form")
    ax.set(xscale="log", yscale="log", xlabel="T + 1", title=f"nonconvex, lr = {RATES[DRAWN_RATE]}")
    ax.set_ylabel("mean over t of $E|\\nabla f(x_t)|^2$")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25))


def _draw_shares(ax: Axes, results: Results) -> None:
    """The share of each bound that the last mean uses, against A/B: how much the memory weighs."""
    looks = ((PAPER, ">", style.VERMILION), (SHARP, "o", style.BLUE))
    for bound, marker, colour in looks:
        weight, share = [], []
        for result in (results[spec] for spec in SPECS if spec in results):
            value = bound(**letters_of(result))
            share.append((result["mean"] / value)[:, -1])
            weight.append(_weight(result))
        name = "Theorem II" if bound is PAPER else "sharper form"
        label = f"share of {'' if bound is PAPER else 'the '}{name}"
        x, y = np.concatenate(weight), np.concatenate(share)
        ax.plot(x, y, marker, color=colour, alpha=0.7, label=label)
    ax.set(xscale="log", yscale="log", ylim=(None, 1.3), title=f"{len(SPECS)} compressors, all lr")
    ax.set(xlabel="bound over SGD's, less 1 (at least $10^{-3}$)", ylabel="share of the bound used")
    ax.axhline(1, color="0.5", linewidth=0.8)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25))


def _weight(result: Result) -> Array:
    """The sharper bound over that of SGD, minus 1 (at least 1e-3), for each step size."""
    letters = letters_of(result)
    of_sgd = SHARP(**(letters | {"delta": 1.0}))
    excess: Array = np.asarray(SHARP(**letters) / of_sgd)[:, -1] - 1
    return np.maximum(excess, 1e-3)


def _draw_halved(ax: Axes, result: Result) -> None:
    t = np.arange(result["squared"].size)
    at = np.unique(np.geomspace(1, t[-1], 200).round().astype(int))
    ax.plot(at, result["squared"][at], color=style.BLUE, label="the run")
    dots = np.unique(np.geomspace(1, t[-1], 12).round().astype(int))
    ax.plot(dots, result["recursion"][dots], "o", color=style.BLUE, label="its recursion")
    looks = (
        (style.VERMILION, style.DOTTED),
        (style.BLACK, style.DASHED),
        (style.ORANGE, style.LONG),
    )
    values = halved(result)
    names = ("Theorem II", "the sharper form", "its middle term halved")
    for name, (colour, line) in zip(names, looks, strict=True):
        ax.axhline(values[name], color=colour, linestyle=line, label=name)
    ax.set(
        xscale="log",
        xlabel="t",
        ylabel="$|\\nabla f(x_t)|^2$, bounds on its mean",
        ylim=(0.05, 0.12),
        title=f"worst case, $\\delta$ = {result['delta']}",
    )
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25))


def verdicts(results: Results) -> list[Verdict]:
    """No mean exceeds a bound at any T; the bound with the halved term is exceeded."""
    rows = []
    runs = {spec: results[spec] for spec in SPECS}
    for name, bound in BOUNDS.items():
        exceeding = sum(
            int((~(r["mean"] <= bound(**letters_of(r)) * ROUNDED)).sum()) for r in runs.values()
        )
        text = f"{len(SPECS)} compressors x {len(RATES)} step sizes: number of T at which the mean"
        rows.append(claim(f"{text} exceeds {name}", bound.source, exceeding, "==", 0))
    shares = np.concatenate(
        [(r["mean"] / SHARP(**letters_of(r))).max(axis=1) for r in runs.values()]
    )
    text = "the same: largest share of the sharper form that is used, at any T"
    rows.append(claim(text, SHARP.source, float(shares.max()), "<=", 1.0))
    return [*rows, *_halved(results["halved"]), claim_virtual(results), *_observations(runs)]


def _halved(result: Result) -> list[Verdict]:
    """The run against the halved term keeps to the assumptions, the bounds, and its recursion."""
    squared, values = result["squared"], halved(result)
    least, half = float(squared.min()), values["its middle term halved"]
    head = "quadratic, noise across x, worst compressor: "
    recursion = f"{head}largest distance of |grad f(x_t)|^2 from its recursion"
    off = float(abs(squared - result["recursion"]).max())
    delta = f"{head}largest distance of the delta achieved at a step from {result['delta']}"
    achieved = float(abs(result["achieved"] - result["delta"]).max())
    false = f"{head}Theorem II with half its middle term, {half:.4f}, bounds the least |grad f|^2"
    rows = [
        claim(recursion, SHARP.source, off, "<=", 1e-12),
        claim(delta, "arXiv 1901.09847, Assumption A", achieved, "<=", 1e-12),
        does_not_hold(false, SHARP.source, f"min over t is {least:.4f}", bool(least > half)),
    ]
    for name, bound in BOUNDS.items():
        share = float(squared.mean()) / values[name]
        rows.append(
            claim(f"{head}the mean of |grad f|^2 over {name}", bound.source, share, "<=", 1.0)
        )
    return rows


def _observations(runs: dict[str, Result]) -> list[Verdict]:
    """How much of each bound is used at the end, at the smallest and the largest step size."""
    rows = []
    for spec, result in runs.items():
        shares = [(result["mean"] / bound(**letters_of(result)))[:, -1] for bound in (PAPER, SHARP)]
        text = f"{spec}, delta = {float(result['delta']):.3g}: share of Theorem II and of the "
        spans = [f"{share.min():.2g} to {share.max():.2g}" for share in shares]
        text += "sharper form used, over lr"
        rows.append(observation(text, PAPER.source, "; ".join(spans)))
    return rows


PICTURE = Picture(
    "theorem-two",
    "Theorem II on a nonconvex problem, and a run for which its middle term cannot be halved",
    work,
    draw,
    verdicts,
)
