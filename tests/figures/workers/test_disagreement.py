"""The picture disagreement: its claims fail on wrong results and on a wrong engine.

Without this file a method of differences could end away from the optimum unnoticed.
"""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from doctored import computed, put, scale
from team_mutants import MUTANTS
from theory_pictures import failed, failed_on, last_is_nan, never_failed

from efsgd.convex.problems.several_workers import Disagreement
from efsgd.convex.studies import PlainFeedback, SmallStepFeedback
from efsgd.figures.drawing import style
from efsgd.figures.workers import PICTURES, disagreement
from efsgd.figures.workers import disagreement_work as work
from efsgd.results import Result

NAMES = tuple(disagreement.work(False, 0))
SWEPT = tuple(work.swept(name) for name in (*work.METHODS, work.DESCENT))
PAST = (*work.PAST, *(work.swept(name) for name in work.PAST))  # who gets past the disagreement
FEW = tuple(2.0**k for k in range(-7, -1))  # of the grid


def fresh(steps=1000, only=NAMES):
    """Results of fewer steps, step sizes and replicates, and where the gap vanishes of one zeta."""

    def smaller(name, job):
        if isinstance(job, PlainFeedback | SmallStepFeedback):
            return replace(job, steps=min(job.steps, 2 * steps))
        kept = job.runs[1:2] if name in PAST else job.runs
        few = {"lr": FEW, "replicates": len(FEW)} if name in SWEPT else {}
        runs = [
            replace(r, **{"steps": min(r.steps, steps), "replicates": min(r.replicates, 3)} | few)
            for r in kept
        ]
        return replace(job, runs=tuple(runs))

    works = disagreement.work(False, 0)
    return {name: computed(smaller(name, works[name])) for name in only}


@pytest.fixture(scope="module")
def results():
    return fresh()


def test_every_claim_passes(results):
    assert failed(disagreement, results) == []
    assert sum(v.passed is True for v in disagreement.verdicts(results)) == 18  # none is left open


def test_the_picture_is_listed():
    assert disagreement.PICTURE in PICTURES


PICTURE = "disagreement"
DOCTORED = [  # figure, name of the result, the array, how it changes, what a failing claim says
    (PICTURE, work.FROM_OPTIMUM, "loss", scale(1 + 1e-15, -1, 2), "EF with top-k from"),
    (PICTURE, work.FROM_OPTIMUM, "loss", last_is_nan, "EF with top-k from"),
    (PICTURE, work.FROM_OPTIMUM, "memory_norm", scale(1 + 1e-11, 1, 3), "after a step"),
    (PICTURE, work.FROM_OPTIMUM, "loss", scale(1 + 1e-11, 3, 0), "loop over the workers"),
    (PICTURE, work.LOOP, "gap", scale(1 + 1e-11, 500), "loop over the workers"),
    (PICTURE, work.LOOP, "gap", scale(0.5), "plain loop from x"),
    (PICTURE, "EF", "loss", scale(0.5), "plain loop from x"),
    (PICTURE, "EF", "loss", scale(2.0, slice(None), 2), "slope over log zeta"),
    (PICTURE, "EF", "loss", put(np.nan, -1, 1, 0), "slope over log zeta"),
    (PICTURE, "EF", "loss", scale(100.0), "compressed SGD over the"),
    *(
        (PICTURE, name, "loss", put(2e-12, -1, 0, 0), f"its theorem, of {name}")
        for name in work.PAST
    ),
    *(
        (PICTURE, work.swept(name), "loss", put(2e-12, -1), f"step sizes, of {name}")
        for name in work.PAST
    ),
    (PICTURE, work.swept("EF"), "loss", scale(1.5, slice(None), 1, 0), "from the same start"),
    (PICTURE, work.swept("EF"), "loss", put(np.nan, -1, 1, 0), "from the same start"),
    (PICTURE, work.SMALL_STEPS, "gap", scale(1.5), "from the same start"),
    (PICTURE, work.swept(work.DESCENT), "loss", scale(2.0), "from the same start"),
    (PICTURE, work.swept("EF"), "loss", put(1e-9, slice(None), 1), "least for any"),
]


@pytest.mark.parametrize("row", DOCTORED, ids=lambda row: f"{row[1]}, {row[-1]}")
def test_doctored_results_fail(results, row):
    texts = failed_on(disagreement, results, row)
    assert any(re.search(row[-1], text) for text in texts), texts


def test_every_claim_has_been_seen_to_fail(results):
    assert never_failed(disagreement, results, DOCTORED) == set()


OF_ANY_STEP = ("the sum, not the mean", "up, not down", "one memory for all workers")
NOTICED = [  # a mutant of the engine, the result that it spoils, its steps, a claim that notices it
    ("the sum, not the mean", "MARINA", 1000, "its theorem, of MARINA"),
    ("up, not down", "EF21", 1000, "its theorem, of EF21"),
    *(
        ("one memory for all workers", name, 1000, f"its theorem, of {name}")
        for name in ("EF21", "EControl", "DIANA", "MARINA", "DASHA")
    ),
    ("DIANA with alpha = 1", "DIANA", 1000, "its theorem, of DIANA"),
    ("DASHA with a = 0", "DASHA", 1000, "its theorem, of DASHA"),
    *((mutant, work.FROM_OPTIMUM, 50, "plain loop over the workers") for mutant in OF_ANY_STEP),
    *((mutant, work.swept("EF"), 1000, "from the same start") for mutant in OF_ANY_STEP),
    ("one memory for all workers", work.swept("EF21"), 1000, "step sizes, of EF21"),
]


@pytest.mark.parametrize(("mutant", "name", "steps", "words"), NOTICED)
def test_a_wrong_engine_fails_a_claim(results, mutant, name, steps, words):
    with MUTANTS[mutant](), np.errstate(all="ignore"):
        wrong = results | fresh(steps, (name,))
    assert any(words in text for text in failed(disagreement, wrong))


def test_small_steps_leave_what_a_plain_loop_with_a_small_step_does():
    problem, lr = Disagreement(3.0, workers=5, d=8, far=0.0, seed=7), 0.01
    late = PlainFeedback(problem, 2, lr, 6000).compute()["gap"][1500:].mean()
    limit = SmallStepFeedback(replace(problem, zeta=1.0), 2, 6000).compute()["gap"]
    assert late / (lr * problem.zeta) ** 2 == pytest.approx(float(limit), rel=0.1)


def test_two_workers_that_disagree_lose_nothing_to_small_steps():
    two = SmallStepFeedback(Disagreement(workers=2, d=6, seed=1), 1, 400)
    assert two.compute()["gap"] < 1e-30  # their slopes are opposite, and so are their memories


def test_who_sends_all_keeps_nothing():
    assert SmallStepFeedback(Disagreement(d=6, seed=1), 6, 400).compute()["gap"] == 0


def test_a_step_that_diverges_is_not_the_best():
    gaps = np.array([[[1.0, 2.0, 3.0, 1.0]], [[0.1, np.nan, 0.3, 0.2]]])
    spec = {"runs": [{"lr": [0.5, 0.5, 1.0, 1.0]}]}
    sweep = Result({"step": np.array([0, 3]), "loss": gaps}, spec, {}, Path("none"))
    best, left = work.tuned(sweep)
    assert (best, left) == (1.0, 0.25)


def test_all_is_drawn(results):
    with style.drawing():
        figure = disagreement.draw(results)
    assert all(ax.get_xlabel() and ax.get_ylabel() and ax.get_title() for ax in figure.axes)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [*work.METHODS, disagreement.TUNED]
