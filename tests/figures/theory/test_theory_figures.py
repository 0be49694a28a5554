"""The pictures error-lemma, theorem-two and theorem-three, and the works that they show.

Every claim passes on real results and fails on doctored ones. Without this file a claim could pass
whatever was computed, and a worst case that is none would be drawn as one.
"""

import inspect
import re
from dataclasses import replace

import numpy as np
import pytest
from doctored import add, scale
from mutants import MUTANTS, edited, to_and_fro
from theory_pictures import LARGER, all_results, failed, failed_on, last_is_nan, never_failed

from efsgd import Compressor, Identity, Scaled, bounds, compressor
from efsgd.convex.problems.valleys import Crosswind, Huber, Valleys
from efsgd.convex.studies.error_lemma import AlongMemory, GivenLengths, Memories
from efsgd.convex.studies.extremal_compressors import Onward, slopes
from efsgd.convex.studies.theorem_three import Steepest, TheoremThree, inner
from efsgd.convex.studies.theorem_two import Halved, MeanGradients, Steady
from efsgd.convex.studies.worst_cases import WorstCases
from efsgd.figures.drawing import style
from efsgd.figures.theory import error_lemma, theorem_three, theorem_two

MODULES = {"error-lemma": error_lemma, "theorem-three": theorem_three, "theorem-two": theorem_two}


