"""The methods, budgets and runs of the picture equal-bytes."""

from __future__ import annotations

from functools import cache

import numpy as np

from efsgd import (
    DIANA,
    EF21SGDM,
    EFSGD,
    QSGD,
    SGD,
    CompressedSGD,
    Compressor,
    Identity,
    Method,
    RandK,
    Run,
    ScaledSign,
    Shared,
    TopK,
)
from efsgd.arrays import Array
from efsgd.figures.make import Results, Works
from efsgd.results import Work

D, KEPT = 100, 5  # entries, and those that sparse messages keep
NS = (1, 4, 16, 64)
EACH, ALL = "each", "all"  # who has the budget: each worker, or all of them together
DENSE = {EACH: 12, ALL: 256}  # its bytes, in uncompressed gradients
PLAIN, SHARED = "SGD", "rand-k, shared"
METHODS: dict[str, Method] = {
    PLAIN: SGD(),
    "EF, top-k": EFSGD(TopK(KEPT)),
    "EF, signs": EFSGD(ScaledSign()),
    "EF21-SGDM, top-k": EF21SGDM(TopK(KEPT), momentum=0.9),
    "DIANA, qsgd": DIANA(QSGD(2)),
    SHARED: CompressedSGD(Shared(RandK(KEPT, unbiased=True))),
}
FEEDBACK = tuple(METHODS)[1:4]
GRID = tuple(2.0**k for k in range(-10, 2))  # step sizes; 1/L is 1
REPLICATES, COPIES = 12, 1  # of measured runs, and of each step size where it is tuned
TUNING_SEED = 2**20  # is added to the seed of the measured runs


@cache
def message(c: Compressor) -> int:
    """The bytes of a message of D numbers, all of which have this size."""
    return len(c.encode(np.ones(D), rng=np.random.default_rng(0) if c.random else None))


def budget(kind: str) -> int:
    """The bytes that one worker may send, or all of them together."""
    return DENSE[kind] * message(Identity())


def steps(kind: str, n: int, method: Method) -> int:
    """The steps whose messages fit into the budget."""
    messages = budget(kind) // message(method.compresses)
    return messages if kind == EACH else messages // n


def work(quick: bool, seed: int) -> Works:
    """Every method with every number of workers and both budgets, at its tuned step size."""
    return {
        f"{kind}, {n}, {name}": _tuned(kind, n, method, quick, seed)
        for kind in DENSE
        for n in (NS[::3] if quick else NS)
        for name, method in METHODS.items()
    }


def _tuned(kind: str, n: int, method: Method, quick: bool, seed: int) -> Work:
    """The step size with the least last gap in runs of another seed."""
    from efsgd.convex.studies.noisy_quadratic import NoisyQuadratic
    from efsgd.convex.studies.tuned import Tuned

    lrs = GRID[::3] if quick else GRID * COPIES
    length = min(steps(kind, n, method), 8 if quick else 10**6)
    run = Run(
        problem=NoisyQuadratic(D),
        method=method,
        lr=lrs,
        steps=length,
        seed=seed + TUNING_SEED,
        replicates=len(lrs),
        record=length,
        metrics=("gap",),
        workers=n,
    )
    metrics = ("gap", "bytes_up" if n > 1 else "bytes")
    return Tuned(run, seed, 2 if quick else REPLICATES, length, metrics)


def gaps(results: Results, kind: str, n: int, name: str) -> Array:
    """The last gap of each replicate, (R,)."""
    last: Array = results[f"{kind}, {n}, {name}"]["gap"][-1]
    return last


def spent(results: Results, kind: str, n: int, name: str) -> float:
    """The share of the budget that was spent."""
    result = results[f"{kind}, {n}, {name}"]
    sent = float(result["bytes_up" if n > 1 else "bytes"][-1].max())
    return sent / (n if kind == EACH else 1) / budget(kind)


def exact(results: Results, kind: str, n: int, name: str) -> float:
    """The expected gap of SGD, whole or on shared entries, at the step size that was chosen."""
    from efsgd.convex.studies.noisy_quadratic import NoisyQuadratic

    result = results[f"{kind}, {n}, {name}"]
    share = KEPT / D if name == SHARED else 1.0
    steps = int(result["step"][-1])
    return NoisyQuadratic(D).expected_gap(float(result["lr"]), steps, n, share)


def numbers(results: Results) -> list[int]:
    """The numbers of workers that the results are about."""
    return [n for n in NS if f"{EACH}, {n}, {PLAIN}" in results]
