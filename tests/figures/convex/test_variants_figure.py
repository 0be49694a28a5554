"""The pictures ``variants``: their panels, and each claim fails on results that break just it.

The results are those of the pictures, of fewer steps. Without this file a claim could pass whatever
was computed, and curves of one method could be drawn as those of another.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from doctored import Broken, Results, computed, put

from efsgd import CompressedSGD, Identity, Run, TopK
from efsgd.convex.problems.known_curvature import KnownLogistic, KnownSquares, design
from efsgd.convex.studies.side_by_side import MemoryUnits, SideBySide
from efsgd.figures.claims.verdicts import Verdict
from efsgd.figures.cli import main
from efsgd.figures.convex import (
    variants,
    variants_batches,
    variants_bytes,
    variants_memory,
    variants_runs,
)
from efsgd.figures.convex.variants_reading import (
    best,
    bound,
    by_step_size,
    compressor_of,
    curve,
    gap_at_budget,
    index,
    method_names,
    rate,
    summed_bound,
    theorem_of,
)
from efsgd.figures.convex.variants_runs import (
    BATCHES,
    DROP,
    GRID,
    PAIRS,
    THEOREM,
    THEOREMS,
    TUNED,
    problems,
)
from efsgd.figures.drawing import style
from efsgd.schedules import Constant, InverseSqrt, StepDecay, Theorem

TOP, RANDOM, SIGNS = PAIRS[:3]
MODULES = (variants, variants_batches, variants_bytes, variants_memory)
NAMES = [module.PICTURE.name for module in MODULES]


@pytest.fixture(scope="module")
def results() -> Results:
    """The results of the pictures after few steps; made once, never changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(variants_runs, "STEPS", {THEOREM: 60, TUNED: 10, BATCHES: 30})
        works = {name: w for m in MODULES for name, w in m.PICTURE.work(False, 0).items()}
    return {name: computed(work) for name, work in works.items()}


# -- claims ----------------------------------------------------------------------------------------


def over(pair: str, name: str) -> Broken:
    """The last gap of a method just above its bound, on every replicate."""
    v = index(compressor_of(pair), name)

    def change(gap: Any) -> Any:
        limit = gap[0, v].max() * bound(theorem_of(pair, name), np.array(60))
        gap[-1, v] = 1.0001 * limit + 1.1 * variants_runs.ROUNDING * gap[0, v].max()
        return gap

    return Broken(
        f"^{re.escape(name)}, full .* above the proven", f"{pair}, theorem", "gap", change
    )


def summed(pair: str, name: str) -> Broken:
    """One gap as large as all may be together."""
    v, problem = index(compressor_of(pair), name), problems()[pair.partition(", ")[0]]

    def change(gap: Any) -> Any:
        gap[-1, v] = gap[0, v] * summed_bound(theorem_of(pair, name), problem)
        return gap

    return Broken(f"^{name}, full .* over its proven", f"{pair}, theorem", "gap", change)


LEAST = put(0.99 * variants_memory.LEAST_DISTANCE, slice(DROP + 1, None), 1)
UNITS = [
    Broken("constant lr", f"{SIGNS}, constant", "apart", put(1.1e-10, 150, 1)),
    Broken("100, rescaled", f"{RANDOM}, decayed", "apart", put(1.1e-10, 150, 0)),
    Broken("not rescaled: .*before$", f"{TOP}, decayed", "apart", put(1.1e-10, DROP, 1)),
    Broken("beyond sum", f"{PAIRS[5]}, decayed", "unexplained", put(1.1e-10, 150)),
    Broken("least of all runs", f"{PAIRS[4]}, decayed", "apart", LEAST),
]
TABLE = [
    *(over(SIGNS, name) for name in variants.PROVEN),
    *(summed(pair, name) for pair, name in zip(PAIRS, variants.SUMMED, strict=False)),
    *UNITS,
    Broken(r"^x_t - e_t = x_0 .* lr g: ", f"{TOP}, theorem", "virtual_residual", put(1e-10, 2, 0)),
    Broken(
        "^x_t - e_t = .* with batches", f"{PAIRS[3]}, batches", "virtual_residual", put(1e-10, 1, 3)
    ),
    Broken("^the optima of all", "optima", "gap", put(-1.0, 0)),
]


def verdicts_of(results: Results, kind: str) -> list[Verdict]:
    return [v for m in MODULES for v in m.PICTURE.verdicts(results) if v.kind == kind]


