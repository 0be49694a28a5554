"""The data set that comes with efsgd is scikit-learn's, and the problem on it is certified."""

import shutil

import numpy as np
import pytest

from efsgd.convex.data import BreastCancer, breast_cancer, data_file

datasets = pytest.importorskip("sklearn.datasets")


def test_the_file_holds_the_numbers_of_scikit_learn():
    known = datasets.load_breast_cancer()
    rows = data_file(breast_cancer.FILE, test=0.0).load(classes=True)
    X = rows.X if isinstance(rows.X, np.ndarray) else rows.X.toarray()
    np.testing.assert_array_equal(X, known.data)
    np.testing.assert_array_equal(rows.y, known.target)
    assert breast_cancer.FILE.stat().st_size < 170_000


def test_the_problem_is_standardised_and_its_optimum_certified():
    problem = BreastCancer(0.2)
    assert (problem.n, problem.d) == (569, 31)
    X, y = problem.data.X, problem.data.y
    np.testing.assert_allclose(X.mean(0), [0] * 30 + [1], atol=1e-12)
    np.testing.assert_allclose(X.std(0), [1] * 30 + [0], atol=1e-12)
    assert ((y > 0).sum(), (y < 0).sum()) == (357, 212)
    assert problem.certificate().gap <= 1e-15
    assert abs(problem.measure(problem.optimum.x[None])["gap"][0]) == 0


def test_another_file_is_refused(tmp_path, monkeypatch):
    copy = tmp_path / "breast_cancer.svm"
    shutil.copy(breast_cancer.FILE, copy)
    copy.write_text(copy.read_text() + "1 1:3\n")
    monkeypatch.setattr(breast_cancer, "FILE", copy)
    with pytest.raises(ValueError, match="has changed since it was first read"):
        _ = BreastCancer().data


def test_a_penalty_of_zero_is_refused():
    with pytest.raises(ValueError, match="l2"):
        BreastCancer(0.0)
