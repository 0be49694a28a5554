"""The counterexamples to signSGD and the family of Theorem I: what the paper says about each.

Without this file the problems on which signSGD provably fails could quietly become ones on which it
does not, or the other way round.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from problem_table import central_difference, points

from efsgd.arrays import Array
from efsgd.convex.problems import CE1, CE2, CE3, TheoremOne


def test_ce1_expected_steps() -> None:
    """By hand: (1/4)(-4 lr)/4 + (3/4)(lr)/4 = -lr/16, and with signs (1/4)(-lr)/4 + ... = lr/8."""
    problem, lr = CE1(), 0.1
    g = problem.gradient(np.zeros((100_000, 1)), np.random.default_rng(0))
    values, counts = np.unique(g, return_counts=True)
    np.testing.assert_array_equal(values, [-1.0, 4.0])
    assert abs(counts[1] / g.size - 1 / 4) <= 4 * np.sqrt(3 / 16 / g.size)

    def expected_change(step: Any) -> float:
        losses = problem.loss(problem.project(-lr * step(np.array([[4.0], [-1.0]]))))
        return float(losses @ [1 / 4, 3 / 4])

    assert expected_change(lambda g: g) == pytest.approx(-lr / 16, rel=1e-14)
    assert expected_change(np.sign) == pytest.approx(lr / 8, rel=1e-14)


@pytest.mark.parametrize("eps", [0.1, 0.5, 0.9])
def test_ce2_oracle_returns_subgradients(eps: float) -> None:
    problem = CE2(eps)
    kinks = np.array([[0.0, 0.0], [1.0, 1.0], [1.0, -1.0], [-2.0, -2.0]])
    x = np.concatenate((kinks, points(problem, 4)))
    others = points(problem, 50, seed=9)
    rng = np.random.default_rng(0)
    for _ in range(8):
        g = problem.gradient(x, rng)
        below = problem.loss(x)[:, None] + np.vecdot(g[:, None], others - x[:, None])
        assert (problem.loss(others) >= below - 1e-12).all()
    smooth = points(problem, 6)
    expected = central_difference(problem, smooth)
    np.testing.assert_allclose(problem.gradient(smooth, rng), expected, atol=1e-9)


def test_ce2_flips_fair_coins_at_the_kinks() -> None:
    eps, draws = 0.25, 40_000
    g = CE2(eps).gradient(np.zeros((draws, 2)), np.random.default_rng(0))
    corners, counts = np.unique(g, axis=0, return_counts=True)
    expected = [[-eps - 1, 1 - eps], [eps - 1, eps + 1], [1 - eps, -eps - 1], [eps + 1, eps - 1]]
    np.testing.assert_allclose(corners, expected)
    assert (np.abs(counts / draws - 1 / 4) <= 4 * np.sqrt(3 / 16 / draws)).all()


def sign(g: Array) -> Array:
    return np.where(g >= 0, 1.0, -1.0)


@pytest.mark.parametrize("eps", [0.1, 0.5, 0.9])
def test_signsgd_is_stuck_on_ce2_and_ce3(eps: float) -> None:
    """On x1 + x2 = 2: f >= 2 eps for CE2, f >= 8 eps^2 for CE3 (section 3), for any steps."""
    rng = np.random.default_rng(0)
    for problem, bound in ((CE2(eps), 2 * eps), (CE3(eps), 8 * eps**2)):
        x = problem.x0(rng, 20)
        assert problem.loss(x) == pytest.approx(bound)
        for _ in range(500):
            x = x - rng.random((20, 1)) * sign(problem.gradient(x, rng))
            np.testing.assert_allclose(x.sum(axis=1), 2.0, rtol=1e-12)
            assert (problem.loss(x) >= bound * (1 - 1e-9)).all()


@pytest.mark.parametrize("seed", range(4))
def test_theorem_one_family(seed: int) -> None:
    problem = TheoremOne(n=20, d=6, seed=seed)
    rows = problem.data.X
    ratio = np.sign(rows) * problem.s
    assert (ratio == ratio[:, :1]).all()
    assert set(ratio[:, 0]) == {-1.0, 1.0}
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0)
    assert np.linalg.matrix_rank(rows) == 6  # the minimiser is unique
    assert problem.loss(problem.optimum.x[None])[0] < 1e-30
    start = problem.x0(np.random.default_rng(0), 2)
    np.testing.assert_array_equal(start, [problem.start, problem.start])
    np.testing.assert_array_equal(problem.measure(start)["off_line"], 0.0)
    assert not np.array_equal(problem.start, TheoremOne(20, 6, seed + 1).start)


def test_theorem_one_off_line_by_least_squares() -> None:
    problem = TheoremOne(n=20, d=6)
    x = points(problem)
    for point, distance in zip(x, problem.off_line(x), strict=True):
        _, square, *_ = np.linalg.lstsq(problem.s[:, None], point - problem.start)
        assert distance == pytest.approx(float(np.sqrt(square[0])), rel=1e-12)
    along = problem.start + np.linspace(-3, 3, 1001)[:, None] * problem.s
    distances = np.linalg.norm(along - problem.optimum.x, axis=1)
    assert (distances >= problem.distance_to_line()).all()
    assert distances.min() == pytest.approx(problem.distance_to_line(), abs=1e-4)


@pytest.mark.parametrize("steps", ["random", "adaptive"])
def test_batch_one_signsgd_stays_on_the_line(steps: str) -> None:
    """Theorem I holds for any step sizes, also those that look at the gradients."""
    problem = TheoremOne(n=30, d=6, seed=2)
    rng = np.random.default_rng(0)
    x = problem.x0(rng, 10)
    total = np.zeros((10, 1))
    for _ in range(1000):
        g = problem.gradient(x, rng)
        total += np.vecdot(g, g)[:, None]
        lr = rng.random((10, 1)) if steps == "random" else 1 / np.sqrt(1 + total)
        x = x - lr * sign(g)
        assert (problem.off_line(x) < 1e-10).all()
        distance = np.linalg.norm(x - problem.optimum.x, axis=1)
        assert (distance >= problem.distance_to_line() - 1e-10).all()
