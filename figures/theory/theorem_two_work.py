"""The work of the picture theorem-two, and the letters of the bounds for its results."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from efsgd import bounds, compressor
from efsgd.arrays import Array
from efsgd.figures.make import Works
from efsgd.results import Result, Work

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
TO_AND_FRO = (0.0, 0.3, 0.6, 0.9, 0.95)  # q = sqrt(1-delta) of runs at lr = 2/(K L)
STEADY_STEPS, SLOPE_STEPS, SLOPE_LR = 20_000, 2000, 0.01  # the latter two of a run along a slope
SHORT = {1: (0.9, 0.48), 50: (0.999, 0.0187)}  # T -> q, lr; each step of such a run weighs
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
    for T, (q, lr) in SHORT.items():
        works[f"steady, T = {T}"] = Steady(q, T, T, lr)
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
