"""The picture ``variants``: its panels, and each claim fails on results that break just it.

The results are those of the picture, of fewer steps.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from efsgd import CompressedSGD, Identity, Run, TopK
from efsgd.convex.problems.known_curvature import KnownLogistic, KnownSquares, design
from efsgd.convex.studies.side_by_side import MemoryUnits, SideBySide
from efsgd.figures import style
from efsgd.figures.cli import main
from efsgd.figures.convex import variants, variants_runs
from efsgd.figures.convex.variants_reading import (
    at_budget,
    best,
    bound,
    by_rate,
    compressor_of,
    curve,
    index,
    names_of,
    rate,
    step_of,
    summed_bound,
)
from efsgd.figures.convex.variants_runs import (
    ALL,
    BATCHES,
    DROP,
    GRID,
    THEOREM,
    THEOREMS,
    TUNED,
    problems,
)
from efsgd.results import Result, spec_of
from efsgd.schedules import Constant, InverseSqrt, StepDecay, Theorem

Results = dict[str, Result]
Change = Callable[[Any], None]
TOP, RANDOM, SIGNS = ALL[:3]


@pytest.fixture(scope="module")
def found() -> Results:
    """The results of the picture after few steps; made once, never changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(variants_runs, "STEPS", {THEOREM: 60, TUNED: 10, BATCHES: 30})
        works = variants.PICTURE.work(False, 0)
    results = {}
    for name, work in works.items():
        arrays = work.compute()
        for array in arrays.values():
            array.setflags(write=False)
        results[name] = Result(arrays, spec_of(work), {}, Path(f"{type(work).__name__}.npz"))
    return results


# -- claims ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Broken:
    """A claim, and what to do to which array of which result so that it just does not hold."""

    said: str  # finds the claim, and no other
    result: str
    array: str
    change: Change

    def doctored(self, results: Results) -> Results:
        """The results with this claim broken."""
        old = results[self.result]
        array = old[self.array].copy()
        self.change(array)
        return results | {self.result: replace(old, arrays=old.arrays | {self.array: array})}


def put(value: float, *where: Any) -> Change:
    """Some entries replaced."""

    def change(array: Any) -> None:
        array[where] = value

    return change


def over(at: str, name: str) -> Broken:
    """The last gap of a method just above its bound, on every replicate."""
    v = index(compressor_of(at), name)

    def change(gap: Any) -> None:
        limit = gap[0, v].max() * bound(step_of(at, name), np.array(60))
        gap[-1, v] = 1.0001 * limit + 1.1 * variants_runs.ROUNDING * gap[0, v].max()

    return Broken(f"^{re.escape(name)}, full .* above the proven", f"{at}, theorem", "gap", change)


def summed(at: str, name: str) -> Broken:
    """One gap as large as all may be together."""
    v, problem = index(compressor_of(at), name), problems()[at.partition(", ")[0]]

    def change(gap: Any) -> None:
        gap[-1, v] = gap[0, v] * summed_bound(step_of(at, name), problem)

    return Broken(f"^{name}, full .* over its proven", f"{at}, theorem", "gap", change)


UNITS = [
    Broken("constant lr", f"{SIGNS}, constant", "apart", put(1.1e-10, 150, 1)),
    Broken("100, rescaled", f"{RANDOM}, decayed", "apart", put(1.1e-10, 150, 0)),
    Broken("not rescaled: .*before$", f"{TOP}, decayed", "apart", put(1.1e-10, DROP, 1)),
    Broken("beyond sum", f"{ALL[5]}, decayed", "unexplained", put(1.1e-10, 150)),
    Broken(
        *("least of all runs", f"{ALL[4]}, decayed", "apart"),
        put(0.99 * variants.APART, slice(DROP + 1, None), 1),
    ),
]
TABLE = [
    *(over(SIGNS, name) for name in variants.PROVEN),
    *(summed(at, name) for at, name in zip(ALL, variants.SUMMED, strict=False)),
    *UNITS,
    Broken(r"^x_t - e_t = x_0", f"{TOP}, theorem", "virtual_residual", put(1e-10, 2, 0)),
    Broken("^the same with batches", f"{ALL[3]}, batches", "virtual_residual", put(1e-10, 1, 3)),
    Broken("^the optima of all", "optima", "gap", put(-1.0, 0)),
]


def claims(results: Results) -> dict[str, str]:
    told = [v for v in variants.PICTURE.verdicts(results) if v.kind == "claim"]
    assert len({v.claim for v in told}) == len(told)
    return {v.claim: v.word for v in told}


