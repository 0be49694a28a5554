"""The pictures ``variants``: their panels, and each claim fails on results that break just it.

The results at the step sizes of theorems are those of the pictures, of fewer steps; those at tuned
step sizes are made up, with the ratios of gaps that the pictures show. Without this file a claim
could pass whatever was computed, and curves of one method could be drawn as those of another.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doctored import Broken, Results, computed, put, scale

from efsgd import CompressedSGD, Identity, Run, TopK
from efsgd.convex.problems.known_curvature import KnownLogistic, KnownSquares, design
from efsgd.convex.studies.side_by_side import MemoryUnits, SideBySide
from efsgd.convex.studies.tuned import Tuned
from efsgd.figures.claims.verdicts import Verdict
from efsgd.figures.convex import (
    variants,
    variants_batches,
    variants_bytes,
    variants_memory,
    variants_runs,
)
from efsgd.figures.convex.variants_proven import FORMULAS, off_attained, rate, share_of_bound
from efsgd.figures.convex.variants_reading import (
    Ratio,
    Relation,
    at_budget,
    claim_ratio,
    compressor_of,
    history,
    index,
    late,
    method_names,
    ratio,
)
from efsgd.figures.convex.variants_runs import (
    BATCHES,
    DROP,
    NO_FEEDBACK,
    PAIRS,
    PLAIN,
    THEOREM,
    THEOREMS,
    TUNED,
    steps_within_budget,
)
from efsgd.figures.drawing import style
from efsgd.results import Result
from efsgd.schedules import Constant, InverseSqrt, StepDecay, Theorem

TOP, RANDOM, SIGNS = PAIRS[:3]
MODULES = (variants, variants_batches, variants_bytes, variants_memory)
NAMES = [module.PICTURE.name for module in MODULES]
MADE_UP = {  # last gap over the first, by compressor and method; other methods have 0.05
    TUNED: {
        "topk:0.02": {NO_FEEDBACK: 1e-6, "EF": 3e-4},
        "randk:0.02": {NO_FEEDBACK: 0.03, "EF": 0.09},
        "scaledsign": {NO_FEEDBACK: 1e-6, "EF": 1e-15},
    },
    BATCHES: {
        "topk:0.02": {PLAIN: 1e-3, "EF": 1.1e-3, NO_FEEDBACK: 0.1, "EF21": 0.5, "EF21-SGDM": 2e-3},
        "randk:0.02": {PLAIN: 1e-3},
        "scaledsign": {PLAIN: 1e-3, "EF": 1e-3, NO_FEEDBACK: 1.7e-3},
    },
}


@pytest.fixture(scope="module")
def results() -> Results:
    """Made once, never changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(variants_runs, "STEPS", {THEOREM: 230, BATCHES: 400})
        patch.setattr(variants_runs, "COPIES", {THEOREM: 4, TUNED: 3, BATCHES: 3})
        works = {name: w for m in MODULES for name, w in m.PICTURE.work(False, 0).items()}
    return {
        name: made_up(name, work) if isinstance(work, Tuned) else computed(work)
        for name, work in works.items()
        if name != "optima"
    }


def made_up(name: str, work: Tuned) -> Result:
    """What the work could give: gaps that fall from 1, nearly the same in all replicates."""
    _, c, setting, method = name.split(", ", 3)
    end = MADE_UP[setting][c].get(method, 0.05)
    step = np.array(replace(work.tuning, record=work.record).recorded())
    noise = 1 + 1e-3 * np.random.default_rng(len(name)).standard_normal(work.replicates)
    gap = np.where(step >= 0.9 * step[-1], end, np.linspace(1, end, len(step)))[:, None] * noise
    gap[0] = 1.0
    message = variants_runs.message(work.tuning.method.compresses)
    lrs = np.unique(work.tuning.lr)
    arrays = {
        "step": step,
        "gap": gap,
        "bytes": np.repeat(message * step[:, None], work.replicates, axis=1),
        "lrs": lrs,
        "tuning": abs(np.log(lrs / lrs[3])),
        "lr": lrs[3],
    }
    return Result(arrays, {}, {}, Path("made-up.npz"))


# -- claims ----------------------------------------------------------------------------------------


def shifted(gap: Any) -> Any:
    """As if every step size were two neighbours longer."""
    gap[..., 2:] = gap[..., :-2].copy()
    return gap


SLOWER = scale(1.2, -1)  # at every step size


