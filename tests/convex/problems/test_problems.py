"""Every convex problem: loss, gradient, oracle and optimum belong together; bad input is refused.

Without this file a gradient that is not that of its loss, a biased oracle or a false optimum would
pass, and every run on that problem would be wrong.
"""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from problem_table import PROBLEMS, central_difference, name, points
from scipy.sparse import csr_array

from efsgd.convex import problems
from efsgd.convex.problems import (
    CE1,
    CE2,
    CE3,
    Certificate,
    LeastSquares,
    SparseNoise,
    TheoremOne,
    WilsonLeastSquares,
    certify,
)
from efsgd.engine.problem import Problem

SMOOTH = [problem for problem in PROBLEMS if hasattr(problem, "full_gradient")]
FINITE_SUMS = [problem for problem in PROBLEMS if hasattr(problem, "batch_gradient")]
WITH_OPTIMUM = [problem for problem in PROBLEMS if hasattr(problem, "optimum")]


def test_the_table_holds_every_problem() -> None:
    exported = {getattr(problems, name) for name in problems.__all__}
    assert {type(problem) for problem in PROBLEMS} == exported - {Certificate, certify}


@pytest.mark.parametrize("problem", PROBLEMS, ids=name)
def test_follows_the_protocol(problem: Any) -> None:
    assert isinstance(problem, Problem)
    x = points(problem)
    before = x.copy()
    g = problem.gradient(x, np.random.default_rng(0))
    assert g.shape == x.shape
    assert g.dtype == np.float64
    assert not np.shares_memory(g, x)
    assert problem.loss(x).shape == (5,)
    g_again = problem.gradient(x, np.random.default_rng(0))
    assert not np.shares_memory(g, g_again)
    np.testing.assert_array_equal(g, g_again)
    np.testing.assert_array_equal(x, before)
    if hasattr(problem, "x0"):
        assert problem.x0(np.random.default_rng(0), 3).shape == (3, problem.d)
    if hasattr(problem, "measure"):
        assert {series.shape for series in problem.measure(x).values()} == {(5,)}


