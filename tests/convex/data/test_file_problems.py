"""Least squares and logistic regression on data files, their optima and certificates.

Without this file a run on the user's data could train on the wrong rows or labels, or report a
distance to an optimum that is none.
"""

from __future__ import annotations

import hashlib
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import TEXT, text_of, written
from scipy.sparse import csr_array

import efsgd
from efsgd.convex import FileLogistic, FileSquares, LogisticRegression, data_file
from efsgd.convex.data.file_problems import FileCertificate
from efsgd.results import spec_of


def test_a_test_file_may_have_fewer_features(tmp_path: Path) -> None:
    train = written(tmp_path / "a", b"1 1:1 40:2\n2 3:1\n3 2:7\n")
    test = written(tmp_path / "b", b"1 1:1\n0 2:3 50:1\n")
    problem = FileSquares(data_file(train, test=test, intercept=True))
    assert (problem.n, problem.d) == (3, 51)
    x = np.arange(51.0)[None]
    assert problem.data.X.nnz == 4 + 3  # type: ignore[union-attr]
    expected = np.mean([(0 + 50 - 1) ** 2, (3 + 49 + 50) ** 2])
    assert problem.measure(x)["test_mse"][0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "words"),
    [(b"1 1:1\n1 2:1\n1 1:3\n", r"1 different labels \(1\)"), (b"0 1:1\n1 2:1\n2 1:1\n", "3 diff")],
)
def test_logistic_needs_two_classes(tmp_path: Path, text: bytes, words: str) -> None:
    source = data_file(written(tmp_path / "a", text), test=0)
    with pytest.raises(ValueError, match=words) as refused:
        FileLogistic(source, 0.1).loss(np.zeros((1, 2)))
    assert "needs two classes" in str(refused.value)


def test_both_classes_have_to_be_trained_on(tmp_path: Path) -> None:
    train = written(tmp_path / "a", b"7 1:1\n7 2:1\n")
    source = data_file(train, test=written(tmp_path / "b", b"3 1:1\n"))
    with pytest.raises(ValueError, match=r"a: all 2 training rows have the label 7: train on both"):
        FileLogistic(source, 0.1).loss(np.zeros((1, 2)))
    third = data_file(train, test=written(tmp_path / "b", b"3 1:1\n5 1:1\n"))
    with pytest.raises(ValueError, match=r"a with .*b has 3 different labels"):
        FileLogistic(third, 0.1).loss(np.zeros((1, 2)))


@pytest.mark.parametrize(
    ("scale", "l2"), [(1e-10, None), (1e19, None), ([1.0, 1e-8, 1e9], None), ([1.0, 1e3, 1e6], 0.1)]
)
def test_any_scale_is_certified_twice(tmp_path: Path, scale: Any, l2: float | None) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20, 3)) * scale
    y = np.sign(rng.standard_normal(20))
    source = data_file(written(tmp_path / "a", text_of(X, y)), test=0)
    problem = FileSquares(source) if l2 is None else FileLogistic(source, l2)
    certificate = FileCertificate(problem).compute()
    assert certificate["error"] <= certificate["tolerance"]
    assert certificate["solver_gap"] <= 1e-7
    assert certificate["proven"] == 1


@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")  # of cvxpy, about Clarabel
def test_data_that_defeats_the_solver_is_no_failed_claim(tmp_path: Path) -> None:
    """The first certificate has no such trouble."""
    rng = np.random.default_rng(0)
    rows = text_of(rng.standard_normal((20, 3)), np.sign(rng.standard_normal(20)))
    source = data_file(written(tmp_path / "a", rows), test=0)
    certificate = FileCertificate(FileLogistic(source, 1e300)).compute()
    assert np.isnan(certificate["solver_gap"]) or certificate["solver_gap"] <= 1e-7
    assert certificate["error"] <= certificate["tolerance"]


