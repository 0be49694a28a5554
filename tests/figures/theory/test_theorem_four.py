"""The pictures theorem-four and compression-for-free, and the studies that they show.

Every claim passes on real results and fails on doctored ones, and wrong bounds fail. Without this
file the exact expectations could be those of another method than the one that runs.
"""

import re
from dataclasses import replace

import numpy as np
import pytest
from doctored import add, put, scale
from mutants import MUTANTS, edited
from theory_pictures import LARGER, all_results, failed, failed_on, last_is_nan, never_failed

from efsgd import EFSGD, Run, bounds, compressor, run
from efsgd.convex.problems.bounded_noise import BoundedNoise, Slope
from efsgd.convex.problems.valleys import Crosswind
from efsgd.convex.studies import AllPaths, EntryGrowth, ExpectedSquares, LongRuns, Unscaled
from efsgd.convex.studies.unbiased_moments import outcomes
from efsgd.figures.drawing import style
from efsgd.figures.theory import (
    compression_for_free,
    theorem_four,
    theorem_four_claims,
    theorem_four_work,
)
from efsgd.figures.theory.theorem_four_work import UNBIASED

MODULES = {"theorem-four": theorem_four, "compression-for-free": compression_for_free}


def smaller(work):
    """The same work with fewer steps and replicates, enough for every claim to hold."""
    if isinstance(work, LongRuns):
        return replace(work, Ts=(100, 400, 3600), replicates=8)
    if isinstance(work, EntryGrowth):
        return replace(work, replicates=50)
    return work


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The results of each figure, by its name."""
    return all_results(MODULES, smaller, tmp_path_factory.mktemp("theory"))


@pytest.mark.parametrize("figure", MODULES)
def test_every_claim_passes(results, figure):
    assert failed(MODULES[figure], results[figure]) == []


@pytest.mark.parametrize("figure", MODULES)
def test_every_figure_is_drawn(results, figure):
    with style.drawing():
        drawn = MODULES[figure].draw(results[figure])
    assert all(ax.lines and ax.get_legend() and ax.get_xlabel() for ax in drawn.axes)


DOCTORED = [  # figure, names of results, the array, how it changes, what a failing claim says
    ("theorem-four", "TernGrad", "bias", put(1e-3, 2), r"E U\(x\) - x"),
    ("theorem-four", "natural", "second", LARGER, r"E\|U\(x\)\|\^2/\|x\|\^2"),
    ("theorem-four", "natural", "delta", add(1e-9), r"distance of the least delta from 1/k"),
    ("theorem-four", "rand-2", "delta", add(-1e-9), r"distance of the least delta from 1/k"),
    ("theorem-four", "memory, U with feedback, 2.0", "e_squared", LARGER, r"\(k-1\)\^t"),
    ("theorem-four", "memory, U/k with feedback, 4.0", "e_squared", LARGER, r"its recursion rel"),
    ("theorem-four", "memory, U/k with feedback, 4.0", "e_squared", scale(2), r"sharp lemma"),
    ("theorem-four", "paths, U without feedback", "x_squared", LARGER, r"off its recursion$"),
    ("theorem-four", "full gradients, U/k with feedback", "last", scale(2, slice(1, 2)), r"U/k"),
    ("theorem-four", "full gradients, U with feedback", "last", scale(2, slice(1, 2)), r"k < 2"),
    (
        "theorem-four",
        "full gradients, U with feedback",
        "last",
        scale(0.1, slice(11, 12)),
        r"k > 2",
    ),
    ("theorem-four", "growth", "log_entries", add(-6, 1, slice(None), 3), r"in s\.e\."),
    ("theorem-four", "growth", "log_entries", add(6, 1), r"in s\.e\."),
    ("theorem-four", "growth", "log_entries", scale(20, slice(None), slice(25)), r"in s\.e\."),
    ("theorem-four", "growth", "log_entries", last_is_nan, r"in s\.e\."),
    ("theorem-four", "gap, U/k with feedback", "last", scale(1.01), r"U/k with feedback off"),
    ("theorem-four", "gap, U without feedback", "last", last_is_nan, r"U without feedback off"),
    ("theorem-four", "gap, U/k with feedback", "last", scale(1 + 1e-5, slice(26, 39)), r"excess"),
    ("compression-for-free", "exact", "mean", scale(1.01), r"times \(T\+1\)\^\(1/2\) off"),
    ("compression-for-free", "exact", "mean", scale(1.01, slice(-1, None)), r"slope"),
    ("compression-for-free", "exact", "mean", scale(1.001, slice(0, 17)), r"what EF adds"),
    ("compression-for-free", "exact", "mean", scale(1.1), r"largest mean .* over the sharper form"),
    ("compression-for-free", "exact", "mean", scale(0.9), r"over Theorem II, off"),
    ("compression-for-free", "exact", "mean", scale(0.9), r"over Theorem II at its best"),
    ("compression-for-free", "exact", "mean", scale(0.9), r"1e10: mean over the sharper"),
    *(
        ("compression-for-free", name, "mean", change, re.escape(name) + pattern)
        for name in compression_for_free.SPECS
        for change, pattern in (
            (scale(1.05, -1), r".* plus 4 s\.e\., T"),
            (scale(0.9, -2), r".* against T"),
        )
    ),
]


@pytest.mark.parametrize("row", DOCTORED, ids=lambda row: ", ".join((*row[:3], row[-1])))
def test_doctored_results_fail(results, row):
    figure, *_, pattern = row
    texts = failed_on(MODULES[figure], results[figure], row)
    assert any(re.search(pattern, text) for text in texts), texts


@pytest.mark.parametrize("figure", MODULES)
def test_every_claim_has_been_seen_to_fail(results, figure):
    """All claims of a figure fail on some of the doctored results above."""
    rows = [row for row in DOCTORED if row[0] == figure]
    assert never_failed(MODULES[figure], results[figure], rows) == set()


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.formula == "theorem_four"], ids=str)
def test_every_mutant_of_theorem_four_fails_a_claim(results, mutant):
    """A wrong theory is noticed; that it is wrong is shown in tests/figures/claims."""
    with mutant.applied():
        assert failed(theorem_four, results["theorem-four"])


LEADING = [  # factors of f0 and of L in a wrong leading term of Theorem II
    (0.5, 1.0), (0.0, 1.0), (2.0, 1.0), (1.0, 0.5), (1.0, 2.0),
]  # fmt: skip


@pytest.mark.parametrize("name", ["PAPER", "BEST", "SHARP"])
@pytest.mark.parametrize(("of_f0", "of_L"), LEADING)
def test_a_wrong_leading_term_of_theorem_two_fails(results, monkeypatch, name, of_f0, of_L):
    right = getattr(compression_for_free, name)

    def wrong(*, f0, L, **letters):
        return right(f0=of_f0 * f0, L=of_L * L, **letters)

    wrong.source = "a mistake"
    monkeypatch.setattr(compression_for_free, name, wrong)
    assert failed(compression_for_free, results["compression-for-free"])


LAWS = [  # of the pictures themselves, and what is wrong: a power, a factor, a term
    (theorem_four_work.memory_alone, "(k - 1) * ((k - 1)", "k * ((k - 1)"),
    (theorem_four_work.memory_alone, "(k - 1) ** t - 1)", "k**t - 1)"),
    (theorem_four_work.memory_scaled, "2 * mean", "mean"),
    (theorem_four_work.memory_scaled, "mean = b *", "mean ="),
    (theorem_four_claims._entries, "log(RUN_K - 1) / RUN_K", "log(RUN_K) / RUN_K"),
    (theorem_four_claims._entries, "log(RUN_K - 1) / RUN_K", "log(RUN_K - 1) / 2"),
    (theorem_four_claims._entries, "log(RUN_K - 1) / RUN_K", "log(RUN_K - 1) / (RUN_K - 0.5)"),
    (theorem_four_claims._growth, "excess[beyond, None]", "(excess[beyond, None] + 1)"),
    (theorem_four_claims._higher_order, "noise**2 / 4", "noise / 4"),
    (theorem_four_claims._higher_order, "noise**2 / 4", "noise**2 / 2"),
    (theorem_four_claims._higher_order, "(limit * k)", "(limit * k**2)"),
    (theorem_four_claims._higher_order, "(L * limit", "(limit"),
    (theorem_four_claims._higher_order, "(k[1:] - 1))", "k[1:])"),
    (compression_for_free.leading, '["noise"] ** 2', '["noise"]'),
    (compression_for_free.leading, '["L"] * ', '["L"] ** 2 * '),
    (compression_for_free.leading, 'result["f0"] + ', ""),
    (compression_for_free.added, ' * result["L"]', ""),
    (compression_for_free.added, "(1 - delta) / delta", "1 / delta"),
    (compression_for_free.added, "(1 - delta) / delta", "(1 - delta)"),
]


@pytest.mark.parametrize(
    ("law", "before", "after"), LAWS, ids=lambda part: getattr(part, "__name__", part)
)
def test_a_wrong_law_fails_a_claim(results, law, before, after):
    name = "theorem-four" if "theorem_four" in law.__module__ else "compression-for-free"
    with edited(law, before, after):
        assert failed(MODULES[name], results[name])


# -- the studies -----------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", ["randk:1,unbiased", "qsgd:1", "terngrad", "natural"])
def test_the_listed_outcomes_are_those_of_the_compressor(spec):
    """The means of many draws are within 4.5 standard errors of the listed ones, entry by entry."""
    c, x, n = compressor(spec), np.array([3.0, -1.0, 0.4]), 20_000
    values, weights = outcomes(c, x)
    np.testing.assert_allclose(weights.sum(axis=0), 1, rtol=1e-15)
    drawn = c(np.tile(x, (n, 1)), np.random.default_rng(0))
    for power in (1, 2):
        mean, error = (drawn**power).mean(axis=0), (drawn**power).std(axis=0) / n**0.5
        expected = (weights * values**power).sum(axis=0)
        assert (abs(mean - expected) <= 4.5 * error + 1e-12).all()


def test_all_paths_are_those_of_the_method():
    """Without randomness, rand-1 of 1, they are the run of EFSGD itself."""
    paths = AllPaths("U/k with feedback", 1, 1, 0.3, 5, slope=1.0).compute()
    history = run(Run(Slope(), EFSGD(compressor("randk:1")), 0.3, 5, metrics=("loss",)))
    np.testing.assert_allclose(paths["x_squared"], history["loss"][:, 0] ** 2, rtol=1e-14)
    np.testing.assert_array_equal(paths["e_squared"], 0)


def test_the_recursion_is_that_of_runs():
    """Rand-1 of 2 with the noise across x: E|grad f|^2 within 4 standard errors at the end."""
    one = Run(
        problem=Crosswind(1.0, noise=0.5),
        method=EFSGD(compressor("randk:1")),
        lr=0.2,
        steps=12,
        replicates=4000,
        metrics=("gradient_squared",),
    )
    squared = run(one)["gradient_squared"]
    settings = tuple((2.0, 0.2, t) for t in range(13))
    exact = ExpectedSquares("U/k with feedback", settings, noise=0.5).compute()
    error = squared.std(axis=1) / 4000**0.5
    assert (abs(squared.mean(axis=1) - exact["last"]) <= 4 * error + 1e-12).all()
    np.testing.assert_allclose(exact["mean"], exact["last"].cumsum() / np.arange(1, 14), rtol=1e-12)
    assert np.isclose(exact["most"][-1], exact["last"].max())


def test_the_growth_of_entries_is_that_of_runs():
    """On the problem that they are from, the memory is that of a run with the same draws."""
    U, problem = compressor("randk:2,unbiased"), BoundedNoise(d=8, along=8, far=5.0)
    growth = EntryGrowth(U, problem, 0.01, 40, replicates=3).compute()
    np.testing.assert_allclose(
        np.log(np.exp(2 * growth["log_entries"]).sum(axis=2)) / 2, growth["log_norm"], rtol=1e-12
    )
    one = Run(problem, EFSGD(Unscaled(U)), 0.01, 40, replicates=2000, metrics=("memory_norm",))
    many = EntryGrowth(U, problem, 0.01, 40, replicates=2000).compute()["log_norm"][1]
    logs = np.log(run(one)["memory_norm"][-1])
    assert abs(many.mean() - logs.mean()) <= 4 * np.hypot(many.std(), logs.std()) / 2000**0.5


def test_feedback_takes_the_unscaled_compressor_in_its_wrapper_only():
    U = compressor("randk:2,unbiased")
    with pytest.raises(ValueError, match="can diverge"):
        EFSGD(U).check(8)
    EFSGD(Unscaled(U)).check(8)


def test_theorem_four_is_the_contractive_form():
    for spec, d in UNBIASED.values():
        U = compressor(spec)
        delta = bounds.theorem_four(k=1 + U.omega(d))
        assert np.isclose(U.contractive(d).delta(d), delta, rtol=1e-14)
