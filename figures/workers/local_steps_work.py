"""The methods, problems and runs of the picture local-steps."""

from __future__ import annotations

import numpy as np

from efsgd import EFSGD, SGD, LocalSteps, Method, Quantised, Run, Split, TopK
from efsgd.figures.make import Works
from efsgd.results import Work

WORKERS, ROWS, D, LR = 8, 320, 20, 0.3
HS = (1, 3, 10, 30, 100)
STEPS = 1500  # inner ones: a multiple of each H
QUICK_STEPS = 20  # or one round
TOP = TopK(4)
DENSE, FEEDBACK, OUTSIDE, SPARSE = "local SGD", "EF, top 4", "DiLoCo", "SparseLoCo's way"
METHODS: dict[str, Method] = {
    DENSE: LocalSteps(),
    FEEDBACK: LocalSteps(EFSGD(TOP)),
    OUTSIDE: LocalSteps(outer=SGD(momentum=0.9, nesterov=True), outer_lr=0.7),
    SPARSE: LocalSteps(EFSGD(Quantised(TOP, 2), decay=0.95)),
}
PLAIN: dict[str, Method] = {DENSE: SGD(), FEEDBACK: EFSGD(TOP)}
SORTED, IID, AGREED = "sorted", "iid", "agreed"
OF_SPLIT = {SORTED: tuple(METHODS), IID: (DENSE, FEEDBACK), AGREED: (DENSE,)}
POINTS = 40  # recorded of a run


def problem(kind: str) -> Split:
    """Least squares of known curvature on eight workers: rows sorted by their right-hand sides,
    dealt at random, or sorted and without noise, so that all workers have the same minimiser.
    """
    from efsgd.convex.problems.known_curvature import KnownSquares

    whole = KnownSquares(mu=0.1, noise=0.0 if kind == AGREED else 1.0, n=ROWS, d=D)
    return Split(whole, WORKERS, by=IID if kind == IID else SORTED)


def work(quick: bool, seed: int) -> Works:
    """Every method for every number of local steps, the plain methods, and the limits."""
    from efsgd.convex.studies.local_limits import LocalLimits

    works: dict[str, Work] = {}
    for kind, methods in OF_SPLIT.items():
        split = problem(kind)
        for name in methods:
            for H in HS:
                works[f"{kind}, {name}, {H}"] = _run(split, METHODS[name], quick, H, seed)
        works[f"{kind}, limits"] = LocalLimits(split, LR, HS)
    for name, method in PLAIN.items():
        works[f"plain, {name}"] = _run(problem(SORTED), method, quick, 1, seed)
    return works


def _run(split: Split, method: Method, quick: bool, H: int, seed: int) -> Run:
    """One run, whose records are at the ends of rounds."""
    rounds = (max(QUICK_STEPS, H) if quick else STEPS) // H
    recorded = {H * round(at) for at in np.geomspace(1, rounds, POINTS)}
    return Run(
        problem=split,
        method=method,
        lr=LR,
        steps=rounds * H,
        seed=seed,
        record=tuple(sorted(recorded)),
        metrics=("gap", "bytes_worker"),
        workers=WORKERS,
        local_steps=H,
    )
