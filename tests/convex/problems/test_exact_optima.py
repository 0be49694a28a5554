"""Every optimum that is called certified, against one without rounding: least squares and logistic.

Without this file a certificate could be blind to columns that are small beside another one, which
happened, or to columns that nearly depend on each other, and a false optimum be "certified".
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import exact_optima
import numpy as np
import pytest
from scipy.sparse import csr_array

from efsgd.arrays import Array
from efsgd.convex.problems import LeastSquares, LogisticRegression, factors, least_norm
from efsgd.convex.problems.least_norm import TOLERANCE, accuracy

Rows = Callable[[np.random.Generator], Array]
N = 24


def gaussian(rng: np.random.Generator, n: int = N, d: int = 3) -> Array:
    return rng.standard_normal((n, d))


def with_column(column: Callable[[np.random.Generator], Array]) -> Rows:
    return lambda rng: np.column_stack((gaussian(rng, d=2), column(rng)))


def close(distance: float) -> Rows:
    """Two columns whose difference is by so much smaller."""

    def rows(rng: np.random.Generator) -> Array:
        a, b = gaussian(rng, d=2).T
        return np.column_stack((a, a + distance * b))

    return rows


def categories(rng: np.random.Generator) -> Array:
    """A category as indicators, which add up to the column of ones beside them."""
    return np.column_stack((np.eye(3)[np.arange(N) % 3], np.ones(N), gaussian(rng, d=1)))


def dependent_at_other_scales(rng: np.random.Generator) -> Array:
    a, b = rng.integers(-9, 10, (2, N)).astype(float)
    return np.column_stack((a, 2.0**-30 * b, 2.0**40 * (a + b)))


MATRICES: dict[str, Rows] = {
    "gaussian": gaussian,
    "time in nanoseconds": with_column(lambda rng: 1.7e18 + rng.integers(0, 10**9, N)),
    "one column 1e6 times": with_column(lambda rng: 1e6 * rng.standard_normal(N)),
    "one column 1e-12 times": with_column(lambda rng: 1e-12 * rng.standard_normal(N)),
    "scales from 1e-9 to 1e9": lambda rng: gaussian(rng) * [1e-9, 1.0, 1e9],
    "far from 0 beside ones": with_column(
        lambda rng: np.column_stack((1e9 + rng.standard_normal(N), np.ones(N)))
    ),
    "years to the powers": lambda rng: (np.arange(N)[:, None] + 1990.0) ** np.arange(3),
    "an empty column": with_column(lambda rng: np.zeros(N)),
    "one column twice": lambda rng: gaussian(rng)[:, [0, 1, 0]],
    "categories": categories,
    "dependent at other scales": dependent_at_other_scales,
    **{f"columns {e:g} apart": close(e) for e in (1e-3, 1e-6, 1e-9, 1e-12, 1e-14)},
    "wide": lambda rng: gaussian(rng, 4, 7),
    "wide at other scales": lambda rng: gaussian(rng, 4, 7) * 10.0 ** rng.integers(-6, 7, 7),
}
# Where float64 leaves too few digits, and an optimum has to be refused.
HOPELESS = {
    "squares": {
        "columns 1e-12 apart",
        "columns 1e-14 apart",
        "dependent at other scales",
    },
    "logistic": {"time in nanoseconds"},
}
# More than there are digits for without Q, and what is not tall: these are left to LSQR.
UNPROVEN_IF_TALL = {
    "far from 0 beside ones",
    *(f"columns {e:g} apart" for e in (1e-6, 1e-9, 1e-12, 1e-14)),
    "wide",
    "wide at other scales",
}
EVERY = pytest.mark.parametrize("name", MATRICES)
BOTH = pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])


def rows_of(name: str, sparse: bool) -> tuple[Array, Any]:
    """X as an array, and the same as it is handed over; sparse ones have zeros."""
    rng = np.random.default_rng(1)
    X = MATRICES[name](rng)
    if sparse and name not in ("categories", "years to the powers"):
        X = X * (rng.random(len(X)) < 0.8)[:, None]
    return X, csr_array(X) if sparse else X


def targets(X: Array) -> Array:
    """What no w fits, and what asks for the smallest columns too."""
    rng = np.random.default_rng(2)
    scales = np.abs(X).max(axis=0)
    y: Array = (X / np.where(scales > 0, scales, 1.0)).sum(axis=1)
    return y + 0.1 * rng.standard_normal(len(X))


def close_to(value: float, exact: Fraction, scale: float) -> bool:
    """To 1e-7, or to the rounding of terms of this size."""
    return abs(value - float(exact)) <= 1e-7 * float(exact) + 1e-13 * scale


@pytest.mark.parametrize(
    ("name", "by"),
    [
        *((name, "factors") for name in MATRICES),
        *((name, "blocks of rows") for name in MATRICES if name not in UNPROVEN_IF_TALL),
    ],
)
@BOTH
def test_least_squares(name: str, sparse: bool, by: str, monkeypatch: Any) -> None:
    X, matrix = rows_of(name, sparse)
    y = targets(X)
    problem = LeastSquares(matrix, y)
    if by == "blocks of rows":
        monkeypatch.setattr(least_norm, "DENSE_LIMIT", 0)
        monkeypatch.setattr(factors, "BLOCK", 20)
    if name in HOPELESS["squares"]:
        with pytest.raises(ArithmeticError, match="scale the columns, and drop"):
            _ = problem.optimum
        return
    w, f = problem.optimum
    judged = accuracy(matrix, y, w)
    assert judged.proven
    assert judged.error <= TOLERANCE
    least, best = exact_optima.least_squares(X, y)
    assert close_to(f, least, float(y @ y) / len(y))
    exact = np.array([float(entry) for entry in best])
    assert np.linalg.norm(w - exact) <= 1e-8 * np.linalg.norm(exact)


@EVERY
@BOTH
def test_what_lsqr_calls_stationary(name: str, sparse: bool, monkeypatch: Any) -> None:
    """Of a matrix too large to be factorised no optimum is proven, but no column may be hidden."""
    monkeypatch.setattr(least_norm, "DENSE_LIMIT", 0)
    monkeypatch.setattr(least_norm, "TALL_LIMIT", 0)
    X, matrix = rows_of(name, sparse)
    y = targets(X)
    try:
        w = LeastSquares(matrix, y).optimum.x
    except ArithmeticError as error:
        assert "scale the columns" in str(error)  # noqa: PT017
        return
    judged = accuracy(matrix, y, w)
    assert not judged.proven
    assert exact_optima.stationarity(X, y, w) == pytest.approx(judged.stationarity, rel=1e-6)
    assert judged.stationarity <= TOLERANCE


@EVERY
@BOTH
@pytest.mark.parametrize("l2", [1e-3, pytest.param(1.0, marks=pytest.mark.slow)])
def test_logistic(name: str, sparse: bool, l2: float) -> None:
    X, matrix = rows_of(name, sparse)
    y = np.where(targets(X) > 0, 1.0, -1.0)
    problem = LogisticRegression(matrix, y, l2=l2)
    if name in HOPELESS["logistic"]:
        with pytest.raises(ArithmeticError, match="scale the columns"):
            problem.certificate()
        return
    certificate = problem.certificate()
    least, best = exact_optima.logistic(X, y, l2)
    assert abs(certificate.f - float(least)) <= 1e-10 * float(least)
    distance = np.linalg.norm(certificate.x - np.array([float(entry) for entry in best]))
    assert distance <= np.sqrt(2 * certificate.gap / l2) + 1e-15 * np.linalg.norm(certificate.x)
