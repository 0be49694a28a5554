"""Claimed optima against Clarabel's dual bound, minimum norms against their conditions.

Without this file a false optimum, or a minimiser that has not the least norm, could be certified,
and all distances and gaps that are measured from it would be wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from scipy.linalg import lstsq
from scipy.sparse import csr_array

import efsgd
from efsgd.arrays import Array
from efsgd.convex.problems import least_norm
from efsgd.convex.problems.counterexamples import CE1, CE2, CE3
from efsgd.convex.problems.known_curvature import KnownSquares
from efsgd.convex.problems.least_norm import accuracy, minimum_norm
from efsgd.convex.problems.least_squares import LeastSquares, WilsonLeastSquares
from efsgd.convex.problems.optima import certify, certify_minimum_norm
from efsgd.convex.problems.sparse_noise import SparseNoise
from efsgd.convex.problems.theorem_one import TheoremOne
from efsgd.engine.problem import Optimum


def matrix(n: int, d: int, rank: int, seed: int = 0) -> Array:
    """Of this rank without rounding: products of integers."""
    rng = np.random.default_rng(seed)
    left, right = rng.integers(-9, 10, (n, rank)), rng.integers(-9, 10, (rank, d))
    return (left @ right) / 64.0


def left_to_lsqr(monkeypatch: pytest.MonkeyPatch) -> None:
    """No matrix is factorised from now on."""
    monkeypatch.setattr(least_norm, "DENSE_LIMIT", 0)
    monkeypatch.setattr(least_norm, "TALL_LIMIT", 0)


def regression(n: int, d: int, rank: int, sparse: bool = False) -> LeastSquares:
    X = matrix(n, d, rank)
    y = np.random.default_rng(1).standard_normal(n)
    return LeastSquares(csr_array(X) if sparse else X, y)


@pytest.mark.parametrize(
    "problem",
    [
        CE1(),
        *(CE2(eps) for eps in (0.1, 0.5, 0.9)),
        *(CE3(eps) for eps in (0.1, 0.5, 0.9)),
        TheoremOne(),
        TheoremOne(n=30, d=8, seed=3),
        SparseNoise(),
        WilsonLeastSquares(),
        WilsonLeastSquares(rows=20, p=0.5, seed=3),
        regression(30, 6, 6),
        regression(30, 10, 4),
        regression(30, 6, 6, sparse=True),
    ],
    ids=lambda problem: type(problem).__name__,
)
def test_every_optimum_is_certified(problem: Any) -> None:
    certificate = certify(problem)
    assert certificate.status == "optimal"
    assert certificate.solver.startswith("Clarabel ")
    assert abs(certificate.gap) <= 1e-7 * max(1.0, abs(problem.optimum.f))
    assert certificate.holds()
    assert certificate.dual <= certificate.f + 1e-7
    assert certificate.f == pytest.approx(problem.optimum.f, abs=1e-7)
    assert problem.loss(certificate.x[None])[0] == pytest.approx(certificate.f, abs=1e-7)


def test_the_least_square_is_what_lstsq_leaves() -> None:
    """A certificate away from f* = 0, where constants that cvxpy drops would show."""
    problem = regression(30, 6, 6)
    _, square, *_ = np.linalg.lstsq(problem.X, problem.y)
    assert problem.optimum.f == pytest.approx(square[0] / 60, rel=1e-12)
    assert certify(problem).dual == pytest.approx(square[0] / 60, rel=1e-7)


@dataclass(frozen=True)
class WrongBox(CE1):
    """Claims a feasible point that is not the minimiser."""

    @property
    def optimum(self) -> Optimum:
        return Optimum(np.array([-0.999]), -0.999 / 4)


@dataclass(frozen=True)
class NoBox(CE1):
    """x/4 on the whole line: unbounded below."""

    def constraints(self, x: Any) -> list[Any]:
        return []


def test_a_wrong_optimum_is_not_certified() -> None:
    certificate = certify(WrongBox())
    assert certificate.gap == pytest.approx(0.001 / 4, abs=1e-7)
    assert not certificate.holds()


def test_any_status_but_optimal_raises() -> None:
    with pytest.raises(RuntimeError, match="unbounded, not optimal"):
        certify(NoBox())


CASES = [(8, 20, 8), (20, 8, 8), (20, 20, 5), (6, 9, 3)]


@pytest.mark.parametrize(("n", "d", "rank"), CASES)
@pytest.mark.parametrize("solver", ["factors", "lsqr"])
def test_minimum_norm_meets_its_optimality_conditions(
    n: int, d: int, rank: int, solver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if solver == "lsqr":
        left_to_lsqr(monkeypatch)
    X, y = matrix(n, d, rank), np.random.default_rng(1).standard_normal(n)
    for form in (X, csr_array(X)):
        w = minimum_norm(form, y)
        judged = accuracy(form, y, w)
        assert judged.error < 1e-10
        assert judged.proven == (solver == "factors")
        np.testing.assert_allclose(w, np.linalg.pinv(X, rcond=1e-10) @ y, atol=1e-9)


@pytest.mark.parametrize(("n", "d", "rank"), CASES)
def test_minimum_norm_against_cvxpy(n: int, d: int, rank: int) -> None:
    """min |v|^2 subject to X'Xv = X'y, for X scaled to a norm near 1, exactly."""
    X, y = matrix(n, d, rank), np.random.default_rng(1).standard_normal(n)
    X = np.ldexp(X, -int(np.frexp(np.linalg.norm(X, 2))[1]))
    w = minimum_norm(X, y)
    certificate = certify_minimum_norm(X, y, w)
    assert certificate.holds(1e-6)
    np.testing.assert_allclose(certificate.x, w, atol=1e-4 * float(np.linalg.norm(w)))


@pytest.mark.parametrize("seed", range(3))
def test_the_wilson_optimum_has_least_norm(seed: int) -> None:
    problem = WilsonLeastSquares(rows=20, seed=seed)
    X, y, w = problem.data.X, problem.data.y, problem.optimum.x
    assert accuracy(X, y, w).error < 1e-12
    assert certify_minimum_norm(X, y, w).holds()


@pytest.mark.parametrize("solver", ["factors", "lsqr"])
def test_accuracy_sees_each_failure(solver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if solver == "lsqr":
        left_to_lsqr(monkeypatch)
    X, y = matrix(5, 9, 5), np.ones(5)
    w = minimum_norm(X, y)
    across = np.linalg.svd(X)[2][-1]  # a unit vector orthogonal to every row
    judged = accuracy(X, y, w + across)
    assert judged.stationarity < 1e-12  # still a minimiser, but not the shortest
    assert judged.outside == pytest.approx(1 / np.hypot(1, np.linalg.norm(w)), rel=1e-9)
    assert accuracy(X, y, w + X[0]).stationarity > 1e-3
    if solver == "factors":
        assert judged.distance == pytest.approx(1 / np.linalg.norm(w), rel=1e-9)
        assert accuracy(X, y, w + X[0]).value > 1e-3


def test_no_column_is_hidden_by_a_large_one() -> None:
    """w = 0 in the first column is wrong, though |A'(Aw - y)| is small beside |A||y|."""
    X = matrix(30, 2, 2) * [1.0, 1e12]
    y = X @ [1.0, 1e-12]
    w = np.array([0.0, (X[:, 1] @ y) / (X[:, 1] @ X[:, 1])])
    slopes = X.T @ (X @ w - y)
    assert np.linalg.norm(slopes) < 1e-8 * np.linalg.norm(X) * np.linalg.norm(y)
    expected = abs(slopes[0]) / (np.linalg.norm(X[:, 0]) * np.linalg.norm(y))
    judged = accuracy(X, y, w)
    assert judged.stationarity == pytest.approx(expected, rel=1e-6)
    assert judged.error > 1e-2
    np.testing.assert_allclose(minimum_norm(X, y), [1.0, 1e-12], rtol=1e-9)


