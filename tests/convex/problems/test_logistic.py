"""Logistic regression: its gradients, the duality gap in closed form, and its certified optimum."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.special import entr, expit
from test_problems import central_difference, points

import efsgd
from efsgd.arrays import Array
from efsgd.convex import LeastSquares, LogisticRegression, certify
from efsgd.convex.problems.linear_map import COSTLY, LinearMap
from efsgd.engine.problem import Problem


def problem(
    n: int = 30, d: int = 12, l2: float = 0.05, sparse: bool = True, scale: float = 1.0
) -> LogisticRegression:
    """Rows with a column that none of them touches, and labels that no w separates."""
    rng = np.random.default_rng(n + d)
    X = scale * rng.standard_normal((n, d)) * (rng.random((n, d)) < 0.6)
    X[:, 2] = 0.0
    y = np.where(X @ rng.standard_normal(d) + scale * rng.standard_normal(n) > 0, 1.0, -1.0)
    test = n // 3
    kind: Any = csr_array if sparse else np.asarray
    return LogisticRegression(kind(X[test:]), y[test:], kind(X[:test]), y[:test], l2=l2)


BOTH = pytest.mark.parametrize("sparse", [False, True])


@BOTH
def test_follows_the_protocol(sparse: bool) -> None:
    found = problem(sparse=sparse)
    assert isinstance(found, Problem)
    x = points(found)
    before = x.copy()
    g = found.gradient(x, np.random.default_rng(0))
    assert g.shape == x.shape
    assert found.loss(x).shape == (5,)
    assert {series.shape for series in found.measure(x).values()} == {(5,)}
    np.testing.assert_array_equal(x, before)


@BOTH
def test_loss_and_measure_by_the_definition(sparse: bool) -> None:
    found = problem(sparse=sparse)
    X, X_test = (m.toarray() if sparse else m for m in (found.X, found.X_test))  # type: ignore[union-attr]
    x = points(found)
    measured = found.measure(x)
    for r, w in enumerate(x):
        margins, test = found.y * (X @ w), found.y_test * (X_test @ w)
        mean = np.mean(np.log(1 + np.exp(-margins)))
        assert found.loss(x)[r] == pytest.approx(mean + 0.05 / 2 * (w @ w))
        assert measured["train_loss"][r] == pytest.approx(mean)
        assert measured["test_loss"][r] == pytest.approx(np.mean(np.log(1 + np.exp(-test))))
        assert measured["train_accuracy"][r] == np.mean(margins > 0)
        assert measured["test_accuracy"][r] == np.mean(test > 0)
    nothing = found.measure(np.zeros((1, found.d)))
    assert nothing["train_accuracy"][0] == 0  # a prediction of 0 is wrong


@BOTH
@pytest.mark.parametrize("l2", [0.0, 0.05])
def test_the_gradient_is_that_of_the_loss(sparse: bool, l2: float) -> None:
    """Central differences err by h^2/6 times the third derivative, below 1e-9 here."""
    found = problem(sparse=sparse, l2=l2)
    x = points(found)
    expected = central_difference(found, x)
    np.testing.assert_allclose(found.full_gradient(x), expected, atol=1e-8)


@BOTH
def test_batches_and_replicates(sparse: bool) -> None:
    found = problem(sparse=sparse)
    x = points(found)
    rows = np.random.default_rng(0).integers(found.n, size=(5, 4))
    together = found.batch_gradient(x, rows)
    for r in range(5):
        alone = found.batch_gradient(x[r : r + 1], rows[r : r + 1])[0]
        np.testing.assert_allclose(alone, together[r], rtol=1e-12, atol=1e-15)
        full = found.full_gradient(x[r : r + 1])[0]
        np.testing.assert_allclose(full, found.full_gradient(x)[r], rtol=1e-12, atol=1e-15)
    every = np.tile(np.arange(found.n), (5, 1))
    np.testing.assert_allclose(found.batch_gradient(x, every), found.full_gradient(x), atol=1e-13)


def test_sparse_and_dense_agree() -> None:
    sparse, dense = problem(sparse=True), problem(sparse=False)
    x = points(sparse)
    np.testing.assert_allclose(sparse.loss(x), dense.loss(x), rtol=1e-13)
    np.testing.assert_allclose(sparse.full_gradient(x), dense.full_gradient(x), atol=1e-14)
    rows = np.random.default_rng(0).integers(sparse.n, size=(5, 4))
    found, expected = sparse.batch_gradient(x, rows), dense.batch_gradient(x, rows)
    np.testing.assert_allclose(found, expected, atol=1e-14)


def test_large_margins_neither_overflow_nor_lose_digits() -> None:
    y = np.array([1.0, -1.0])
    found = LogisticRegression(np.eye(2), y, l2=0.0)
    z = np.array([[900.0, 900.0], [-40.0, 40.0]])
    np.testing.assert_allclose(found.values(z, y), [[0, 900], [40, 40]], atol=1e-15)
    slopes = found.slopes(z.copy(), y)
    np.testing.assert_allclose(slopes, -y * expit(-y * z), rtol=1e-15)


def dual(found: LogisticRegression, w: Array) -> float:
    """(1/n) sum H(a_i) - |X'(ya)|^2 / (2 l2 n^2), H the binary entropy: below f everywhere."""
    a = expit(-found.y * (found.X @ w))
    v = found.X.T @ (found.y * a) / found.n
    return float(np.mean(entr(a) + entr(1 - a)) - v @ v / (2 * found.l2))


