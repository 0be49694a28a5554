"""Rows dealt to workers: each row once, weighted means that are the whole, batches of own rows.

Without this file a row could be counted twice or never, and unequal shares could be counted alike.
"""

from __future__ import annotations

import pickle
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from efsgd.arrays import Array, Generator
from efsgd.compressors import PowerSGD
from efsgd.convex import LeastSquares, LogisticRegression, TheoremOne, WilsonLeastSquares
from efsgd.convex.data import FileSquares, data_file
from efsgd.engine import batches
from efsgd.engine.runs import Run, run
from efsgd.engine.split import Split
from efsgd.methods import EFSGD, SGD, LocalSteps
from efsgd.provenance import key, spec_of

KINDS = ("iid", "sorted", "label", "dirichlet:0.1", "dirichlet:1000")
LABELS = np.repeat([3.0, -1.0, 7.0], (50, 30, 20))


class Labelled:
    """A finite sum of |x - c_k|^2/2 over rows k, some with the same label; it has no ``share``."""

    def __init__(self, targets: Array = LABELS, d: int = 3) -> None:
        self.targets, self.d, self.n = np.asarray(targets), d, len(targets)
        self.centres = np.random.default_rng(0).standard_normal((self.n, d)) + self.targets[:, None]

    def loss(self, x: Array) -> Array:
        return np.asarray(((x[:, None] - self.centres) ** 2).sum(-1).mean(-1) / 2)

    def gradient(self, x: Array, rng: Generator) -> Array:
        return self.full_gradient(x)

    def full_gradient(self, x: Array) -> Array:
        return np.asarray(x - self.centres.mean(0))

    def batch_gradient(self, x: Array, rows: Array) -> Array:
        return np.asarray(x - self.centres[rows].mean(1))


class WithoutShare:
    """A problem whose ``share`` nobody may use."""

    def __init__(self, problem: Any) -> None:
        self.problem, self.d, self.n = problem, problem.d, problem.n
        self.targets = problem.targets

    def __getattr__(self, name: str) -> Any:
        if name in ("share", "problem") or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.problem, name)


def linear(kind: str, sparse: bool, n: int = 40, d: int = 6) -> Any:
    """Least squares with n different targets, or logistic regression with l2."""
    rng = np.random.default_rng(5)
    X = rng.standard_normal((n, d)) * (rng.random((n, d)) < 0.5)
    rows: Any = csr_array(X) if sparse else X
    if kind == "squares":
        return LeastSquares(rows, rng.standard_normal(n))
    return LogisticRegression(rows, np.where(rng.random(n) < 0.4, 1.0, -1.0), l2=0.05)


def files(folder: Path) -> FileSquares:
    """Least squares on a file of 40 rows with two labels."""
    rng = np.random.default_rng(2)
    rows = [
        " ".join(
            [str(1 - 2 * (k % 2)), *(f"{j + 1}:{rng.standard_normal():.6f}" for j in range(4))]
        )
        for k in range(40)
    ]
    (folder / "data.svm").write_text("\n".join(rows) + "\n")
    return FileSquares(data_file(folder / "data.svm", test=0.0))


PROBLEMS: dict[str, Any] = {
    "labelled, without share": Labelled(),
    "dense": linear("squares", sparse=False),
    "sparse": linear("squares", sparse=True),
    "logistic": linear("logistic", sparse=False),
    "sparse logistic": linear("logistic", sparse=True),
    "logistic, without share": WithoutShare(linear("logistic", sparse=True)),
    "TheoremOne": TheoremOne(),
    "Wilson": WilsonLeastSquares(rows=20, seed=1),
}


def fits(problem: Any, by: str) -> bool:
    """Whether there are labels where there must be."""
    return by in ("iid", "sorted") or len(np.unique(problem.targets)) <= problem.n // 2


@pytest.mark.parametrize("by", KINDS)
@pytest.mark.parametrize("workers", [1, 2, 3, 7, 20])
def test_every_row_is_dealt_once(by: str, workers: int) -> None:
    for seed in range(5):
        split = Split(Labelled(), workers, by=by, seed=seed)
        assert len(split.rows) == workers
        assert sorted(np.concatenate(split.rows)) == list(range(100))
        sizes = np.array([len(rows) for rows in split.rows])
        assert sizes.min() > 0
        assert all((np.diff(rows) > 0).all() for rows in split.rows)
        if by in ("iid", "sorted"):
            assert np.ptp(sizes) <= 1
        np.testing.assert_allclose(split.worker_weights, sizes / 100, rtol=1e-15)
        assert abs(split.worker_weights.sum() - 1) < 1e-15


