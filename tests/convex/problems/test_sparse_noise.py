"""The sparse-noise quadratic: the expected loss of SGD in closed form, against hand and loop.

Without this file the best step size, and the loss that SGD reaches with it, could be wrong in the
comparison with the sign methods.
"""

from __future__ import annotations

import numpy as np
import pytest
from problem_table import points

from efsgd.convex.problems import SparseNoise


def test_sparse_noise_closed_form_by_hand() -> None:
    """One step: E f = (d (1-lr)^2 + lr^2 sigma^2)/2, least at lr = d/(d + sigma^2)."""
    problem = SparseNoise(d=7, sigma=3.0)
    assert problem.expected_loss_sgd(0.3, 1) == pytest.approx((7 * 0.49 + 0.09 * 9) / 2)
    assert problem.expected_loss_sgd(0.3, 0) == pytest.approx(7 / 2)
    lr, value = problem.best_sgd(1)
    assert lr == pytest.approx(7 / 16, rel=1e-6)
    assert value == pytest.approx(7 * 9 / 16 / 2, rel=1e-12)
    assert SparseNoise(sigma=0.0).best_sgd(5) == (1.0, 0.0)


def test_sparse_noise_best_step_of_theory() -> None:
    """theory.md section 2: minimum 5.74 at lr = 1.8e-3 for d = 100, sigma = 100, T = 1000."""
    problem = SparseNoise()
    lr, value = problem.best_sgd(1000)
    assert round(lr, 4) == 1.8e-3
    assert round(value, 2) == 5.74
    assert (problem.expected_loss_sgd(np.geomspace(1e-6, 1.9, 10_001), 1000) >= value).all()


@pytest.mark.parametrize(("d", "sigma", "lr"), [(100, 100.0, 1.8e-3), (5, 2.0, 0.3), (5, 2.0, 1.4)])
def test_sparse_noise_closed_form_against_a_loop(d: int, sigma: float, lr: float) -> None:
    problem = SparseNoise(d, sigma)
    rng = np.random.default_rng(0)
    x = problem.x0(rng, 1000)
    steps = 60
    for _ in range(steps):
        x = x - lr * problem.gradient(x, rng)
    loss = problem.loss(x)
    standard_error = loss.std(ddof=1) / np.sqrt(loss.size)
    assert abs(loss.mean() - problem.expected_loss_sgd(lr, steps)) <= 4 * standard_error


def test_sparse_noise_hits_the_first_coordinate_only() -> None:
    problem = SparseNoise(d=6, sigma=10.0)
    x = points(problem, 5000)
    noise = problem.gradient(x, np.random.default_rng(0)) - x
    assert not noise[:, 1:].any()
    # the variance of a sample variance of N normals is 2 sigma^4 / (N - 1)
    assert abs(noise[:, 0].var(ddof=1) - 100) <= 4 * 100 * np.sqrt(2 / 4999)
