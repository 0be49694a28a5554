"""Every optimum that is called certified, against one without rounding: least squares and logistic.

Without this file a certificate could be blind to columns that are small beside another one, which
happened, or to columns that nearly depend on each other, or to what a large row or a large mean of
y hides, and a false optimum be "certified".
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
from efsgd.convex.problems.dependence import Dependence
from efsgd.convex.problems.least_norm import TOLERANCE, Accuracy, accuracy

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
# For squares only. Columns that seem dependent, and are or are not so without rounding.


def with_row(entry: float) -> Rows:
    """A missing row that is marked by a large number: the columns are parallel but for rounding."""

    def rows(rng: np.random.Generator) -> Array:
        X = gaussian(rng)
        X[7] = entry
        return X

    return rows


def ticks(rng: np.random.Generator) -> Array:
    """Time stamps one rounding apart, and a constant."""
    return np.column_stack((1.7e18 + 256.0 * rng.integers(0, 16, N), np.ones(N)))


def scaled_categories(rng: np.random.Generator) -> Array:
    """Categories that add up to a constant with weights that are no floats."""
    return categories(rng) * [1 / 3, 1 / 7, 0.1, 1.0, 1.0]


def twice_as_many_rows(rng: np.random.Generator) -> Array:
    X = gaussian(rng, 4, 7)
    return np.vstack((X, X))


SEEMINGLY_DEPENDENT: dict[str, Rows] = {
    "a row of the largest int64": with_row(2.0**63),
    "a row of 1e16": with_row(1e16),
    "ticks of a clock": ticks,
    **{f"columns {e:g} apart": close(e) for e in (1e-15, 1e-16)},
    "sums of floats": lambda rng: gaussian(rng) @ [[1, 0, 0, 0.1], [0, 1, 0, 0.2], [0, 0, 1, 0.3]],
}
DEPENDENT: dict[str, Rows] = {
    "categories with weights": scaled_categories,
    "wide with each row twice": twice_as_many_rows,
}
SQUARES = MATRICES | SEEMINGLY_DEPENDENT | DEPENDENT
# Where float64 leaves too few digits, and an optimum has to be refused.
HOPELESS = {
    "squares": {
        *SEEMINGLY_DEPENDENT,
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
    "wide with each row twice",
    *SEEMINGLY_DEPENDENT,
}
EVERY_SQUARES = pytest.mark.parametrize("name", SQUARES)
EVERY = pytest.mark.parametrize("name", MATRICES)
BOTH = pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])


def rows_of(name: str, sparse: bool) -> tuple[Array, Any]:
    """X as an array, and the same as it is handed over; sparse ones have zeros."""
    rng = np.random.default_rng(1)
    X = SQUARES[name](rng)
    if sparse and name not in (
        "categories",
        "years to the powers",
        *SEEMINGLY_DEPENDENT,
        *DEPENDENT,
    ):
        X = X * (rng.random(len(X)) < 0.8)[:, None]
    return X, csr_array(X) if sparse else X


def targets(X: Array) -> Array:
    """What no w fits, and what asks for the smallest columns too."""
    rng = np.random.default_rng(2)
    scales = np.abs(X).max(axis=0)
    y: Array = (X / np.where(scales > 0, scales, 1.0)).sum(axis=1)
    return y + 0.1 * rng.standard_normal(len(X))


def close_to(value: float, exact: Fraction, scale: float, judged: Accuracy) -> bool:
    """To 1e-8, as claimed; over the scale f(0) where the optimum is said to be 0 up to rounding."""
    if judged.interpolates:
        return float(exact) <= 1e-28 * scale and abs(value - float(exact)) <= TOLERANCE * scale
    return abs(value - float(exact)) <= TOLERANCE * float(exact)


@pytest.mark.parametrize(
    ("name", "by"),
    [
        *((name, "factors") for name in SQUARES),
        *((name, "blocks of rows") for name in SQUARES if name not in UNPROVEN_IF_TALL),
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
        with pytest.raises(ArithmeticError, match="scale the columns, and drop") as refused:
            _ = problem.optimum
        assert ("drop training row 7" in str(refused.value)) == name.startswith("a row")
        return
    w, f = problem.optimum
    judged = accuracy(matrix, y, w, f)
    assert judged.proven
    assert judged.error <= TOLERANCE
    least, best = exact_optima.least_squares(X, y)
    assert judged.exact
    assert close_to(f, least, float(y @ y) / (2 * len(y)), judged)
    exact = np.array([float(entry) for entry in best])
    assert np.linalg.norm(w - exact) <= 1e-8 * np.linalg.norm(exact)


@EVERY_SQUARES
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


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e6, 1e8, 1e9, 1e12, 1.7e18])
@pytest.mark.parametrize("by", ["factors", "blocks of rows", "lsqr"])
def test_targets_far_from_0(offset: float, by: str, monkeypatch: Any) -> None:
    """A loss in float64 loses what y has in common, and is refused where that is too much."""
    if by != "factors":
        monkeypatch.setattr(least_norm, "DENSE_LIMIT", 0)
    if by == "lsqr":
        monkeypatch.setattr(least_norm, "TALL_LIMIT", 0)
    X = np.column_stack((np.ones(N), gaussian(np.random.default_rng(3), d=2)))
    noise = np.random.default_rng(4).standard_normal(N)
    y = offset + X @ [0.0, 3.0, -2.0] * (1 + offset / 1e12) + noise * (0.1 + offset / 2e15)
    try:
        w, f = LeastSquares(X, y).optimum
        judged = accuracy(X, y, w, f)
    except ArithmeticError as error:
        assert "centre y" in str(error)  # noqa: PT017
        assert offset >= 1e9
        return
    if not judged.error <= TOLERANCE:  # for want of a reference LSQR leaves it to the accuracy
        assert by == "lsqr"
        assert offset >= 1e8
        assert "centre y" in judged.refusal
        return
    assert offset <= 1e9
    assert close_to(f, exact_optima.least_squares(X, y)[0], float(y @ y) / (2 * N), judged)


def test_standardised_categories_have_a_certified_f_only() -> None:
    """Rounding makes the columns independent, in a direction that a centred y does not use."""
    rng = np.random.default_rng(0)
    groups = np.hstack([np.eye(k)[rng.integers(0, k, 60)] for k in (3, 5)])
    X = np.column_stack((groups, rng.standard_normal(60)))
    X = (X - X.mean(0)) / X.std(0)
    y = X @ rng.standard_normal(9) + rng.standard_normal(60)
    w, f = LeastSquares(X, y - y.mean()).optimum
    judged = accuracy(X, y - y.mean(), w, f)
    assert judged.error <= TOLERANCE
    assert judged.dependent == 2
    assert not judged.exact
    least, _ = exact_optima.least_squares(X, y - y.mean())
    assert abs(f - float(least)) <= TOLERANCE * float(least)
    with pytest.raises(ArithmeticError, match="which lowers f by"):
        _ = LeastSquares(X, y + 1.0).optimum


@pytest.mark.parametrize("name", [name for name in SEEMINGLY_DEPENDENT if "apart" not in name])
def test_how_much_columns_that_seem_dependent_lower_the_least_square(name: str) -> None:
    X, _ = rows_of(name, sparse=False)
    y = targets(X)
    dependence = Dependence(factors.Factors(X, y), np.arange(X.shape[1]))
    r = dependence.factors.refined[1]
    least = 2 * len(y) * float(exact_optima.least_squares(X, y)[0])
    assert r @ r - dependence.decrease == pytest.approx(least, rel=1e-9)
    assert dependence.decrease > 1e-3 * least


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
