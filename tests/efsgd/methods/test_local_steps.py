"""Local steps: H = 1 is the method itself, a fixed point that is derived, fragments, refusals.

Parity with the plain loop is in test_team_parity.py. Without this file a round could be a step too
long, and fragments could miss entries of x.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from plain_world import Disagreeing, streams
from team_cases import TOLERANCE, apart

from efsgd.arrays import Array
from efsgd.compressors import Identity, PowerSGD, RandK, ScaledSign, TopK
from efsgd.engine.runs import Run, run
from efsgd.engine.several import stepper
from efsgd.methods import (
    EF21,
    EFSGD,
    SGD,
    CompressedSGD,
    Faults,
    GradientEF,
    LocalSteps,
    MajorityVote,
    Method,
)
from efsgd.schedules import StepDecay

DILOCO = SGD(momentum=0.9, nesterov=True)


@pytest.mark.parametrize(
    "method",
    [
        SGD(),
        EFSGD(TopK(1)),
        EFSGD(ScaledSign(), decay=0.5),
        EFSGD(RandK(2)),
        CompressedSGD(TopK(2)),
        CompressedSGD(RandK(3)),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "options", [{}, {"participation": 0.5}, {"faults": Faults(loss=0.3, silence=0.2)}], ids=str
)
def test_one_local_step_is_the_method_itself(method: Method, options: dict[str, Any]) -> None:
    """Delta_i is lr g_i, and a compressor with C(a v) = a C(v) does not see the difference."""
    common: dict[str, Any] = {"steps": 12, "replicates": 2, "workers": 4, **options}
    plain = run(Run(Disagreeing(4), method, 0.1, **common))
    local = run(Run(Disagreeing(4), LocalSteps(method), 0.1, **common))
    assert apart(local["x_final"], plain["x_final"]) <= TOLERANCE
    for name in set(plain) & set(local):
        assert apart(local[name], plain[name]) <= TOLERANCE, name
    assert {"bytes_up", "bytes_down", "loss"} <= set(local)


@pytest.mark.parametrize("method", [SGD(), EFSGD(TopK(2))], ids=str)
@pytest.mark.parametrize("downlink", [None, EFSGD(TopK(3))], ids=str)
def test_a_method_with_local_steps_is_its_exchange(method: Method, downlink: Any) -> None:
    common: dict[str, Any] = {"steps": 9, "workers": 3, "local_steps": 3}
    short = run(Run(Disagreeing(3), method, 0.1, downlink=downlink, **common))
    outer = downlink or SGD()
    named = run(Run(Disagreeing(3), LocalSteps(method, outer=outer), 0.1, **common))
    assert list(short) == list(named)
    assert all((short[name] == named[name]).all() for name in short)


@pytest.mark.parametrize("H", [1, 2, 5])
@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_where_local_gradient_descent_ends(H: int, momentum: float) -> None:
    """x with sum_i w_i (I - M_i)(x - x_i) = 0, M_i = (I - lr A_i)^H, x_i the minimiser of f_i.

    H steps take x to x_i + M_i (x - x_i) (derived here); the outer momentum does not move this
    point, and at H = 1 it is the minimiser of the mean.
    """
    problem, lr = Disagreeing(3, d=4, weighted=True), 0.2
    away, by = np.zeros((4, 4)), np.zeros(4)
    for w, A, b in zip(problem.worker_weights, problem.A, problem.b, strict=True):
        part = w * (np.eye(4) - np.linalg.matrix_power(np.eye(4) - lr * A, H))
        away, by = away + part, by + part @ np.linalg.solve(A, b)
    expected = np.linalg.solve(away, by)
    method = LocalSteps(outer=SGD(momentum=momentum), outer_lr=0.7)
    made = Run(problem, method, lr, 250 * H, workers=3, local_steps=H, record=(0,))
    assert apart(run(made)["x_final"], expected[None]) < 1e-10
    bias = np.linalg.norm(expected - problem.solution)
    assert bias < 1e-12 if H == 1 else bias > 1e-2


def test_messages_travel_once_a_round_and_models_agree_after_it() -> None:
    made = Run(Disagreeing(3), LocalSteps(EFSGD(TopK(1))), 0.1, 10, workers=3, local_steps=4)
    history = run(made)
    sent = np.flatnonzero(np.diff(history["bytes_up"][:, 0]))
    assert sent.tolist() == [3, 7]
    assert np.flatnonzero(np.diff(history["bytes_down"][:, 0])).tolist() == [3, 7]
    together = np.flatnonzero(history["consensus"][:, 0] < 1e-15)
    assert together.tolist() == [0, 4, 8]
    one = len(TopK(1).encode(np.zeros(7)))
    assert history["bytes_up"][-1, 0] == 2 * 3 * one
    assert history["bytes_worker"][-1, 0] == 2 * one
    assert history["bytes_down"][-1, 0] == 2 * len(Identity().encode(np.zeros(7)))


def test_workers_that_agree_take_one_worker_s_steps() -> None:
    """The mean of equal models is any of them: H local steps are H steps."""
    alone = Disagreeing(1)

    class Agreeing(Disagreeing):
        """Four workers with the function of one."""

        def x0(self, rng: Any, replicates: int) -> Array:
            return alone.x0(rng, replicates)

        def worker_gradients(self, x: Array, rng: Any) -> Array:
            models = x if x.ndim == 3 else np.repeat(x[:, None], 4, axis=1)
            return np.concatenate(
                [alone.worker_gradients(models[:, [i]], rng) for i in range(4)], axis=1
            )

    momentum = SGD(momentum=0.9)
    made = Run(Agreeing(4), LocalSteps(inner=momentum), 0.1, 12, workers=4, local_steps=4)
    local = run(made)["x_final"]
    assert apart(local, run(Run(alone, momentum, 0.1, 12))["x_final"]) <= TOLERANCE


@pytest.mark.parametrize("F", [1, 2, 3, 7])
@pytest.mark.parametrize("d", [7, 12, 20])
def test_fragments_cut_all_of_x_into_parts_as_equal_as_can_be(F: int, d: int) -> None:
    parts = LocalSteps(fragments=F).parts(d)
    assert [k for part in parts for k in range(part.start, part.stop)] == list(range(d))
    sizes = [part.stop - part.start for part in parts]
    assert len(parts) == F
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    ("F", "H", "due"),
    [
        (3, 6, {2: [1], 4: [2], 6: [0], 8: [1], 10: [2], 12: [0]}),
        (2, 5, {2: [1], 5: [0], 7: [1], 10: [0], 12: [1]}),
        (2, 2, {1: [1], 2: [0], 3: [1], 4: [0], 5: [1], 6: [0]}),
        (3, 3, {1: [1], 2: [2], 3: [0], 4: [1], 5: [2], 6: [0], 7: [1]}),
    ],
)
def test_fragment_f_is_exchanged_after_step_f_h_over_f(
    F: int, H: int, due: dict[int, list[int]]
) -> None:
    """The entries whose models agree after step t are those of the fragments exchanged then."""
    problem, method = Disagreeing(3), LocalSteps(fragments=F)
    team: Any = stepper(Run(problem, method, 0.1, H, workers=3, local_steps=H))
    _, rng, others = streams(0)
    x = np.ones((1, 7))
    memory, parts = team.start(x), method.parts(7)
    for t in range(1, max(due) + 1):
        g = problem.worker_gradients(team.at(x, memory), rng)
        x, memory, exchanges = team.step(x, g, memory, 0.1, others)
        models = memory.x[0]
        agree = [f for f, part in enumerate(parts) if np.ptp(models[:, part], axis=0).max() == 0]
        assert agree == due.get(t, [])
        assert len(exchanges) == len(agree)
        for f in agree:
            assert (models[0, parts[f]] == x[0, parts[f]]).all()


def test_each_fragment_pays_for_itself() -> None:
    parts = LocalSteps(EFSGD(TopK(1)), fragments=2)
    cut = run(Run(Disagreeing(3, d=7), parts, 0.1, 8, workers=3, local_steps=4))
    sizes = [len(TopK(1).encode(np.zeros(d))) for d in (3, 4)]
    assert cut["bytes_up"][-1, 0] == 3 * 2 * sum(sizes)
    down = [len(Identity().encode(np.zeros(d))) for d in (3, 4)]
    assert cut["bytes_down"][-1, 0] == 2 * sum(down)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a compressor": ({"exchange": TopK(2)}, "exchange must be a method such as efsgd.SGD"),
    "local in local": ({"inner": LocalSteps()}, "inner must be a method such as efsgd.SGD"),
    "own momentum": ({"momentum": 0.5}, "LocalSteps has no momentum or weight_decay"),
    "own decay": ({"weight_decay": 0.5}, "LocalSteps has no momentum or weight_decay"),
    "outer decays": ({"outer": SGD(weight_decay=0.5)}, "outer sees no x to decay"),
    "exchange decays": ({"exchange": SGD(weight_decay=0.5)}, "exchange sees no x to decay"),
    "exchange votes": ({"exchange": MajorityVote()}, "server of MajorityVote takes steps"),
    "inner steps together": ({"inner": EFSGD(PowerSGD(1))}, "inner steps are taken alone"),
    "no fragment": ({"fragments": 0}, "fragments must be a whole number"),
    "no outer step": ({"outer_lr": 0.0}, "outer_lr must be positive"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(name: str) -> None:
    options, message = REFUSED[name]
    with pytest.raises(ValueError, match=message) as caught:
        LocalSteps(**options)
    assert "\n" not in str(caught.value)


def test_one_worker_may_take_local_steps() -> None:
    """DiLoCo alone: an outer momentum around the steps of one worker (lookahead)."""
    problem, lr, H = Disagreeing(1), 0.1, 3
    made = Run(problem, LocalSteps(outer=DILOCO, outer_lr=0.7), lr, 9, workers=1, local_steps=H)
    x, m = problem.x0(np.random.default_rng(0).spawn(5)[0].spawn(1)[0], 1)[0], np.zeros(7)
    for _ in range(3):
        y = x
        for _ in range(H):
            y = y - lr * (problem.A[0] @ y - problem.b[0])
        m = 0.9 * m + (x - y)
        x = x - 0.7 * ((x - y) + 0.9 * m)
    assert apart(run(made)["x_final"][0], x) <= TOLERANCE


def test_an_exchange_may_keep_estimates() -> None:
    """EF21 on the differences: with a lossless compressor it is the exchange of all of them."""
    common: dict[str, Any] = {"steps": 8, "workers": 3, "local_steps": 2}
    whole = run(Run(Disagreeing(3), LocalSteps(), 0.1, **common))["x_final"]
    estimates = run(Run(Disagreeing(3), LocalSteps(EF21(Identity())), 0.1, **common))["x_final"]
    assert apart(estimates, whole) <= TOLERANCE


def test_inner_steps_may_feed_back_and_wait() -> None:
    """EF in units of x and of g are one method where C(a v) = a C(v), whoever is absent when."""
    common: dict[str, Any] = {
        "steps": 12,
        "workers": 4,
        "local_steps": 2,
        "participation": 0.5,
        "lr": StepDecay(0.2, (3, 7), 0.3),
    }
    ends = [
        run(Run(Disagreeing(4), LocalSteps(inner=inner), **common))["x_final"]
        for inner in (EFSGD(TopK(2)), GradientEF(TopK(2)))
    ]
    assert apart(*ends) <= TOLERANCE
