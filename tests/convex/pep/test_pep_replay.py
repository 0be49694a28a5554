"""The replay: the engine attains every worst case, and a replay of a false one fails.

Without this file a mistake in the matrices of the programme that the engine contradicts would pass,
and so would a replay that accepts anything.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pep_settings import METHODS, MU, best_step, options

from efsgd.convex import worst_case
from efsgd.convex.pep import WorstCase, engine_check, replay

CASES = [("strongly-convex", "f", "f"), ("strongly-convex", "x", "x"), ("convex", "f", "x")]
CASES += [("convex", "average-f", "x"), ("nonconvex", "grad", "f"), ("nonconvex", "x", "x")]
CASES += [("nonsmooth", "average-f", "x"), ("nonsmooth", "f", "x"), ("nonsmooth", "f-average", "x")]
CASES += [("strongly-convex", "f-average", "f")]


@pytest.mark.parametrize(("steps", "delta", "L"), [(1, 0.9, 1.0), (5, 0.5, 4.0)])
@pytest.mark.parametrize(("problem", "criterion", "initial"), CASES)
@pytest.mark.parametrize("method", METHODS)
def test_the_engine_meets_the_worst_case(method, problem, criterion, initial, steps, delta, L):
    mu = MU if problem == "strongly-convex" else 0.0
    worst = worst_case(
        method,
        steps=steps,
        lr=1.1 * best_step("ef", delta) / L,
        L=L,
        mu=L * mu,
        problem=problem,
        criterion=criterion,
        initial=initial,
        **options(method, delta),
    )
    replayed = replay(worst)
    assert replayed.holds(1e-5), replayed


def test_one_step_size_a_step_is_replayed():
    assert replay(worst_case("ef", steps=3, lr=(0.4, 0.2, 0.1), delta=0.5, mu=MU)).holds()


def altered(worst: WorstCase, **arrays: Any) -> WorstCase:
    """The worst case with other arrays in its instance."""
    return replace(worst, instance=replace(worst.instance, **arrays))


def test_a_false_worst_case_does_not_hold():
    worst = worst_case("ef", steps=3, lr=0.2, delta=0.5, mu=MU)
    instance = worst.instance
    assert replay(worst).holds()
    assert not replay(replace(worst, value=1.0001 * worst.value)).holds()
    assert not replay(altered(worst, f=1.0001 * instance.f)).holds()
    with pytest.raises(
        ValueError, match=r"the function is asked .* from the nearest of its points"
    ):
        replay(altered(worst, sent=1.001 * instance.sent))
    with pytest.raises(ValueError, match="the run is not the one that was stored"):
        replay(altered(worst, given=instance.given + 0.01))
    larger_delta = replace(worst, setting=replace(worst.setting, delta=0.6))
    assert replay(larger_delta).excess > 1e-3
    assert not replay(larger_delta).holds()


def test_a_worst_case_from_a_start_too_far_away_does_not_hold():
    """Scaled so that all is right, but that it starts from f(x_0) - f* = 1.01."""
    worst = worst_case("ef", steps=3, lr=0.2, delta=0.5, mu=MU)
    instance, scale = worst.instance, math.sqrt(1.01)
    scaled = altered(
        worst,
        x=scale * instance.x,
        g=scale * instance.g,
        given=scale * instance.given,
        sent=scale * instance.sent,
        f=1.01 * instance.f,
    )
    replayed = replay(replace(scaled, value=1.01 * worst.value))
    assert replayed.difference == pytest.approx(0.0, abs=1e-9)
    assert max(replayed.violation, replayed.excess) < 1e-6
    assert replayed.start == pytest.approx(1.01)
    assert not replayed.holds()


@pytest.mark.parametrize("method", ["ef", "ef21"])
def test_a_replay_tells_methods_apart(method):
    worst = worst_case(method, steps=3, lr=0.2, delta=0.5, mu=MU)
    other = {"ef": "ef21", "ef21": "cgd"}[method]
    with pytest.raises(ValueError, match="the run is not the one that was stored"):
        replay(replace(worst, setting=replace(worst.setting, method=other)))


@pytest.mark.parametrize("size", [{"steps": 6}, {"steps": 2, "workers": 2}])
def test_a_replay_refuses_what_it_cannot_run(size):
    with pytest.raises(TypeError, match="replay takes what worst_case returns, not 3"):
        replay(3)
    worst = worst_case("cgd", lr=0.2, delta=0.5, mu=MU, **size)
    with pytest.raises(ValueError, match="only one worker and at most 5 steps"):
        replay(worst)


def test_the_violation_is_that_of_the_class():
    """f = x^2/2 has none with L = 1. With L = 1/2 it is 2 x^2/2 of L = 1, mu = .2: by hand."""
    worst = worst_case("gd", steps=1, lr=1.0, mu=MU, initial="x")
    parabola = replace(
        worst.instance,
        x=np.array([[1.0], [0.0]]),
        g=np.array([[[1.0], [0.0]]]),
        f=np.array([[0.5, 0.0]]),
    )
    assert engine_check.violation(worst.setting, parabola) == pytest.approx(0.0, abs=1e-15)
    narrow = replace(worst.setting, L=0.5)
    by_hand = 1 - 2 + 0.2 / 2 + (2 - 0.2) ** 2 / (2 * 0.8)
    assert engine_check.violation(narrow, parabola) == pytest.approx(by_hand)


@pytest.mark.parametrize(
    ("problem", "point", "by_hand"),
    [  # one point (x, g, f) that violates one condition
        ("nonconvex", (0.0, 1.0, 0.3), 0.5 - 0.3),  # f >= f* + |g|^2/2
        ("nonsmooth", (1.0, 1.2, 1.2), 1.2**2 - 1),  # |g| <= 1
    ],
)
def test_the_violation_of_one_point(problem, point, by_hand):
    criterion, initial = ("grad", "f") if problem == "nonconvex" else ("f", "x")
    worst = worst_case("gd", steps=1, lr=1.0, problem=problem, criterion=criterion, initial=initial)
    x, g, f = (np.array([[v], [v]]) for v in point)
    instance = replace(worst.instance, x=x, g=g[None], f=f.T)
    assert engine_check.violation(worst.setting, instance) == pytest.approx(by_hand)
