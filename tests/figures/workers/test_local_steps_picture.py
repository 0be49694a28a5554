"""The picture local-steps: its claims fail on wrong results and on exchanges that go wrong.

Without this file its claims could pass whatever workers do between two messages.
"""

import re
from dataclasses import replace

import numpy as np
import pytest
from doctored import add, computed, put, scale
from mutants import edited
from team_mutants import MUTANTS
from theory_pictures import failed, failed_on, last_is_nan, never_failed

import efsgd
from efsgd.convex.studies import LocalLimits
from efsgd.figures.drawing import style
from efsgd.figures.workers import local_steps
from efsgd.figures.workers import local_steps_work as works
from efsgd.methods.base import Mean

NAME = "local-steps"


@pytest.fixture(scope="module")
def quick():
    """Very short runs."""
    return {name: computed(work) for name, work in local_steps.work(True, 0).items()}


@pytest.fixture(scope="module")
def ideal(quick):
    """The same with the ends that runs of any length should come to."""
    found = dict(quick)
    judged = ((kind, method, H) for kind, of in works.OF_SPLIT.items() for method in of
              for H in works.HS)  # fmt: skip
    for kind, method, H in judged:
        name = f"{kind}, {method}, {H}"
        result, limits, i = quick[name], quick[f"{kind}, limits"], works.HS.index(H)
        gap = result["gap"].copy()
        if method == works.DENSE and (H > 1 or kind == works.AGREED):
            gap[-1] = limits["gap"][i]
        sent = result["bytes_worker"].copy()
        sent[-1] *= (works.STEPS // H) / (result["step"][-1] // H)
        arrays = {
            "gap": gap,
            "bytes_worker": sent,
            "step": np.append(result["step"][:-1], works.STEPS),
        }
        arrays["x_final"] = limits["x"][i][None]
        found[name] = replace(result, arrays=result.arrays | arrays)
    return found


DOCTORED = [  # figure, name of the result, the array, how it changes, what a failing claim says
    (NAME, "sorted, local SGD, 10", "x_final", scale(1 + 1e-8), "sorted, local SGD, .* fixed"),
    (NAME, "sorted, limits", "x", add(1e-6, 4, 3), "sorted, local SGD, .* fixed"),
    (NAME, "iid, local SGD, 100", "x_final", last_is_nan, "iid, local SGD, .* fixed"),
    (NAME, "iid, limits", "x", scale(1 + 1e-8), "iid, local SGD, .* fixed"),
    (NAME, "sorted, DiLoCo, 3", "x_final", scale(1 + 1e-8), "DiLoCo"),
    (NAME, "agreed, local SGD, 30", "gap", put(1e-10, -1), "all with the same minimiser"),
    (NAME, "iid, local SGD, 30", "gap", put(0.0001, -1), "from one H > 1 to the next"),
    (NAME, "sorted, local SGD, 3", "gap", put(1e-5, -1), "sorted over iid"),
    (NAME, "sorted, local SGD, 1", "gap", add(1e-10, 5), "local SGD, H = 1 against"),
    (NAME, "plain, EF, top 4", "gap", add(1e-10, -1), "EF, top 4, H = 1 against"),
    (NAME, "sorted, SparseLoCo's way, 10", "bytes_worker", add(1, -1), "H times the bytes"),
]


@pytest.mark.parametrize("row", DOCTORED, ids=lambda row: f"{row[1]}, {row[2]}, {row[-1]}")
def test_doctored_results_fail(ideal, row):
    assert failed(local_steps, ideal) == []
    texts = failed_on(local_steps, ideal, row)
    assert any(re.search(row[-1], text) for text in texts), texts


def test_every_claim_has_been_seen_to_fail(ideal):
    assert never_failed(local_steps, ideal, DOCTORED) == set()


@pytest.mark.slow
def test_every_claim_passes():
    results = {name: computed(work) for name, work in local_steps.work(False, 0).items()}
    assert failed(local_steps, results) == []


def test_a_server_that_steps_twice_fails_a_claim(ideal):
    name = f"{works.SORTED}, {works.DENSE}, 1"
    with MUTANTS["downlink applied twice"]():
        wrong = computed(local_steps.work(True, 0)[name])
    arrays = ideal[name].arrays | {"gap": wrong["gap"]}
    texts = failed(local_steps, ideal | {name: replace(ideal[name], arrays=arrays)})
    assert any("local SGD, H = 1 against" in text for text in texts), texts


# -- few runs, for every suite ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def few():
    """Short runs of two numbers of local steps, by which the formula and the engine are judged."""
    split = works.problem(works.SORTED)
    return split, LocalLimits(split, works.LR, (1, 10, 30)).compute()


def ends(split, H, rounds, method=works.METHODS[works.DENSE]):
    """x after so many rounds from the limit itself, where a right engine stays."""
    return efsgd.run(
        efsgd.Run(split, method, works.LR, H * rounds, workers=works.WORKERS, local_steps=H,
                  metrics=("gap", "bytes_worker"))
    )  # fmt: skip


class Started:
    """A split whose runs start at a point."""

    def __init__(self, split, x):
        self.split, self.x = split, x

    def __getattr__(self, name):
        return getattr(self.split, name)

    def x0(self, rng, replicates):
        return np.tile(self.x, (replicates, 1))

    def loss(self, x):
        return self.split.loss(x)

    def gradient(self, x, rng):
        return self.split.gradient(x, rng)


def stays(few, i, H, method=works.METHODS[works.DENSE]):
    """How far a round leads away from the limit."""
    split, limits = few
    x = limits["x"][i]
    return np.linalg.norm(ends(Started(split, x), H, 2, method)["x_final"][0] - x)


@pytest.mark.parametrize("method", [works.DENSE, works.OUTSIDE])
def test_at_the_limit_nothing_moves(few, method):
    for i, H in enumerate((1, 10, 30)):
        assert stays(few, i, H, works.METHODS[method]) <= 1e-13
    assert stays(few, 1, 30) > 1e-3
    np.testing.assert_allclose(few[1]["x"][0], few[0].optimum.x, atol=1e-13)


WRONG_EXCHANGES = [  # what is changed in it: all of them move the limit, or leave it
    (Mean.of_all, "/ rows.shape[1]", "/ (rows.shape[1] - 1)"),
    (Mean.of_all, "rows.sum(1)", "rows[:, 1:].sum(1)"),
]


@pytest.mark.parametrize("edit", WRONG_EXCHANGES, ids=lambda edit: edit[2])
def test_a_wrong_mean_of_the_models_is_seen(few, edit):
    with edited(*edit):
        x = ends(few[0], 10, 50)["x_final"][0]
    assert not np.linalg.norm(x - few[1]["x"][1]) <= 1e-3


def test_bytes_are_exact_and_one_local_step_is_the_method(few):
    split = few[0]
    for method, plain in ((works.DENSE, efsgd.SGD()), (works.FEEDBACK, efsgd.EFSGD(works.TOP))):
        local = ends(split, 1, 60, works.METHODS[method])
        alone = efsgd.run(efsgd.Run(split, plain, works.LR, 60, workers=works.WORKERS))
        np.testing.assert_allclose(local["gap"], alone["gap"], rtol=0, atol=1e-12)
        ten = ends(split, 10, 6, works.METHODS[method])
        assert 10 * ten["bytes_worker"][-1, 0] == local["bytes_worker"][-1, 0]


def test_quick_results_are_drawn(quick):
    with style.drawing():
        figure = local_steps.draw(quick)
    assert all(ax.get_xlabel() and ax.get_ylabel() and ax.get_title() for ax in figure.axes)
    labels = [text.get_text() for text in figure.axes[1].get_legend().get_texts()]
    assert labels == [*(label for label, _, _ in local_steps.ENDS.values()), "closed form"]
