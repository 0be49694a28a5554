"""The picture when-to-compress: its claims fail on wrong results, wrong costs and wrong boundaries.

Without this file the map could rest on a model that leaves out a factor.
"""

import re
from contextlib import contextmanager
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from doctored import computed, put, scale
from mutants import edited
from theory_pictures import failed, failed_on, last_is_nan, never_failed

from efsgd import EFSGD, SGD, Blockwise, Optimum, PowerSGD, Run, ScaledSign, TopK
from efsgd.convex.studies import CostToLoss, StepsToLoss
from efsgd.cost import collectives, machines, measured, schemes
from efsgd.figures.drawing import style
from efsgd.figures.workers import PICTURES, when_to_compress, when_to_compress_claims
from efsgd.figures.workers import when_to_compress_work as works


@cache
def counted():
    """The steps counted in few runs."""
    return computed(when_to_compress.work(True, 0)[works.TO_A_LOSS])


@cache
def to_a_loss():
    """The same as if the methods needed such steps, each of them more than plain SGD."""
    result = counted()
    factor = np.array([1.0, 1.25, 1.5, 1.75, 1.25, 1.5])
    per_step = result["seconds"] / result["factor"][:, None, None]
    arrays = {
        "steps": 120 * factor[:, None] * np.where(factor[:, None] > 1, [0.9, 1.0, 1.4], 1.0),
        "factor": factor,
        "seconds": factor[:, None, None] * per_step,
    }
    return replace(result, arrays=result.arrays | arrays)


def fresh():
    """The results of the picture, with constants fitted anew."""
    measured.calibrate.cache_clear()
    works_by_name = when_to_compress.work(True, 0)
    return {
        name: to_a_loss() if name == works.TO_A_LOSS else computed(work)
        for name, work in works_by_name.items()
    }


@pytest.fixture(scope="module")
def results():
    return fresh()


def test_every_claim_passes(results):
    assert failed(when_to_compress, results) == []


def test_quick_counts_steps_in_fewer_runs():
    quick, whole = when_to_compress.work(True, 0), when_to_compress.work(False, 0)
    assert {name for name in whole if quick[name] != whole[name]} == {works.TO_A_LOSS}
    assert quick[works.TO_A_LOSS].map == whole[works.TO_A_LOSS].map


def test_the_picture_is_listed():
    assert when_to_compress.PICTURE in PICTURES


SIGNS, TWO, TOP, LOCAL = (works.NAMES.index(name) for name in works.NAMES if name in (
    "signs, gathered", "signs, in two phases", "top 1 %, gathered", works.LOCAL
))  # fmt: skip
ALL = slice(None)
STEP, LOSS, NAME = works.A_STEP, works.TO_A_LOSS, "when-to-compress"
DOCTORED = [  # figure, name of the result, the array, how it changes, what a failing claim says
    (NAME, works.TABLE, "predicted", scale(0.8, TWO, 0, 1), "fitted at 1 Gbit/s: largest"),
    (NAME, works.TABLE, "seconds", scale(2.0, 0, 1, 1), "fitted at 1 Gbit/s: largest"),
    (NAME, works.TABLE, "predicted", put(np.nan, 0, 0, 1), "fitted at 1 Gbit/s: largest"),
    (NAME, works.TABLE, "predicted_mb", scale(0.97, 0, 1), "MB that a worker sends"),
    (NAME, works.TABLE, "predicted_mb", last_is_nan, "MB that a worker sends"),
    (NAME, works.TABLE, "payload", put(0.97), "carries payload"),
    (NAME, works.TABLE, "payload", put(0.7), "the same: its inverse"),
    (NAME, works.TABLE, "crowding", put(2.1), "4 processes on 2 cores"),
    (NAME, works.TABLE, "crowding", put(0.9), "at least none"),
    (NAME, STEP, "seconds", scale(0.01, 0, 50, 60), "plain SGD is first, but not"),
    (NAME, STEP, "seconds", scale(0.5, LOCAL, 50, -1), "plain SGD is first, but not"),
    (NAME, STEP, "seconds", scale(0.5, SIGNS, 3, -1), "400 Gbit/s, n to 100000: n at which"),
    (NAME, STEP, "seconds", scale(0.5, LOCAL, 80, -1), "400 Gbit/s, n to 100000: n at which"),
    (NAME, STEP, "seconds", scale(0.01, LOCAL, 50, 0), "nothing that compresses is first"),
    (NAME, STEP, "seconds", scale(0.001, 0, 50, 0), "nothing that compresses is first"),
    (NAME, STEP, "seconds", scale(1.05, SIGNS, ALL, 0), "signs, gathered: n where"),
    (NAME, STEP, "seconds", scale(1e-6, SIGNS, ALL, 0), "signs, gathered: n where"),
    (NAME, STEP, "seconds", scale(1.05, TOP, ALL, 0), "top 1 %, gathered: n where"),
    (NAME, STEP, "seconds", scale(1.05, TWO, ALL, 0), "two phases: .* off b/b_c"),
    (NAME, STEP, "seconds", scale(0.9, SIGNS, ALL, 10), "signs, gathered: last n .* at any rate"),
    (NAME, STEP, "seconds", put(np.nan, SIGNS, 80, 50), "signs, gathered: last n .* at any rate"),
    (NAME, STEP, "seconds", scale(0.9, TOP, ALL, 10), "top 1 %, gathered: last n .* at any rate"),
    (NAME, STEP, "seconds", scale(20.0, TWO, -1, 0), "two phases: .* least for n"),
    (NAME, STEP, "seconds", scale(1.05, LOCAL, ALL, 0), "local steps: .* off their number"),
    (NAME, LOSS, "seconds", scale(1.05, SIGNS, ALL, 0), "gap, signs, gathered: n where"),
    (NAME, LOSS, "seconds", scale(1.05, TOP, ALL, 0), "gap, top 1 %, gathered: n where"),
    (NAME, LOSS, "seconds", scale(1.05, TWO, ALL, 0), "gap, .* phases: .* off b/b_c over"),
    (NAME, LOSS, "seconds", scale(1.05, LOCAL, ALL, 0), "gap, .* local steps: .* off their number"),
    (NAME, LOSS, "seconds", put(np.nan, LOCAL, 10, 0), "gap, .* local steps: .* off their number"),
    (NAME, LOSS, "steps", scale(1.5, LOCAL), "gap, .* local steps: .* off their number"),
    (NAME, LOSS, "lr", put(max(works.needed(True, 0).runs[0].lr), 2), "at an end of the grid"),
]