@pytest.mark.parametrize("by", KINDS)
@pytest.mark.parametrize("name", PROBLEMS)
def test_the_weighted_mean_of_the_workers_is_the_whole(name: str, by: str) -> None:
    problem = PROBLEMS[name]
    if not fits(problem, by):
        with pytest.raises(ValueError, match="needs labels"):
            Split(problem, 4, by=by)
        return
    split = Split(problem, 4, by=by, seed=1)
    x = np.random.default_rng(0).standard_normal((3, problem.d))
    g = split.worker_gradients(x, np.random.default_rng(0))
    assert g.shape == (3, 4, problem.d)
    whole = problem.full_gradient(x)
    mean = np.einsum("n,rnd->rd", split.worker_weights, g)
    assert np.abs(mean - whole).max() <= 1e-12 * max(1.0, np.abs(whole).max())
    models = x[:, None] + np.arange(4.0)[:, None]
    each = split.worker_gradients(models, np.random.default_rng(0))
    for i in range(4):
        alone = split.worker_gradients(models[:, i], np.random.default_rng(0))[:, i]
        np.testing.assert_allclose(each[:, i], alone, rtol=1e-12, atol=1e-12)
        batch = problem.batch_gradient(models[:, i], np.tile(split.rows[i], (3, 1)))
        np.testing.assert_allclose(each[:, i], batch, rtol=1e-11, atol=1e-12)


def test_a_split_from_a_file(tmp_path: Path) -> None:
    problem = files(tmp_path)
    split = Split(problem, 4, by="label")
    x = np.ones((2, problem.d))
    mean = np.einsum("n,rnd->rd", split.worker_weights, split.worker_gradients(x, RNG))
    np.testing.assert_allclose(mean, problem.full_gradient(x), rtol=1e-12)
    assert all(len(np.unique(problem.targets[rows])) == 1 for rows in split.rows)
    made = Run(split, EFSGD(), 0.05, 10, workers=4, batch=3)
    again = pickle.loads(pickle.dumps(made))
    assert (run(made)["x_final"] == run(again)["x_final"]).all()
    assert spec_of(made)["problem"]["by"] == "label"


RNG = np.random.default_rng(0)


# -- the kinds -------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [3, 4, 10, 100])
def test_by_label_a_worker_has_one(workers: int) -> None:
    split = Split(Labelled(), workers, by="label")
    of_worker = [set(LABELS[rows]) for rows in split.rows]
    assert all(len(labels) == 1 for labels in of_worker)
    assert set.union(*of_worker) == {3.0, -1.0, 7.0}
    if workers == 10:  # 50, 30, 20 rows: 5, 3, 2 workers
        assert [len(rows) for rows in split.rows] == [10] * 10


def test_by_label_workers_that_are_few_share_no_label() -> None:
    split = Split(Labelled(), 2, by="label")
    first, second = (set(LABELS[rows]) for rows in split.rows)
    assert not first & second
    assert len(first | second) == 3


def test_sorted_workers_have_neighbouring_targets() -> None:
    problem = linear("squares", sparse=False)
    split = Split(problem, 5, by="sorted")
    ends = [(problem.targets[rows].min(), problem.targets[rows].max()) for rows in split.rows]
    assert all(high <= low for (_, high), (low, _) in pairwise(ends))


