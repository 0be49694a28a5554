"""Least squares: the data of section 5, the series that are measured, sparse and dense matrices.

Without this file the data of section 5 could differ from the paper's, and a sparse matrix could
give other gradients than the same dense one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from problem_table import least_squares, points
from scipy.sparse import coo_array, csr_array

from efsgd.convex.problems import LeastSquares, WilsonLeastSquares, linear_map
from efsgd.convex.problems.least_squares import wilson_matrix
from efsgd.convex.problems.linear_map import LinearMap
from efsgd.convex.problems.wilson_counts import WilsonCount


def test_wilson_rows_against_the_definition() -> None:
    """theory.md section 2: A_1 = y, A_2 = A_3 = 1, then a block of five per row."""
    problem = WilsonLeastSquares(rows=30, p=0.6, seed=7)
    data: Any = problem.data
    X = np.concatenate((data.X.toarray(), data.X_test.toarray()))
    y = np.concatenate((data.y, data.y_test))
    np.testing.assert_array_equal(y, problem.labels)
    assert X.shape == (30, 180)
    assert set(y) == {-1.0, 1.0}
    for i, row in enumerate(X):
        expected = np.zeros(180)
        expected[0], expected[1], expected[2] = y[i], 1, 1
        expected[3 + 5 * i] = 1
        if y[i] == -1:
            expected[3 + 5 * i : 8 + 5 * i] = 1
        np.testing.assert_array_equal(row, expected)


def test_wilson_is_the_papers_size_and_stays_sparse() -> None:
    problem = WilsonLeastSquares()
    assert (problem.d, problem.n) == (1200, 100)
    data: Any = problem.data
    assert data.X.nnz == sum(4 if label > 0 else 8 for label in data.y)
    assert problem == WilsonLeastSquares(rows=200, p=0.6, seed=0)
    assert problem.optimum.f < 1e-25  # over-parametrised: the training rows are independent
    gradient = problem.full_gradient(points(problem, 1))
    assert not gradient[0, 3 + 5 * 100 :].any()  # columns that no training row touches


@pytest.mark.parametrize("positives", [0, 1, 4, 6, 10])
def test_a_training_set_by_its_number_of_positive_labels(positives: int) -> None:
    """The same rows as those of random data, and the minimiser of least norm in closed form."""
    problem = WilsonCount(positives, order=3, rows=10)
    data: Any = problem.data
    assert (problem.d, problem.n, (data.y > 0).sum()) == (120, 10, positives)
    np.testing.assert_array_equal(data.y_test, [1.0, -1.0])
    found = LeastSquares(data.X, data.y).optimum.x
    np.testing.assert_allclose(problem.optimum.x, found, atol=1e-13)
    x = points(problem, 3)
    series, test = problem.measure(x), data.X_test @ x.T
    np.testing.assert_allclose(series["positive"], test[0])
    np.testing.assert_allclose(series["negative"], test[1])
    np.testing.assert_allclose(series["train_mse"], 2 * problem.loss(x))


@pytest.mark.parametrize(("positives", "order"), [(11, 0), (-1, 0), (5, -1)])
def test_a_training_set_that_does_not_exist(positives: int, order: int) -> None:
    with pytest.raises(ValueError, match="whole number"):
        WilsonCount(positives, order, rows=10)


@pytest.mark.parametrize("p", [0.5, 0.6, 0.7])
def test_wilson_labels_have_probability_p(p: float) -> None:
    labels = np.concatenate([WilsonLeastSquares(200, p, seed).labels for seed in range(50)])
    assert abs(np.mean(labels == 1) - p) <= 4 * np.sqrt(p * (1 - p) / labels.size)


def test_measure_is_the_papers_loss_and_accuracy() -> None:
    problem = WilsonLeastSquares(rows=20, seed=1)
    data: Any = problem.data
    x = points(problem)
    x[0] = 0.0  # predicts 0 everywhere, which is wrong
    series = problem.measure(x)
    for r, w in enumerate(x):
        train, test = data.X @ w - data.y, data.X_test @ w - data.y_test
        assert series["train_mse"][r] == pytest.approx(train @ train / 10)
        assert series["test_mse"][r] == pytest.approx(test @ test / 10)
        correct = sum(np.sign(data.X_test @ w) == data.y_test)
        assert series["test_accuracy"][r] == pytest.approx(correct / 10)
    assert series["test_accuracy"][0] == 0.0
    np.testing.assert_allclose(problem.loss(x), series["train_mse"] / 2)


def test_measure_shows_what_there_is() -> None:
    X, y = np.eye(3), np.array([1.0, 2.0, 3.0])
    x = np.zeros((2, 3))
    assert list(LeastSquares(X, y).measure(x)) == ["train_mse"]
    assert set(LeastSquares(X, y, X, y).measure(x)) == {"train_mse", "test_mse"}
    labels = np.array([1, -1, 1])  # integers are welcome
    assert LeastSquares(X, y, X, labels).measure(x)["test_accuracy"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("order", ["C", "F"])
def test_sparse_and_dense_agree(order: Any) -> None:
    dense, sparse = least_squares(sparse=False), least_squares(sparse=True)
    assert sparse.train.sparse
    x = np.asarray(points(dense, 6), order=order)
    np.testing.assert_allclose(sparse.loss(x), dense.loss(x), rtol=1e-12)
    np.testing.assert_allclose(sparse.full_gradient(x), dense.full_gradient(x), atol=1e-13)
    assert sparse.full_gradient(x).flags.c_contiguous
    rows = np.random.default_rng(0).integers(12, size=(6, 4))
    expected = dense.batch_gradient(x, rows)
    np.testing.assert_allclose(sparse.batch_gradient(x, rows), expected, atol=1e-13)


@pytest.mark.parametrize("sparse", [False, True])
def test_rows_that_are_gathered_some_at_a_time_give_the_same_bits(
    monkeypatch: pytest.MonkeyPatch, sparse: bool
) -> None:
    """Eight replicates three at a time, two of them in the last piece or one of seven."""
    problem = least_squares(sparse=sparse)
    x = points(problem, 8)
    rows = np.random.default_rng(0).integers(12, size=(8, 4))
    for some in (8, 7):
        whole = problem.batch_gradient(x[:some], rows[:some])
        train = problem.train
        entries = train.matrix.nnz / train.n if sparse else problem.d
        monkeypatch.setattr(linear_map, "GATHERED", 3.5 * 4 * entries)
        assert problem.batch_gradient(x[:some], rows[:some]).tobytes() == whole.tobytes()
        monkeypatch.undo()


def test_a_sparse_matrix_is_copied_and_its_duplicates_are_summed() -> None:
    entries = (np.array([1, 2, 3]), (np.array([0, 0, 1]), np.array([1, 1, 0])))
    matrix = coo_array(entries, shape=(2, 3))
    product = LinearMap(matrix).apply(np.array([[1.0, 10.0, 100.0]]))
    np.testing.assert_array_equal(product, [[30.0], [3.0]])
    assert matrix.nnz == 3


def test_data_without_a_single_entry() -> None:
    problem = LeastSquares(csr_array((2, 3)), np.ones(2))
    np.testing.assert_array_equal(problem.full_gradient(np.ones((4, 3))), np.zeros((4, 3)))
    np.testing.assert_array_equal(problem.optimum.x, np.zeros(3))
    np.testing.assert_array_equal(wilson_matrix(np.ones(0)).toarray(), np.zeros((0, 0)))
