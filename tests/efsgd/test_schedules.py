"""Step sizes: their values, against loops and by hand, and what they refuse.

Without this file a schedule could drop one step late, or share its state between replicates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from efsgd.arrays import Array
from efsgd.engine.runs import Run, run
from efsgd.methods.feedback import EFSGD
from efsgd.methods.sgd import SGD
from efsgd.schedules import AdaGradNorm, Constant, InverseSqrt, Schedule, StepDecay


@dataclass(frozen=True)
class Parabola:
    """f(x) = |x|^2/2 from x = (1, ..., 1) times 1, 2, ..., R."""

    d: int = 3

    def x0(self, rng: Any, replicates: int) -> Array:
        return np.ones((replicates, self.d)) * np.arange(1.0, replicates + 1)[:, None]

    def loss(self, x: Array) -> Array:
        return np.vecdot(x, x) / 2

    def gradient(self, x: Array, rng: Any) -> Array:
        return x.copy()


def test_constant() -> None:
    assert [Constant(0.3)(t) for t in (0, 1, 10**9)] == [0.3] * 3


@given(st.integers(0, 10**9), st.floats(1e-6, 1e6))
def test_inverse_sqrt(t: int, lr: float) -> None:
    assert math.isclose(InverseSqrt(lr)(t) ** 2 * (t + 1), lr**2, rel_tol=1e-14)


def test_inverse_sqrt_at_squares() -> None:
    assert [InverseSqrt(2.0)(t) for t in (0, 3, 15)] == [2.0, 1.0, 0.5]


def test_step_decay_at_its_drops() -> None:
    """The drop counts from step ``at`` on, so at = (2, 5) means steps 0-1, 2-4 and 5 onwards."""
    schedule = StepDecay(8.0, at=(2, 5), factor=0.5)
    assert [schedule(t) for t in range(8)] == [8.0, 8.0, 4.0, 4.0, 4.0, 2.0, 2.0, 2.0]
    assert StepDecay(1.0, at=())(10**9) == 1.0
    assert StepDecay(3.0, at=(1,))(1) == 3.0 * 0.1


@pytest.mark.parametrize("b0", [1e-8, 0.5])
def test_adagrad_norm_is_its_loop(b0: float) -> None:
    """lr/sqrt(b0^2 + sum |g|^2), each replicate for itself."""
    g = np.random.default_rng(0).standard_normal((20, 4, 3))
    schedule, state = AdaGradNorm(0.7, b0), None
    for t in range(20):
        before = g[t].copy()
        lr, state = schedule.adapt(t, g[t], state)
        np.testing.assert_array_equal(g[t], before)
        assert np.shape(lr) == (4, 1)
        for r in range(4):
            squares = [float(entry) ** 2 for entry in g[: t + 1, r].ravel()]
            expected = 0.7 / math.sqrt(b0**2 + math.fsum(squares))
            assert math.isclose(np.asarray(lr)[r, 0], expected, rel_tol=1e-13)


def test_adagrad_norm_keeps_earlier_states() -> None:
    """A state is a value: going on from it twice gives the same step size twice."""
    g, schedule = np.ones((2, 3)), AdaGradNorm(1.0)
    _, state = schedule.adapt(0, g, None)
    once, _ = schedule.adapt(1, g, state)
    again, _ = schedule.adapt(1, g, state)
    np.testing.assert_array_equal(once, again)


@pytest.mark.parametrize(
    "schedule",
    [Constant(0.1), InverseSqrt(0.5), StepDecay(0.5, at=(3, 4)), AdaGradNorm(0.4)],
    ids=str,
)
def test_the_engine_follows_the_schedule(schedule: Schedule) -> None:
    """SGD on |x|^2/2 multiplies x by 1 - lr_t."""
    history = run(Run(Parabola(), SGD(), schedule, steps=8, replicates=2))
    for r in range(2):
        x, squares = float(r + 1), 0.0
        for t in range(8):
            assert math.isclose(history["loss"][t, r], 1.5 * x**2, rel_tol=1e-12)
            squares += 3 * x**2
            adaptive = isinstance(schedule, AdaGradNorm)
            x *= 1 - (0.4 / math.sqrt(1e-16 + squares) if adaptive else schedule(t))
        np.testing.assert_allclose(history["x_final"][r], x, rtol=1e-12)


@pytest.mark.parametrize(
    "schedule",
    [InverseSqrt(0.5), StepDecay(0.5, at=(5, 9), factor=1e-3), AdaGradNorm(0.4)],
    ids=str,
)
def test_the_virtual_iterate_survives_changes_of_the_step_size(schedule: Schedule) -> None:
    """The memory holds lr g of its own time: a smaller step now must not shrink it."""
    history = run(Run(Parabola(d=5), EFSGD(), schedule, steps=40, replicates=3))
    assert history["virtual_residual"].max() < 1e-13


@dataclass(frozen=True)
class Alternating(Schedule):
    """A user's own step sizes."""

    def __call__(self, t: int) -> float:
        return 0.5 if t % 2 else 0.25


def test_a_schedule_of_ones_own() -> None:
    history = run(Run(Parabola(), SGD(), Alternating(), steps=4))
    np.testing.assert_array_equal(history["x_final"], np.full((1, 3), (0.5 * 0.75) ** 2))


def test_the_base_says_what_is_missing() -> None:
    with pytest.raises(NotImplementedError, match="Schedule must define __call__"):
        Schedule()(0)


BAD = [0, 0.0, -0.1, float("inf"), float("nan"), True]


@pytest.mark.parametrize("value", BAD, ids=str)
@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("lr", Constant),
        ("lr", InverseSqrt),
        ("lr", lambda lr: StepDecay(lr, at=(1,))),
        ("factor", lambda factor: StepDecay(1.0, at=(1,), factor=factor)),
        ("lr", AdaGradNorm),
        ("b0", lambda b0: AdaGradNorm(1.0, b0)),
    ],
)
def test_numbers_that_are_not_positive_are_refused(name: str, make: Any, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} must be positive and finite, not {value}"):
        make(value)


@pytest.mark.parametrize("at", [(0,), (-1, 2), (3, 2), (2, 2)])
def test_drops_that_do_not_increase_are_refused(at: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at must be increasing positive steps") as refusal:
        StepDecay(1.0, at=at)
    assert str(at) in str(refusal.value)