@pytest.mark.parametrize("row", DOCTORED, ids=lambda row: f"{row[1]}, {row[2]}, {row[-1]}")
def test_doctored_results_fail(results, row):
    texts = failed_on(when_to_compress, results, row)
    assert any(re.search(row[-1], text) for text in texts), texts


def test_every_claim_has_been_seen_to_fail(results):
    assert never_failed(when_to_compress, results, DOCTORED) == set()


WRONG = [  # a formula of the cost, what is changed in it, and a claim that notices
    (collectives._gather, "n - 1, n", "1.0 + 0 * n, n", "fitted at 1 Gbit/s: largest"),
    (collectives._gather, "n - 1, n", "1.0 + 0 * n, n", "MB that a worker"),
    (collectives._gather, "n - 1, n", "n, n", "MB that a worker"),
    (collectives._gather, "n - 1, n", "(n - 1) / 2, n", "signs, gathered: last n .* at any rate"),
    (collectives._two_phase, "2 * (n - 1) / n,", "(n - 1) / n,", "fitted at 1 Gbit/s: largest"),
    (collectives._two_phase, "2 * (n - 1) / n,", "(n - 1) / n,", "MB that a worker"),
    (collectives._two_phase, "2 * (n - 1) / n,", "(n - 1) / n,", "off b/b_c"),
    (collectives._two_phase, "2 * (n - 1) / n,", "2.0 + 0 * n,", "MB that a worker"),
    (machines.Link.seconds, "8 * size", "size", "MB that a worker"),
    (machines.Link.seconds, "8 * size", "size", "the same: its inverse"),
    (machines.Link.seconds, "8 * size", "size", "plain SGD is first, but not"),
    (collectives._ring_doubling, "2 * (n - 1) / n", "2 + 0 * n", "plain SGD is first, but not"),
    (collectives._ring_doubling, "2 * _rounds(n)", "2 * (n - 1)", "plain SGD is first, but not"),
    (collectives.fastest, "rounds * link", "(rounds + 20) * link", "plain SGD is first, but not"),
    (schemes.step_seconds, "wire - scheme", "wire - 0 * scheme", "plain SGD is first, but not"),
    (schemes.step_seconds, "/ scheme.local", "/ scheme.local**2", "plain SGD is first, but not"),
    (schemes.step_seconds, "/ scheme.local", "/ 1", "off their number"),
    (schemes.step_seconds, "+ scheme.copies", "+ 100 * n * scheme.copies", "off b/b_c"),
    (schemes.Scheme.exchange_seconds, "self.share *", "self.share**1.1 *", "off b/b_c"),
    (
        schemes.Scheme.exchange_seconds,
        "self.share *",
        "self.share**1.1 *",
        "top 1 %, gathered: n where",
    ),
]


