"""The methods, problem and runs of the picture absence."""

from __future__ import annotations

from collections.abc import Iterable

from efsgd import (
    DIANA,
    EF21,
    EFSGD,
    QSGD,
    SGD,
    CompressedSGD,
    EControl,
    Faults,
    Method,
    Run,
    Split,
    TopK,
)
from efsgd.arrays import Array
from efsgd.figures.make import Results, Works
from efsgd.results import Work

WORKERS, D, LR = 12, 10, 0.15  # no eigenvalue of a worker's Hessian is above 3
STEPS, REPLICATES, RECORD = 900, 8, 10
MORE = 4  # times as many of SGD, whose mean is compared with the exact one
TOP = TopK(3)
PLAIN, WRONG = "SGD", "EF21, present only"
METHODS: dict[str, Method] = {
    PLAIN: SGD(),
    "compressed SGD": CompressedSGD(TOP),
    "EF": EFSGD(TOP),
    "EControl": EControl(TOP, eta=0.05),
    "EF21": EF21(TOP),
    "DIANA": DIANA(QSGD(4)),
}
SETTINGS: dict[str, tuple[int, float]] = {  # how many are asked, what share of messages is lost
    "all": (12, 0.0),
    "1/2": (6, 0.0),
    "1/4": (3, 0.0),
    "1/12": (1, 0.0),
    "10 % lost": (12, 0.1),
    "30 % lost": (12, 0.3),
}
HALF = "1/2"


def problem() -> Split:
    """Least squares of known curvature, its rows dealt in the order of their right-hand sides."""
    from efsgd.convex.problems.known_curvature import KnownSquares

    whole = KnownSquares(mu=0.3, noise=1.0, n=10 * WORKERS, d=D)
    return Split(whole, WORKERS, by="sorted")


def work(quick: bool, seed: int) -> Works:
    """Every method in every setting, SGD's exact noise, and EF21 that forgets the absent."""
    from efsgd.convex.studies.absent_workers import AbsenceFloor, PresentOnly

    steps, replicates = (10, 2) if quick else (STEPS, REPLICATES)
    split = problem()
    works: dict[str, Work] = {}
    for setting, (asked, loss) in SETTINGS.items():
        for name, method in METHODS.items():
            works[f"{name}, {setting}"] = Run(
                problem=split,
                method=method,
                lr=LR,
                steps=steps,
                seed=seed,
                replicates=replicates * (MORE if name == PLAIN else 1),
                record=RECORD,
                metrics=("gap",) + ("virtual_residual", "bytes_up") * (name == "EF"),
                workers=WORKERS,
                participation=asked / WORKERS,
                faults=Faults(loss=loss),
            )
        works[f"exact, {setting}"] = AbsenceFloor(split, LR, asked, loss)
    for setting in parts(SETTINGS):
        asked = SETTINGS[setting][0]
        works[f"{WRONG}, {setting}"] = PresentOnly(
            split, TOP, LR, steps, asked, seed, replicates, RECORD
        )
    return works


def settings(results: Results) -> list[str]:
    """Those of SETTINGS that the results are about."""
    return [setting for setting in SETTINGS if f"exact, {setting}" in results]


def absent(found: Iterable[str]) -> list[str]:
    """Those of the settings in which a worker may be absent."""
    return [setting for setting in found if SETTINGS[setting] != (WORKERS, 0.0)]


def parts(found: Iterable[str]) -> list[str]:
    """Those of the settings in which not all workers are asked."""
    return [setting for setting in found if SETTINGS[setting][0] < WORKERS]


def late(results: Results, name: str, setting: str) -> Array:
    """The mean gap over the last third of the steps, of each replicate, (R,)."""
    result = results[f"{name}, {setting}"]
    step = result["step"]
    mean: Array = result["gap"][step >= 2 * step[-1] // 3].mean(0)
    return mean