def test_iid_workers_have_every_label_about_as_often() -> None:
    """A label of share s among m of N rows has a hypergeometric variance."""
    N, m = 3000, 1000
    split = Split(Labelled(np.repeat([0.0, 1.0], (N // 3, 2 * N // 3))), 3)
    for rows in split.rows:
        share = (rows < N // 3).mean()
        error = np.sqrt(1 / 3 * 2 / 3 / m * (N - m) / (N - 1))
        assert abs(share - 1 / 3) < 4 * error


def test_dirichlet_is_uneven_with_a_small_number_and_even_with_a_large_one() -> None:
    """Proportions of a label have the variance (1/n)(1-1/n)/(n a + 1)."""
    labels = np.repeat([0.0, 1.0], 2000)

    def shares(a: str) -> Array:
        dealt = [Split(Labelled(labels, d=1), 4, by=f"dirichlet:{a}", seed=s) for s in range(40)]
        return np.array([[(rows < 2000).sum() / 2000 for rows in split.rows] for split in dealt])

    even, uneven = shares("10000"), shares("0.05")
    assert np.abs(even - 0.25).max() < 6 * np.sqrt(3 / 16 / 40001) + 1 / 2000
    variance = 3 / 16 / (4 * 0.05 + 1)
    seen = ((uneven - 0.25) ** 2).mean(1)
    assert abs(seen.mean() - variance) < 4 * seen.std() / np.sqrt(len(seen))
    assert (uneven.max(1) > 0.5).mean() > 0.8


@pytest.mark.parametrize("a", ["1e-9", "1e-300", "1e9"])
def test_a_dirichlet_number_may_be_extreme(a: str) -> None:
    split = Split(Labelled(), 7, by=f"dirichlet:{a}")
    assert sorted(np.concatenate(split.rows)) == list(range(100))
    assert min(len(rows) for rows in split.rows) > 0


def test_a_seed_deals_the_same_and_another_otherwise() -> None:
    for by in ("iid", "label", "dirichlet:1"):
        first, again, other = (Split(Labelled(), 4, by=by, seed=s).rows for s in (0, 0, 1))
        assert all((a == b).all() for a, b in zip(first, again, strict=True))
        assert any(len(a) != len(b) or (a != b).any() for a, b in zip(first, other, strict=True))


# -- batches ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("singly", [0, 10**9], ids=["by keys", "one by one"])
@pytest.mark.parametrize("b", [1, 2, 5])
def test_batches_are_of_own_rows_each_as_likely_and_none_twice(
    b: int, singly: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "SINGLY", singly)
    split, draws = Split(Labelled(), 4, by="dirichlet:1", seed=3), 4000
    sizes = [len(rows) for rows in split.rows]
    assert len(set(sizes)) > 1
    assert min(sizes) >= 5
    drawn = split.worker_batches(np.random.default_rng(0), draws, b)
    assert drawn.shape == (draws, 4, b)
    for i, rows in enumerate(split.rows):
        mine = drawn[:, i]
        assert all(len(set(batch)) == b for batch in mine.tolist())
        assert set(mine.ravel()) <= set(rows.tolist())
        seen, p = np.bincount(mine.ravel(), minlength=100)[rows] / draws, b / len(rows)
        assert (np.abs(seen - p) <= 4 * np.sqrt(p * (1 - p) / draws)).all()


@pytest.mark.parametrize("singly", [0, 10**9], ids=["by keys", "one by one"])
def test_every_set_of_rows_is_as_likely(singly: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the 10 sets of three rows out of five, and the 35 out of seven: each in one of so many."""
    monkeypatch.setattr(batches, "SINGLY", singly)
    sizes, draws = np.array([5, 7]), 20_000
    drawn = batches.worker_rows(np.random.default_rng(0), sizes, 3, draws)
    for i, sets in enumerate((10, 35)):
        codes = np.sort((1 << drawn[:, i]).sum(1))
        counts = np.unique(codes, return_counts=True)[1]
        assert len(counts) == sets
        p = 1 / sets
        assert (np.abs(counts / draws - p) < 4 * np.sqrt(p * (1 - p) / draws)).all()


def test_a_batch_of_all_rows_is_the_whole_gradient() -> None:
    split = Split(Labelled(), 4)
    whole = run(Run(split, EFSGD(), 0.1, 8, workers=4))["x_final"]
    batches = run(Run(split, EFSGD(), 0.1, 8, workers=4, batch=25))["x_final"]
    np.testing.assert_allclose(batches, whole, rtol=1e-12)


@pytest.mark.parametrize("method", [SGD(), LocalSteps()], ids=["SGD", "local"])
def test_unequal_shares_have_the_optimum_of_the_whole(method: Any) -> None:
    """Without the weights it would be the mean of the workers' optima, which lies elsewhere."""
    problem = Labelled()
    split = Split(problem, 3, by="label")
    history = run(Run(split, method, 0.5, 100, workers=3))
    np.testing.assert_allclose(history["x_final"][0], problem.centres.mean(0), rtol=1e-12)
    alike = np.mean([problem.centres[rows].mean(0) for rows in split.rows], axis=0)
    assert np.abs(alike - problem.centres.mean(0)).max() > 0.2


# -- specs, forwarding, refusals -------------------------------------------------------------------


def test_a_split_has_a_spec_and_pickles() -> None:
    split = Split(TheoremOne(), 5, by="sorted", seed=2)
    assert spec_of(split) == {
        "type": "efsgd.Split",
        "problem": spec_of(TheoremOne()),
        "workers": 5,
        "by": "sorted",
        "seed": 2,
    }
    again = pickle.loads(pickle.dumps(split))
    assert again == split
    assert key(spec_of(again)) == key(spec_of(split))
    assert len({key(spec_of(Split(TheoremOne(), 5, seed=s))) for s in range(3)}) == 3


def test_a_split_has_what_its_problem_has() -> None:
    problem = TheoremOne()
    split, x = Split(problem, 5), np.ones((2, problem.d))
    assert (split.loss(x) == problem.loss(x)).all()
    assert (split.full_gradient(x) == problem.full_gradient(x)).all()
    assert (split.optimum.x == problem.optimum.x).all()
    assert split.n == problem.n
    assert not hasattr(split, "project")
    assert not hasattr(split, "nonsense")
    history = run(Run(split, EFSGD(), 0.01, 3, workers=5))
    assert "distance" in history
    assert set(problem.measure(x)) <= set(history)


def test_a_split_keeps_the_set_of_feasible_points() -> None:
    """The box [0, 1]^3: each entry ends at that of the optimum, or at the side next to it."""

    class Boxed(Labelled):
        def project(self, x: Array) -> Array:
            return np.clip(x, 0.0, 1.0)

    problem = Boxed(np.zeros(40))
    problem.centres += np.array([-3.0, 0.5, 3.0])
    optimum = problem.centres.mean(0)
    history = run(Run(Split(problem, 4), SGD(), 0.5, 60, workers=4))
    np.testing.assert_allclose(history["x_final"][0], np.clip(optimum, 0, 1), rtol=1e-12)
    assert np.abs(run(Run(problem, SGD(), 0.5, 60))["x_final"] - history["x_final"]).max() < 1e-12


def test_powersgd_works_on_shares_that_do_not_count_alike() -> None:
    """7 workers of 57 or 58 rows: at a matrix of rank 1 it is gradient descent on the whole."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 8))
    problem = LeastSquares(X, X @ rng.standard_normal(8) + rng.standard_normal(400))
    split, lr = Split(problem, 7), 1 / problem.smoothness()
    history = run(Run(split, EFSGD(PowerSGD(1, shape=(2, 4))), lr, 600, workers=7))
    np.testing.assert_allclose(history["x_final"][0], problem.optimum.x, rtol=0, atol=1e-3)
    assert history["virtual_residual"].max() < 1e-12
    whole = run(Run(split, EFSGD(PowerSGD(1, shape=(1, 8))), lr, 9, workers=7))
    expected = run(Run(problem, SGD(), lr, 9))["x_final"]
    np.testing.assert_allclose(whole["x_final"], expected, rtol=1e-12)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no rows": ({"problem": object()}, r"needs a problem with n and batch_gradient\(x, rows\)"),
    "no workers": ({"workers": 0}, "workers must be a whole number"),
    "more than rows": ({"workers": 101}, "workers must be a whole number"),
    "no seed": ({"seed": -1}, "seed must be"),
    "another kind": ({"by": "row"}, "by must be iid, label, sorted or dirichlet:A, not 'row'"),
    "no number": ({"by": "dirichlet"}, "by must be iid, label, sorted or dirichlet:A"),
    "a number for iid": ({"by": "iid:3"}, "by must be iid, label, sorted or dirichlet:A"),
    "an empty number": ({"by": "dirichlet:"}, "needs a positive number after the colon"),
    "a word": ({"by": "dirichlet:few"}, "needs a positive number after the colon"),
    "zero": ({"by": "dirichlet:0"}, "needs a positive number after the colon"),
    "nan": ({"by": "dirichlet:nan"}, "needs a positive number after the colon"),
    "no labels": (
        {"problem": linear("squares", sparse=False), "by": "label"},
        "by='label' needs labels, and 40 of 40 targets differ: use by='sorted'",
    ),
    "no labels to draw": (
        {"problem": linear("squares", sparse=False), "by": "dirichlet:1"},
        "needs labels, and 40 of 40 targets differ",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_dealt_is_refused(name: str) -> None:
    options, message = REFUSED[name]
    with pytest.raises(ValueError, match=message) as caught:
        Split(**{"problem": Labelled(), "workers": 3, **options})
    assert "\n" not in str(caught.value)


def test_targets_are_needed_for_all_but_iid() -> None:
    problem = Labelled()
    del problem.targets
    assert len(Split(problem, 3).rows) == 3
    with pytest.raises(ValueError, match="by='sorted' needs a problem with targets"):
        Split(problem, 3, by="sorted")


def test_a_batch_beyond_the_least_share_is_refused() -> None:
    split = Split(Labelled(), 3, by="label")
    with pytest.raises(ValueError, match="batch=21 is more than the 20 rows of the worker"):
        run(Run(split, SGD(), 0.1, 3, workers=3, batch=21))