def formulas() -> list[Broken]:
    """The best step size lies elsewhere, or leaves more; a gap is beyond its proven bound."""
    head = "^SGD, compressed SGD, EF, runs on both ends .*"
    plain = index(compressor_of(TOP), PLAIN)
    return [
        Broken(f"{head}log of the", "attained, delta=0.1, EF", "gap", SLOWER),
        Broken(f"{head}neighbours 1 % apart", "attained, delta=0.5, EF", "gap", shifted),
        Broken("^SGD and .* the proven bound", f"{TOP}, theorem", "gap", put(0.9, 20, plain)),
    ]


@pytest.mark.parametrize("name", FORMULAS)
def test_each_method_is_judged_where_its_rate_is_attained(name: str, results: Results) -> None:
    delta = min(variants_runs.ATTAINED_STEPS[name])
    for broken, change in zip(formulas(), (SLOWER, shifted), strict=False):
        of_method = replace(broken, result=f"attained, delta={delta}, {name}", change=change)
        (lost,) = [t for t, word in claims(of_method.doctored(results)).items() if word == "FAIL"]
        assert broken.finds(lost)


def ahead(pair: str) -> Broken:
    """The gap of EF21 as small as that of compression alone."""
    c = compressor_of(pair)

    def change(gap: Any) -> Any:
        gap[:, index(c, "EF21")] = gap[:, index(c, NO_FEEDBACK)]
        return gap

    return Broken(
        f"^{re.escape(pair)}, .* of the theorem, bytes", f"{pair}, theorem", "gap", change
    )


def compared() -> list[Broken]:
    """The first of two methods as bad, or as good, as the limit says."""
    table = []
    for pair, above, below, relation, limit in variants_batches.COMPARISONS:
        gaps = MADE_UP[BATCHES][pair.rpartition(", ")[2]]
        side = "more" if relation == ">" else "no more"
        head = rf"^{re.escape(pair)}, .*{above} over that of {below}, {side} than"
        name, factor = (
            above,
            (0.98 if relation == ">" else 1.02) * limit * gaps[below] / gaps[above],
        )
        table.append(Broken(head, f"{pair}, batches, {name}", "gap", scale(factor, slice(1, None))))
    return table


def feedback(pair: str) -> Broken:
    """EF just on the wrong side of the limit."""
    relation, limit = variants_bytes.FEEDBACK[pair]
    c = pair.rpartition(", ")[2]
    limit *= MADE_UP[TUNED][c][NO_FEEDBACK] * (0.99 if relation == ">" else 1.01)
    head = f"^{re.escape(pair)}, full gradients, tuned"
    return Broken(head, f"{pair}, tuned, EF", "gap", put(limit, -1))


LEAST = put(0.99 * variants_memory.LEAST_DISTANCE, slice(DROP + 1, None), 1)
AT_EDGE = put(-1.0, -1)
TABLE = [
    *formulas(),
    *(ahead(pair) for pair in PAIRS),
    *compared(),
    Broken("^batches: of 52", f"{TOP}, batches, EF21+", "tuning", AT_EDGE),
    *(feedback(pair) for pair in PAIRS),
    Broken("^tuned: of 52", f"{SIGNS}, tuned, EF", "tuning", AT_EDGE),
    Broken("constant lr", f"{SIGNS}, constant", "apart", put(1.1e-10, 150, 1)),
    Broken("100, rescaled", f"{RANDOM}, decayed", "apart", put(1.1e-10, 150, 0)),
    Broken("beyond sum", f"{PAIRS[5]}, decayed", "unexplained", put(1.1e-10, 150)),
    Broken("the least of 6 runs", f"{PAIRS[4]}, decayed", "apart", LEAST),
]


@cache
def needed(module: Any) -> frozenset[str]:
    """The names of the results that a picture is drawn from."""
    return frozenset(module.PICTURE.work(False, 0))


def verdicts_of(results: Results, kind: str) -> list[Verdict]:
    verdicts = []
    for module in MODULES:
        of_picture = {n: result for n, result in results.items() if n in needed(module)}
        verdicts += [v for v in module.PICTURE.verdicts(of_picture) if v.kind == kind]
    return verdicts


def claims(results: Results) -> dict[str, str]:
    verdicts = verdicts_of(results, "claim")
    assert len({v.claim for v in verdicts}) == len(verdicts)
    return {v.claim: v.word for v in verdicts}


def test_all_claims_pass_and_each_has_one_way_to_break_it(results: Results) -> None:
    words = claims(results)
    assert [text for text, word in words.items() if word != "pass"] == []
    for text in words:
        assert sum(broken.finds(text) for broken in TABLE) == 1, text
    assert len(words) == len(TABLE)


