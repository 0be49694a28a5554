"""The methods, problem, steps and runs of the picture disagreement."""

from __future__ import annotations

from typing import Any

import numpy as np

from efsgd import (
    DASHA,
    DIANA,
    EF21,
    EFSGD,
    MARINA,
    SGD,
    CompressedSGD,
    EControl,
    Method,
    RandK,
    Run,
    TopK,
)
from efsgd.arrays import Array
from efsgd.figures.make import Results, Works
from efsgd.results import Result, Work
from efsgd.schedules import Theorem

N, D, MU = 10, 20, 0.1  # workers, dimension, least eigenvalue of any Hessian; the largest is 1
ZETAS = (0.1, 1.0, 10.0)
TOP, RAND, P, ETA = TopK(4), RandK(5, unbiased=True), 0.25, 0.02
DELTA, OMEGA = TOP.delta(D), RAND.omega(D)
_OF_TOP: dict[str, Any] = {"L": 1.0, "delta": DELTA}
_OF_RAND: dict[str, Any] = {"L": 1.0, "omega": OMEGA, "workers": N}
EF21_STEP = Theorem("ef21-pl", mu=MU, **_OF_TOP)
METHODS: dict[str, tuple[Method, Theorem]] = {  # each with the step of its theorem
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
GRID = tuple(2.0**k for k in range(-9, 2))  # step sizes over which each method is tuned
COPIES = 2  # starts of each of them
DESCENT = "gradient descent"  # over GRID, from the same starts
FACTORS = (1.0, 2.0, 8.0, 1 / 64)  # of zeta; powers of 2, so that rounding changes nothing
FROM_OPTIMUM, EXACT_STEPS = "EF from x*", 500
LOOP = "EF from x*, plain loop"  # at zeta = 1
SMALL_STEPS = "EF as lr -> 0"


def swept(name: str) -> str:
    """The result of a method over the step sizes of GRID."""
    return f"{name}, over step sizes"


def work(quick: bool, seed: int) -> Works:
    """Every method for every zeta, at its theorem's step and over a grid; EF from x* for a few."""
    from efsgd.convex.problems.several_workers import Disagreement
    from efsgd.convex.studies import PlainFeedback, SideBySide, SmallStepFeedback

    steps = 100 if quick else STEPS
    options: dict[str, Any] = {"seed": seed, "workers": N, "metrics": ("loss",)}
    problems = [Disagreement(z, N, D, MU, 1.0, seed) for z in ZETAS[:: 2 if quick else 1]]
    once = {"replicates": 2 if quick else REPLICATES, "record": EVERY} | options
    grid = GRID[::5] if quick else GRID * COPIES
    over = {"replicates": len(grid), "record": EVERY} | options
    works: dict[str, Work] = {}
    for name, (method, theorem) in METHODS.items():
        lr = theorem if name in PAST else theorem.lr  # of another method
        works[name] = SideBySide(tuple(Run(p, method, lr, steps, **once) for p in problems))
        works[swept(name)] = SideBySide(
            tuple(Run(p, method, grid, steps, **over) for p in problems)
        )
    works[swept(DESCENT)] = SideBySide((Run(problems[0], SGD(), grid, steps, **over),))
    method, lr = METHODS["EF"][0], EF21_STEP.lr
    exact = 50 if quick else EXACT_STEPS
    at_optimum = [Disagreement(z, N, D, MU, 0.0, seed) for z in FACTORS]
    more = {"record": 1} | options | {"metrics": ("loss", "memory_norm")}
    runs = tuple(Run(p, method, lr, exact, **more) for p in at_optimum)
    works[FROM_OPTIMUM] = SideBySide(runs)
    works[LOOP] = PlainFeedback(at_optimum[0], int(TOP.k), lr, steps)
    works[SMALL_STEPS] = SmallStepFeedback(at_optimum[0], int(TOP.k), 2 * steps)
    return works


def zetas(result: Result) -> Array:
    """The zeta of each run."""
    return np.array([run["problem"]["zeta"] for run in result.spec["runs"]])


def step_sizes(result: Result) -> Array:
    """The step size of each replicate of a sweep."""
    return np.array(result.spec["runs"][0]["lr"], dtype=float)


def floors(result: Result) -> Array:
    """The mean gap over the last third of the steps, (V, R)."""
    late = result["step"] >= 2 * result["step"][-1] / 3
    mean: Array = result["loss"][late].mean(0)
    return mean


def over_grid(result: Result) -> tuple[Array, Array]:
    """The step sizes of a sweep (G,), and the mean gap of their starts (V, G), inf if it is none.

    The gap of a start is that over the last third of the steps.
    """
    gaps, lr = floors(result), step_sizes(result)
    finite = np.where(np.isfinite(gaps), gaps, np.inf)
    grid = np.unique(lr)
    return grid, np.stack([finite[:, lr == size].mean(1) for size in grid], axis=1)


def tuned(result: Result) -> tuple[Array, Array]:
    """For each zeta the step size of GRID that leaves the least mean gap, and that gap."""
    grid, gaps = over_grid(result)
    best = gaps.argmin(1)
    return grid[best], gaps[np.arange(len(gaps)), best]


def predicted(results: Results) -> Array:
    """What EF leaves over the steps of GRID, (V, R): what gradient descent leaves and its own.

    Gradient descent starts from the same x_0.
    """
    left: Array = floors(results[swept(DESCENT)])
    return left + own_gap(results, step_sizes(results[swept("EF")]))


def own_gap(results: Results, lr: Array) -> Array:
    """c (lr zeta)^2 for each zeta and step size, (V, G): what EF's memories leave at small ones."""
    zeta = zetas(results[swept("EF")])[:, None]
    gap: Array = float(results[SMALL_STEPS]["gap"]) * (zeta * lr) ** 2
    return gap
