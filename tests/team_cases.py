"""One table of runs with several workers, and what judges each against its plain loop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from plain_workers import plain
from plain_world import Disagreeing, State, streams

from efsgd.arrays import Array
from efsgd.compressors import (
    QSGD,
    Blockwise,
    Contractive,
    Natural,
    PowerSGD,
    RandK,
    ScaledSign,
    Shared,
    SignTopK,
    TopK,
)
from efsgd.engine.runs import Run, run
from efsgd.engine.several import stepper
from efsgd.methods import (
    DASHA,
    DIANA,
    EF21,
    EF21SGDM,
    EFSGD,
    MARINA,
    SGD,
    CompressedSGD,
    EControl,
    EF21Plus,
    Faults,
    FullyCorrectiveEF,
    GradientEF,
    LocalSteps,
    MajorityVote,
    Method,
    PostMomentumEF,
    SignSGD,
    Signum,
    Team,
    TeamMemory,
)
from efsgd.schedules import InverseSqrt, StepDecay

STEPS = 7
TOLERANCE = 1e-12  # relative to 1 or the largest |x|, whichever is more: the issue's number
UNBIASED = RandK(2, unbiased=True)
HEAVY, NESTEROV = {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}
DROP = StepDecay(0.2, (3, 6), 0.3)
DILOCO = SGD(momentum=0.9, nesterov=True)
NATURAL = Natural()  # C(a v) is not a C(v), so that units matter
CHUNKED = Blockwise(TopK(1), 3)

Options = dict[str, Any]  # of a Run
LONG: Options = {"local_steps": 5, "steps": 13}  # two rounds, and some of a third

# -- what is run: a method, and what of a Run belongs to it ----------------------------------------

METHODS: dict[str, tuple[Method, Options]] = {
    "SGD": (SGD(), {}),
    "SGD, momentum, decay": (SGD(weight_decay=0.1, **HEAVY), {}),
    "SGD, undecayed": (SGD(momentum=0.5, form="undecayed"), {}),
    "compressed": (CompressedSGD(TopK(2)), {}),
    "compressed, dampened": (CompressedSGD(RandK(3), momentum=0.5, dampening=0.5), {}),
    "compressed, qsgd, lr a replicate": (CompressedSGD(QSGD(3)), {"lr": (0.1, 0.3)}),
    "compressed, shared": (CompressedSGD(Shared(UNBIASED)), {}),
    "signs": (SignSGD(), {}),
    "signum": (Signum(weight_decay=0.1), {}),
    "vote": (MajorityVote(), {}),
    "vote, momentum": (MajorityVote(**HEAVY), {"lr": (0.1, 0.3)}),
    "EF": (EFSGD(TopK(1)), {}),
    "EF, random": (EFSGD(RandK(2)), {"lr": InverseSqrt(0.3)}),
    "EF, shared": (EFSGD(Shared(RandK(2))), {}),
    "EF, signs, momentum": (EFSGD(ScaledSign(), weight_decay=0.1, **HEAVY), {}),
    "EF, Nesterov": (EFSGD(SignTopK(3), **NESTEROV), {"lr": (0.1, 0.2)}),
    "EF, decay": (EFSGD(TopK(2), decay=0.9), {"lr": DROP}),
    "gradient EF": (GradientEF(TopK(2), **HEAVY), {"lr": (0.1, 0.2)}),
    "gradient EF, lr drops": (GradientEF(TopK(2)), {"lr": DROP}),
    "gradient EF, as hooks": (GradientEF(TopK(2), rescaled=False), {"lr": DROP}),
    "fully corrective": (FullyCorrectiveEF(TopK(1)), {}),
    "post-momentum": (PostMomentumEF(TopK(2), weight_decay=0.1, **HEAVY), {}),
    "post-momentum, Nesterov": (PostMomentumEF(RandK(2), **NESTEROV), {"lr": DROP}),
    "EF21": (EF21(TopK(1)), {}),
    "EF21, momentum": (EF21(RandK(3), weight_decay=0.1, **NESTEROV), {"lr": DROP}),
    "EF21-SGDM": (EF21SGDM(TopK(2), weight_decay=0.1), {}),
    "EF21+": (EF21Plus(TopK(1)), {"lr": (0.1, 0.4)}),
    "EControl": (EControl(TopK(1), eta=0.25), {"lr": DROP}),
    "EControl, random": (EControl(RandK(2), eta=0.5, **HEAVY), {"lr": (0.1, 0.2)}),
    "DIANA": (DIANA(UNBIASED), {"lr": (0.1, 0.2)}),
    "DIANA, alpha, momentum": (DIANA(QSGD(2), alpha=0.1, weight_decay=0.1, **HEAVY), {"lr": DROP}),
    "MARINA": (MARINA(UNBIASED, probability=0.3), {}),
    "MARINA, qsgd": (MARINA(QSGD(4), probability=0.5, weight_decay=0.1), {"lr": (0.1, 0.2)}),
    "MARINA, shared": (MARINA(Shared(UNBIASED), probability=0.5), {}),
    "DASHA": (DASHA(UNBIASED), {}),
    "DASHA, a": (DASHA(RandK(4, unbiased=True), a=0.3, **HEAVY), {"lr": (0.1, 0.2)}),
    "two-sided EF": (EFSGD(TopK(1)), {"downlink": EFSGD(TopK(2))}),
    "two-sided EF, random": (
        EFSGD(ScaledSign()),
        {"downlink": EFSGD(RandK(2), decay=0.9), "lr": DROP},
    ),
    "two-sided, server momentum": (
        EFSGD(TopK(2)),
        {"downlink": EFSGD(ScaledSign(), momentum=0.5), "lr": (0.1, 0.2)},
    ),
    "naive downlink": (EFSGD(TopK(1)), {"downlink": CompressedSGD(TopK(2)), "lr": (0.1, 0.3)}),
    "SGD, naive downlink": (SGD(**HEAVY), {"downlink": CompressedSGD(UNBIASED)}),
    "EF, downlink in units of x": (EFSGD(TopK(2)), {"downlink": EF21(NATURAL), "lr": DROP}),
    "gradient EF, of g": (GradientEF(TopK(2)), {"downlink": CompressedSGD(NATURAL), "lr": DROP}),
    "SGD, server EF": (SGD(), {"downlink": EFSGD(Contractive(NATURAL), **HEAVY), "lr": DROP}),
    "EF21-BC": (EF21(TopK(1)), {"downlink": EF21(TopK(2))}),
    "DIANA, downlink": (DIANA(UNBIASED), {"downlink": EFSGD(TopK(2))}),
    "EF, downlink EControl": (
        EFSGD(TopK(1)),
        {"downlink": EControl(TopK(2), eta=0.3), "lr": (0.1, 0.2)},
    ),
    "EF21, downlink EControl": (EF21(TopK(1)), {"downlink": EControl(TopK(2), eta=0.25)}),
    "SGD, downlink gradient EF": (SGD(), {"downlink": GradientEF(TopK(2), **HEAVY), "lr": DROP}),
    "DIANA, downlink DIANA": (DIANA(UNBIASED), {"downlink": DIANA(UNBIASED), "lr": (0.1, 0.2)}),
    "PowerSGD": (EFSGD(PowerSGD(1), **HEAVY), {"d": 12, "lr": (0.1, 0.2)}),
    "PowerSGD, rank 2": (GradientEF(PowerSGD(2)), {"d": 12, "lr": DROP}),
    "PowerSGD, post-momentum": (PostMomentumEF(PowerSGD(1), **NESTEROV), {"d": 12}),
    "PowerSGD, downlink": (EFSGD(PowerSGD(1)), {"d": 12, "downlink": EFSGD(TopK(2))}),
    "downlink PowerSGD": (
        EFSGD(ScaledSign()),
        {"d": 12, "downlink": EFSGD(PowerSGD(1)), "lr": DROP},
    ),
    "local, H=1": (LocalSteps(), {}),
    "local SGD": (LocalSteps(), LONG),
    "DiLoCo, H=1": (LocalSteps(outer=DILOCO, outer_lr=0.7, inner=SGD(**HEAVY)), {}),
    "DiLoCo": (LocalSteps(outer=DILOCO, outer_lr=0.7, inner=SGD(**HEAVY)), LONG),
    "SparseLoCo": (
        LocalSteps(EFSGD(CHUNKED, decay=0.95), SGD(weight_decay=0.1, **HEAVY), outer_lr=0.8),
        {"local_steps": 3, "lr": DROP},
    ),
    "local, naive": (LocalSteps(CompressedSGD(RandK(3))), {"local_steps": 2, "lr": (0.1, 0.2)}),
    "local, two-sided": (
        LocalSteps(EFSGD(TopK(2)), outer=EFSGD(TopK(3))),
        {"local_steps": 2, "lr": (0.1, 0.2)},
    ),
    "local, PowerSGD": (
        LocalSteps(EFSGD(PowerSGD(1)), outer=DILOCO, fragments=2),
        {"d": 12, "local_steps": 2},
    ),
    "local, EF21": (LocalSteps(EF21(TopK(2), **HEAVY)), {"local_steps": 2}),
    "local, EControl": (LocalSteps(EControl(TopK(2), eta=0.3)), {"local_steps": 2}),
    "local, DIANA": (
        LocalSteps(DIANA(UNBIASED), outer=DILOCO, outer_lr=0.2),
        {"local_steps": 2, "lr": (0.1, 0.2)},
    ),
    "local, MARINA": (LocalSteps(MARINA(UNBIASED, probability=0.3)), {"local_steps": 2}),
    "fragments, 2 of 5": (LocalSteps(inner=DILOCO, outer=DILOCO, fragments=2), LONG),
    "fragments, 3 of 4": (LocalSteps(EFSGD(TopK(1)), fragments=3), {"local_steps": 4}),
}

# -- and with whom ---------------------------------------------------------------------------------

SETTINGS: dict[str, Options] = {
    "alone": {"workers": 1},
    "three": {"workers": 3},
    "four, weighted": {"workers": 4, "weighted": True},
    "half": {"workers": 4, "participation": 0.5},
    "lost": {"workers": 3, "faults": Faults(loss=0.3)},
    "silent": {"workers": 3, "faults": Faults(silence=0.3)},
    "all of it": {
        "workers": 4,
        "weighted": True,
        "participation": 0.75,
        "faults": Faults(loss=0.3, silence=0.2),
    },
}


@dataclass(frozen=True)
class Case:
    """One run of the table."""

    method: str
    setting: str

    def __str__(self) -> str:
        """Its name in a list of tests."""
        return f"{self.method}; {self.setting}"

    def run(self, **changes: Any) -> Run:
        """The run, of two replicates."""
        method, options = METHODS[self.method]
        setting = dict(SETTINGS[self.setting])
        options = dict(options)
        weighted, d = setting.pop("weighted", False), options.pop("d", 7)
        problem = Disagreeing(setting["workers"], d, weighted)
        made = {"lr": 0.2, "steps": STEPS, "replicates": 2, "seed": 3, **setting, **options}
        return Run(problem, method, **{**made, **changes})

    def team(self) -> Team:
        """What steps, also where it is one worker."""
        return _team(self.run())

    @property
    def alone(self) -> bool:
        """Whether the run is of the method alone."""
        return isinstance(stepper(self.run()), Method)

    @property
    def feeds_back(self) -> bool:
        """Whether workers have a memory e, and x moves at every step."""
        method = METHODS[self.method][0]
        return method.worker.feeds_back and not isinstance(method, LocalSteps)


def fits(method: str, setting: str) -> bool:
    """Whether the method can do without workers, if the setting has it do so."""
    made = METHODS[method][0]
    whole = setting in ("alone", "three", "four, weighted")
    if isinstance(made.worker, MARINA) or made.compresses.warm:
        return whole
    if isinstance(made, LocalSteps) and made.fragments > 1:
        return whole or setting == "lost"
    return True


CASES = [
    Case(method, setting) for method in METHODS for setting in SETTINGS if fits(method, setting)
]


# -- what the engine makes of it -------------------------------------------------------------------


def stepped(run: Run) -> Iterator[tuple[Array, Array, TeamMemory]]:
    """x, the answer and the memories, step by step, from :meth:`Team.step` with a run's draws."""
    team, problem = _team(run), run.problem
    start, gradients, others = streams(run.seed)
    x = problem.x0(start, run.replicates)  # type: ignore[attr-defined]
    memory = team.start(x)
    yield x, team.answer(x, memory), memory
    for t in range(run.steps):
        g = problem.worker_gradients(team.at(x, memory), gradients)  # type: ignore[attr-defined]
        x, memory, _ = team.step(x, g, memory, _lr(run, t), others)
        yield x, team.answer(x, memory), memory