def test_all_claims_pass_and_each_has_one_way_to_break_it(found: Results) -> None:
    told = claims(found)
    assert set(told.values()) == {"pass"}
    for text in told:
        assert sum(re.search(broken.said, text) is not None for broken in TABLE) == 1, text
    assert len(told) == len(TABLE)


@pytest.mark.parametrize("broken", TABLE, ids=lambda broken: broken.said)
def test_a_claim_fails_where_it_does_not_hold_and_it_alone(broken: Broken, found: Results) -> None:
    (lost,) = [text for text, word in claims(broken.doctored(found)).items() if word == "FAIL"]
    assert re.search(broken.said, lost)


@pytest.mark.parametrize("name", ["EF", "EF, corrected", "EF21"])
def test_the_mean_over_random_messages_counts(name: str, found: Results) -> None:
    lost = claims(over(RANDOM, name).doctored(found))
    assert list(lost.values()).count("FAIL") == 1


def test_not_a_number_fails(found: Results) -> None:
    broken = replace(over(TOP, "EF"), change=put(np.nan, -1, index(TopK(0.02), "EF")))
    assert list(claims(broken.doctored(found)).values()).count("FAIL") == 1


def test_every_problem_and_compressor_is_told_of(found: Results) -> None:
    told = [v.claim for v in variants.PICTURE.verdicts(found) if v.kind == "observation"]
    for at in ALL:
        assert sum(text.startswith(at) for text in told) == 3


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


def test_the_best_step_size_is_that_of_the_criterion(found: Results) -> None:
    """Late gaps with batches, the gap at the budget with full gradients; NaN and inf never win."""
    v = index(compressor_of(TOP), "EF")
    for way, rows in ((BATCHES, slice(-1, None)), (TUNED, slice(-1, None))):
        _, gaps = by_rate(found[f"{TOP}, {way}"], v)
        chosen = best(found, TOP, way, v)
        assert chosen == np.argmin(gaps[rows].mean((0, 1)))
        assert np.array_equal(curve(found, TOP, way, v)[1], gaps[:, :, chosen].mean(1))

        def lost(gap: Any, chosen: int = chosen) -> None:
            gap[:, v].reshape(len(gap), -1, len(GRID))[-1, 0, chosen] = np.nan

        doctored = Broken("", f"{TOP}, {way}", "gap", lost).doctored(found)
        assert best(doctored, TOP, way, v) != chosen


def test_the_gap_at_the_budget_is_that_of_ten_dense_gradients(found: Results) -> None:
    gap = found[f"{TOP}, theorem"]["gap"][:, 0, 0]
    assert found[f"{TOP}, theorem"]["step"][5] == 10
    assert at_budget(found, TOP, THEOREM, 0) == gap[5] / gap[0]


# -- the picture -----------------------------------------------------------------------------------


def test_the_panels_are_those_promised(found: Results) -> None:
    with style.drawing():
        axes = np.reshape(variants.draw(found).axes, (6, 3))
    for row, problem in enumerate(("least squares", "logistic") * 2):
        assert problem in axes[row, 0].get_ylabel()
        for ax, at in zip(axes[row], ALL[:3], strict=True):
            extra = ["proven bound of EF and EF21"] * (row < 2)
            assert [line.get_label() for line in ax.lines] == names_of(at) + extra
            assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert [ax.get_title() for ax in axes[0]] == [
        "topk:0.02",
        "randk:0.02",
        "scaledsign: EF is EF-signSGD",
    ]
    for ax, at in zip(axes[4], ALL[:3], strict=True):  # theorem and tuned, on both problems
        marks = [line for line in ax.lines if line.get_marker() in "os" and len(line.get_xdata())]
        hollow = [line for line in marks if line.get_fillstyle() == "none"]
        assert (len(marks), len(hollow)) == (4 * len(names_of(at)), 2 * len(names_of(at)))
    for ax in axes[5]:
        assert [line.get_label() for line in ax.lines] == [
            "gradient EF",
            "gradient EF, not rescaled",
            "both, constant lr",
        ]
    assert "EF21+" not in names_of(RANDOM)
    assert set(names_of(TOP)) == set(THEOREMS)


def test_quick_makes_a_picture_without_verdicts(tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["convex", "variants", "--quick", "--jobs", "1", "--out", str(out)]
    outcome = CliRunner().invoke(main, [*words, "--results", str(tmp_path / "results")])
    assert outcome.exit_code == 0, outcome.output
    assert sorted(path.name for path in out.iterdir()) == ["variants.png", "verdicts.json"]
    assert json.loads((out / "verdicts.json").read_text()) == []