@pytest.mark.parametrize("broken", TABLE, ids=lambda broken: broken.pattern)
def test_a_claim_fails_where_it_does_not_hold(broken: Broken, results: Results) -> None:
    """With it may fail others about the same two methods or step sizes, but no more than two."""
    lost = [text for text, word in claims(broken.doctored(results)).items() if word == "FAIL"]
    assert any(broken.finds(text) for text in lost)
    assert len(lost) <= 3


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("wrong", ["step", "rate"])
@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_a_wrong_formula_fails_in_both_directions(
    name: str, wrong: str, factor: float, results: Results, monkeypatch: Any
) -> None:
    """A step size or the logarithm of a rate that is off by a tenth."""
    step, rate = FORMULAS[name]

    def off(**letters: float) -> float:
        value = float((step if wrong == "step" else rate)(**letters))
        return value * factor if wrong == "step" else value**factor

    pair: Any = (off, rate) if wrong == "step" else (step, off)
    monkeypatch.setitem(FORMULAS, name, pair)
    steps_off, rates_off = off_attained(results, name)
    assert (steps_off > 1) == (wrong == "step")
    assert (rates_off > 0.02) == (wrong == "rate")


def test_not_a_number_fails(results: Results) -> None:
    nan = put(np.nan, -1)
    for broken in (replace(feedback(SIGNS), change=nan), replace(compared()[0], change=nan)):
        lost = [text for text, word in claims(broken.doctored(results)).items() if word == "FAIL"]
        assert any(broken.finds(text) for text in lost)


def test_every_problem_and_compressor_has_its_observations(results: Results) -> None:
    texts = [verdict.claim for verdict in verdicts_of(results, "observation")]
    for pair in PAIRS:
        assert sum(text.startswith(pair) for text in texts) == 3


# -- what is proven --------------------------------------------------------------------------------


def test_rates() -> None:
    """At delta = 1/2, mu = 1/10 the rate of EF is 0.939 (arXiv 2506.05271; agreed with a solver).

    Without compression k = L/mu and the rate is ((L - mu)/(L + mu))^2, with feedback or not.
    """
    assert round(rate(Theorem("ef", 1.0, 0.1, 0.5)), 3) == 0.939
    for name in ("gd", "cgd", "ef", "ef21"):
        assert np.isclose(rate(Theorem(name, 1.0, 0.1)), (0.9 / 1.1) ** 2, rtol=1e-12)


def test_the_share_of_the_bound_is_at_most_one(results: Results) -> None:
    for name in variants.PROVEN:
        assert 0 < share_of_bound(results, name) <= 1


# -- the problems and studies ----------------------------------------------------------------------


@pytest.mark.parametrize("problem", [KnownSquares(seed=3), KnownLogistic(seed=3)], ids=str)
def test_the_curvature_is_known(problem: Any) -> None:
    """The Hessian of least squares has the spectrum; that of logistic regression lies within."""
    X = problem.data.X
    values = np.linalg.eigvalsh(X.T @ X / problem.n)
    assert X.shape == (200, 100)
    assert np.isclose(problem.curvature * values[-1] + problem.l2, problem.L)
    assert np.isclose(problem.mu, values[0] if not problem.l2 else problem.l2)
    assert np.isclose(problem.smoothness(300), problem.L, rtol=1e-3)
    assert abs(problem.measure(problem.optimum.x[None])["gap"][0]) < 1e-12


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: KnownSquares(mu=2.0), "mu"),
        (lambda: KnownLogistic(l2=0.0), "l2"),
        (lambda: design(3, 4, np.ones(4), np.random.default_rng(0)), "at least d = 4, not 3"),
    ],
)
def test_impossible_problems_are_refused(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


def test_side_by_side_is_each_run_and_leaves_out_what_one_does_not_record() -> None:
    problem = KnownSquares(n=20, d=10)
    one = Run(problem, CompressedSGD(TopK(1)), (0.1, 1e4), 200, replicates=2, metrics=("gap",))
    two = replace(one, lr=(0.1, 0.2), metrics=("gap", "bytes"))
    arrays = SideBySide((one, two)).compute()
    assert arrays["gap"].shape == (201, 2, 2)
    assert arrays["bytes"].shape == (201, 1, 2)
    assert np.array_equal(arrays["gap"][:, 1], two.compute()["gap"])
    assert not arrays["gap"][-1, 0, 1] < 1e300  # diverges beside the other, which does not
    assert arrays["gap"][-1, 0, 0] < arrays["gap"][0, 0, 0]
    assert SideBySide((one, two)).cost == 400


def tuned() -> Tuned:
    """Three step sizes, twice each: too short, good, and one that diverges."""
    problem = KnownSquares(n=20, d=10)
    lrs = (1e-3, 1e4, 0.3) * 2
    tuning = Run(
        problem,
        CompressedSGD(TopK(1)),
        lrs,
        200,
        7,
        6,
        batch=2,
        record=(190, 200),
        metrics=("gap",),
    )
    return Tuned(tuning, seed=8, replicates=3, record=50, metrics=("gap", "bytes"))


def test_the_step_size_is_chosen_on_other_runs_than_those_that_are_measured() -> None:
    work = tuned()
    arrays = work.compute()
    gap = replace(work.tuning, lr=0.3, replicates=1).compute()["gap"]
    assert gap.shape == (3, 1)
    assert list(arrays["lrs"]) == [1e-3, 0.3, 1e4]
    assert arrays["lr"] == 0.3
    assert arrays["tuning"][2] == np.inf
    measured = replace(
        work.tuning, lr=0.3, seed=8, replicates=3, record=50, metrics=("gap", "bytes")
    )
    assert np.array_equal(arrays["gap"], measured.compute()["gap"])
    assert set(arrays) == {"step", "gap", "bytes", "lrs", "tuning", "lr"}


def test_the_mean_over_copies_and_late_steps_decides() -> None:
    """Of 0.3 and 0.2, each twice."""
    work = tuned()
    tuning = replace(work.tuning, lr=(0.3, 0.2, 0.2, 0.3), replicates=4)
    gap = tuning.compute()["gap"]
    left = (gap[1:].mean(0) / gap[0])[[[1, 2], [0, 3]]].mean(1)
    assert np.allclose(replace(work, tuning=tuning).compute()["tuning"], left, rtol=1e-12)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"seed": 7}, "seed 7"), ({"tuning": replace(tuned().tuning, lr=0.1)}, "a step size a")],
)
def test_tuning_on_what_is_measured_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(tuned(), **change)