@pytest.mark.parametrize("l2", [1e-3, 0.05, 10.0])
def test_the_duality_gap_is_primal_minus_dual(l2: float) -> None:
    found = problem(l2=l2)
    least = found.optimum.f  # type: ignore[union-attr]
    for w in points(found):
        f = float(found.loss(w[None])[0])
        assert found.gap(w) == pytest.approx(f - dual(found, w), rel=1e-10)
        assert f - found.gap(w) <= least <= f


@BOTH
@pytest.mark.parametrize(("n", "d"), [(45, 10), (30, 60)])
@pytest.mark.parametrize("l2", [1e-4, 0.05])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_the_optimum_is_certified_twice(
    sparse: bool, n: int, d: int, l2: float, scale: float
) -> None:
    found = problem(n, d, l2, sparse, scale)
    own = found.certificate()
    assert 0 <= own.gap <= 1e-12 * own.f
    assert own.dual == own.f - own.gap
    assert certify(found).holds()


def test_without_a_penalty_nothing_is_claimed() -> None:
    found = problem(l2=0.0)
    assert found.optimum is None
    for certificate in (found.certificate, lambda: certify(found)):
        with pytest.raises(ValueError, match="optimum"):
            certificate()
    history = efsgd.run(efsgd.Run(found, efsgd.SGD(), 0.1, 3))
    assert "distance" not in history


def test_a_search_that_does_not_end_is_told(monkeypatch: Any) -> None:
    monkeypatch.setattr("efsgd.convex.problems.logistic.NEWTON_STEPS", 1)
    with pytest.raises(ArithmeticError, match=r"stopped with a duality gap of .*: scale"):
        _ = problem().optimum


@BOTH
@pytest.mark.parametrize("batch", [None, 3])
def test_the_engine_takes_the_steps_of_a_plain_loop(sparse: bool, batch: int | None) -> None:
    """EF-top-k fed the same rows; the loop knows no sparse matrix."""
    found, steps, lr, k = problem(sparse=sparse), 40, 0.3, 3
    X: Any = found.X.toarray() if sparse else found.X  # type: ignore[union-attr]
    method = efsgd.EFSGD(efsgd.TopK(k))
    history = efsgd.run(efsgd.Run(found, method, lr, steps, batch=batch))
    _, stream, _ = (s.spawn(1)[0] for s in np.random.default_rng(0).spawn(3))
    w = e = np.zeros(found.d)
    for _ in range(steps):
        rows = np.arange(found.n)
        if batch:
            rows = np.sort(stream.choice(found.n, batch, replace=False, shuffle=False))
        y = found.y[rows]
        p = lr * (X[rows].T @ (-y * expit(-y * (X[rows] @ w))) / len(rows) + found.l2 * w) + e
        sent = np.zeros_like(p)
        kept = np.argsort(-abs(p), kind="stable")[:k]
        sent[kept] = p[kept]
        w, e = w - sent, p - sent
    np.testing.assert_allclose(history["x_final"][0], w, rtol=1e-10, atol=1e-13)
    assert history["distance"][-1, 0] < history["distance"][0, 0]


@BOTH
def test_smoothness_is_the_largest_eigenvalue(sparse: bool) -> None:
    found = problem(sparse=sparse)
    X: Any = found.X.toarray() if sparse else found.X  # type: ignore[union-attr]
    largest = np.linalg.eigvalsh(X.T @ X / found.n)[-1]
    assert found.smoothness(3) <= largest / 4 + found.l2
    assert found.smoothness(300) == pytest.approx(largest / 4 + found.l2, rel=1e-8)
    squares = LeastSquares(found.X, found.y)
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
