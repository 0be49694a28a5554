"""The problems of several workers: their means, their noise, and where methods end.

Without this file the gradients of the workers could be those of another f.
"""

from typing import Any

import numpy as np
import pytest

from efsgd import SGD, Run, run
from efsgd.convex.problems import Disagreement, NoisySlope, OneAgainstTwo, SkewedNoise, certify

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("problem", [Disagreement(zeta=2.0), OneAgainstTwo()])
def test_the_mean_over_the_workers_is_the_gradient(problem: Any) -> None:
    x = np.random.default_rng(1).standard_normal((5, problem.d))
    g = problem.worker_gradients(x, RNG)
    assert g.shape == (5, problem.workers, problem.d)
    np.testing.assert_allclose(g.mean(1), problem.full_gradient(x), atol=1e-15)
    assert abs(problem.full_gradient(problem.optimum.x[None])).max() < 1e-15


@pytest.mark.parametrize("problem", [Disagreement(zeta=2.0), OneAgainstTwo()])
def test_each_worker_has_a_gradient_at_a_model_of_its_own(problem: Any) -> None:
    models = np.random.default_rng(1).standard_normal((5, problem.workers, problem.d))
    g = problem.worker_gradients(models, RNG)
    for i in range(problem.workers):
        np.testing.assert_array_equal(g[:, i], problem.worker_gradients(models[:, i], RNG)[:, i])


@pytest.mark.parametrize(
    "problem", [SkewedNoise(), Disagreement(zeta=2.0, d=6), OneAgainstTwo()], ids=repr
)
def test_the_optimum_is_certified(problem: Any) -> None:
    certify(problem)


@pytest.mark.parametrize("zeta", [0.0, 0.5, 10.0])
def test_zeta_is_how_much_workers_disagree_at_the_optimum(zeta: float) -> None:
    problem = Disagreement(zeta=zeta, workers=7, seed=3)
    g = problem.worker_gradients(np.zeros((1, problem.d)), RNG)[0]
    assert np.sqrt(np.vecdot(g, g).mean()) == pytest.approx(zeta, rel=1e-12)


def test_every_worker_has_curvatures_of_its_own_between_mu_and_L() -> None:
    problem = Disagreement(mu=0.2)
    a = problem.curvatures
    assert a.min(1) == pytest.approx(0.2)
    assert a.max(1) == pytest.approx(problem.L)
    assert len(np.unique(a, axis=0)) == problem.workers
    start = problem.x0(np.random.default_rng(0), 4)
    np.testing.assert_allclose(np.linalg.norm(start, axis=1), problem.far)


def test_the_skewed_noise_has_mean_0_but_its_larger_entries_have_not() -> None:
    noise = np.array(SkewedNoise.NOISE)
    np.testing.assert_array_equal(noise.sum(0), 0)
    larger = np.where(abs(noise) == abs(noise).max(1, keepdims=True), noise, 0)
    np.testing.assert_allclose(larger.mean(0), [0, 1 / 3])
    assert SkewedNoise().variance == pytest.approx(np.vecdot(noise, noise).mean())
    at = np.array([0.0, -1.0]) + noise  # gradients at (0, -1)
    sent = np.where(abs(at) == abs(at).max(1, keepdims=True), at, 0)
    assert sent[:, 0].sum() == 0  # of the tie either entry may be sent
    assert sent[:2, 1].sum() == 0


@pytest.mark.parametrize(("lr", "workers"), [(0.5, 1), (1.2, 3)])
def test_the_gap_of_sgd_is_as_derived(lr: float, workers: int) -> None:
    """Where lr is large, so that 2 - lr counts."""
    problem = SkewedNoise()
    history = run(Run(problem, SGD(), lr, 60, replicates=20_000, workers=workers, record=60))
    gap = history["loss"][-1]
    error = gap.std(ddof=1) / np.sqrt(gap.size)
    assert abs(gap.mean() - problem.expected_gap_sgd(lr, workers)) <= 4 * error
    assert 8 * error < gap.mean()


@pytest.mark.parametrize("lr", [0.0, 2.0])
def test_sgd_that_does_not_settle_has_no_gap(lr: float) -> None:
    with pytest.raises(ValueError, match=r"lr must lie in \(0, 2\)"):
        SkewedNoise().expected_gap_sgd(lr, 1)


def test_two_of_three_gradients_are_positive_above_the_median() -> None:
    problem = OneAgainstTwo()
    assert problem.median == -10
    for x, sign in ((-9.9, 1), (-10.1, -1), (10 / 3, 1)):
        g = problem.worker_gradients(np.full((1, 3), x), RNG)[0]
        assert (np.sign(np.median(g, axis=0)) == sign).all()


@pytest.mark.parametrize("law", ["gaussian", "laplace"])
def test_the_noise_is_symmetric_and_of_its_variance(law: Any) -> None:
    noise = NoisySlope(law, 2.0, 3).gradient(np.zeros((100_000, 3)), np.random.default_rng(0)) - 1
    for power, expected in ((1, 0.0), (2, 4.0), (3, 0.0)):
        moment = noise**power
        assert abs(moment.mean() - expected) <= 4 * moment.std() / np.sqrt(moment.size)
    kurtosis = {"gaussian": 3.0, "laplace": 6.0}[law]
    assert (noise**4).mean() / 16 == pytest.approx(kurtosis, rel=0.05)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Disagreement(workers=1), "workers must be a whole number 2"),
        (lambda: Disagreement(zeta=-1.0), "zeta must be finite and at least 0, not -1"),
        (lambda: Disagreement(far=float("inf")), "far must be finite"),
        (lambda: Disagreement(mu=2.0), "mu must be in"),
        (lambda: NoisySlope("cauchy"), "law must be one of gaussian, laplace"),
        (lambda: NoisySlope(sigma=0.0), "sigma must be positive"),
    ],
)
def test_impossible_problems_are_refused(make: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()