@pytest.mark.parametrize("lr", [InverseSqrt(0.1), StepDecay(0.1, (5, 9), 3.0)], ids=str)
def test_every_change_of_the_step_size_adds_to_what_is_lost(lr: Any) -> None:
    """Also where it grows; and rescaled nothing is lost."""
    arrays = MemoryUnits(KnownLogistic(n=30, d=10), TopK(1), lr, 20, 4, 0).compute()
    assert arrays["lost"][:, 0].max() < 1e-12
    assert arrays["lost"][-1, 1] > 1e-3
    assert arrays["unexplained"].max() < 1e-12
    assert {name: array.shape for name, array in arrays.items()} == {
        "gap": (21, 3),
        "apart": (21, 2),
        "lost": (21, 2),
        "unexplained": (21,),
    }


@pytest.mark.parametrize(
    ("c", "lr"), [(TopK(2), Constant(0.3)), (Identity(), StepDecay(0.3, (5,)))], ids=str
)
def test_units_do_not_matter_at_a_constant_step_size_or_without_a_memory(c: Any, lr: Any) -> None:
    arrays = MemoryUnits(KnownSquares(n=30, d=10), c, lr, 20, 4, 0).compute()
    assert max(arrays[name].max() for name in ("apart", "lost", "unexplained")) < 1e-12
    assert np.allclose(arrays["gap"], arrays["gap"][:, :1], rtol=1e-9)


# -- reading ---------------------------------------------------------------------------------------


def test_the_ratio_of_means_and_its_interval() -> None:
    """Numbers in pairs: 2 and 4 over 1 and 3, and Student's 12.706 for two of them."""
    found = ratio(np.array([2.0, 4.0]), np.array([1.0, 3.0]))
    half = 12.7062 * np.std([(2 - 1.5) / 2, (4 - 4.5) / 2], ddof=1) / math.sqrt(2)
    assert found.middle == 1.5
    assert np.allclose([found.low, found.high], [1.5 - half, 1.5 + half], rtol=1e-5)


def test_the_interval_holds_the_true_ratio_as_often_as_it_says() -> None:
    """2000 times 20 pairs of gaps of spread 0.3 that share half of it: 95 % within 4 s.e."""
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((2000, 20))
    above, below = (np.exp(0.2 * shared + 0.2 * rng.standard_normal((2000, 20))) for _ in range(2))
    hits = [(r.low <= 1 <= r.high) for r in map(ratio, above, below)]
    assert abs(np.mean(hits) - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 2000)