@pytest.mark.parametrize("standardise", [False, True])
def test_no_certificate_is_a_refusal_while_scaling_may_help(
    tmp_path: Path, standardise: bool
) -> None:
    rng = np.random.default_rng(0)
    a, b, y = rng.standard_normal((3, 20))
    rows = text_of(np.column_stack((a, a + 1e-13 * b)), y)
    source = data_file(written(tmp_path / "a", rows), test=0, standardise=standardise)
    work = FileCertificate(FileSquares(source))
    if standardise:
        assert np.isnan(work.compute()["error"])
    else:
        with pytest.raises(ArithmeticError, match=r"no optimum of .*a can .*: scale the columns"):
            work.compute()


def test_an_optimum_that_is_none_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20, 3)), rng.standard_normal(20)
    problem = FileSquares(data_file(written(tmp_path / "a", text_of(X, y)), test=0))
    assert FileCertificate(problem).compute()["solver_gap"] < 1e-7
    monkeypatch.setattr("efsgd.convex.problems.least_squares.minimum_norm", lambda *_: np.zeros(3))
    wrong = FileSquares(data_file(tmp_path / "a", test=0, seed=1))
    assert FileCertificate(wrong)._solver_gap() > 1e-3
    with pytest.raises(ArithmeticError, match=r"relative error of 1e\+00"):
        FileCertificate(wrong).compute()


@pytest.mark.parametrize("standardise", [False, True])
def test_labels_are_shown_as_in_the_file(tmp_path: Path, standardise: bool) -> None:
    """Classes are no targets: they are never centred."""
    X = np.random.default_rng(0).standard_normal((9, 2))
    y = np.array([0.0, 1, 2, 0, 1, 2, 0, 1, 1000001])
    path = written(tmp_path / "a", text_of(X, y))
    source = data_file(path, test=0, standardise=standardise)
    with pytest.raises(ValueError, match=r"4 different labels \(0, 1, 2, 1000001\)"):
        FileLogistic(source, 0.1).loss(np.zeros((1, 2)))
    centre = y.mean() if standardise else 0.0
    np.testing.assert_allclose(FileSquares(source).data.y, y - centre, rtol=1e-12)


def test_two_classes_are_mapped_in_order(tmp_path: Path) -> None:
    source = data_file(written(tmp_path / "a", b"7 1:1\n3 2:1\n7 1:1\n3 1:2\n"), test=0.5, seed=1)
    data = FileLogistic(source, 0.1).data
    labels = [*data.y, *data.y_test]  # type: ignore[misc]
    assert sorted(labels) == [-1, -1, 1, 1]


def test_the_spec_holds_the_sha256_and_a_changed_file_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a", TEXT)
    source = data_file(path, test=0)
    assert spec_of(FileSquares(source))["source"]["sha256"] == hashlib.sha256(TEXT).hexdigest()
    written(path, TEXT + b"\n")
    with pytest.raises(ValueError, match="has changed since it was first read"):
        source.load()


def test_a_large_sparse_set_stays_sparse(monkeypatch: Any) -> None:
    """20,000 x 47,000 at 0.15 %: dense it would be 7.5 GB; here a few copies of 17 MB."""
    n, d, per_row = 20_000, 47_000, 70
    rng = np.random.default_rng(0)
    columns = np.sort(rng.integers(d, size=(n, per_row), dtype=np.int32), axis=1)
    starts = np.arange(0, n * per_row + 1, per_row, dtype=np.int32)
    X = csr_array((rng.random(n * per_row), columns.ravel(), starts), shape=(n, d))
    X.sum_duplicates()
    y = np.where(rng.random(n) < 0.5, 1.0, -1.0)
    tracemalloc.start()
    try:
        problem = LogisticRegression(X, y, l2=1 / n)
        method = efsgd.EFSGD(efsgd.TopK(0.01))
        for batch in (None, 16):
            history = efsgd.run(efsgd.Run(problem, method, 0.1, 3, batch=batch))
            assert history["loss"][-1] < history["loss"][0]
        assert problem.gap(problem.optimum.x) < 1e-12  # type: ignore[union-attr]
        assert tracemalloc.get_traced_memory()[1] < 5 * 12 * X.nnz
    finally:
        tracemalloc.stop()
