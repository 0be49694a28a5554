"""What the pictures ``variants`` compare: the methods, their step sizes and the runs.

Full gradients: every method with the step size that a theorem gives it, and with the one of a grid
that leaves the least gap once the bytes of DENSE uncompressed gradients are sent. Batches, about
which those theorems say nothing: the step size of a grid with the least gap over the last tenth of
the steps. Where something is random, step sizes are chosen on runs of another seed.

Here and in the modules that read the results, ``pair`` is "problem, compressor", one of PAIRS, and
``setting`` one of THEOREM, TUNED and BATCHES.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from efsgd import (
    EF21,
    EF21SGDM,
    EFSGD,
    SGD,
    CompressedSGD,
    Compressor,
    EControl,
    EF21Plus,
    FullyCorrectiveEF,
    Identity,
    Method,
    PostMomentumEF,
    RandK,
    Run,
    Scaled,
    ScaledSign,
    TopK,
)
from efsgd.convex.problems.known_curvature import Known, KnownLogistic, KnownSquares
from efsgd.convex.studies.side_by_side import MemoryUnits, SideBySide
from efsgd.convex.studies.tuned import Tuned
from efsgd.convex.studies.vary import Certified
from efsgd.results import Work
from efsgd.schedules import Constant, Schedule, StepDecay, Theorem

COMPRESSORS: tuple[Compressor, ...] = (TopK(0.02), RandK(0.02), ScaledSign())
PROBLEMS = ("least squares", "logistic")
D = 100  # of both
PAIRS = tuple(f"{problem}, {c}" for problem in PROBLEMS for c in COMPRESSORS)
THEOREM, TUNED, BATCHES = "theorem", "tuned", "batches"
STEPS = {THEOREM: 500, BATCHES: 400}
QUICK_STEPS = {THEOREM: 30, BATCHES: 30}
BATCH = 8  # rows
TUNED_GRID = tuple(2.0 ** (k / 2) for k in range(-22, 9))  # 1/L is about 1
BATCHES_GRID = tuple(2.0 ** (k / 2) for k in range(-22, 1))
DENSE = 10  # gradients, uncompressed: their bytes are the budget
COPIES = {THEOREM: 8, TUNED: 16, BATCHES: 20}  # of measured runs, where something is random
TUNING_COPIES = {TUNED: 6, BATCHES: 2}  # of each step size, where something is random
TUNING_SEED = 2**20  # is added to the seed of the measured runs
MOMENTUM = 0.9
PLAIN, NO_FEEDBACK, CORRECTED = "SGD", "compressed SGD", "EF, corrected"
THEOREMS = {  # by method: its theorem, and whether that is about strong convexity
    PLAIN: ("gd", True),
    NO_FEEDBACK: ("cgd", True),
    "EF": ("ef", True),
    CORRECTED: ("ef", True),
    "EF21": ("ef21", True),
    "EF21+": ("ef21", True),
    "EF21-SGDM": ("ef21-sgdm-exact", False),
    "EControl": ("econtrol", False),
    "EF, momentum after": ("post-momentum", False),
}
ROUNDING = 1e-15  # of the gap, over the first; smaller ones are drawn there
LR, DROP = 0.02, 100  # of the memories in two units: the step size, and when it drops
SCHEDULES: dict[str, Schedule] = {"constant": Constant(LR), "decayed": StepDecay(LR, (DROP,), 0.1)}
ATTAINED_MU = 0.1  # of the quadratics whose rates are the proven ones
ATTAINED_GRID = tuple(float(lr) for lr in np.geomspace(0.02, 2.1, 467))  # neighbours 1 % apart
ATTAINED_STEPS = {  # by method and delta: at the best step size gaps stay far above rounding
    PLAIN: {1.0: 60},
    **{name: {0.1: 800, 0.5: 300} for name in (NO_FEEDBACK, "EF")},
}


def problems(seed: int = 0) -> dict[str, Known]:
    """The two objectives, of known curvature."""
    return {
        "least squares": KnownSquares(d=D, seed=seed),
        "logistic": KnownLogistic(d=D, seed=seed),
    }


def methods(c: Compressor, d: int) -> dict[str, Method]:
    """Those that can use this compressor; EControl in the middle of where it is stable."""
    taking_any: dict[str, Method] = {
        PLAIN: SGD(),
        NO_FEEDBACK: CompressedSGD(c),
        "EF": EFSGD(c),
        CORRECTED: FullyCorrectiveEF(c),
        "EF21": EF21(c),
        "EF21-SGDM": EF21SGDM(c, momentum=MOMENTUM),
        "EControl": EControl(c, eta=Theorem("ef", 1.0, delta=c.delta(d)).gap),
        "EF, momentum after": PostMomentumEF(c, momentum=MOMENTUM),
    }
    return taking_any if c.random else taking_any | {"EF21+": EF21Plus(c)}


def theorem(name: str, method: Method, problem: Known) -> Theorem:
    """The step size of a method for full gradients."""
    rule, strongly_convex = THEOREMS[name]
    no_momentum = strongly_convex or isinstance(method, EControl)
    return Theorem(
        method=rule,
        L=problem.L,
        mu=problem.mu if strongly_convex else None,
        delta=method.compresses.delta(problem.d),
        momentum=0.0 if no_momentum else method.momentum,
        eta=method.eta if isinstance(method, EControl) else 0.0,
    )


def message(c: Compressor) -> int:
    """The bytes of a message of d = D numbers."""
    return len(c.encode(np.ones(D), rng=np.random.default_rng(0) if c.random else None))


def steps_within_budget(c: Compressor) -> int:
    """The steps whose messages fit into the bytes of DENSE uncompressed gradients."""
    return DENSE * message(Identity()) // message(c)


def optima(quick: bool, seed: int) -> dict[str, Work]:
    """The certificates of both problems."""
    return {} if quick else {"optima": Certified(tuple(problems(seed).values()))}


def at_theorems(quick: bool, seed: int) -> dict[str, Work]:
    """Every method with every compressor on both problems, at the step size of its theorem."""
    works: dict[str, Work] = {}
    steps = (QUICK_STEPS if quick else STEPS)[THEOREM]
    spaced = {round(t) for t in np.geomspace(1, steps, 60)}
    for problem_name, problem in problems(seed).items():
        for c in COMPRESSORS:
            ends = {steps_within_budget(sent) for sent in (Identity(), c)}
            runs = [
                Run(
                    problem=problem,
                    method=method,
                    lr=theorem(name, method, problem),
                    steps=steps,
                    seed=seed,
                    replicates=COPIES[THEOREM] if c.random and not quick else 1,
                    record=tuple(sorted(t for t in spaced | ends if t <= steps)),
                    metrics=("gap", "bytes") + ("virtual_residual",) * method.has_virtual,
                )
                for name, method in methods(c, problem.d).items()
            ]
            works[f"{problem_name}, {c}, {THEOREM}"] = SideBySide(tuple(runs))
    return works


def tuned(setting: str, quick: bool, seed: int) -> dict[str, Work]:
    """Every method with every compressor on both problems, at a step size that was chosen."""
    return {
        f"{problem_name}, {c}, {setting}, {name}": _tuned(problem, method, setting, quick, seed)
        for problem_name, problem in problems(seed).items()
        for c in COMPRESSORS
        for name, method in methods(c, problem.d).items()
    }


def _tuned(problem: Known, method: Method, setting: str, quick: bool, seed: int) -> Tuned:
    """One method: with full gradients only the end of the run counts."""
    batches, c = setting == BATCHES, method.compresses
    random = (batches or c.random) and not quick
    grid = (BATCHES_GRID if batches else TUNED_GRID)[:: 8 if quick else 1]
    lrs = grid * (TUNING_COPIES[setting] if random else 1)
    steps = steps_within_budget(c)
    if batches or quick:
        steps = min(steps, QUICK_STEPS[BATCHES]) if quick else STEPS[BATCHES]
    late: Sequence[int] = range(steps - steps // 10, steps + 1, 5) if batches else (steps,)
    return Tuned(
        tuning=Run(
            problem=problem,
            method=method,
            lr=lrs,
            steps=steps,
            seed=seed + TUNING_SEED,
            replicates=len(lrs),
            batch=BATCH if batches else None,
            record=tuple(late),
            metrics=("gap",),
        ),
        seed=seed,
        replicates=COPIES[setting] if random else 1,
        record=5 if batches else steps,
        metrics=("gap", "bytes") + ("virtual_residual",) * method.has_virtual,
    )


def attained(quick: bool, seed: int) -> dict[str, Work]:
    """Methods whose rate is proven, where something attains it: over step sizes.

    On mu x^2/2 and x^2/2, the two ends of the curvature, with C(x) = (1+q)x and (1-q)x.
    """
    ends = [KnownSquares(mu=mu, noise=0.0, n=1, d=1, seed=seed) for mu in (ATTAINED_MU, 1.0)]
    works: dict[str, Work] = {}
    for name, of_delta in ({} if quick else ATTAINED_STEPS).items():
        for delta, steps in of_delta.items():
            q = float(np.sqrt(1 - delta))
            runs = [
                Run(
                    problem=problem,
                    method=methods(Scaled(Identity(), 1 + sign * q), 1)[name],
                    lr=ATTAINED_GRID,
                    steps=steps,
                    replicates=len(ATTAINED_GRID),
                    record=(steps // 2,),
                    metrics=("gap",),
                )
                for problem in ends
                for sign in (1, -1)
            ]
            works[f"attained, delta={delta}, {name}"] = SideBySide(tuple(runs))
    return works


def memories(quick: bool, seed: int) -> dict[str, Work]:
    """Memories in two units, with every compressor on both problems (quick: on the one drawn)."""
    steps = DROP + 20 if quick else 2 * DROP
    return {
        f"{name}, {c}, {schedule}": MemoryUnits(problem, c, lr, steps, BATCH, seed)
        for name, problem in problems(seed).items()
        if name == PROBLEMS[0] or not quick
        for c in COMPRESSORS
        for schedule, lr in SCHEDULES.items()
    }
