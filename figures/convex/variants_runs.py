"""What the pictures ``variants`` compare: the methods, their step sizes and the runs.

Full gradients: every method with the step size that a theorem gives it, and with the one of GRID
that leaves the least gap once the bytes of DENSE uncompressed gradients are sent. Batches, about
which those theorems say nothing: the step size of GRID with the least gap over the last tenth of
the steps.

Here and in the modules that read the results, ``pair`` is "problem, compressor", one of PAIRS, and
``setting`` one of THEOREM, TUNED and BATCHES.
"""

from __future__ import annotations

from collections.abc import Sequence

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
    Method,
    PostMomentumEF,
    RandK,
    Run,
    ScaledSign,
    TopK,
)
from efsgd.convex.problems.known_curvature import Known, KnownLogistic, KnownSquares
from efsgd.convex.studies.side_by_side import MemoryUnits, SideBySide
from efsgd.convex.studies.vary import Certified
from efsgd.results import Work
from efsgd.schedules import Constant, Schedule, StepDecay, Theorem

COMPRESSORS: tuple[Compressor, ...] = (TopK(0.02), RandK(0.02), ScaledSign())
PROBLEMS = ("least squares", "logistic")
D = 100  # of both
PAIRS = tuple(f"{problem}, {c}" for problem in PROBLEMS for c in COMPRESSORS)
THEOREM, TUNED, BATCHES = "theorem", "tuned", "batches"
STEPS = {THEOREM: 1000, TUNED: 250, BATCHES: 600}
RECORD = {THEOREM: 2, TUNED: 5, BATCHES: 15}
QUICK_STEPS = {THEOREM: 30, TUNED: 20, BATCHES: 30}
BATCH = 8  # rows
GRID = tuple(2.0**k for k in range(-10, 2))  # 1/L is about 1
DENSE = 10  # gradients, uncompressed: their bytes are the budget
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


def optima(quick: bool, seed: int) -> dict[str, Work]:
    """The certificates of both problems."""
    return {} if quick else {"optima": Certified(tuple(problems(seed).values()))}


def side_by_side(settings: Sequence[str], quick: bool, seed: int) -> dict[str, Work]:
    """Every method with every compressor on both problems, in each setting."""
    return {
        f"{name}, {c}, {setting}": _side_by_side(problem, c, setting, quick, seed)
        for name, problem in problems(seed).items()
        for c in COMPRESSORS
        for setting in settings
    }


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


def _side_by_side(
    problem: Known, c: Compressor, setting: str, quick: bool, seed: int
) -> SideBySide:
    """All methods in one setting; the step sizes of GRID are replicates."""
    copies = 1 if quick else {THEOREM: 8, TUNED: 3, BATCHES: 2}[setting]
    if setting != BATCHES and not c.random:
        copies = 1
    runs = []
    for name, method in methods(c, problem.d).items():
        virtual = setting != TUNED and method.has_virtual
        run = Run(
            problem=problem,
            method=method,
            lr=theorem(name, method, problem) if setting == THEOREM else GRID * copies,
            steps=(QUICK_STEPS if quick else STEPS)[setting],
            seed=seed,
            replicates=copies * (1 if setting == THEOREM else len(GRID)),
            batch=BATCH if setting == BATCHES else None,
            record=RECORD[setting],
            metrics=("gap", "bytes") + ("virtual_residual",) * virtual,
        )
        runs.append(run)
    return SideBySide(tuple(runs))