@pytest.mark.parametrize("problem", PROBLEMS, ids=name)
def test_each_replicate_is_on_its_own(problem: Any) -> None:
    x = points(problem)
    whole = problem.loss(x)
    np.testing.assert_allclose([problem.loss(row[None])[0] for row in x], whole, rtol=1e-13)
    if hasattr(problem, "full_gradient"):
        whole = problem.full_gradient(x)
        alone = np.concatenate([problem.full_gradient(row[None]) for row in x])
        np.testing.assert_allclose(alone, whole, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("problem", SMOOTH, ids=name)
def test_full_gradient_is_the_gradient_of_the_loss(problem: Any) -> None:
    x = points(problem)
    expected = central_difference(problem, x)  # up to rounding and h^2/6 |f'''| < 1e-9
    np.testing.assert_allclose(problem.full_gradient(x), expected, atol=1e-7 * np.abs(x).max())


@pytest.mark.parametrize("problem", SMOOTH, ids=name)
def test_mean_of_the_oracle_is_the_full_gradient(problem: Any) -> None:
    draws = 20_000
    x = np.tile(points(problem, 1), (draws, 1))
    g = problem.gradient(x, np.random.default_rng(1))
    standard_error = g.std(axis=0, ddof=1) / np.sqrt(draws)
    error = np.abs(g.mean(axis=0) - problem.full_gradient(x[:1])[0])
    assert (error <= 4 * standard_error + 1e-11).all()


@pytest.mark.parametrize("problem", PROBLEMS, ids=name)
def test_the_oracle_draws_the_same_amount_whatever_x_is(problem: Any) -> None:
    states = []
    for x in (points(problem), np.zeros((5, problem.d)), np.full((5, problem.d), 1e300)):
        rng = np.random.default_rng(2)
        with np.errstate(over="ignore", invalid="ignore"):
            problem.gradient(x, rng)
        states.append(rng.bit_generator.state)
    assert states[0] == states[1] == states[2]


@pytest.mark.parametrize("problem", FINITE_SUMS, ids=name)
def test_batch_gradient_is_the_mean_over_its_rows(problem: Any) -> None:
    x = points(problem)
    all_rows = np.tile(np.arange(problem.n), (5, 1))
    full = problem.full_gradient(x)
    np.testing.assert_allclose(problem.batch_gradient(x, all_rows), full, rtol=1e-10, atol=1e-13)
    rows = np.random.default_rng(3).integers(problem.n, size=(5, 3))
    rows[0] = rows[0, 0]  # one row three times
    single = [problem.batch_gradient(x, rows[:, [column]]) for column in range(3)]
    mean = np.mean(single, axis=0)
    np.testing.assert_allclose(problem.batch_gradient(x, rows), mean, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("problem", WITH_OPTIMUM, ids=name)
def test_nothing_near_the_optimum_is_lower(problem: Any) -> None:
    optimum = problem.optimum
    assert optimum.x.shape == (problem.d,)
    assert problem.loss(optimum.x[None])[0] == pytest.approx(optimum.f, rel=1e-12, abs=1e-25)
    rng = np.random.default_rng(4)
    for size in (1e-3, 1e-1, 10.0):
        x = optimum.x + size * rng.standard_normal((200, problem.d))
        if hasattr(problem, "project"):
            np.testing.assert_array_equal(problem.project(optimum.x[None])[0], optimum.x)
            x = problem.project(x)
        assert (problem.loss(x) >= optimum.f - 1e-12 * abs(optimum.f) - 1e-25).all()


NAN = float("nan")
BAD = [
    (lambda: CE1(start=1.5), "1.5"),
    (lambda: CE1(start=NAN), "nan"),
    *((partial(CE2, eps), str(eps)) for eps in (0.0, 1.0, -1, NAN)),
    *((partial(CE3, eps), str(eps)) for eps in (0.0, 1.0, -1, NAN)),
    (lambda: TheoremOne(n=5, d=1), "not 1"),
    (lambda: TheoremOne(n=3, d=4), "not 3"),
    (lambda: SparseNoise(d=0), "not 0"),
    (lambda: SparseNoise(sigma=-1.0), "-1.0"),
    (lambda: SparseNoise(sigma=float("inf")), "inf"),
    (lambda: SparseNoise().expected_loss_sgd(2.0, 3), "2.0"),
    (lambda: SparseNoise().best_sgd(0), "not 0"),
    (lambda: WilsonLeastSquares(rows=7), "7"),
    (lambda: WilsonLeastSquares(rows=2), "2"),
    (lambda: WilsonLeastSquares(p=0.0), "0.0"),
    (lambda: WilsonLeastSquares(p=NAN), "nan"),
    (lambda: LeastSquares(np.eye(3), np.ones(4)), "3 rows and y 4"),
    (lambda: LeastSquares(np.ones((0, 3)), np.ones(0)), "0 rows"),
    (lambda: LeastSquares(np.ones(3), np.ones(3)), r"\(3,\)"),
    (lambda: LeastSquares([[1.0]], np.ones(1)), "list"),
    (lambda: LeastSquares(np.eye(2), np.array(["a", "b"])), "y holds <U1"),
    (lambda: LeastSquares(np.eye(2), np.array([1.0, NAN])), "y holds NaN"),
    (lambda: LeastSquares(np.array([[NAN]]), np.ones(1)), "X holds NaN"),
    (lambda: LeastSquares(csr_array(np.array([[NAN]])), np.ones(1)), "X holds NaN"),
    (lambda: LeastSquares(np.eye(2), np.ones(2), np.eye(2)), "X_test came alone"),
    (lambda: LeastSquares(np.eye(2), np.ones(2), None, np.ones(2)), "y_test came alone"),
    (lambda: LeastSquares(np.eye(2), np.ones(2), np.eye(3), np.ones(3)), "3 columns and X 2"),
]


@pytest.mark.parametrize(("make", "names"), BAD)
def test_bad_input_is_refused_with_its_value(make: Any, names: str) -> None:
    with pytest.raises(ValueError, match=names) as refused:
        make()
    message = str(refused.value)
    assert "\n" not in message
    assert ": " in message  # the value, then the remedy


def test_problems_are_values() -> None:
    assert CE2(0.5) == CE2() != CE2(0.1)
    assert replace(WilsonLeastSquares(), seed=3).seed == 3
    assert hash(TheoremOne(seed=1)) == hash(TheoremOne(seed=1))
    with pytest.raises(FrozenInstanceError):
        CE3().eps = 0.1  # type: ignore[misc]
