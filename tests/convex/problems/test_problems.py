"""The convex problems: gradients, oracles, optima, and what the paper says about each."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from typing import Any

import numpy as np
import pytest
from scipy.sparse import coo_array, csr_array

from efsgd.arrays import Array
from efsgd.convex.problems.counterexamples import CE1, CE2, CE3
from efsgd.convex.problems.least_squares import (
    LeastSquares,
    WilsonLeastSquares,
    wilson_matrix,
)
from efsgd.convex.problems.linear_map import LinearMap
from efsgd.convex.problems.sparse_noise import SparseNoise
from efsgd.convex.problems.theorem_one import TheoremOne
from efsgd.engine.problem import Problem


def noisy(sparse: bool, n: int = 12, d: int = 7) -> LeastSquares:
    """A regression that no w solves exactly, with a column that no row touches."""
    rng = np.random.default_rng(5)
    X = rng.standard_normal((n, d)) * (rng.random((n, d)) < 0.5)
    X[:, 2] = 0.0
    y = rng.standard_normal(n)
    return LeastSquares(csr_array(X) if sparse else X, y)


PROBLEMS: list[Any] = [
    CE1(),
    CE1(start=0.5),
    CE2(0.1),
    CE2(0.9),
    CE3(0.5),
    TheoremOne(),
    TheoremOne(n=30, d=8, seed=3),
    SparseNoise(),
    SparseNoise(d=4, sigma=0.5),
    WilsonLeastSquares(rows=20, seed=1),
    noisy(sparse=False),
    noisy(sparse=True),
]
SMOOTH = [problem for problem in PROBLEMS if hasattr(problem, "full_gradient")]
FINITE_SUMS = [problem for problem in PROBLEMS if hasattr(problem, "batch_gradient")]


def points(problem: Any, replicates: int = 5, seed: int = 0) -> Array:
    """Random feasible points, (R, d)."""
    x = np.random.default_rng(seed).standard_normal((replicates, problem.d))
    projected: Array = problem.project(x) if hasattr(problem, "project") else x
    return projected


def name(problem: Any) -> str:
    return type(problem).__name__


def central_difference(problem: Any, x: Array, h: float = 1e-5) -> Array:
    """The gradient of the loss at each row of x, coordinate by coordinate, error O(h^2)."""
    steps = h * np.eye(problem.d)
    columns = [(problem.loss(x + step) - problem.loss(x - step)) / (2 * h) for step in steps]
    return np.stack(columns, axis=1)


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
    expected = central_difference(problem, x)  # exact but for rounding: every f is quadratic
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
    everything = np.tile(np.arange(problem.n), (5, 1))
    full = problem.full_gradient(x)
    np.testing.assert_allclose(problem.batch_gradient(x, everything), full, rtol=1e-10, atol=1e-13)
    rows = np.random.default_rng(3).integers(problem.n, size=(5, 3))
    rows[0] = rows[0, 0]  # one row three times
    single = [problem.batch_gradient(x, rows[:, [column]]) for column in range(3)]
    mean = np.mean(single, axis=0)
    np.testing.assert_allclose(problem.batch_gradient(x, rows), mean, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("problem", PROBLEMS, ids=name)
def test_nothing_near_the_optimum_is_lower(problem: Any) -> None:
    best = problem.optimum
    assert best.x.shape == (problem.d,)
    assert problem.loss(best.x[None])[0] == pytest.approx(best.f, rel=1e-12, abs=1e-25)
    rng = np.random.default_rng(4)
    for size in (1e-3, 1e-1, 10.0):
        x = best.x + size * rng.standard_normal((200, problem.d))
        if hasattr(problem, "project"):
            np.testing.assert_array_equal(problem.project(best.x[None])[0], best.x)
            x = problem.project(x)
        assert (problem.loss(x) >= best.f - 1e-12 * abs(best.f) - 1e-25).all()


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
    for point, found in zip(x, problem.off_line(x), strict=True):
        _, square, *_ = np.linalg.lstsq(problem.s[:, None], point - problem.start)
        assert found == pytest.approx(float(np.sqrt(square[0])), rel=1e-12)
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


@pytest.mark.parametrize("p", [0.5, 0.6, 0.7])
def test_wilson_labels_have_probability_p(p: float) -> None:
    labels = np.concatenate([WilsonLeastSquares(200, p, seed).labels for seed in range(50)])
    assert abs(np.mean(labels == 1) - p) <= 4 * np.sqrt(p * (1 - p) / labels.size)


def test_measure_is_the_papers_loss_and_accuracy() -> None:
    problem = WilsonLeastSquares(rows=20, seed=1)
    data: Any = problem.data
    x = points(problem)
    x[0] = 0.0  # predicts 0 everywhere, which is wrong
    found = problem.measure(x)
    for r, w in enumerate(x):
        train, test = data.X @ w - data.y, data.X_test @ w - data.y_test
        assert found["train_mse"][r] == pytest.approx(train @ train / 10)
        assert found["test_mse"][r] == pytest.approx(test @ test / 10)
        right = sum(np.sign(data.X_test @ w) == data.y_test)
        assert found["test_accuracy"][r] == pytest.approx(right / 10)
    assert found["test_accuracy"][0] == 0.0
    np.testing.assert_allclose(problem.loss(x), found["train_mse"] / 2)


def test_measure_shows_what_there_is() -> None:
    X, y = np.eye(3), np.array([1.0, 2.0, 3.0])
    x = np.zeros((2, 3))
    assert list(LeastSquares(X, y).measure(x)) == ["train_mse"]
    assert set(LeastSquares(X, y, X, y).measure(x)) == {"train_mse", "test_mse"}
    labels = np.array([1, -1, 1])  # integers are welcome
    assert LeastSquares(X, y, X, labels).measure(x)["test_accuracy"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("order", ["C", "F"])
def test_sparse_and_dense_agree(order: Any) -> None:
    dense, sparse = noisy(sparse=False), noisy(sparse=True)
    assert sparse.train.sparse
    x = np.asarray(points(dense, 6), order=order)
    np.testing.assert_allclose(sparse.loss(x), dense.loss(x), rtol=1e-12)
    np.testing.assert_allclose(sparse.full_gradient(x), dense.full_gradient(x), atol=1e-13)
    assert sparse.full_gradient(x).flags.c_contiguous
    rows = np.random.default_rng(0).integers(12, size=(6, 4))
    found, expected = sparse.batch_gradient(x, rows), dense.batch_gradient(x, rows)
    np.testing.assert_allclose(found, expected, atol=1e-13)


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


NAN = float("nan")
BAD = [
    (lambda: CE1(start=1.5), "1.5"),
    (lambda: CE1(start=NAN), "nan"),
    *(
        (lambda eps=eps, of=of: of(eps), str(eps))
        for eps in (0.0, 1.0, -1, NAN)
        for of in (CE2, CE3)
    ),
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
