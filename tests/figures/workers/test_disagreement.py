"""The picture disagreement: its claims fail on wrong results and on a wrong engine.

Without this file a method of differences could end away from the optimum unnoticed.
"""

import re
from dataclasses import replace

import numpy as np
import pytest
from doctored import computed, put, scale
from team_mutants import MUTANTS
from theory_pictures import failed, failed_on, last_is_nan, never_failed

from efsgd.convex.studies import PlainFeedback
from efsgd.figures.drawing import style
from efsgd.figures.workers import PICTURES, disagreement

NAMES = (*disagreement.METHODS, disagreement.FROM_OPTIMUM, disagreement.LOOP)


def fresh(steps=1000, only=NAMES):
    """Results of fewer steps and replicates, and where the gap vanishes of one zeta."""

    def smaller(name, work):
        kept = slice(1, 2) if name in disagreement.PAST else slice(None)
        if isinstance(work, PlainFeedback):
            return replace(work, steps=min(work.steps, steps))
        return replace(
            work,
            runs=tuple(
                replace(r, steps=min(r.steps, steps), replicates=min(r.replicates, 3))
                for r in work.runs[kept]
            ),
        )

    works = disagreement.work(False, 0)
    return {name: computed(smaller(name, works[name])) for name in only}


@pytest.fixture(scope="module")
def results():
    return fresh()


def test_every_claim_passes(results):
    assert failed(disagreement, results) == []
    assert sum(v.passed is True for v in disagreement.verdicts(results)) == 11  # none is left open


def test_the_picture_is_listed():
    assert disagreement.PICTURE in PICTURES


PICTURE = "disagreement"
DOCTORED = [  # figure, name of the result, the array, how it changes, what a failing claim says
    (PICTURE, disagreement.FROM_OPTIMUM, "loss", scale(1 + 1e-15, -1, 2), "EF with top-k from"),
    (PICTURE, disagreement.FROM_OPTIMUM, "loss", last_is_nan, "EF with top-k from"),
    (PICTURE, disagreement.FROM_OPTIMUM, "memory_norm", scale(1 + 1e-11, 1, 3), "after a step"),
    (PICTURE, disagreement.FROM_OPTIMUM, "loss", scale(1 + 1e-11, 3, 0), "loop over the workers"),
    (PICTURE, disagreement.LOOP, "gap", scale(1 + 1e-11, 500), "loop over the workers"),
    (PICTURE, disagreement.LOOP, "gap", scale(0.5), "plain loop from x"),
    (PICTURE, "EF", "loss", scale(0.5), "plain loop from x"),
    (PICTURE, "EF", "loss", scale(2.0, slice(None), 2), "slope over log zeta"),
    (PICTURE, "EF", "loss", put(np.nan, -1, 1, 0), "slope over log zeta"),
    (PICTURE, "EF", "loss", scale(100.0), "compressed SGD over the"),
    *(
        (PICTURE, name, "loss", put(2e-12, -1, 0, 0), f"its theorem, of {name}")
        for name in disagreement.PAST
    ),
]


@pytest.mark.parametrize("row", DOCTORED, ids=lambda row: f"{row[1]}, {row[-1]}")
def test_doctored_results_fail(results, row):
    texts = failed_on(disagreement, results, row)
    assert any(re.search(row[-1], text) for text in texts), texts


def test_every_claim_has_been_seen_to_fail(results):
    assert never_failed(disagreement, results, DOCTORED) == set()


NOTICED = [  # a mutant of the engine, and of which method a claim notices it
    ("the sum, not the mean", "MARINA"),
    ("up, not down", "EF21"),
    ("one memory for all workers", "EF21"),
    ("one memory for all workers", "EControl"),
    ("one memory for all workers", "DIANA"),
    ("one memory for all workers", "MARINA"),
    ("one memory for all workers", "DASHA"),
    ("DIANA with alpha = 1", "DIANA"),
    ("DASHA with a = 0", "DASHA"),
]


@pytest.mark.parametrize(("mutant", "name"), NOTICED)
def test_a_wrong_engine_fails_a_claim(results, mutant, name):
    with MUTANTS[mutant](), np.errstate(all="ignore"):
        wrong = results | fresh(only=(name,))
    words = f"its theorem, of {name}"
    assert any(words in text for text in failed(disagreement, wrong))


@pytest.mark.parametrize(
    "mutant", ["the sum, not the mean", "up, not down", "one memory for all workers"]
)
def test_feedback_of_a_wrong_engine_is_not_that_of_the_loop(results, mutant):
    with MUTANTS[mutant](), np.errstate(all="ignore"):
        wrong = results | fresh(50, (disagreement.FROM_OPTIMUM,))
    assert any("plain loop over the workers" in text for text in failed(disagreement, wrong))


def test_all_is_drawn(results):
    with style.drawing():
        figure = disagreement.draw(results)
    assert all(ax.get_xlabel() and ax.get_ylabel() and ax.get_title() for ax in figure.axes)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(disagreement.METHODS)
