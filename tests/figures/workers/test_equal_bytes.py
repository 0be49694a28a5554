"""The picture equal-bytes: its claims fail on wrong results, and its formula on wrong teams.

Without this file the exact expectation could be that of another method.
"""

import re
from dataclasses import replace

import numpy as np
import pytest
from doctored import computed, put, scale
from mutants import changed, edited
from team_mutants import MUTANTS
from theory_pictures import failed, failed_on, last_is_nan, never_failed

import efsgd
from efsgd.compressors import RandK, Shared
from efsgd.convex.studies import NoisyQuadratic
from efsgd.figures.drawing import style
from efsgd.figures.workers import equal_bytes
from efsgd.figures.workers import equal_bytes_work as works
from efsgd.methods.base import Mean

NAME = "equal-bytes"
LOGS = {("1", False): -5, ("1", True): -5, ("64", False): -1, ("64", True): -4}  # of step sizes
RELATIVE = {"SGD": 1.0, "DIANA, qsgd": 0.7}  # gaps of the others than SGD over its own


@pytest.fixture(scope="module")
def quick():
    """Very short runs, with one worker and with 64."""
    return {name: computed(work) for name, work in equal_bytes.work(True, 0).items()}


@pytest.fixture(scope="module")
def ideal(quick):
    """The same with the steps, bytes and gaps of long ones."""
    found = {}
    for name, result in quick.items():
        kind, n, method = name.split(", ", 2)
        steps = works.steps(kind, int(n), works.METHODS[method])
        sent = steps * works.message(works.METHODS[method].compresses) * int(n)
        arrays = {name: np.full((2, 2), float(sent)) for name in ("bytes", "bytes_up")}
        arrays |= {
            "step": np.array([0, steps]),
            "lr": np.array(2.0 ** LOGS[n, method == works.SHARED]),
        }
        found[name] = replace(result, arrays=result.arrays | arrays)
    spread = np.array([[0.999, 1.001]])
    for name in found:
        kind, n, method = name.split(", ", 2)
        own = method in (works.PLAIN, works.SHARED)
        middle = works.exact(found, kind, int(n), method if own else works.PLAIN)
        gap = middle * (1.0 if own else RELATIVE.get(method, 0.2)) * np.tile(spread, (2, 1))
        found[name] = replace(found[name], arrays=found[name].arrays | {"gap": gap})
    return found


@pytest.mark.slow
def test_every_claim_passes():
    found = {name: computed(work) for name, work in equal_bytes.work(False, 0).items()}
    assert failed(equal_bytes, found) == []


DOCTORED = [  # figure, name of the result, the array, how it changes, what a failing claim says
    (NAME, "each, 1, SGD", "gap", scale(1.05), "^SGD, .* exact expectation"),
    (NAME, "all, 64, SGD", "lr", scale(2.0), "^SGD, .* exact expectation"),
    (NAME, "all, 64, SGD", "gap", last_is_nan, "^SGD, .* exact expectation"),
    (NAME, "all, 1, rand-k, shared", "gap", scale(0.95), "^rand-k, .* exact expectation"),
    (NAME, "each, 64, DIANA, qsgd", "bytes_up", scale(1.01), "that was sent, most"),
    (NAME, "all, 1, EF, top-k", "bytes", scale(0.9), "the inverse of the least"),
    *(
        (NAME, f"{kind}, 64, {name}", "gap", scale(4.0), f"^{start} .*gap of {name} over")
        for kind, start in (("each", "each worker"), ("all", "all together"))
        for name in works.FEEDBACK
    ),
    (NAME, "each, 1, DIANA, qsgd", "gap", scale(0.01), "n = 64 over n = 1"),
    (NAME, "each, 1, SGD", "lr", put(works.GRID[-1]), "at an end of the grid"),
]


