"""Theorem II on a smooth nonconvex problem, and runs that need all its terms.

All constants are known, so the bounds hold with nothing to fit: Theorem II, the same at its best
rho, and the sharper one of :mod:`efsgd.bounds`. The mean of |grad f|^2 is at most sigma^2 whatever
they say, so a comparison counts only where they say less than what is known of sup |grad f|^2.
Along other runs |grad f| stays at sigma, which no bound may deny: a term of Theorem II or of the
sharper form that is much too small shows there, and the middle term in a run of its own.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd import bounds, compressor
from efsgd.arrays import Array
from efsgd.figures.claims.verdicts import Verdict, claim, does_not_hold, observation
from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results, Works
from efsgd.figures.theory.common import worse
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
RHOS = (0.01, 0.25, 0.5, 1.0, 1.5)
TO_AND_FRO = (0.0, 0.3, 0.6, 0.9, 0.95)  # q = sqrt(1-delta) of runs at lr = 2/(K L)
STEADY_STEPS, SLOPE_STEPS, SLOPE_LR = 20_000, 2000, 0.01  # the latter two of a run along a slope
NEARLY = 1e-6  # of its limit: what the memory lacks when such a run turns


def work(quick: bool, seed: int) -> Works:
    """Every compressor with feedback, and the run against the halved term."""
    from efsgd.convex.problems.valleys import Valleys
    from efsgd.convex.studies.theorem_two import Halved, MeanGradients, Steady

    replicates, steps = (2, 200) if quick else (20, STEPS)
    works: dict[str, Work] = {"halved": Halved(steps=steps if quick else 10_000, seed=seed)}
    straight = {q: math.ceil(math.log(NEARLY) / math.log(q)) if q else 0 for q in TO_AND_FRO}
    length, last = 500 if quick else STEADY_STEPS, TO_AND_FRO[-1]
    for q in TO_AND_FRO:
        works[f"steady, {q}"] = Steady(q, straight[q], length, L=4.0, sigma=2.0)
    works["steady, other units"] = Steady(last, straight[last], length, L=0.25, sigma=0.5)
    works["steady, slope"] = Steady(0.0, SLOPE_STEPS, SLOPE_STEPS, SLOPE_LR)
    for spec in sorted({*LABELS, *SPECS[::5]}) if quick else SPECS:
        c = compressor(spec).contractive(D)
        works[spec] = MeanGradients(c, Valleys(D), RATES, steps, seed, replicates)
    return works


def letters_of(result: Result) -> dict[str, Array]:
    """The arguments of the bounds, for every step size and every t: (V, 1) and (T+1,)."""
    numbers = {letter: result[letter] for letter in ("f0", "L", "sigma", "delta")}
    return numbers | {"lr": result["lr"][:, None], "T": np.arange(result["mean"].shape[1])}


def below_sup(result: Result, value: Array) -> Array:
    """Whether a bound says less than sup |grad f|^2 of the problem, which holds without it."""
    from efsgd.convex.problems.valleys import Valleys

    fields = result.spec["problem"]
    problem = Valleys(**{name: fields[name] for name in ("d", "L", "far", "noise")})
    below: Array = value < problem.steepest**2
    return below


def steady_letters(result: Result) -> dict[str, Any]:
    """The arguments of the bounds for a run along which |grad f| is sigma, at each of its T."""
    return {name: result[name] for name in ("f0", "lr", "L", "sigma", "delta")} | {
        "T": result["step"]
    }


def over_last_mean(result: Result, rho: float) -> float:
    """Theorem II at the last T of such a run, over its mean."""
    return float((PAPER(**steady_letters(result), rho=rho) / result["mean"])[-1])


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
    """Means of |grad f|^2 over time, what is used of the bounds, and the runs that use most."""
    figure, axes = style.panels(2, 2, height=3.4)
    _draw_runs(axes[0, 0], results)
    _draw_shares(axes[0, 1], results)
    _draw_steady(axes[1, 0], results)
    _draw_halved(axes[1, 1], results["halved"])
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


def _draw_steady(ax: Axes, results: Results) -> None:
    """The last mean of runs to and fro, over sigma^2, and what the bounds say there."""
    runs = [results[f"steady, {q}"] for q in TO_AND_FRO]
    unit = np.array([float(run["sigma"]) ** 2 for run in runs])
    means = np.array([float(run["mean"][-1]) for run in runs])
    looks = ((PAPER, style.VERMILION, ">"), (BEST, style.ORANGE, "p"), (SHARP, style.BLUE, "o"))
    for (name, bound), (_, colour, marker) in zip(BOUNDS.items(), looks, strict=True):
        last = [np.ravel(bound(**steady_letters(run)))[-1] for run in runs]
        ax.plot(TO_AND_FRO, last / unit, marker, color=colour, linestyle="-", label=name)
    ax.plot(TO_AND_FRO, means / unit, "x", color=style.BLACK, label="the run", zorder=3)
    ax.axhline(1, color="0.5", linewidth=0.8)
    ax.set(xlabel="$q = \\sqrt{1-\\delta}$, lr = 2/(K L)", ylim=(0.9, 2.1))
    ax.set_ylabel("mean over t of $|\\nabla f(x_t)|^2$, over $\\sigma^2$")
    ax.set_title(f"$|\\nabla f|$ stays at $\\sigma$, T = {STEADY_STEPS}")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25))


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
    """No mean exceeds a bound, some come near to Theorem II; the halved term is exceeded."""
    runs = {spec: results[spec] for spec in SPECS}
    steady = [result for name, result in results.items() if name.startswith("steady")]
    return [
        _within(runs),
        *_steady(results, steady),
        _best_rho([letters_of(r) for r in runs.values()] + [steady_letters(r) for r in steady]),
        *_halved(results["halved"]),
        *_observations(runs),
    ]


def _within(runs: dict[str, Result]) -> Verdict:
    """The runs on a nonconvex problem, where the bound says something."""
    exceeding, compared, total = 0, 0, 0
    for result in runs.values():
        value = np.broadcast_to(SHARP(**letters_of(result)), result["mean"].shape)
        counted = below_sup(result, value)
        exceeding += int((~(result["mean"] <= value * ROUNDED))[counted].sum())
        compared, total = compared + int(counted.sum()), total + counted.size
    text = (
        f"{len(runs)} compressors x {len(RATES)} step sizes, {compared:,} of {total:,} T at which "
    )
    text += "the sharper form is below sup |grad f|^2: means above it"
    return claim(text, SHARP.source, exceeding if compared else np.nan, "==", 0)


def _steady(results: Results, steady: list[Result]) -> list[Verdict]:
    """Where |grad f| is sigma throughout no bound is below the mean, and Theorem II is near it."""
    least = dict.fromkeys(BOUNDS, np.inf)
    for result in steady:
        letters = steady_letters(result)
        values = {name: [bound(**letters)] for name, bound in BOUNDS.items()}
        values["Theorem II"] = [PAPER(**letters, rho=rho) for rho in RHOS]
        for name, of_name in values.items():
            least[name] = -worse(-least[name], -(np.array(of_name) / result["mean"]))
    off = worse(0, np.concatenate([abs(r["mean"] / r["sigma"] ** 2 - 1) for r in steady]))
    head = f"|grad f| stays at sigma, {len(steady)} runs, any T: "
    text = f"{head}least bound over the mean, "
    rows = [
        claim(
            f"{head}distance of the mean of its square from sigma^2", SHARP.source, off, "<=", 1e-5
        ),
        *(
            claim(f"{text}{name}", bound.source, least[name], ">=", 1 / ROUNDED)
            for name, bound in BOUNDS.items()
        ),
    ]
    for term, q, run, rho in (
        ("memory", TO_AND_FRO[-1], TO_AND_FRO[-1], 1),
        ("middle", 0, TO_AND_FRO[0], RHOS[0]),
        ("first", 0, "slope", RHOS[0]),
    ):
        text = "the same: Theorem II over the mean where most of it is its "
        text += f"{term} term, q = {q}, rho = {rho}"
        ratio = over_last_mean(results[f"steady, {run}"], rho)
        rows.append(claim(text, PAPER.source, ratio, "<=", 1.1))
    return rows


def _best_rho(letters: list[dict[str, Any]]) -> Verdict:
    """The formula of the best rho is the least over rho."""
    rhos, off = np.geomspace(1e-4, 1.0, 4001), 0.0
    for at in letters:
        last = at | {"T": np.max(at["T"])}
        rho = rhos.reshape(-1, *np.ones(np.ndim(last["lr"]), int))
        least = np.asarray(PAPER(**last, rho=rho)).min(axis=0)
        off = worse(off, abs(np.asarray(BEST(**last)) / least - 1))
    text = f"Theorem II at its best rho: distance from the least over {len(rhos)} rho, all runs"
    return claim(text, BEST.source, off, "<=", 1e-4)


def _halved(result: Result) -> list[Verdict]:
    """The run against the halved term keeps to the assumptions and its recursion."""
    squared, values = result["squared"], halved(result)
    least, half = float(squared.min()), values["its middle term halved"]
    head = "quadratic, noise across x, worst compressor: "
    recursion = f"{head}largest distance of |grad f(x_t)|^2 from its recursion"
    off = float(abs(squared - result["recursion"]).max())
    delta = f"{head}largest distance of the delta achieved at a step from {result['delta']}"
    achieved = float(abs(result["achieved"] - result["delta"]).max())
    false = f"{head}Theorem II with half its middle term, {half:.4f}, the printed one as far as we "
    false += "know, bounds the least |grad f|^2"
    share = float(squared.mean()) / values["the sharper form"]
    return [
        claim(recursion, SHARP.source, off, "<=", 1e-12),
        claim(delta, "arXiv 1901.09847, Assumption A", achieved, "<=", 1e-12),
        does_not_hold(false, SHARP.source, f"min over t is {least:.4f}", bool(least > half)),
        claim(f"{head}mean of |grad f|^2 over the sharper form", SHARP.source, share, "<=", 1.0),
    ]


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
    "Theorem II on a nonconvex problem, and runs that need all its terms",
    work,
    draw,
    verdicts,
)