def test_dependent_columns_are_counted() -> None:
    X, y = matrix(30, 3, 3), np.ones(30)
    longer = np.column_stack((X, X @ [1, 2, 3]))
    judged = accuracy(longer, y, minimum_norm(longer, y))
    assert (judged.dependent, judged.exact, judged.hidden) == (1, True, 0.0)
    assert accuracy(X, y, minimum_norm(X, y)).dependent == 0


def test_columns_that_depend_up_to_rounding_only_are_refused() -> None:
    """Without rounding they are independent, and lower the least square."""
    X = matrix(30, 3, 3)
    longer = np.column_stack((X, X @ [0.1, 0.2, 0.3]))
    words = r"column \d \(counted from 0\) differs from a combination .*: centre and scale the"
    y = np.random.default_rng(1).standard_normal(30)
    for form in (longer, csr_array(longer)):
        with pytest.raises(ArithmeticError, match=words):
            minimum_norm(form, y)


@pytest.mark.parametrize("problem", [WilsonLeastSquares(rows=40), KnownSquares(n=40, d=9)])
def test_ordinary_optima_are_those_of_lapack_to_the_bit(problem: Any) -> None:
    """The published distances were measured from them."""
    X = problem.data.X
    X = X if isinstance(X, np.ndarray) else X.toarray()
    columns = X.any(axis=0)
    w, *_ = lstsq(X[:, columns], problem.data.y)
    np.testing.assert_array_equal(problem.optimum.x[columns], w)
    assert not problem.optimum.x[~columns].any()


def test_a_run_goes_on_where_no_optimum_can_be_certified() -> None:
    """Without the distance; a distance that was asked for is refused."""
    a, b, y = matrix(3, 30, 3)
    run = efsgd.Run(LeastSquares(np.column_stack((a, a + 1e-13 * b)), y), efsgd.SGD(), 0.1, 3)
    history = efsgd.run(run)
    assert "distance" not in history
    assert history["loss"][-1] < history["loss"][0]
    with pytest.raises(ArithmeticError, match="scale the columns"):
        efsgd.run(replace(run, metrics=("loss", "distance")))


def test_lsqr_that_does_not_converge_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    left_to_lsqr(monkeypatch)
    monkeypatch.setattr(least_norm, "_lsqr", lambda rows, y: np.ones(rows.shape[1]))
    with pytest.raises(ArithmeticError, match="scale the columns"):
        minimum_norm(matrix(5, 3, 3), np.ones(5))


class NineTenths(LeastSquares):
    """Claims a minimiser that is a tenth too short."""

    @property
    def optimum(self) -> Optimum:  # type: ignore[override]
        w = 0.9 * minimum_norm(self.X, self.y)
        return Optimum(w, float(self.loss(w[None])[0]))


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_a_certificate_is_no_blinder_for_small_or_large_values(scale: float) -> None:
    """The same data in other units: Clarabel's tolerances and those of ``holds`` are absolute."""
    data = regression(30, 6, 6)
    problem = LeastSquares(data.X, scale * data.y)
    assert certify(problem).holds()
    wrong = certify(NineTenths(data.X, scale * data.y))
    predicted = data.X @ problem.optimum.x
    gap = 0.1**2 * float(predicted @ predicted) / 60  # f is a parabola along w
    assert wrong.gap == pytest.approx(gap, rel=1e-5)
    assert not wrong.holds()


def test_certificates_do_not_depend_on_the_start() -> None:
    assert certify(replace(CE1(), start=0.5)).gap == certify(CE1()).gap
