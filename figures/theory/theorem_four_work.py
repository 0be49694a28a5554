"""The work of the picture theorem-four, and the laws that its results are compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from efsgd import bounds, compressor
from efsgd.arrays import Array
from efsgd.figures.make import Works
from efsgd.results import Result, Work

if TYPE_CHECKING:
    from efsgd.convex.studies.expected_steps import Form

UNBIASED = {  # U and the dimension
    "rand-2": ("randk:2,unbiased", 8),
    "QSGD, 1 level": ("qsgd:1", 16),
    "QSGD, 2 levels": ("qsgd:2", 5),
    "TernGrad": ("terngrad", 16),
    "natural": ("natural", 16),
}
SHARES = tuple(round(0.1 * i, 1) for i in range(1, 31))  # of the scale 1/k
PATHS = {1.5: (3, 2, 8), 2.0: (2, 1, 12), 4.0: (4, 1, 7)}  # k -> d, entries kept, steps
SCALED: Form = "U/k with feedback"
ALONE: Form = "U with feedback"
WITHOUT: Form = "U without feedback"
FORMS = (SCALED, ALONE, WITHOUT)
FULL_KS = (1.5, 2.5, 4.0)  # with full gradients
RATES = (0.001, 0.003, 0.01, 0.03, 0.1)
RUN_STEPS, RUN_LR, RUN_K = 400, 0.01, 4.0
KS = (4.0, 16.0)
TS = tuple(round(10 ** (i / 2)) for i in range(6, 19))  # 1e3 to 1e9


def work(quick: bool, seed: int) -> Works:
    """Moments of U, all paths of the memory, the recursion, and runs of U alone."""
    from efsgd.convex.problems.bounded_noise import BoundedNoise
    from efsgd.convex.studies import AllPaths, EntryGrowth, ExpectedSquares, UnbiasedMoments

    works: dict[str, Work] = {
        name: UnbiasedMoments(compressor(spec), d, SHARES, others=3 if quick else 30, seed=seed)
        for name, (spec, d) in UNBIASED.items()
    }
    for k, (d, kept, steps) in PATHS.items():
        for form in (SCALED, ALONE):
            works[f"memory, {form}, {k}"] = AllPaths(form, d, kept, 1.0, steps, slope=1.0)
    for form in FORMS:
        quadratic = {"L": 1.0, "far": 1.0, "noise": 0.5}
        works[f"paths, {form}"] = AllPaths(form, 3, 1, 0.1, 5, **quadratic)
        same = tuple((3.0, 0.1, t) for t in range(6))
        works[f"recursion, {form}"] = ExpectedSquares(form, same, **quadratic)
    for form in (SCALED, ALONE):
        settings = tuple((k, lr, t) for k in FULL_KS for lr in RATES for t in (100, 200))
        works[f"full gradients, {form}"] = ExpectedSquares(form, settings, noise=0.0)
    for form in (SCALED, WITHOUT):
        settings = tuple((k, (T + 1) ** -0.5, T) for k in (1.0, *KS) for T in TS)
        works[f"gap, {form}"] = ExpectedSquares(form, settings, L=0.3, noise=3.0)
    works["growth"] = EntryGrowth(
        compressor("randk:2,unbiased"),
        BoundedNoise(d=8, along=8, far=5.0),
        RUN_LR,
        steps=100 if quick else RUN_STEPS,
        seed=seed,
        replicates=50 if quick else 200,
    )
    return works


def memory_alone(k: float, t: Array) -> Array:
    """E|e_t|^2/(lr |g|)^2 of U with feedback on a constant gradient: (k-1) + ... + (k-1)^t.

    Derived here: the error p - U(p) has mean 0, so E|e_(t+1)|^2 = (k-1)(E|e_t|^2 + lr^2 |g|^2).
    """
    sums: Array = t * 1.0 if k == 2 else (k - 1) * ((k - 1) ** t - 1) / (k - 2)
    return sums


def memory_scaled(k: float, steps: int) -> Array:
    """E|e_t|^2/(lr |g|)^2 of U/k on the same, t = 0, ..., steps; it tends to (k-1)(2k-1).

    Derived here: with b = 1 - 1/k, E e_(t+1) = b(E e_t + lr g), E|e_(t+1)|^2 = b E|e_t + lr g|^2.
    """
    b, mean, squares = 1 - 1 / k, 0.0, [0.0]
    for _ in range(steps):
        squares.append(b * (squares[-1] + 2 * mean + 1))
        mean = b * (mean + 1)
    return np.array(squares)


def sharp_bound(k: float, t: Array) -> Array:
    """The sharp bound on E|e_t|^2/(lr sigma)^2 with the delta of Theorem IV."""
    return np.asarray(bounds.error_sharp(lr=1.0, sigma=1.0, delta=bounds.theorem_four(k=k), t=t))


def gaps(result: Result) -> Array:
    """E f(x_T) - f* for each k (rows) and T: it is E|grad f|^2/(2L)."""
    gap: Array = result["last"] / (2 * result["L"])
    return gap.reshape(-1, len(TS))
