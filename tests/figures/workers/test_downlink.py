"""The picture downlink, and the study of mean iterates: wrong results and engines fail claims.

Without this file a server could forget what it did not send, or bytes be miscounted, unnoticed.
"""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from doctored import add, computed, put, scale
from mutants import edited
from team_mutants import MUTANTS
from theory_pictures import failed, failed_on, last_is_nan, never_failed

from efsgd.convex.studies import MeanIterates
from efsgd.convex.studies import several_workers as studies
from efsgd.engine.runs import run
from efsgd.figures.claims.identities import GROUP, every_run
from efsgd.figures.drawing import style
from efsgd.figures.workers import PICTURES, downlink


def fresh(steps=1000, only=downlink.METHODS):
    """Results of fewer steps."""
    works = downlink.work(False, 0)
    return {n: computed(replace(works[n], run=replace(works[n].run, steps=steps))) for n in only}


@pytest.fixture(scope="module")
def results():
    return fresh()


def test_every_claim_passes(results):
    assert failed(downlink, results) == []


def test_the_picture_is_listed():
    assert downlink.PICTURE in PICTURES


NAME = "downlink"
DOCTORED = [  # figure, name of the result, the array, how it changes, what a failing claim says
    *((NAME, name, "bytes_down", add(1, -1), f"{name}: bytes down") for name in downlink.METHODS),
    *(
        (NAME, name, "mean_gap", scale(factor, -1), f"{name}, the gap at the mean of all x")
        for name in downlink.NOTHING_LOST
        for factor in (0.98, 1.02)
    ),
    (NAME, downlink.TWO_SIDED, "mean_gap", last_is_nan, "both ways, the gap at the mean of all x"),
    (NAME, downlink.TWO_SIDED, "late_gap", scale(10, -1), "at the mean of x_t"),
    (NAME, downlink.FORGETS, "late_gap", scale(0.1, -1), "at the mean of x_t"),
    (NAME, downlink.FORGETS, "gap", scale(0.4), "mean gap over the last half"),
    (NAME, downlink.BC, "gap", put(2e-12, -1), "gap of EF21-BC after"),
    (NAME, downlink.BC, "gap", last_is_nan, "gap of EF21-BC after"),
]


@pytest.mark.parametrize("row", DOCTORED, ids=lambda row: f"{row[1]}, {row[2]}")
def test_doctored_results_fail(results, row):
    texts = failed_on(downlink, results, row)
    assert any(re.search(row[-1], text) for text in texts), texts


def test_every_claim_has_been_seen_to_fail(results):
    assert never_failed(downlink, results, DOCTORED) == set()


def all_failed(results):
    """The claims of the picture that fail, and what is judged of every run."""
    own = {name: replace(result, path=Path(name)) for name, result in results.items()}
    of_every_run = every_run({NAME: own})[GROUP]
    return failed(downlink, results) + [v.claim for v in of_every_run if v.passed is False]


NOTICED = [  # a mutant of the engine, what is run with it, and a claim that notices it
    ("the sum, not the mean", downlink.TWO_SIDED, "at the mean of all x"),
    ("up, not down", downlink.DENSE, "x_0 - sum lr g"),
    ("one memory for all workers", downlink.BC, "gap of EF21-BC after"),
    ("the server forgets", downlink.TWO_SIDED, "at the mean of x_t"),
    ("downlink applied twice", downlink.TWO_SIDED, "x_0 - sum lr g"),
]


@pytest.mark.parametrize(("mutant", "name", "pattern"), NOTICED)
def test_a_wrong_engine_fails_a_claim(results, mutant, name, pattern):
    with MUTANTS[mutant](), np.errstate(all="ignore"):
        texts = all_failed(results | fresh(only=(name,)))
    assert any(re.search(pattern, text) for text in texts), texts


def test_a_wrong_limit_fails_a_claim(results):
    with edited(studies._limit, "0.5 * away", "away"):
        texts = failed(downlink, results | fresh(only=(downlink.DENSE,)))
    assert any("at the mean of all x" in text for text in texts)


# -- the study -------------------------------------------------------------------------------------


def test_the_means_are_those_of_the_iterates():
    """Against runs that end at each x_t."""
    work = downlink.work(False, 0)[downlink.TWO_SIDED]
    result = MeanIterates(replace(work.run, steps=7)).compute()
    runs = [replace(work.run, steps=t, metrics=("loss",)) for t in range(1, 7)]
    x = np.concatenate([np.zeros((1, downlink.D)), *(run(r)["x_final"] for r in runs)])
    problem = work.run.problem
    for T in range(1, 8):
        means = {"mean_gap": x[:T].mean(0), "late_gap": x[T // 2 : T].mean(0)}
        for name, mean in means.items():
            gap = problem.loss(mean[None])[0] - problem.optimum.f
            np.testing.assert_allclose(result[name][T], gap, rtol=1e-9)
    assert np.isnan(result["mean_gap"][0])


def test_a_run_without_such_a_mean_is_refused():
    work = downlink.work(True, 0)[downlink.DENSE]
    for wrong in ({"record": 2}, {"replicates": 2}):
        with pytest.raises(ValueError, match="record=1 and one replicate"):
            MeanIterates(replace(work.run, **wrong))


def test_all_is_drawn(results):
    with style.drawing():
        figure = downlink.draw(results)
    assert all(len(ax.lines) == 4 and ax.get_xlabel() and ax.get_ylabel() for ax in figure.axes)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(downlink.METHODS)
