"""Standardising features, and training and test files of different width and kind.

Without this file test rows could be scaled by other numbers than the training rows, and a sparse
file could be filled in until memory ends.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import dense, text_of, written
from scipy.sparse import csr_array

from efsgd.convex import data_file
from efsgd.convex.data.preprocessing import standardised


@pytest.mark.parametrize("sparse", [False, True])
def test_standardised_by_the_training_rows(sparse: bool) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 4)) * [1, 10, 0.1, 0] * (rng.random((60, 4)) < 0.5) + [0, 0, 0, 5]
    y = rng.standard_normal(60) + 3
    matrix: Any = csr_array if sparse else np.asarray
    pairs = [(matrix(X[:40]), y[:40]), (matrix(X[40:]), y[40:])]
    (train, y_train), (test, y_test) = standardised(pairs)
    scale = X[:40].std(0)
    scale[3] = 1  # constant: kept as it is
    centre = 0 if sparse else X[:40].mean(0)
    np.testing.assert_allclose(dense(train), (X[:40] - centre) / scale, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(dense(test), (X[40:] - centre) / scale, rtol=1e-12, atol=1e-13)
    shift = 0 if sparse else y[:40].mean()
    np.testing.assert_allclose([*y_train, *y_test], y - shift)
    if sparse:
        assert train.nnz == pairs[0][0].nnz
    labels = np.where(y > 3, 2.0, 1.0)  # classes are left alone
    assert set(standardised([(matrix(X), labels)])[0][1]) == {1.0, 2.0}
    labels[0] = 0.0
    ((_, kept),) = standardised([(matrix(X), labels)], centre_targets=False)
    assert set(kept) == {0.0, 1.0, 2.0}


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("value", [0.1, 123456.7, 1e9 + 0.1, -1e-9])
def test_a_constant_feature_keeps_its_scale(sparse: bool, value: float) -> None:
    """Sums of equal numbers round: n = 9999 leaves a spurious deviation unless one looks."""
    X = np.zeros((9999, 3))
    X[:, 0], X[::7, 1] = value, 1.0
    matrix: Any = csr_array if sparse else np.asarray
    train, test = (dense(scaled) for scaled, _ in standardised([(matrix(X), X[:, 1])] * 2))
    np.testing.assert_array_equal(train[:, 0], value if sparse else 0.0)
    np.testing.assert_array_equal(train, test)
    assert train[:, 1].std() == pytest.approx(1.0)


def test_a_sparse_feature_far_from_0_has_its_deviation() -> None:
    """The mean of squares less the square of the mean has no digit left here."""
    x = 1e8 + np.arange(-50.0, 51.0)
    X = csr_array(np.column_stack((x, np.where(x > 1e8, x, 0.0), 0 * x)))
    ((scaled, _),) = standardised([(X, x)])
    np.testing.assert_allclose(dense(scaled)[:, :2].std(0), 1.0, rtol=1e-9)


@pytest.mark.parametrize("standardise", [False, True])
@pytest.mark.parametrize("sparse_first", [False, True])
def test_a_full_and_a_sparse_file_go_together(
    tmp_path: Path, standardise: bool, sparse_first: bool
) -> None:
    """Each file alone would be an array or CSR by its own density; the training rows decide."""
    rng = np.random.default_rng(0)
    full = rng.standard_normal((9, 6))
    thin = full * (rng.random((9, 6)) < 0.2)
    thin[0, 5] = 1.0  # as wide
    first, second = (thin, full) if sparse_first else (full, thin)
    y = rng.standard_normal(9)
    paths = [written(tmp_path / name, text_of(X, y)) for name, X in (("a", first), ("b", second))]
    samples = data_file(paths[0], test=paths[1], standardise=standardise, intercept=True).load()
    assert hasattr(samples.X, "tocsr") == hasattr(samples.X_test, "tocsr") == sparse_first
    scale, mean = np.ones(6), np.zeros(6)
    if standardise:
        scale = np.where(first.std(0) > 0, first.std(0), 1.0)
        mean = mean if sparse_first else first.mean(0)
    for X, expected in ((samples.X, first), (samples.X_test, second)):
        with_ones = np.column_stack(((expected - mean) / scale, np.ones(9)))
        np.testing.assert_allclose(dense(X), with_ones, rtol=1e-12, atol=1e-13)


def test_a_full_file_stays_small_beside_a_wide_one(tmp_path: Path) -> None:
    train = written(tmp_path / "a", text_of(np.ones((4, 3)), [1, 2, 3, 4]))
    test = written(tmp_path / "b", b"1 1:1 9000000:1\n")
    samples = data_file(train, test=test).load()
    assert samples.X.shape == (4, 9_000_000)
    assert samples.X.nnz == 12  # type: ignore[union-attr]
