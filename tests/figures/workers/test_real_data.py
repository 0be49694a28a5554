"""The picture real-data: its claims fail on wrong results and on teams that go wrong.

Without this file its claims could pass on any results.
"""

import re
from dataclasses import replace

import numpy as np
import pytest
from doctored import computed, put, scale
from team_mutants import MUTANTS
from theory_pictures import failed, failed_on, last_is_nan, never_failed

import efsgd
from efsgd.convex.studies import Certified
from efsgd.figures.drawing import style
from efsgd.figures.workers import real_data
from efsgd.figures.workers import real_data_work as works

NAME = "real-data"


def fresh(by, kind, *names, steps=works.STEPS[works.FULL]):
    """The results of some methods."""
    chosen = {f"{by}, {kind}, {name}" for name in names}
    runs = {name: work for name, work in real_data.work(False, 0).items() if name in chosen}
    return {name: computed(replace(work, steps=steps)) for name, work in runs.items()}


@pytest.mark.slow
def test_every_claim_passes():
    found = {name: computed(work) for name, work in real_data.work(False, 0).items()}
    assert failed(real_data, found) == []


# -- results as they should be ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def quick():
    """Very short runs."""
    return {name: computed(work) for name, work in real_data.work(True, 0).items()}


def shaped(lrs, end):
    """Gaps (T, G) from 1/2 to the end of each of these step sizes, where they then stay."""
    gap = np.tile(np.broadcast_to(end, len(lrs)), (11, 1)).astype(float)
    gap[0] = 0.5
    return gap


@pytest.fixture(scope="module")
def ideal(quick):
    """Gaps as they are in the long run, in few numbers."""
    lrs, found = np.array(works.GRID), dict(quick)
    ends = {"SGD": 1e-16, "compressed SGD": 3e-3, "EF": 1e-4 * lrs**2}
    noisy = {"SGD": 1.0, "compressed SGD": 30.0, "EF": 0.8, "EF21": 10.0, "EF21-SGDM": 1.2}
    jitter = 1 + 0.02 * np.array([[-1.0, 1.0]])
    for (by, more), name in ((pair, name) for pair in (("label", 1.2), ("iid", 1.0))
                             for name in works.METHODS):  # fmt: skip
        full, batches = (f"{by}, {kind}, {name}" for kind in (works.FULL, works.BATCHES))
        gap = shaped(lrs, more * ends.get(name, 1e-16))
        step = np.arange(11) * 10
        found[full] = replace(quick[full], arrays=quick[full].arrays | {"gap": gap, "step": step})
        gap = 1e-4 * noisy.get(name, 1.5) * np.ones((11, 2)) * jitter ** (name != "SGD")
        sent = {"SGD": 5000.0}.get(name, 950.0)
        arrays = {"gap": gap, "step": step, "bytes_worker": np.full((11, 2), sent)}
        found[batches] = replace(quick[batches], arrays=quick[batches].arrays | arrays)
    return found


DOCTORED = [  # figure, name of the result, the array, how it changes, what a failing claim says
    *(
        row
        for by in works.SHARES
        for row in (
            (NAME, f"{by}, full, EF21", "gap", put(1e-9, -1, 3), f"{by}, .*EF21, EF21-SGDM, DIANA"),
            (NAME, f"{by}, full, DIANA", "gap", put(np.nan, -1, 5), f"{by}, .* EF21-SGDM, DIANA"),
            (NAME, f"{by}, full, EF21-SGDM", "gap", put(1e-9, -1, 4), f"{by}, .* EF21-SGDM, DIANA"),
            (NAME, f"{by}, full, compressed SGD", "gap", put(1e-5, -1, 3), f"{by}, .*without mem"),
            (NAME, f"{by}, full, compressed SGD", "gap", scale(0.01), f"{by}, .* EF over that wit"),
            (NAME, f"{by}, full, EF", "gap", put(1e-4, slice(5, None)), f"{by}, .*slope"),
            (NAME, f"{by}, full, EF", "gap", last_is_nan, f"{by}, .*slope"),
            (NAME, f"{by}, batches, EF", "gap", scale(3.0), f"{by}, batches.* EF over SGD"),
            (NAME, f"{by}, batches, EF", "gap", scale(10.0), f"{by}, batches.* memory over EF"),
            (NAME, f"{by}, batches, EF21", "gap", scale(0.1), f"{by}, batches.* EF21 over"),
        )
    ),
    (NAME, "iid, full, EF", "gap", scale(1.5), "by label over that with shares at random"),
    (NAME, "iid, batches, EF", "bytes_worker", scale(1.1), "EF over SGD, largest"),
    (NAME, "label, batches, EF", "bytes_worker", put(np.nan, -1, 0), "EF over SGD, largest"),
]  # fmt: skip


@pytest.mark.parametrize("row", DOCTORED, ids=lambda row: f"{row[1]}, {row[2]}, {row[-1]}")
def test_doctored_results_fail(ideal, row):
    assert failed(real_data, ideal) == []
    texts = failed_on(real_data, ideal, row)
    assert any(re.search(row[-1], text) for text in texts), texts


def test_every_claim_has_been_seen_to_fail(ideal):
    assert never_failed(real_data, ideal, DOCTORED) == set()


# -- wrong teams -----------------------------------------------------------------------------------


def forgetful(self, x, g, memory, lr, rng):
    """EF without its memory."""
    update = RIGHT(self, x, g, memory, lr, rng)
    return update._replace(memory=update.memory._replace(e=np.zeros_like(update.memory.e)))


RIGHT = efsgd.EFSGD.step


def test_error_feedback_without_its_memory_fails_a_claim(ideal, monkeypatch):
    monkeypatch.setattr(efsgd.EFSGD, "step", forgetful)
    texts = failed(real_data, ideal | fresh("label", works.FULL, "EF", "compressed SGD", steps=100))
    assert any("label, full gradients, long-run gap of EF over" in text for text in texts), texts


@pytest.mark.parametrize("mutant", ["weights ignored", "one memory for all workers"])
def test_a_wrong_team_fails_a_claim(ideal, mutant):
    with MUTANTS[mutant]():
        texts = failed(real_data, ideal | fresh("label", works.FULL, "DIANA"))
    assert any("label, full gradients, EF21, EF21-SGDM, DIANA" in text for text in texts), texts


# -- the picture -----------------------------------------------------------------------------------


def test_quick_results_are_drawn(quick):
    with style.drawing():
        figure = real_data.draw(quick)
    assert all(ax.get_xlabel() and ax.get_ylabel() and ax.get_title() for ax in figure.axes)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()][:6] == list(works.METHODS)


def test_the_optimum_is_certified():
    works_of = real_data.work(False, 0)
    assert isinstance(works_of[works.OPTIMUM], Certified)