def _team(run: Run) -> Team:
    made = stepper(run)
    return made if isinstance(made, Team) else Team(made, 1)


def _lr(run: Run, t: int) -> Any:
    lr: Any = run.lr
    return lr(t) if callable(lr) else np.array(lr)[:, None] if isinstance(lr, tuple) else lr


def differences(made: Run) -> Iterator[tuple[str, float]]:
    """What a run and its plain loop differ by, name by name, relative to 1 or the largest."""
    loops = plain(made)
    for t, (x, answer, memory) in enumerate(stepped(made)):
        states = [loop[t] for loop in loops]
        yield f"x, step {t}", apart(x, [state.x for state in states])
        yield f"answer, step {t}", apart(answer, [state.answer for state in states])
        yield from _of_memories(memory, states, t)
    yield from _of_history(made, loops)


def _of_memories(memory: TeamMemory, states: list[State], t: int) -> Iterator[tuple[str, float]]:
    if states[0].e:
        assert memory.e is not None
        yield f"e, step {t}", apart(memory.e, [state.e for state in states])
    if states[0].h:
        yield f"h, step {t}", apart(memory.workers[0].h, [state.h for state in states])
    if states[0].models:
        yield f"models, step {t}", apart(memory.x, [state.models for state in states])


def _of_history(made: Run, loops: list[list[State]]) -> Iterator[tuple[str, float]]:
    """Of what :func:`efsgd.run` records."""
    history = run(made)
    yield "x_final", apart(history["x_final"], [loop[-1].answer for loop in loops])
    alone = isinstance(stepper(made), Method)
    if "virtual_residual" in history:
        yield "virtual_residual / 100", history["virtual_residual"].max() / 100
    for r, loop in enumerate(loops):
        for name, measure in MEASURES.items():
            told = "bytes" if alone and name == "bytes_up" else name
            if told in history:
                expected = np.array([measure(state) for state in loop])
                yield f"{name} of replicate {r}", apart(history[told][:, r], expected)