def claims(results: Results) -> dict[str, str]:
    verdicts = verdicts_of(results, "claim")
    assert len({v.claim for v in verdicts}) == len(verdicts)
    return {v.claim: v.word for v in verdicts}


def test_all_claims_pass_and_each_has_one_way_to_break_it(results: Results) -> None:
    words = claims(results)
    assert set(words.values()) == {"pass"}
    for text in words:
        assert sum(broken.finds(text) for broken in TABLE) == 1, text
    assert len(words) == len(TABLE)


@pytest.mark.parametrize("broken", TABLE, ids=lambda broken: broken.pattern)
def test_a_claim_fails_where_it_does_not_hold_and_it_alone(
    broken: Broken, results: Results
) -> None:
    (lost,) = [text for text, word in claims(broken.doctored(results)).items() if word == "FAIL"]
    assert broken.finds(lost)


@pytest.mark.parametrize("name", ["EF", "EF, corrected", "EF21"])
def test_the_mean_over_random_messages_counts(name: str, results: Results) -> None:
    lost = claims(over(RANDOM, name).doctored(results))
    assert list(lost.values()).count("FAIL") == 1


def test_not_a_number_fails(results: Results) -> None:
    broken = replace(over(TOP, "EF"), change=put(np.nan, -1, index(TopK(0.02), "EF")))
    assert list(claims(broken.doctored(results)).values()).count("FAIL") == 1


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


def test_the_rate_without_feedback_is_attained_at_the_slow_end() -> None:
    """f = mu x^2/2 with C(p) = (1-q) p shrinks by 1 - lr mu (1-q) a step, f by its square."""
    step = Theorem("cgd", 1.0, 0.1, 0.5)
    assert np.isclose(rate(step), (1 - step.lr * 0.1 * (1 - step.q)) ** 2, rtol=1e-12)


def test_the_bound_on_the_sum_of_gaps() -> None:
    """At A = 0 gradient descent with lr = 1/L: sum f - f* <= L/mu f_0, as rate 1 - mu/L gives."""
    problem = KnownSquares()
    assert summed_bound(Theorem("ef21-sgdm-exact", 1.0), problem) == pytest.approx(1 / 0.1)
    half = Theorem("ef21-sgdm-exact", 1.0, momentum=0.5)  # 1/(1 - mu) = 2: A = 1
    assert summed_bound(half, problem) == pytest.approx(2 * 2 / 0.1)


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


def test_the_best_step_size_is_that_of_the_criterion(results: Results) -> None:
    """Late gaps with batches, the gap at the budget with full gradients; NaN and inf never win."""
    v = index(compressor_of(TOP), "EF")
    for setting, rows in ((BATCHES, slice(-1, None)), (TUNED, slice(-1, None))):
        _, gaps = by_step_size(results[f"{TOP}, {setting}"], v)
        chosen = best(results, TOP, setting, v)
        assert chosen == np.argmin(gaps[rows].mean((0, 1)))
        assert np.array_equal(curve(results, TOP, setting, v)[1], gaps[:, :, chosen].mean(1))

        def diverged(gap: Any, chosen: int = chosen) -> Any:
            gap[:, v].reshape(len(gap), -1, len(GRID))[-1, 0, chosen] = np.nan
            return gap

        without = Broken("", f"{TOP}, {setting}", "gap", diverged).doctored(results)
        assert best(without, TOP, setting, v) != chosen


def test_the_gap_at_the_budget_is_that_of_ten_dense_gradients(results: Results) -> None:
    gap = results[f"{TOP}, theorem"]["gap"][:, 0, 0]
    assert results[f"{TOP}, theorem"]["step"][5] == 10
    assert gap_at_budget(results, TOP, THEOREM, 0) == gap[5] / gap[0]


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
    """Together all of it: the results have the same names and files as when they were one."""
    works = [module.PICTURE.work(False, 0) for module in MODULES]
    settings = [{name.rpartition(", ")[2] for name in names} for names in works]
    assert settings == [
        {"optima", THEOREM},
        {BATCHES},
        {THEOREM, TUNED},
        {"constant", "decayed"},
    ]
    assert [len(names) for names in works] == [6 + 1, 6, 6 + 6, 6 * 2]


def test_quick_makes_pictures_without_verdicts(tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["convex", *NAMES, "--quick", "--jobs", "1", "--out", str(out)]
    outcome = CliRunner().invoke(main, [*words, "--results", str(tmp_path / "results")])
    assert outcome.exit_code == 0, outcome.output
    assert {path.name for path in out.iterdir()} == {f"{name}-quick.png" for name in NAMES}
