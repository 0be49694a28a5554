"""Logistic regression: its gradients, the duality gap in closed form, and its certified optimum.

Without this file the closed form of the gap could certify optima that are none, and the gradients
of sparse data or of large margins could be wrong.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from problem_table import central_difference, logistic, points
from scipy.sparse import csr_array
from scipy.special import entr, expit

import efsgd
from efsgd.arrays import Array
from efsgd.convex import LeastSquares, LogisticRegression, certify
from efsgd.convex.problems.linear_map import COSTLY, LinearMap
from efsgd.engine.problem import Problem

BOTH = pytest.mark.parametrize("sparse", [False, True])


@BOTH
def test_follows_the_protocol(sparse: bool) -> None:
    problem = logistic(sparse=sparse)
    assert isinstance(problem, Problem)
    x = points(problem)
    before = x.copy()
    g = problem.gradient(x, np.random.default_rng(0))
    assert g.shape == x.shape
    assert problem.loss(x).shape == (5,)
    assert {series.shape for series in problem.measure(x).values()} == {(5,)}
    np.testing.assert_array_equal(x, before)


@BOTH
def test_loss_and_measure_by_the_definition(sparse: bool) -> None:
    problem = logistic(sparse=sparse)
    X, X_test = (m.toarray() if sparse else m for m in (problem.X, problem.X_test))  # type: ignore[union-attr]
    x = points(problem)
    measured = problem.measure(x)
    for r, w in enumerate(x):
        margins, test = problem.y * (X @ w), problem.y_test * (X_test @ w)
        mean = np.mean(np.log(1 + np.exp(-margins)))
        assert problem.loss(x)[r] == pytest.approx(mean + 0.05 / 2 * (w @ w))
        assert measured["train_loss"][r] == pytest.approx(mean)
        assert measured["test_loss"][r] == pytest.approx(np.mean(np.log(1 + np.exp(-test))))
        assert measured["train_accuracy"][r] == np.mean(margins > 0)
        assert measured["test_accuracy"][r] == np.mean(test > 0)
    nothing = problem.measure(np.zeros((1, problem.d)))
    assert nothing["train_accuracy"][0] == 0  # a prediction of 0 is wrong


@BOTH
@pytest.mark.parametrize("l2", [0.0, 0.05])
def test_the_gradient_is_that_of_the_loss(sparse: bool, l2: float) -> None:
    """Central differences err by h^2/6 times the third derivative, below 1e-9 here."""
    problem = logistic(sparse=sparse, l2=l2)
    x = points(problem)
    expected = central_difference(problem, x)
    np.testing.assert_allclose(problem.full_gradient(x), expected, atol=1e-8)


@BOTH
def test_batches_and_replicates(sparse: bool) -> None:
    problem = logistic(sparse=sparse)
    x = points(problem)
    rows = np.random.default_rng(0).integers(problem.n, size=(5, 4))
    together = problem.batch_gradient(x, rows)
    for r in range(5):
        alone = problem.batch_gradient(x[r : r + 1], rows[r : r + 1])[0]
        np.testing.assert_allclose(alone, together[r], rtol=1e-12, atol=1e-15)
        full = problem.full_gradient(x[r : r + 1])[0]
        np.testing.assert_allclose(full, problem.full_gradient(x)[r], rtol=1e-12, atol=1e-15)
    all_rows = np.tile(np.arange(problem.n), (5, 1))
    np.testing.assert_allclose(
        problem.batch_gradient(x, all_rows), problem.full_gradient(x), atol=1e-13
    )


def test_sparse_and_dense_agree() -> None:
    sparse, dense = logistic(sparse=True), logistic(sparse=False)
    x = points(sparse)
    np.testing.assert_allclose(sparse.loss(x), dense.loss(x), rtol=1e-13)
    np.testing.assert_allclose(sparse.full_gradient(x), dense.full_gradient(x), atol=1e-14)
    rows = np.random.default_rng(0).integers(sparse.n, size=(5, 4))
    expected = dense.batch_gradient(x, rows)
    np.testing.assert_allclose(sparse.batch_gradient(x, rows), expected, atol=1e-14)


def test_large_margins_neither_overflow_nor_lose_digits() -> None:
    y = np.array([1.0, -1.0])
    problem = LogisticRegression(np.eye(2), y, l2=0.0)
    z = np.array([[900.0, 900.0], [-40.0, 40.0]])
    np.testing.assert_allclose(problem.values(z, y), [[0, 900], [40, 40]], atol=1e-15)
    slopes = problem.slopes(z.copy(), y)
    np.testing.assert_allclose(slopes, -y * expit(-y * z), rtol=1e-15)


def dual(problem: LogisticRegression, w: Array) -> float:
    """(1/n) sum H(a_i) - |X'(ya)|^2 / (2 l2 n^2), H the binary entropy: below f everywhere."""
    a = expit(-problem.y * (problem.X @ w))
    v = problem.X.T @ (problem.y * a) / problem.n
    return float(np.mean(entr(a) + entr(1 - a)) - v @ v / (2 * problem.l2))