@contextmanager
def bytes_on_a_doubled_ring(formula, before, after):
    """The edit, in the doubling form too where both have the same bytes."""
    twins = {collectives._gather: collectives._gather_doubling,
             collectives._two_phase: collectives._two_phase_doubling}  # fmt: skip
    twin = twins.get(formula)
    with edited(formula, before, after):
        if twin is None:
            yield
        else:
            kept, twin.__code__ = twin.__code__, formula.__code__
            try:
                yield
            finally:
                twin.__code__ = kept


@pytest.mark.parametrize("row", WRONG, ids=lambda row: f"{row[0].__name__}: {row[2]}, {row[3]}")
def test_a_wrong_cost_fails_a_claim(row):
    *edit, pattern = row
    try:
        with bytes_on_a_doubled_ring(*edit):
            texts = failed(when_to_compress, fresh())
    finally:
        measured.calibrate.cache_clear()
    assert any(re.search(pattern, text) for text in texts), texts


LAWS = [  # of the claims themselves
    (when_to_compress_claims._on_the_wire, "16 *", "8 *"),
    (when_to_compress_claims._on_the_wire, "(n - 1) / (n * rate)", "1 / rate"),
    (when_to_compress_claims._on_the_wire, "(n - 1).bit_length()", "(n - 1)"),
    (when_to_compress_claims._on_the_wire, "2 * (n - 1).bit", "(n - 1).bit"),
    (when_to_compress_claims._regions, "(1 - 1 / longest)", "1"),
    (when_to_compress_claims._regions, '["overlap"]', '["share"]'),
    (when_to_compress_claims._at_the_slowest_link, "share / 2", "share"),
    (when_to_compress_claims._at_the_slowest_link, "over_n[some] * share", "over_n[some] / 16"),
    (when_to_compress_claims._at_the_slowest_link, '/ scheme["local"]', "/ 32"),
    (when_to_compress_claims._at_the_slowest_link, '["share"] * steps', '["share"]'),
    (when_to_compress_claims._at_the_slowest_link, "* steps - 1", "- 1"),
    (when_to_compress_claims._to_a_loss, "np.median", "np.max"),
]


@pytest.mark.parametrize(("law", "before", "after"), LAWS)
def test_a_wrong_boundary_fails_a_claim(results, law, before, after):
    with edited(law, before, after):
        assert failed(when_to_compress, results)


# -- the picture -----------------------------------------------------------------------------------


def test_all_is_drawn(results):
    with style.drawing():
        figure = when_to_compress.draw(results)
    assert len(figure.axes) == 6
    assert all(ax.get_xlabel() and ax.get_ylabel() and ax.get_title() for ax in figure.axes)
    curves = [line for line in figure.axes[2].lines if line.get_label() in works.NAMES]
    assert [line.get_label() for line in curves] == list(works.NAMES)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()][:-1] == list(works.NAMES)
    assert "44.8 MB" in figure.get_suptitle()


def test_the_map_to_a_loss_is_that_of_a_step_times_the_steps(results):
    result = counted()
    steps, seconds = result["steps"], results[works.A_STEP]["seconds"]
    for i in range(len(works.NAMES)):
        factor = max(np.median(steps[i]) / np.median(steps[0]), 1.0)
        np.testing.assert_allclose(result["seconds"][i], factor * seconds[i], rtol=1e-12)


def test_steps_are_counted_to_the_first_record_at_the_loss():
    """On f = x^2/2 a gap is left by (1 - lr)^(2 t): the best step size and its steps, by hand."""
    run = Run(Parabola(), SGD(), (0.5, 0.5, 0.25, 0.25), 5, replicates=4)
    found = StepsToLoss((run, Run(Parabola(), SGD(), (0.25, 0.25), 5, replicates=2)), 0.01)
    result = found.compute()
    assert result["lr"].tolist() == [0.5, 0.25]
    assert result["steps"].tolist() == [[4.0], [np.inf]]  # 2^-8 < 1/100 < 2^-6; .75^10 > 1/100
    assert result["factor"].tolist() == [1.0, np.inf]


def test_a_map_that_leaves_the_counted_steps_out_fails_every_boundary_that_they_move(results):
    result = results[LOSS]
    arrays = result.arrays | {"seconds": results[STEP]["seconds"]}
    texts = failed(when_to_compress, results | {LOSS: replace(result, arrays=arrays)})
    for i in (SIGNS, TWO, TOP, LOCAL):
        assert any(f"gap, {works.NAMES[i]}: " in text for text in texts)


