"""The methods, shares and runs of the picture real-data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from efsgd import (
    DIANA,
    EF21,
    EF21SGDM,
    EFSGD,
    QSGD,
    SGD,
    CompressedSGD,
    Method,
    Run,
    Split,
    TopK,
)
from efsgd.arrays import Array
from efsgd.figures.make import Results, Works
from efsgd.results import Work

WORKERS, L2, BATCH = 16, 0.1, 4  # rows of each worker
TOP = TopK(4)  # of 31 entries
METHODS: dict[str, Method] = {
    "SGD": SGD(),
    "compressed SGD": CompressedSGD(TOP),
    "EF": EFSGD(TOP),
    "EF21": EF21(TOP),
    "EF21-SGDM": EF21SGDM(TOP, momentum=0.9),
    "DIANA": DIANA(QSGD(4)),
}
SHARES = ("label", "iid")
FULL, BATCHES, OPTIMUM = "full", "batches", "optimum"
GRID = tuple(2.0**k for k in range(-6, 1))  # 1/L is about 0.3
STEPS = {FULL: 800, BATCHES: 300}
QUICK_STEPS = 30
REPLICATES, COPIES = 16, 2  # of measured runs, and of each step size where it is tuned
TUNING_SEED = 2**20  # is added to the seed of the measured runs
LATE = {FULL: 0.25, BATCHES: 0.1}  # the share of the steps that counts as the long run


def shares(by: str) -> Split:
    """The data set on 16 workers: each with rows of one label, or with rows at random."""
    from efsgd.convex.data import BreastCancer

    return Split(BreastCancer(L2), WORKERS, by=by)


def work(quick: bool, seed: int) -> Works:
    """Full gradients over a grid of step sizes, batches at the tuned one, and the optimum."""
    from efsgd.convex.data import BreastCancer
    from efsgd.convex.studies.vary import Certified

    works: dict[str, Work] = {}
    for by in SHARES:
        split = shares(by)
        for name, method in METHODS.items():
            works[f"{by}, {FULL}, {name}"] = _full(split, method, quick, seed)
            works[f"{by}, {BATCHES}, {name}"] = _batches(split, method, quick, seed)
    return works if quick else works | {OPTIMUM: Certified((BreastCancer(L2),))}


def _full(split: Split, method: Method, quick: bool, seed: int) -> Run:
    """A replicate for each step size, over which :func:`at` finds it."""
    return Run(
        problem=split,
        method=method,
        lr=GRID,
        steps=QUICK_STEPS if quick else STEPS[FULL],
        seed=seed,
        replicates=len(GRID),
        record=10,
        metrics=("gap",),
        workers=WORKERS,
    )


def _batches(split: Split, method: Method, quick: bool, seed: int) -> Work:
    """The step size with the least gap over the last tenth of runs of another seed."""
    from efsgd.convex.studies.tuned import Tuned

    steps, copies = (QUICK_STEPS, 1) if quick else (STEPS[BATCHES], COPIES)
    last = range(steps - steps // 10, steps + 1, 5)
    lrs = GRID[::3] if quick else GRID * copies
    run = replace(
        _full(split, method, quick, seed + TUNING_SEED),
        lr=lrs, steps=steps, replicates=len(lrs), record=tuple(last), batch=BATCH,
    )  # fmt: skip
    return Tuned(run, seed, 2 if quick else REPLICATES, 10, ("gap", "bytes_worker"))


def long_run(results: Results, by: str, kind: str, name: str) -> Array:
    """The mean gap over the last steps: of each step size of GRID, or of each replicate."""
    result = results[f"{by}, {kind}, {name}"]
    step = result["step"]
    late: Array = result["gap"][step >= (1 - LATE[kind]) * step[-1]].mean(0)
    return late


def last(results: Results, by: str, name: str) -> Array:
    """The last gap with full gradients over the first, for each step size of GRID."""
    gap = results[f"{by}, {FULL}, {name}"]["gap"]
    share: Array = np.abs(gap[-1]) / gap[0]
    return share