@pytest.mark.parametrize("l2", [1e-3, 0.05, 10.0])
def test_the_duality_gap_is_primal_minus_dual(l2: float) -> None:
    problem = logistic(l2=l2)
    least = problem.optimum.f  # type: ignore[union-attr]
    for w in points(problem):
        f = float(problem.loss(w[None])[0])
        assert problem.gap(w) == pytest.approx(f - dual(problem, w), rel=1e-10)
        assert f - problem.gap(w) <= least <= f


@BOTH
@pytest.mark.parametrize(("n", "d"), [(45, 10), (30, 60)])
@pytest.mark.parametrize("l2", [1e-4, 0.05])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_the_optimum_is_certified_twice(
    sparse: bool, n: int, d: int, l2: float, scale: float
) -> None:
    problem = logistic(n, d, l2, sparse, scale)
    certificate = problem.certificate()
    assert 0 <= certificate.gap <= 1e-12 * certificate.f
    assert certificate.dual == certificate.f - certificate.gap
    assert certify(problem).holds()


def test_without_a_penalty_nothing_is_claimed() -> None:
    problem = logistic(l2=0.0)
    assert problem.optimum is None
    for certificate in (problem.certificate, lambda: certify(problem)):
        with pytest.raises(ValueError, match="optimum"):
            certificate()
    history = efsgd.run(efsgd.Run(problem, efsgd.SGD(), 0.1, 3))
    assert "distance" not in history


def test_a_search_that_does_not_end_is_told(monkeypatch: Any) -> None:
    monkeypatch.setattr("efsgd.convex.problems.logistic.NEWTON_STEPS", 1)
    with pytest.raises(ArithmeticError, match=r"stopped with a duality gap of .*: scale"):
        _ = logistic().optimum


@BOTH
@pytest.mark.parametrize("batch", [None, 3])
def test_the_engine_takes_the_steps_of_a_plain_loop(sparse: bool, batch: int | None) -> None:
    """EF-top-k fed the same rows; the loop knows no sparse matrix."""
    problem, steps, lr, k = logistic(sparse=sparse), 40, 0.3, 3
    X: Any = problem.X.toarray() if sparse else problem.X  # type: ignore[union-attr]
    method = efsgd.EFSGD(efsgd.TopK(k))
    history = efsgd.run(efsgd.Run(problem, method, lr, steps, batch=batch))
    _, stream, _ = (s.spawn(1)[0] for s in np.random.default_rng(0).spawn(3))
    w = e = np.zeros(problem.d)
    for _ in range(steps):
        rows = np.arange(problem.n)
        if batch:
            rows = np.sort(stream.choice(problem.n, batch, replace=False, shuffle=False))
        y = problem.y[rows]
        p = lr * (X[rows].T @ (-y * expit(-y * (X[rows] @ w))) / len(rows) + problem.l2 * w) + e
        sent = np.zeros_like(p)
        largest = np.argsort(-abs(p), kind="stable")[:k]
        sent[largest] = p[largest]
        w, e = w - sent, p - sent
    np.testing.assert_allclose(history["x_final"][0], w, rtol=1e-10, atol=1e-13)
    assert history["distance"][-1, 0] < history["distance"][0, 0]


@BOTH
def test_smoothness_is_the_largest_eigenvalue(sparse: bool) -> None:
    problem = logistic(sparse=sparse)
    X: Any = problem.X.toarray() if sparse else problem.X  # type: ignore[union-attr]
    largest = np.linalg.eigvalsh(X.T @ X / problem.n)[-1]
    assert problem.smoothness(3) <= largest / 4 + problem.l2
    assert problem.smoothness(300) == pytest.approx(largest / 4 + problem.l2, rel=1e-8)
    squares = LeastSquares(problem.X, problem.y)
    assert squares.smoothness(300) == pytest.approx(largest, rel=1e-8)


@BOTH
def test_a_remembered_product_is_never_a_stale_one(sparse: bool) -> None:
    matrix = np.ones((COSTLY, 3))
    product = LinearMap(csr_array(matrix) if sparse else matrix)
    x = np.arange(3.0)[None]
    first = product.apply(x)
    first[:] = -1  # the caller's own
    np.testing.assert_array_equal(product.apply(x), np.full((COSTLY, 1), 3.0))
    x[0, 0] = 10  # in place: the same array with other entries
    np.testing.assert_array_equal(product.apply(x), np.full((COSTLY, 1), 13.0))
    x[0, 0] = np.nan
    assert np.isnan(product.apply(x)).all()
    assert np.isnan(product.apply(x)).all()


BAD = [
    (lambda: LogisticRegression(np.eye(2), np.array([1.0, 2.0]), l2=1), "y holds the label 2: map"),
    (
        lambda: LogisticRegression(np.eye(2), np.ones(2), np.eye(2), np.zeros(2), l2=1),
        "y_test holds the label 0: map",
    ),
    (lambda: LogisticRegression(np.eye(2), np.ones(2), l2=-1), "l2 .* not -1: try"),
    (lambda: LogisticRegression(np.eye(2), np.ones(2), l2=float("nan")), "l2 .* not nan: try"),
    (lambda: LogisticRegression(np.eye(2), np.ones(2), l2=True), "l2 .* not True: try"),
    (lambda: LogisticRegression(np.eye(2), np.ones(3), l2=1), "2 rows and y 3 entries: give"),
]


@pytest.mark.parametrize(("make", "words"), BAD)
def test_bad_input_is_refused_with_its_value(make: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()