def test_the_runs_that_count_steps_are_of_the_methods_of_the_map():
    count = works.needed(False, 0)
    methods = {
        works.PLAIN: SGD(),
        "top 1 %, gathered": EFSGD(TopK(0.01)),
        "PowerSGD, rank 1": EFSGD(PowerSGD(1)),
        works.LOCAL: SGD(),
    }
    in_chunks = EFSGD(Blockwise(ScaledSign(), 8))  # 64 entries, a chunk for each of 8 workers
    plain = count.runs[0]
    for (name, scheme), counted in zip(works.schemes().items(), count.runs, strict=True):
        expected = replace(
            plain,
            method=methods.get(name, EFSGD()),
            local_steps=scheme.local,
            downlink=in_chunks if scheme.exchange == "two-phase" else None,
        )
        assert counted == expected, name
    assert (plain.workers, plain.batch, plain.participation) == (8, 8, 1.0)
    assert all(run.record == works.LOCAL_STEPS for run in count.runs)


CHOICES = [  # what the maps of a step by a server and of stragglers have in common with it
    (works.SERVER, {"down": 1.0}, {"spread": 0.0, "wait": 1.0}),
    (works.UNEVEN, {"down": 10.0}, {"spread": 0.0, "wait": 1.0}),
    (works.STRAGGLERS, {"down": 1.0}, {"spread": 0.2, "wait": 1.0}),
    (works.IMPATIENT, {"down": 1.0}, {"spread": 0.2, "wait": 0.9}),
]


@pytest.mark.parametrize(("name", "of_map", "of_machine"), CHOICES, ids=lambda part: str(part))
def test_the_other_maps_differ_in_what_they_are_named_for(name, of_map, of_machine):
    served = name in (works.SERVER, works.UNEVEN)
    schemes = tuple(
        replace(scheme, exchange="server" if served else scheme.exchange)
        for scheme in works.schemes().values()
    )
    plain = works.cost_map()
    machine = replace(plain.machine, **of_machine)
    assert works.others()[name] == replace(plain, schemes=schemes, machine=machine, **of_map)


CURVATURES = [  # at lr = 1/2, then at 1/4; the step size that is chosen; steps of the measured half
    ((0.1, 0.1, 1, 1), (1, 1, 0.8, 0.8), 0.25, [11.0, 11.0]),  # .8^20 > 1/100 > .8^22
    ((0.1, 2, 1, 1), (1, 1, 0.8, 0.8), 0.25, [11.0, 11.0]),  # one is there at once, one never
    ((0.25, 2, 1, 0.25), (0.8, 0.8, 1, 1), 0.5, [4.0, 18.0]),  # 18 and 1 are fewer than 11 and 11
    ((0.5, 0.5, 1, 1), (1, 1, 1, 1), 0.25, [9.0, 9.0]),  # both 9: .75^16 > 1/100 > .75^18
]


@pytest.mark.parametrize(("half", "quarter", "lr", "steps"), CURVATURES)
def test_one_half_chooses_the_step_size_and_the_other_measures(half, quarter, lr, steps):
    lrs = (0.5,) * 4 + (0.25,) * 4
    run = Run(Uneven(np.array([*half, *quarter])), SGD(), lrs, 40, replicates=8)
    result = StepsToLoss((run,), 0.01).compute()
    assert result["lr"].tolist() == [lr]
    assert result["steps"].tolist() == [steps]


def test_local_steps_are_counted_at_exchanges_and_all_at_the_same_steps():
    local = Run(Parabola(), SGD(), (0.5, 0.5), 6, replicates=2, workers=2, local_steps=3, record=2)
    with pytest.raises(ValueError, match="3 local steps need records at multiples of it"):
        StepsToLoss((local,), 0.1)
    with pytest.raises(ValueError, match="recorded at the same steps"):
        StepsToLoss((replace(local, local_steps=1), replace(local, record=3)), 0.1)
    assert StepsToLoss((replace(local, record=3),), 0.1).cost == 6


class Parabola:
    d, optimum = 1, Optimum(np.zeros(1), 0.0)

    def x0(self, rng, replicates):
        return np.ones((replicates, 1))

    def loss(self, x):
        return (x**2).sum(-1) / 2

    def gradient(self, x, rng):
        return x.copy()


class Uneven(Parabola):
    """Whose gradients, not losses, are of another curvature for each replicate."""

    def __init__(self, curvatures):
        self.curvatures = curvatures

    def gradient(self, x, rng):
        return self.curvatures[:, None] * x


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: StepsToLoss((Run(Parabola(), SGD(), 0.5, 20),), 0.1), "a step size a replicate"),
        (lambda: StepsToLoss((), 1.0), "share must lie strictly between 0 and 1, not 1.0"),
        (lambda: CostToLoss(works.cost_map(), StepsToLoss((), 0.1)), "6 methods need as many runs"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