def smaller(work):
    """The same work with fewer replicates and steps, enough for every claim to hold."""
    if isinstance(work, Memories) and work.problems[0].d > 1:
        return replace(work, replicates=8, steps=60, record=20)
    if isinstance(work, MeanGradients):
        return replace(work, replicates=4, steps=1000 if work.compressor == Identity() else 200)
    if isinstance(work, Halved):
        return replace(work, steps=2000)
    long = (0.95, 4.0), (0.995, 1e9)  # q and L where the memory term alone is judged
    if isinstance(work, Steady) and work.steps > 4000 and (work.q, work.L) not in long:
        return replace(work, steps=4000)
    if isinstance(work, WorstCases):
        return replace(work, settings=work.settings[:5])
    if isinstance(work, TheoremThree) and len(work.settings) > 100:
        return replace(work, settings=tuple(row for row in work.settings if row[0] <= 20))
    return work


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The results of each figure, by its name."""
    return all_results(MODULES, smaller, tmp_path_factory.mktemp("theory"))


@pytest.mark.parametrize("figure", MODULES)
def test_every_claim_passes(results, figure):
    assert failed(MODULES[figure], results[figure]) == []
    claims = [v for v in MODULES[figure].verdicts(results[figure]) if v.passed is not None]
    assert len(claims) >= 6
    assert all(v.source for v in claims)


@pytest.mark.parametrize("figure", MODULES)
def test_every_figure_is_drawn(results, figure):
    with style.drawing():
        drawn = MODULES[figure].draw(results[figure])
    assert all(axes.lines and axes.get_legend() for axes in drawn.axes)
    assert MODULES[figure].PICTURE.name == figure


def test_every_axis_of_theorem_two_is_named(results):
    with style.drawing():
        axes = theorem_two.draw(results["theorem-two"]).axes
    assert all(ax.get_xlabel() and ax.get_ylabel() for ax in axes)


def test_dots_at_zero_are_whole(results):
    """The lower edge is at least half a marker below the least share of the lemma that is used."""
    with style.drawing():
        figure = error_lemma.draw(results["error-lemma"])
        figure.draw_without_rendering()
    ax = figure.axes[0]
    dots = [line for line in ax.lines if line.get_linestyle() == "None"]
    least = min(line.get_ydata().min() for line in dots)
    assert 0 <= least < 1e-3
    to_edge = (ax.transData.transform((0, least)) - ax.bbox.min)[1]  # in pixels
    assert to_edge * 72 / figure.dpi >= max(line.get_markersize() for line in dots) / 2


DOCTORED = [  # figure, names of results, the array, how it changes, what a failing claim says
    ("error-lemma", "topk:8", "squared", scale(1e3), r"exceeds"),
    ("error-lemma", "randk:4", "squared", last_is_nan, r"exceeds the form for their"),
    ("error-lemma", "extremal q=0.5", "squared", LARGER, r"relative distance"),
    ("error-lemma", "extremal q=0.5", "squared", scale(0.9), r"share of the lemma"),
    ("error-lemma", "lengths", "squared", LARGER, r"lr_t and sigma_t"),
    ("error-lemma", "lengths", "squared", last_is_nan, r"lr_t and sigma_t"),
    ("error-lemma", "randk:4", "squared", scale(3), r"over the lemma in the last half"),
    ("error-lemma", "along", "squared", scale(0.8), r"along its memory"),
    ("theorem-three", "grid", "mean", LARGER, r"over Theorem III"),
    ("theorem-three", "grid", "mean", last_is_nan, r"over Theorem III"),
    ("theorem-three", "grid", "mean", scale(1 - 1e-9), r"exact form - 1"),
    ("theorem-three", "late", "at_mean", scale(1 - 1e-9), r"mean iterate over the exact form"),
    ("theorem-three", "grid", "at_mean", last_is_nan, r"mean iterate over the exact form"),
    ("theorem-three", "far", "slope", LARGER, r"g_t\| over sigma"),
    ("theorem-three", "grid", "achieved", add(-1e-6), r"delta achieved"),
    ("theorem-three", "to and fro", "mean_loss", scale(1.03), r"run: largest mean"),
    ("theorem-three", "to and fro", "mean_loss", scale(0.99), r"then \(1\+q\)x"),
    ("theorem-three", "topk:8", "mean", scale(10), r"compressors on the same f"),
    ("theorem-three", "at mean, edge, 0.3", "value", scale(1 + 1e-4), r"distance from 1"),
    ("theorem-three", "at mean, short, 0.9", "value", scale(1 - 1e-4), r"distance from 1"),
    ("theorem-three", "start", "mean", scale(1 + 1e-9), r"exact form - 1"),
    ("theorem-three", "at mean, long, 1.0", "value", scale(1 - 1e-4), r"distance from 1"),
    ("theorem-three", "at mean, middle, 0.9", "value", scale(0.98), r": least$"),
    ("theorem-three", "at mean, middle, 0.9", "value", scale(1.01), r": largest$"),
    ("theorem-two", "identity", "mean", scale(1.5), r"means above it"),
    ("theorem-two", "identity", "mean", last_is_nan, r"means above it"),
    ("theorem-two", "steady, slope", "mean", scale(1.01), r"the sharper form"),
    ("theorem-two", "steady, 0.6", "mean", scale(1 + 1e-4), r"from sigma\^2"),
    ("theorem-two", "steady, 0.0", "mean", scale(1.01), r"best rho$"),
    ("theorem-two", "steady, 0.95", "mean", scale(1.2), r"mean, Theorem II, rho = 1$"),
    ("theorem-two", "steady, 0.95", "mean", scale(1.6), r"mean, Theorem II, rho = 1\.5$"),
    ("theorem-two", "steady, 0.95", "mean", scale(0.9), r"its memory term"),
    ("theorem-two", "steady, 0.0", "mean", scale(0.9), r"its middle term"),
    ("theorem-two", "steady, slope", "mean", scale(0.9), r"its first term"),
    ("theorem-two", "halved", "squared", scale(0.9), r"half its middle term"),
    ("theorem-two", "halved", "squared", add(1e-9), r"from its recursion"),
    ("theorem-two", "halved", "achieved", add(-1e-6), r"delta achieved"),
    ("theorem-two", "halved", "squared", scale(10), r"\|grad f\|\^2 over the sharper form"),
]
BY_MUTANTS = {
    r"distance from the least over",
    r"distance from the largest G",
    r"^T = 0, f = ",
}  # about formulas alone: see tests/mutants


@pytest.mark.parametrize("row", DOCTORED, ids=lambda row: ", ".join((*row[:3], row[-1])))
def test_doctored_results_fail(results, row):
    figure, *_, pattern = row
    texts = failed_on(MODULES[figure], results[figure], row)
    assert any(re.search(pattern, text) for text in texts), texts


@pytest.mark.parametrize("figure", MODULES)
def test_every_claim_has_been_seen_to_fail(results, figure):
    """All claims of a figure fail on some of the doctored results above."""
    rows = [row for row in DOCTORED if row[0] == figure]
    unbroken = never_failed(MODULES[figure], results[figure], rows)
    assert all(any(re.search(p, text) for p in BY_MUTANTS) for text in unbroken), unbroken


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.picture in MODULES], ids=str)
def test_every_mutant_of_a_formula_fails_a_claim(results, mutant):
    """A wrong theory is noticed; that it is wrong is shown in tests/figures/claims."""
    with mutant.applied():
        assert failed(MODULES[mutant.picture], results[mutant.picture])


def test_the_means_of_other_runs_notice_a_bound_that_is_a_little_too_small(results):
    """Without the runs along which |grad f| is sigma."""
    with edited(inspect.unwrap(bounds.theorem_two_sharp), "sigma**2)[()]", "sigma**2)[()] * 0.9"):
        texts = failed(theorem_two, results["theorem-two"])
    assert any("means above it" in text for text in texts), texts


# -- the works themselves --------------------------------------------------------------------------


def test_all_kinds_with_a_delta_are_there():
    relative = {
        name
        for name, kind in Compressor.registry.items()
        if kind.__module__.startswith("efsgd.")
        # the picture takes the contractive form of all
        and name not in ("sign", "powersgd", "contractive")
    }
    assert {spec.partition(":")[0] for spec in error_lemma.SPECS} >= relative
    assert not any(compressor(spec).random for spec in theorem_three.SPECS)


@pytest.mark.parametrize("c", [-0.2, 0.0, 0.3, 1.0])
def test_the_slopes_are_unit_vectors_with_equal_inner_products(c):
    gram = slopes(5, c) @ slopes(5, c).T
    np.testing.assert_allclose(gram, np.full((6, 6), c) + (1 - c) * np.eye(6), atol=1e-14)


@pytest.mark.parametrize("ratio", [0.5, 3.0, 9.0, 20.0])
def test_the_start_is_as_far_as_was_asked(ratio):
    c = inner(8, ratio)
    x = Steepest(8, c, far=1.0, R=ratio).x0(np.random.default_rng(0), 1)
    assert np.isclose(np.linalg.norm(x), ratio, rtol=1e-13)


@pytest.mark.parametrize(("T", "ratio"), [(-1, 1.0), (4, 0.0), (4, np.inf), (4, np.nan)])
def test_an_instance_that_does_not_exist_is_refused(T, ratio):
    with pytest.raises(ValueError, match="T must be 0, 1"):
        inner(T, ratio)


@pytest.mark.parametrize("delta", [None, 0.3])
def test_the_oracle_gives_subgradients_and_steps_along_its_slopes(delta):
    """f(y) >= f(x) + <g, y-x>, also where slopes tie; the t-th gradient of the run is u_t."""
    T, rng = 6, np.random.default_rng(1)
    problem = Steepest(T, inner(T, 2.0), far=0.5, sigma=2.0, delta=delta)
    x, y = rng.standard_normal((2, 200, T + 1))
    x[:50] = problem.x0(rng, 50)
    g = problem.gradient(x, rng)
    assert (problem.loss(y) >= problem.loss(x) + np.vecdot(g, y - x) - 1e-9).all()
    np.testing.assert_array_equal(g[0], 2.0 * slopes(T, problem.c)[0])


def test_the_worst_compressor_keeps_to_its_delta_everywhere():
    c, x = Onward(6, 0.1, 0.3), np.random.default_rng(2).standard_normal((50, 7))
    lost = np.vecdot(c(x) - x, c(x) - x) / np.vecdot(x, x)
    np.testing.assert_allclose(lost, 0.7, rtol=1e-13)


def test_the_constants_of_the_valleys():
    """f* = 0, slopes up to L/2, curvature in [-L/8, L], E|g|^2 <= sigma^2 with the noise."""
    problem, rng = Valleys(d=3, L=2.0), np.random.default_rng(3)
    x = np.linspace(-6, 6, 4001)[:, None] * np.ones(3)
    g = problem.full_gradient(x)
    slope = np.diff(g[:, 0]) / np.diff(x[:, 0])
    assert np.isclose(slope.max(), 2.0, rtol=1e-3)
    assert np.isclose(slope.min(), -0.25, rtol=1e-3)
    assert np.isclose(abs(g).max(), 1.0, rtol=1e-6)
    np.testing.assert_allclose(
        np.diff(problem.loss(x)), 3 * np.diff(x[:, 0]) * (g[1:] + g[:-1])[:, 0] / 2, atol=1e-5
    )
    assert problem.loss(np.zeros((1, 3)))[0] == 0 == problem.optimum.f
    noisy = problem.gradient(np.zeros((10, 3)), rng)
    np.testing.assert_allclose(np.vecdot(noisy, noisy), problem.noise**2, rtol=1e-13)
    assert np.isclose(problem.sigma**2, 3 + problem.noise**2)


def test_the_crosswind_is_orthogonal_and_fair():
    problem, rng = Crosswind(1.0, noise=0.5), np.random.default_rng(4)
    x = rng.standard_normal((4000, 2))
    noise = problem.gradient(x, rng) - x
    np.testing.assert_allclose(np.vecdot(noise, x), 0, atol=1e-13)
    np.testing.assert_allclose(np.vecdot(noise, noise), 0.25, rtol=1e-12)
    turned = noise[:, 0] * -x[:, 1] + noise[:, 1] * x[:, 0] > 0
    assert abs(turned.mean() - 0.5) < 4 * 0.5 / 4000**0.5


def test_the_run_against_the_halved_term():
    """Reference values: min_t E|grad|^2 = .0624 > .0594, the halved bound, at T = 10^4."""
    result = Halved().compute()
    sigma = np.sqrt(1 + result["squared"].max())
    full = bounds.theorem_two(
        f0=float(result["f0"]), lr=0.1, L=1.0, sigma=sigma, delta=0.9, T=10**4
    )
    assert round(float(result["squared"].min()), 4) == 0.0624
    assert round(float(full - 0.1 * sigma**2 / 2), 4) == 0.0594


def test_no_seed_changes_the_run_against_the_halved_term():
    one, two = (Halved(steps=200, seed=seed).compute()["squared"] for seed in (0, 1))
    np.testing.assert_allclose(one, two, rtol=1e-12)


@pytest.mark.parametrize("q", [0.0, 0.5, 0.9])
def test_a_steady_run_turns_at_the_ends_of_the_slope(q):
    """x goes from end to end once the memory is what it tends to; |grad f| stays sigma."""
    lr, straight = 2 * (1 - q) / (1 + q), round(-40 / np.log(q)) if q else 0
    steady = Steady(q, straight, straight + 51, L=2.0, sigma=3.0).compute()
    np.testing.assert_allclose(steady["mean"], 9.0, rtol=1e-12)
    assert np.isclose(steady["lr"], lr / 2)
    assert np.isclose(steady["achieved"], 1 - q**2, rtol=1e-12)
    problem = Huber(4.0, slope=3.0, L=2.0)
    x = np.linspace(-4, 4, 4001)[:, None]
    slope = np.gradient(problem.loss(x), x[:, 0])
    np.testing.assert_allclose(
        slope, problem.gradient(x, np.random.default_rng(0))[:, 0], atol=4e-3
    )
    np.testing.assert_array_equal(
        problem.measure(x)["gradient_squared"],
        problem.gradient(x, np.random.default_rng(0))[:, 0] ** 2,
    )


@pytest.mark.parametrize("lr", [0.25, 2.0])
def test_a_steady_run_beyond_the_slope_is_that_on_the_absolute_value(lr):
    """With L so large f is sigma |x|, and the mean of f(x_t) that of a recursion, in its units."""
    mean, letters = to_and_fro(0.9, 20, 200)
    steady = Steady(0.9, 20, 200, lr, L=1e12, sigma=3.0).compute()
    np.testing.assert_allclose(steady["mean"], 9.0, rtol=1e-12)
    assert np.isclose(steady["mean_loss"][-1], 9.0 * lr * mean, rtol=1e-9)
    assert np.isclose(steady["R"], 3.0 * lr * letters["R"], rtol=1e-9)


def test_gradients_of_given_lengths_by_hand():
    """q = .5: e_1 = .5 * .1 * 1 = .05, e_2 = .5 (.05 + .5 * 3) = .775."""
    run = GivenLengths(Scaled(Identity(), 0.5), (0.1, 0.5), (1.0, 3.0)).compute()
    np.testing.assert_allclose(run["squared"], [0, 0.05**2, 0.775**2], rtol=1e-14)
    with pytest.raises(ValueError, match="zip"):
        GivenLengths(Scaled(Identity(), 0.5), (0.1,), (1.0, 3.0)).compute()


def test_gradients_along_the_memory_add_up():
    """|p_t| = |e_t| + 1: with C(x) = (1-q)x the memory is that of the sharp form."""
    shrink = Scaled(Identity(), 0.4)
    along = AlongMemory(shrink, 5, 30, replicates=2).compute()
    sharp = bounds.error_sharp(lr=1.0, sigma=1.0, delta=float(along["delta"]), t=np.arange(31))
    np.testing.assert_allclose(along["squared"], sharp, rtol=1e-12)
    assert (along["error"] <= 1e-14).all()