def _spread(vectors: list[Array]) -> float:
    mean = sum(vectors) / len(vectors)
    return float(np.sqrt(np.mean([np.sum((v - mean) ** 2) for v in vectors])))


MEASURES = {
    "bytes_up": lambda state: sum(state.up),
    "bytes_worker": lambda state: max(state.up),
    "bytes_down": lambda state: state.down,
    "memory_norm": lambda state: np.mean([np.linalg.norm(e) for e in state.e]),
    "memory_largest": lambda state: max(np.linalg.norm(e) for e in state.e),
    "memory_spread": lambda state: _spread(state.e),
    "consensus": lambda state: _spread(state.models),
}


def apart(made: Any, expected: Any) -> float:
    """The largest difference, relative to 1 or the largest number; inf where shapes differ."""
    made, expected = np.asarray(made), np.asarray(expected)
    if made.shape != expected.shape:
        return np.inf
    worst = np.abs(made - expected).max() / max(1.0, np.abs(expected).max())
    return float(worst) if np.isfinite(worst) else np.inf


def faults_of(case: Case) -> list[str]:
    """What of this run is not as in its plain loop."""
    return [
        f"{case}: {name} differs by {by:.3g}"
        for name, by in differences(case.run())
        if not by <= TOLERANCE
    ]


def directions(made: Run) -> Iterator[tuple[Array, Array]]:
    """The team's virtual iterate, and x_0 - sum lr (mean direction), step by step."""
    team = _team(made)
    start, gradients, others = streams(made.seed)
    x = sgd = made.problem.x0(start, made.replicates)  # type: ignore[attr-defined]
    memory = team.start(x)
    for t in range(made.steps):
        g = made.problem.worker_gradients(x, gradients)  # type: ignore[attr-defined]
        update = team.step(x, g, memory, _lr(made, t), others)
        sgd = sgd - _lr(made, t) * team.direction(update)
        x, memory, _ = update
        yield team.virtual(x, memory), sgd
