"""A team: one worker alone, virtual iterates, absence, loss, votes, and who may be told which.

Without this file a team of one could differ from its method, and what the docstrings promise of
absent workers and lost messages would be said and not shown.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from plain_world import Disagreeing, streams
from team_cases import CASES, METHODS, TOLERANCE, Case, apart, directions
from team_mutants import MUTANTS

from efsgd.arrays import Array, Generator
from efsgd.compressors import Identity, PowerSGD, RandK, ScaledSign, TopK
from efsgd.engine.runs import Run, run
from efsgd.methods import (
    DASHA,
    DIANA,
    EF21,
    EFSGD,
    SGD,
    CompressedSGD,
    EControl,
    Faults,
    GradientEF,
    LocalSteps,
    MajorityVote,
    Method,
    Team,
)
from efsgd.schedules import AdaGradNorm, StepDecay

ALONE = [
    name
    for name, (made, options) in METHODS.items()
    if not isinstance(made, LocalSteps) and "downlink" not in options
]


@pytest.mark.parametrize("name", ALONE)
def test_a_team_of_one_is_the_method_alone_to_the_bit(name: str) -> None:
    method = METHODS[name][0]
    team, problem, lr = Team(method, 1), Disagreeing(1), 0.2
    rng, others = streams(5)[2].workers, streams(5)[2]
    x = alone = problem.x0(np.random.default_rng(0), 3)
    memory, mine = team.start(x), method.start(x)
    for t in range(6):
        g = problem.worker_gradients(alone, rng)
        update = team.step(x, g, memory, lr / (1 + t), others)
        made = method.step(alone, g[:, 0], mine, lr / (1 + t), rng)
        x, memory, alone, mine = update.x, update.memory, made.x, made.memory
        exact = method.worker is method  # else the server has a share of the arithmetic
        assert (x == alone).all() if exact else apart(x, alone) <= TOLERANCE
        for part, other in zip(memory.workers[0].arrays(), mine.arrays(), strict=False):
            assert (part[:, 0] == other).all()


# -- the virtual iterate ---------------------------------------------------------------------------

FEEDS_BACK = [case for case in CASES if case.feeds_back]
LOSSLESS = {  # what the workers send has two entries or less: the server's top 2 are all of it
    "naive downlink; alone",
    "naive downlink; half",
}


@pytest.mark.parametrize("case", FEEDS_BACK, ids=str)
def test_x_less_the_memories_is_sgd_exactly_where_it_is_said(case: Case) -> None:
    residual = max(apart(virtual, sgd) for virtual, sgd in directions(case.run()))
    if case.team().has_virtual:
        assert residual < 1e-13  # test_team_parity.py holds the metric
    elif str(case) not in LOSSLESS:
        assert residual > 1e-3


@pytest.mark.parametrize(
    "server",
    [
        EFSGD(TopK(1)),
        EFSGD(TopK(1), decay=0.5),
        EFSGD(TopK(1), momentum=0.5),
        GradientEF(TopK(1)),
        GradientEF(TopK(1), rescaled=False),
        EControl(TopK(1), eta=0.2),
        EF21(TopK(1)),
    ],
    ids=repr,
)
@pytest.mark.parametrize("lr", [(0.1, 0.2), StepDecay(0.2, (2, 5), 0.3), AdaGradNorm(0.5)], ids=str)
def test_the_server_s_memory_counts_where_it_is_exact(server: Method, lr: Any) -> None:
    """The virtual iterate less both memories: with a changing step size, and one a replicate."""
    made = Run(Disagreeing(3), GradientEF(TopK(2)), lr, 8, replicates=2, workers=3, downlink=server)
    history = run(made)
    exact = isinstance(server, EFSGD | GradientEF | EControl) and server.momentum == 0
    exact &= getattr(server, "decay", 1) == 1 and getattr(server, "rescaled", True)
    assert ("virtual_residual" in history) == exact
    assert not exact or history["virtual_residual"].max() < 1e-10


# -- who is absent, what is lost -------------------------------------------------------------------


@pytest.mark.parametrize(
    "method",
    [EF21(TopK(2)), DIANA(RandK(3, unbiased=True)), DASHA(RandK(3, unbiased=True))],
    ids=lambda method: type(method).__name__,
)
@pytest.mark.parametrize("options", [{"participation": 0.5}, {"faults": Faults(loss=0.3)}], ids=str)
def test_estimates_of_all_reach_the_optimum_of_workers_that_disagree(
    method: Method, options: dict[str, Any]
) -> None:
    problem = Disagreeing(4, d=5)
    made = Run(problem, method, 0.1, 400, workers=4, metrics=(), **options)
    assert apart(run(made)["x_final"], problem.solution[None]) < 1e-12
    if not isinstance(method, DIANA):
        with MUTANTS["estimates of the present only"]():
            assert apart(run(made)["x_final"], problem.solution[None]) > 1e-2


def test_ef21_with_the_mean_over_the_present_stalls() -> None:
    """The wrong variant as a plain loop, beside the right one."""
    problem, lr, c = Disagreeing(4, d=5), 0.1, TopK(2)

    def distance(wrong: bool) -> float:
        rng, x, h = np.random.default_rng(0), np.zeros(5), [np.zeros(5) for _ in range(4)]
        for _ in range(400):
            present = rng.choice(4, 2, replace=False)
            for i in present:
                h[i] = h[i] + c.apply(problem.A[i] @ x - problem.b[i] - h[i])
            x = x - lr * np.mean([h[i] for i in (present if wrong else range(4))], axis=0)
        return float(np.linalg.norm(x - problem.solution))

    assert distance(wrong=False) < 1e-12
    assert distance(wrong=True) > 1e-2


def test_exactly_so_many_take_part_and_each_as_often() -> None:
    team, rng = Team(SGD(), 5, participation=0.4), np.random.default_rng(0)
    present = team._present(4000, rng)
    assert present is not None
    assert (present.sum(1) == 2).all()
    share, error = present.mean(0), np.sqrt(0.4 * 0.6 / 4000)
    assert (np.abs(share - 0.4) < 4 * error).all()


def test_messages_are_lost_and_workers_silent_as_often_as_said() -> None:
    team = Team(SGD(), 5, faults=Faults(loss=0.2, silence=0.1))
    rng = np.random.default_rng(0)
    present = team._present(4000, rng)
    arrived = team._arrived(present, (4000, 5), rng)
    assert present is not None
    assert arrived is not None
    error = np.sqrt(0.1 * 0.9 / 20000)
    assert abs(present.mean() - 0.9) < 4 * error
    assert abs(arrived.sum() / present.sum() - 0.8) < 4 * np.sqrt(0.2 * 0.8 / 18000)
    assert not (arrived & ~present).any()


def test_the_same_workers_are_absent_whatever_the_method_draws() -> None:
    """What CompressedSGD sends of a message with everything in it is what SGD sends."""
    problem = Disagreeing(4)
    options: dict[str, Any] = {
        "workers": 4,
        "participation": 0.5,
        "faults": Faults(loss=0.3, silence=0.3),
    }
    whole = run(Run(problem, SGD(), 0.1, 20, **options))
    drawn = run(Run(problem, CompressedSGD(RandK(7)), 0.1, 20, **options))
    assert (whole["x_final"] == drawn["x_final"]).all()


def test_nobody_there_is_a_step_of_nothing_or_of_what_is_known() -> None:
    problem, x = Disagreeing(2), np.ones((1, 7))
    team = replace(Team(EFSGD(TopK(1)), 2), faults=Faults(silence=1 - 1e-12))
    others = streams(0)[2]
    update = team.step(x, problem.worker_gradients(x, others.workers), team.start(x), 0.1, others)
    assert (update.x == x).all()
    assert update.memory.e is not None
    assert not update.memory.e.any()


# -- symmetries ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method", [SGD(), EFSGD(TopK(2)), EF21(ScaledSign()), EControl(TopK(1), eta=0.25)], ids=repr
)
def test_workers_may_change_places(method: Method) -> None:
    order, problem, x = [2, 0, 3, 1], Disagreeing(4), np.ones((2, 7))
    team, others = Team(method, 4), streams(0)[2]
    memory, moved = team.start(x), team.start(x)
    y = x
    for _ in range(5):
        g = problem.worker_gradients(x, others.workers)
        x, memory, _ = team.step(x, g, memory, 0.1, others)
        y, moved, _ = team.step(y, g[:, order], moved, 0.1, others)
        assert apart(y, x) <= TOLERANCE
        for part, other in zip(memory.arrays(), moved.arrays(), strict=True):
            assert apart(other, part[:, order]) <= TOLERANCE


@pytest.mark.parametrize("c", [TopK(2), ScaledSign(), Identity()], ids=str)
def test_workers_that_agree_are_one_worker(c: Any) -> None:
    problem, x = Disagreeing(1), np.ones((2, 7))
    team, others, alone = Team(EFSGD(c), 4), streams(0)[2], EFSGD(c)
    memory, mine, y = team.start(x), alone.start(x), x
    for _ in range(5):
        g = problem.worker_gradients(y, others.workers)
        x, memory, _ = team.step(x, np.repeat(g, 4, axis=1), memory, 0.1, others)
        update = alone.step(y, g[:, 0], mine, 0.1, others.workers)
        y, mine = update.x, update.memory
        assert (x == y).all()  # four times a number, and a quarter of that, are exact


def test_powersgd_with_workers_is_the_algorithm_of_its_paper() -> None:
    """Vogels, Karimireddy, Jaggi, Algorithms 1 and 2: P from the mean of M_i Q, Q of M_i'P.

    With a local memory: what worker i has sent is P P'M_i, and the mean of these is P Q'.
    """
    problem, lr, n = Disagreeing(3, d=6), 0.1, 3
    team, others = Team(EFSGD(PowerSGD(1, (2, 3))), n), streams(4)[2]
    Q = streams(4)[2].workers.standard_normal((1, 1, 3, 1))[0, 0]
    x = y = np.ones((1, 6))
    memory, e = team.start(x), np.zeros((n, 2, 3))
    for _ in range(6):
        g = problem.worker_gradients(x, others.server)
        x, memory, _ = team.step(x, g, memory, lr, others)
        M = lr * problem.worker_gradients(y, others.server)[0].reshape(n, 2, 3) + e
        P = np.linalg.qr(np.mean([M_i @ Q for M_i in M], axis=0))[0]
        e = np.array([M_i - P @ P.T @ M_i for M_i in M])
        Q = np.mean([M_i.T @ P for M_i in M], axis=0)
        y = y - (P @ Q.T).reshape(1, 6)
        assert apart(x, y) <= TOLERANCE
        assert apart(memory.e, e.reshape(1, n, 6)) <= TOLERANCE


# -- votes -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Votes:
    """Gradients (1, 1, -3) + x/10 of three workers: f = x^2/20 - x/3, least at 10/3."""

    d: int = 1
    workers: int = 3

    def loss(self, x: Array) -> Array:
        return np.asarray((x**2).sum(1) / 20 - x.sum(1) / 3)

    def gradient(self, x: Array, rng: Generator) -> Array:
        return x / 10 - 1 / 3

    def worker_gradients(self, x: Array, rng: Generator) -> Array:
        return x[:, None] / 10 + np.array([1.0, 1.0, -3.0])[:, None]


def test_a_vote_goes_to_the_median_where_error_feedback_goes_to_the_mean() -> None:
    """Two of three gradients are positive above -10: there the vote stays, within a step of it."""
    vote = run(Run(Votes(), MajorityVote(), 0.1, 200, workers=3, metrics=()))
    assert abs(vote["x_final"][0, 0] + 10) <= 0.1 + 1e-12
    feedback = run(Run(Votes(), EFSGD(ScaledSign()), 0.5, 400, workers=3, metrics=()))
    assert abs(feedback["x_final"][0, 0] - 10 / 3) < 1e-6


@pytest.mark.parametrize("lr", [0.1, 0.3, 1e-3])
@pytest.mark.parametrize("weights", [None, (0.4, 0.3, 0.1, 0.1, 0.05, 0.05)], ids=str)
def test_a_tie_is_a_tie_whatever_is_rounded(lr: float, weights: tuple[float, ...] | None) -> None:
    """Three against three: in steps of 0.1 the sum is 2.8e-17. Each worker has one vote."""
    team = Team(MajorityVote(), 6, weights=weights)
    x, g = np.ones((1, 1)), np.array([1.0, 1, 1, -1, -1, -1])[None, :, None]
    update = team.step(x, g, team.start(x), lr, streams(0)[2])
    assert update.x[0, 0] == 1.0
    (exchange,) = update.exchanges
    assert exchange.down is not None
    assert exchange.down.sent[0, 0] == 0


# -- what does not go together ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["loss", "silence"])
@pytest.mark.parametrize("value", [-0.1, 1.0, float("nan")])
def test_faults_are_probabilities_below_one(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"{name} must be a probability in \[0, 1\)"):
        Faults(**{name: value})
