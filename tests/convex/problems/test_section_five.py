"""Section 5 by enumeration: chances, quantiles and losses against what they stand for.

Without this file the exact probabilities of the least-squares pictures could be those of other
data, or be read off wrongly.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from efsgd import EFSGD, SGD, CompressedSGD, Method, Run, ScaledSign, Sign, Signum
from efsgd.convex.problems import WilsonLeastSquares
from efsgd.convex.problems.wilson_counts import WilsonCount
from efsgd.convex.studies import section_five as study
from efsgd.convex.studies import section_five_forms as forms
from efsgd.convex.studies.four_weights import Kind, LabelDraws, trained, undecayed_exactly


@pytest.mark.parametrize("p", [0.5, 0.6, 0.7])
def test_chances_are_those_of_the_labels(p: float) -> None:
    """Mean and variance of a binomial; y = +1 in training and y = -1 in the test."""
    chance, k = study.chances(p), np.arange(101)
    assert chance.sum() == pytest.approx(1.0)
    assert chance @ k == pytest.approx(100 * p)
    assert chance @ (k - 100 * p) ** 2 == pytest.approx(100 * p * (1 - p))
    both = study.joint(p)
    np.testing.assert_allclose(both.sum(axis=1), chance, rtol=1e-12)
    np.testing.assert_allclose(both.sum(axis=0), study.chances(1 - p), rtol=1e-12)
    few = study.joint(p, (60, 40))
    assert few.sum() == pytest.approx(1.0)
    assert few[0].sum() / few[1].sum() == pytest.approx(chance[60] / chance[40])


def test_quantiles_of_values_with_chances() -> None:
    values, chance = np.array([[3.0, 1.0, 2.0], [1.0, 1.0, 9.0]]), np.array([0.5, 0.25, 0.25])
    expected = [[1.0, 2.0, 3.0, 3.0], [1.0, 1.0, 1.0, 9.0]]
    np.testing.assert_array_equal(study.evenly(values, chance, 4), expected)
    of_pairs = study.evenly(values[None], np.array([[0.5, 0, 0], [0, 0, 0.5]]), 2)
    np.testing.assert_array_equal(of_pairs, [[3.0, 9.0]])


def test_loss_and_accuracy_are_those_of_random_data() -> None:
    problem = WilsonLeastSquares(seed=4)
    positives = int((problem.labels[:100] > 0).sum())
    negatives = int((problem.labels[100:] < 0).sum())
    method = CompressedSGD(ScaledSign(zero=0))
    metrics = ("test_mse", "test_accuracy")
    drawn = Run(problem, method, 10.0, 20, metrics=metrics).compute()
    same = WilsonCount(positives, order=7)
    metrics = ("positive", "negative")
    run = Run(same, method, 10.0, 20, metrics=metrics).compute()
    predicted = run["positive"][:, 0], run["negative"][:, 0]
    loss, accuracy = (f(*predicted)[:, negatives] for f in (study.test_loss, study.test_accuracy))
    np.testing.assert_allclose(loss, drawn["test_mse"][:, 0], rtol=1e-12)
    np.testing.assert_allclose(accuracy, drawn["test_accuracy"][:, 0], rtol=1e-12)


def test_no_point_of_the_line_has_a_smaller_loss() -> None:
    negative = np.linspace(0.05, 0.95, 7)
    a = np.linspace(-1, 1, 2001)[:, None]
    loss = ((1 - negative) * (3 * a - 1) ** 2 + negative * (a + 1) ** 2).min(axis=0)
    np.testing.assert_allclose(loss, forms.least_signs_loss(negative), rtol=1e-4)
    assert (loss >= forms.least_signs_loss(negative)).all()


def test_the_exact_buffer_of_the_undecayed_momentum_is_zero_at_its_turns() -> None:
    """By hand: a in units of 1/20 goes 0, 1, ..., 10, stays once, and comes back."""
    lr, momentum = Fraction(1, 20), Fraction(9, 10)
    path = 20 * forms.unscaled_along(lr, 22, momentum, undecayed=True)
    up = list(range(11))
    np.testing.assert_allclose(path, [*up, *up[::-1], 0], atol=1e-12)


METHODS: dict[Kind, tuple[Method, float]] = {
    "gradients": (SGD(), 0.5),
    "scaled signs": (CompressedSGD(ScaledSign(zero=0)), 3.0),
    "scaled signs, feedback": (EFSGD(ScaledSign(zero=0)), 3.0),
    "momentum signs": (Signum(Sign(zero=0), momentum=0.9), 0.03),
}


@pytest.mark.parametrize("kind", METHODS)
def test_four_weights_do_what_all_of_them_do(kind: Kind) -> None:
    """More and fewer y = +1 than -1, and only one of them, in half as many rows."""
    method, lr = METHODS[kind]
    for k in (1, 19, 33):
        problem = WilsonCount(k, order=3, rows=50)
        run = Run(problem, method, lr, 40, metrics=("positive", "negative")).compute()
        found = np.ravel(trained(kind, np.array([k]), lr, 40, 50))
        expected = [run["positive"][-1, 0], run["negative"][-1, 0]]
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


def test_the_undecayed_momentum_in_exact_arithmetic_is_its_path_on_the_line() -> None:
    k = np.arange(51, 101)
    a = forms.unscaled_along(Fraction(1, 20), 80, Fraction(9, 10), undecayed=True)[-1]
    positive, negative = undecayed_exactly(k, 20, 80)
    np.testing.assert_allclose([positive, negative], [k * 0 + 3 * a, k * 0 + a], rtol=1e-15)


def test_the_losses_of_label_draws_are_those_of_their_counts() -> None:
    """The mean loss of gradient descent that has not moved is 1, and without noise all is told."""
    still = LabelDraws(0.3, (("gradients", 0.0),), 5, draws=50).compute()["loss"]
    np.testing.assert_allclose(still, np.ones((1, 50)), rtol=1e-15)
    all_positive = LabelDraws(1.0, (("gradients", 0.5), ("scaled signs", 3.0)), 9, 2).compute()
    for row, (kind, lr) in zip(
        all_positive["loss"], (("gradients", 0.5), ("scaled signs", 3.0)), strict=True
    ):
        positive, _ = trained(kind, np.array([100]), lr, 9)
        np.testing.assert_allclose(row, (positive[0] - 1) ** 2, rtol=1e-15)


@pytest.mark.parametrize("k", [0, 30, 100])
def test_the_optimum_is_the_solution_of_least_norm(k: int) -> None:
    problem = WilsonCount(k, rows=100)
    least = np.linalg.lstsq(problem.data.X.toarray(), problem.data.y, rcond=None)[0]
    np.testing.assert_allclose(problem.optimum.x, least, atol=1e-12)
