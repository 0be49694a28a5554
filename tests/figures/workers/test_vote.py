"""The picture vote: its claims fail on wrong results, wrong probabilities and a wrong engine.

Without this file a vote that resolves ties, or ends elsewhere, could go unnoticed.
"""

import re
from dataclasses import replace

import numpy as np
import pytest
from doctored import add, computed, put, scale
from mutants import edited
from team_mutants import MUTANTS
from theory_pictures import failed, failed_on, last_is_nan, never_failed

from efsgd.convex.studies import Votes
from efsgd.figures.drawing import style
from efsgd.figures.workers import PICTURES, vote, vote_claims
from efsgd.figures.workers import vote_work as works


def smaller(work):
    """The same work with fewer draws."""
    if isinstance(work, Votes):
        return replace(work, ns=(1, 2, 3, 10), replicates=100)
    return work if work.replicates == 1 else replace(work, replicates=30)


def fresh():
    return {name: computed(smaller(work)) for name, work in vote.work(False, 0).items()}


@pytest.fixture(scope="module")
def results():
    return fresh()


def test_every_claim_passes(results):
    assert failed(vote, results) == []


def test_the_picture_is_listed():
    assert vote.PICTURE in PICTURES


NAME = "vote"
DOCTORED = [  # figure, name of the result, the array, how it changes, what a failing claim says
    (NAME, vote.VOTE, "largest", add(1e-8, -1), "zero -10"),
    (NAME, vote.VOTE, "largest", add(0.05, -1), "zero -10"),
    (NAME, works.SYMMETRIC, "gap", scale(1.2), "walk of a coordinate"),
    (NAME, works.SYMMETRIC, "gap", last_is_nan, "walk of a coordinate"),
    (NAME, works.SYMMETRIC, "gap", scale(3.0, -1), "last gap over the first"),
    (NAME, vote.VOTE, "least", add(-0.06, -1), "zero -10"),
    (NAME, vote.VOTE, "least", last_is_nan, "zero -10"),
    (NAME, vote.EF, "largest", add(0.07, -1), "EF-signSGD"),
    (NAME, vote.EF, "least", put(-10.0, -1), "EF-signSGD"),
    (NAME, "gaussian", "wrong", add(250, 2), "gaussian"),
    (NAME, "gaussian", "tie", put(0, 1), "gaussian"),
    (NAME, "laplace", "right", add(-250, 0), "laplace"),
    (NAME, "laplace", "tie", add(300, 3), "laplace"),
]


@pytest.mark.parametrize("row", DOCTORED, ids=lambda row: f"{row[1]}, {row[2]}")
def test_doctored_results_fail(results, row):
    texts = failed_on(vote, results, row)
    assert any(re.search(row[-1], text) for text in texts), texts


def test_every_claim_has_been_seen_to_fail(results):
    assert never_failed(vote, results, DOCTORED) == set()


WRONG = [  # a formula, what is changed in it
    (vote_claims.right_sign, "scale=sigma)", "scale=sigma / 1.05)"),
    (vote_claims.right_sign, "sigma / 2**0.5", "sigma"),
    (vote_claims.probabilities, "(n - 1) // 2", "n // 2"),
    (vote_claims.probabilities, "if n % 2 == 0", "if n % 2"),
    (vote_claims.walk, "voters // 2", "voters // 2 - 1"),
    (vote_claims.walk, "-x / spread", "-x / (1.2 * spread)"),
    (vote_claims.walk, "0.5 * law", "law"),
]


@pytest.mark.parametrize("row", WRONG, ids=lambda row: f"{row[0].__name__}: {row[2]}")
def test_wrong_probabilities_fail_a_claim(results, row):
    with edited(*row):
        assert failed(vote, results)


NOTICED = {  # a mutant of the engine -> claims that notice it
    "the sum, not the mean": ("EF-signSGD",),
    "up, not down": ("zero -10", "last gap over the first"),
    "downlink applied twice": ("gaussian noise, 4", "walk of a coordinate"),
    "a tie goes up": ("laplace",),
}


@pytest.mark.parametrize("mutant", NOTICED)
def test_a_wrong_engine_fails_its_claims(mutant):
    with MUTANTS[mutant](), np.errstate(all="ignore"):
        texts = failed(vote, fresh())
    assert all(any(re.search(pattern, text) for text in texts) for pattern in NOTICED[mutant]), (
        texts
    )


def test_all_is_drawn(results):
    with style.drawing():
        left, right = vote.draw(results).axes
    assert {vote.VOTE, vote.EF} <= set(left.get_legend_handles_labels()[1])
    assert len(right.get_legend_handles_labels()[1]) == 4
    assert all(ax.get_xlabel() and ax.get_ylabel() for ax in (left, right))