@pytest.mark.parametrize("row", DOCTORED, ids=lambda row: f"{row[1]}, {row[2]}, {row[-1]}")
def test_doctored_results_fail(ideal, row):
    assert failed(equal_bytes, ideal) == []
    texts = failed_on(equal_bytes, ideal, row)
    assert any(re.search(row[-1], text) for text in texts), texts


def test_every_claim_has_been_seen_to_fail(ideal):
    assert never_failed(equal_bytes, ideal, DOCTORED) == set()


# -- the exact expectation -------------------------------------------------------------------------

PROBLEM = NoisyQuadratic(d=20, mu=0.1, sigma=3.0)
KEPT, LR, STEPS, N = 5, 0.05, 12, 6


def off(c=None):
    """How far the mean gap of many runs is from the exact one, in standard errors."""
    method = efsgd.SGD() if c is None else efsgd.CompressedSGD(c)
    metrics = ("gap", "bytes_up")  # the bytes, so that every step is that of a whole team
    experiment = efsgd.Run(
        PROBLEM, method, LR, STEPS, replicates=3000, record=1, metrics=metrics, workers=N
    )
    gap = efsgd.run(experiment)["gap"][-1]
    expected = PROBLEM.expected_gap(LR, STEPS, N, 1.0 if c is None else KEPT / PROBLEM.d)
    return abs(gap.mean() - expected) / (gap.std(ddof=1) / np.sqrt(gap.size))


SHARED = Shared(RandK(KEPT, unbiased=True))


@pytest.mark.parametrize("c", [None, SHARED], ids=str)
def test_the_exact_expectation_is_that_of_many_runs(c):
    assert off(c) <= 4


def test_the_sum_is_far_from_it():
    with MUTANTS["the sum, not the mean"]():
        assert off() > 6


def test_the_mean_over_others_is_far_from_it():
    with edited(Mean.of_all, "rows.sum(1) / rows.shape[1]", "rows[:, 0]"):
        assert off() > 6


def test_entries_that_are_not_shared_are_far_from_it():
    assert off(RandK(KEPT, unbiased=True)) > 6
    with MUTANTS["one draw for all workers"]():  # which is to share them
        assert off(RandK(KEPT, unbiased=True)) <= 4


WRONG_FORMULAS = [  # of the recursion
    ("self.sigma**2 / (workers * self.d)", "self.sigma**2 / self.d"),
    ("lr**2 / share", "lr**2"),
    ("+ 1 - share", ""),
]


@pytest.mark.parametrize("edit", WRONG_FORMULAS, ids=lambda edit: edit[1])
def test_a_wrong_recursion_is_far_from_the_runs(edit, monkeypatch):
    wrong = changed(NoisyQuadratic.expected_gap, *edit)
    monkeypatch.setattr(NoisyQuadratic, "expected_gap", wrong)
    assert off(SHARED) > 6


def test_the_problem_is_what_it_says():
    x = np.random.default_rng(0).standard_normal((4, PROBLEM.d))
    rng = np.random.default_rng(1)
    noise = np.array([PROBLEM.gradient(x, rng) - PROBLEM.h * x for _ in range(2000)])
    np.testing.assert_allclose((noise**2).sum(-1).mean(), PROBLEM.sigma**2, rtol=0.03)
    step = 1e-5 * np.eye(PROBLEM.d)
    slope = [(PROBLEM.loss(x + s) - PROBLEM.loss(x - s)) / 2e-5 for s in step]
    np.testing.assert_allclose(np.array(slope).T, PROBLEM.h * x, atol=1e-8)
    with pytest.raises(ValueError, match="mu"):
        NoisyQuadratic(mu=2.0)


# -- the picture -----------------------------------------------------------------------------------


def test_quick_results_are_drawn(quick):
    with style.drawing():
        figure = equal_bytes.draw(quick)
    assert all(ax.get_xlabel() and ax.get_title() for ax in figure.axes)
    assert set(equal_bytes.LOOKS) == set(works.METHODS)
    (legend,) = figure.legends
    assert len(legend.get_texts()) == len(works.METHODS) + 1
