"""The picture absence: its claims fail on wrong results and on teams that average wrongly.

Without this file its claims could pass whatever the server does about the absent.
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

import efsgd
from efsgd.convex.studies import AbsenceFloor, PresentOnly
from efsgd.engine.runs import run
from efsgd.figures.claims.identities import GROUP, every_run
from efsgd.figures.drawing import style
from efsgd.figures.workers import absence
from efsgd.figures.workers import absence_work as works

NAME = "absence"
KEPT = ("all", works.HALF, "30 % lost")
STEPS = 300


def fresh(methods=(*works.METHODS, "exact", works.WRONG), kept=KEPT):
    """The results of some methods in some settings, from fewer steps."""
    found = {}
    for name, work in absence.work(False, 0).items():
        method, _, setting = name.rpartition(", ")
        if setting in kept and method in methods:
            smaller = work if isinstance(work, AbsenceFloor) else replace(work, steps=STEPS)
            found[name] = computed(smaller)
    return found


@pytest.fixture(scope="module")
def results():
    return fresh()


def test_every_claim_passes(results):
    assert failed(absence, results) == []
    assert sum(v.passed is not None for v in absence.verdicts(results)) >= 6


DOCTORED = [  # figure, name of the result, the array, how it changes, what a failing claim says
    (NAME, "SGD, 1/2", "gap", scale(2.0), "long-run gap off its exact mean"),
    (NAME, "exact, 30 % lost", "gap", scale(0.4), "long-run gap off its exact mean"),
    (NAME, "SGD, 1/2", "gap", last_is_nan, "long-run gap off its exact mean"),
    (NAME, "EF21, 1/2", "gap", put(1e-11, -1, 0), "EF21, 3 settings"),
    (NAME, "EF21, 30 % lost", "gap", put(np.nan, -1, 0), "EF21, 3 settings"),
    (NAME, "DIANA, all", "gap", put(-1e-11, -1, 0), "DIANA, 3 settings"),
    (NAME, "EF, 1/2", "bytes_up", add(1, -1, 0), "bytes of all"),
    (NAME, "EF, 1/2", "gap", scale(0.5), "1/2, long-run gap of EF over"),
    (NAME, "EF, 30 % lost", "gap", scale(0.5), "30 % lost, long-run gap of EF over"),
    (NAME, "EF21, present only, 1/2", "gap", scale(0.5), "averaged the present only"),
]


@pytest.mark.parametrize("row", DOCTORED, ids=lambda row: f"{row[1]}, {row[2]}, {row[-1]}")
def test_doctored_results_fail(results, row):
    texts = failed_on(absence, results, row)
    assert any(re.search(row[-1], text) for text in texts), texts


def test_every_claim_has_been_seen_to_fail(results):
    assert never_failed(absence, results, DOCTORED) == set()


def all_failed(results):
    """The claims of the picture that fail, and what is judged of every run."""
    own = {name: replace(result, path=Path(name)) for name, result in results.items()}
    of_every_run = every_run({NAME: own})[GROUP]
    return failed(absence, results) + [v.claim for v in of_every_run if v.passed is False]


WRONG_TEAMS = [  # of a method in a setting, and a claim that notices
    ("|S| counted as n", "SGD", works.HALF, "off its exact mean"),
    ("participation with replacement", "EF", works.HALF, "bytes of all"),
    ("bytes of the absent", "EF", works.HALF, "bytes of all"),
    ("what is lost arrives", "SGD", "30 % lost", "off its exact mean"),
    ("a loss that its sender does not learn of", "EF", "30 % lost", "x_0 - sum lr g"),
    ("the absent go on", "EF", works.HALF, "x_0 - sum lr g"),
    ("estimates of the present only", "EF21", works.HALF, "EF21, 3 settings"),
    ("one memory for all workers", "EF21", "all", "EF21, 3 settings"),
]


@pytest.mark.parametrize("row", WRONG_TEAMS, ids=lambda row: f"{row[0]}, {row[1]}")
def test_a_wrong_team_fails_a_claim(results, row):
    mutant, method, setting, pattern = row
    with MUTANTS[mutant]():
        texts = all_failed(results | fresh((method,), (setting,)))
    assert any(re.search(pattern, text) for text in texts), texts


def test_the_mean_of_the_present_estimates_fails_a_claim(results):
    with edited(efsgd.DIANA.mean_move, "mean.of_all(before.h)", "mean.of_arrived(before.h)"):
        texts = failed(absence, results | fresh(("DIANA",), (works.HALF,)))
    assert any("DIANA, 3 settings" in text for text in texts), texts


# -- the studies -----------------------------------------------------------------------------------


def test_the_exact_noise_is_that_of_many_runs_with_both_kinds_of_absence():
    split = works.problem()
    expected = AbsenceFloor(split, works.LR, 6, 0.3).compute()["gap"]
    experiment = efsgd.Run(
        split, efsgd.SGD(), works.LR, 120, seed=3, replicates=4000, record=(120,), metrics=("gap",),
        workers=works.WORKERS, participation=0.5, faults=efsgd.Faults(loss=0.3),
    )  # fmt: skip
    gap = run(experiment)["gap"][-1]
    assert abs(gap.mean() - expected) <= 4 * gap.std(ddof=1) / np.sqrt(gap.size)


def test_where_all_are_asked_the_wrong_way_is_ef21():
    split = works.problem()
    wrong = PresentOnly(split, works.TOP, works.LR, 60, works.WORKERS, 0, 1, 10).compute()
    right = run(
        efsgd.Run(split, efsgd.EF21(works.TOP), works.LR, 60, record=10, workers=works.WORKERS)
    )
    np.testing.assert_allclose(wrong["gap"], right["gap"], rtol=1e-10)


def test_too_many_workers_have_too_many_subsets():
    split = efsgd.Split(works.problem().problem, 20)
    with pytest.raises(ValueError, match="with n at most 12, not 5"):
        AbsenceFloor(split, 0.1, 5)


def test_marina_refuses_absence():
    marina = efsgd.MARINA(efsgd.QSGD(4), probability=0.5)
    with pytest.raises(ValueError, match="MARINA asks all workers"):
        efsgd.Run(works.problem(), marina, 0.1, 5, workers=works.WORKERS, participation=0.5)


# -- the picture -----------------------------------------------------------------------------------


def test_all_is_drawn(results):
    with style.drawing():
        figure = absence.draw(results)
    assert len(figure.axes) == 2
    assert all(ax.get_xlabel() and ax.get_title() for ax in figure.axes)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(absence.LOOKS)