def test_the_whole_interval_must_lie_beyond_the_limit() -> None:
    """One that the limit lies in decides nothing."""
    wide, one = (
        ratio(np.array([2.0, 4.0]), np.array([1.0, 3.0])),
        ratio(np.ones(1), np.full(1, 2.0)),
    )
    relations: tuple[Relation, ...] = ("<=", ">")
    assert [claim_ratio("", "", wide, r, 1.5).word for r in relations] == ["observation"] * 2
    assert [claim_ratio("", "", wide, r, 9.0).word for r in relations] == ["pass", "FAIL"]
    assert [claim_ratio("", "", one, r, 1.0).word for r in relations] == ["pass", "FAIL"]
    assert claim_ratio("", "", Ratio(math.nan, 0.0), "<=", 1.0).word == "FAIL"
    assert str(one) == "0.5"
    assert claim_ratio("", "mine", wide, ">", 1.5).source == "mine, 95 %"
    assert claim_ratio("", "mine", one, ">", 1.5).source == "mine"


def test_the_gap_at_the_budget_is_that_of_ten_dense_gradients(results: Results) -> None:
    step, _, gap = history(results, TOP, THEOREM, PLAIN)
    (row,) = np.flatnonzero(step == 10)
    assert np.array_equal(at_budget(results, TOP, THEOREM, PLAIN), gap[row] / gap[0])
    step, sent, _ = history(results, TOP, THEOREM, "EF")
    steps = steps_within_budget(TopK(0.02))
    dense = 10 * variants_runs.message(Identity())
    (row,) = np.flatnonzero(step == steps)
    assert sent[row] <= dense < sent[row] + variants_runs.message(TopK(0.02))
    assert history(results, TOP, TUNED, "EF")[0][-1] == steps


def test_the_late_gap_is_the_mean_over_the_last_tenth(results: Results) -> None:
    gap = results[f"{TOP}, batches, EF"]["gap"]
    assert np.allclose(late(results, TOP, BATCHES, "EF"), gap[-9:].mean(0))  # 360, 365, ..., 400


# -- the picture -----------------------------------------------------------------------------------


def panels(module: Any, results: Results) -> Any:
    """The panels of a picture, a row for each problem, or one row."""
    with style.drawing():
        return np.reshape(module.draw(results).axes, (-1, 3))


@pytest.mark.parametrize("module", [variants, variants_batches], ids=NAMES[:2])
def test_every_problem_has_a_panel_for_each_compressor(module: Any, results: Results) -> None:
    axes = panels(module, results)
    for row, problem in zip(axes, ("least squares", "logistic"), strict=True):
        assert problem in row[0].get_ylabel()
        for ax, pair in zip(row, PAIRS[:3], strict=True):
            bounds = ["proven bound of EF and EF21"] * (module is variants)
            assert [line.get_label() for line in ax.lines] == method_names(pair) + bounds
            assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
            bands = len(method_names(pair)) if module is variants_batches else 0
            assert len(ax.collections) == bands
    assert "EF21+" not in method_names(RANDOM)
    assert set(method_names(TOP)) == set(THEOREMS)


@pytest.mark.parametrize("module", MODULES, ids=NAMES)
def test_every_column_names_its_compressor(module: Any, results: Results) -> None:
    titles = [ax.get_title() for ax in panels(module, results)[0]]
    assert titles == ["topk:0.02", "randk:0.02", "scaledsign\nEF is EF-signSGD (one bit)"]


def test_gaps_at_equal_bytes_are_marked_for_both_step_sizes(results: Results) -> None:
    """Hollow for that of the theorem, on both problems; a method that is left out says why."""
    (row,) = panels(variants_bytes, results)
    for ax, pair in zip(row, PAIRS[:3], strict=True):
        marks = [line for line in ax.lines if line.get_marker() in "os" and len(line.get_xdata())]
        hollow = [line for line in marks if line.get_fillstyle() == "none"]
        methods = len(method_names(pair))
        assert (len(marks), len(hollow)) == (4 * methods, 2 * methods)
        reasons = [text.get_text() for text in ax.texts]
        assert reasons == ["takes no random compressor"] * (len(THEOREMS) - methods)


def test_memories_in_both_units_are_drawn(results: Results) -> None:
    (row,) = panels(variants_memory, results)
    for ax in row:
        assert [line.get_label() for line in ax.lines] == [
            "gradient EF",
            "gradient EF, not rescaled",
            "both, constant step size",
        ]


def test_each_picture_asks_for_what_it_draws_and_no_more() -> None:
    """SGD is the same work for every compressor, and runs once."""
    works = [module.PICTURE.work(False, 0) for module in MODULES]
    assert [len(names) for names in works] == [1 + 6 + 5, 52, 6 + 52, 6 * 2]
    sgd = {repr(work) for name, work in works[1].items() if name.endswith(", SGD")}
    assert len(sgd) == 2
