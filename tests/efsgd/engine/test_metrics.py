"""What is recorded: each metric against its definition, its choices, defaults and refusals.

Without this file a metric could be off by a step or a factor in every figure and result.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from compressor_table import COMPRESSORS, row, slow_but_some
from hypothesis import given, settings
from hypothesis import strategies as st

from efsgd.arrays import Array, Generator
from efsgd.compressors import (
    Blockwise,
    Compressor,
    Identity,
    Natural,
    RandK,
    Scaled,
    ScaledSign,
    Threshold,
    TopK,
)
from efsgd.engine.keys import METRICS
from efsgd.engine.problem import Optimum
from efsgd.engine.runs import Run, run
from efsgd.methods.base import Method
from efsgd.methods.feedback import EFSGD
from efsgd.methods.sgd import SGD, CompressedSGD, SignSGD, Signum
from efsgd.schedules import InverseSqrt, StepDecay


@dataclass(frozen=True)
class Noisy:
    """f(x) = |x - 1|^2/2 with N(0, sigma^2) on the gradient; logs iterates and gradients."""

    d: int = 6
    sigma: float = 1.0
    x_log: list[Array] = field(default_factory=list, compare=False, repr=False)
    g_log: list[Array] = field(default_factory=list, compare=False, repr=False)

    def x0(self, rng: Generator, replicates: int) -> Array:
        return rng.standard_normal((replicates, self.d))

    def loss(self, x: Array) -> Array:
        return np.vecdot(x - 1, x - 1) / 2

    def gradient(self, x: Array, rng: Generator) -> Array:
        g = x - 1 + self.sigma * rng.standard_normal(x.shape)
        self.x_log.append(x)
        self.g_log.append(g)
        return g


class WithOptimum(Noisy):
    @property
    def optimum(self) -> Optimum:
        return Optimum(np.ones(self.d), 0.0)


class Projected(Noisy):
    def project(self, x: Array) -> Array:
        return np.clip(x, -1, 1)


class Measured(Noisy):
    def measure(self, x: Array) -> dict[str, Array]:
        return {"first": x[:, 0], "largest": np.abs(x).max(-1)}


@dataclass(frozen=True)
class Linear:
    """f(x) = <g, x> with g = (3, 4)/5 in every replicate: a constant gradient of length 1."""

    d: int = 2

    def loss(self, x: Array) -> Array:
        return x @ np.array([0.6, 0.8])

    def gradient(self, x: Array, rng: Generator) -> Array:
        return np.tile([0.6, 0.8], (len(x), 1))


@dataclass(frozen=True)
class FewDirections:
    """A finite sum of <a_i, x>^2/2 - <b_i, x>: n gradients that span little of R^d, and a log."""

    n: int = 3
    d: int = 12
    log: list[Array] = field(default_factory=list, compare=False, repr=False)

    @property
    def a(self) -> Array:
        return np.random.default_rng(7).standard_normal((self.n, self.d))

    def x0(self, rng: Generator, replicates: int) -> Array:
        return rng.standard_normal((replicates, self.d))

    def loss(self, x: Array) -> Array:
        return ((x @ self.a.T - 1) ** 2).mean(-1) / 2

    def gradient(self, x: Array, rng: Generator) -> Array:
        a = self.a[rng.integers(self.n, size=len(x))]
        g = (np.vecdot(a, x)[:, None] - 1) * a
        self.log.append(g)
        return g


def norm(v: Array) -> Array:
    return np.sqrt(np.vecdot(v, v))


SPREAD: list[Method] = [
    SGD(),
    SGD(momentum=0.5),
    SignSGD(),
    Signum(),
    CompressedSGD(ScaledSign()),
    CompressedSGD(Threshold(abs=0.3)),
    EFSGD(),
    EFSGD(TopK(2), momentum=0.5, form="nesterov"),
    EFSGD(RandK(2)),
    EFSGD(Threshold(l2=0.8), weight_decay=0.1),
    EFSGD(Blockwise(RandK(1), 3)),
]


# -- each metric against its definition ----------------------------------------------------------


@pytest.mark.parametrize("method", SPREAD, ids=str)
def test_metrics_are_what_they_say(method: Method) -> None:
    """Followed with ``step`` along the gradients that the run saw, drawing what it drew."""
    problem = WithOptimum()
    history = run(Run(problem, method, 0.2, steps=12, replicates=3, seed=5))
    rng = np.random.default_rng(5).spawn(3)[2].spawn(1)[0]
    x, memory = problem.x_log[0], method.start(problem.x_log[0])
    for t, g in enumerate(problem.g_log):
        np.testing.assert_array_equal(x, problem.x_log[t])
        np.testing.assert_array_equal(history["loss"][t], problem.loss(x))
        np.testing.assert_allclose(history["distance"][t], norm(x - 1), rtol=1e-14)
        if memory.e is not None:
            np.testing.assert_allclose(history["memory_norm"][t], norm(memory.e), rtol=1e-14)
        update = method.step(x, g, memory, 0.2, rng)
        p, lost = update.p, update.sent - update.p
        achieved = 1 - np.vecdot(lost, lost) / np.vecdot(p, p)
        np.testing.assert_allclose(history["achieved_delta"][t], achieved, rtol=1e-12, atol=1e-12)
        for name, v in (("phi_g", g), ("phi_p", p)):
            phi = np.abs(v).sum(-1) ** 2 / (6 * np.vecdot(v, v))
            np.testing.assert_allclose(history[name][t], phi, rtol=1e-13)
        x, memory = update.x, update.memory
    np.testing.assert_array_equal(history["x_final"], x)
    np.testing.assert_array_equal(history["loss"][12], problem.loss(x))


def test_metrics_of_steps_end_with_nan_and_only_there() -> None:
    history = run(Run(WithOptimum(), EFSGD(), 0.2, steps=9, replicates=2, record=4))
    for name in ("achieved_delta", "phi_g", "phi_p"):
        assert np.isnan(history[name][-1]).all()
        assert np.isfinite(history[name][:-1]).all()
    for name in ("loss", "distance", "memory_norm", "virtual_residual", "bytes"):
        assert np.isfinite(history[name]).all()


def test_sparse_rows_are_rows_of_the_whole() -> None:
    whole_run = Run(Measured(), EFSGD(RandK(2)), 0.2, steps=30, replicates=2)
    metrics = tuple(name for name in run(whole_run) if name not in ("step", "x_final"))
    whole = run(replace(whole_run, metrics=(*metrics, "span_distance")))
    sparse = run(replace(whole_run, metrics=(*metrics, "span_distance"), record=(4, 11, 29)))
    assert sparse["step"].tolist() == [0, 4, 11, 29, 30]
    for name in (*metrics, "span_distance"):
        if name == "virtual_residual":  # relative to the largest |x| recorded so far
            continue
        np.testing.assert_array_equal(
            sparse[name][:-1], whole[name][sparse["step"][:-1]], err_msg=name
        )


EF_COMPRESSORS = [c for c in COMPRESSORS if c.guarantee in ("absolute", "none") or c.delta(6) > 0]


@pytest.mark.parametrize("c", slow_but_some(EF_COMPRESSORS), ids=str)
def test_the_virtual_iterate_is_exact(c: Compressor) -> None:
    """The residual in the history, and x_0 - sum lr g from the gradients the run really saw."""
    for lr in (0.1, InverseSqrt(0.5), StepDecay(0.3, at=(10, 20), factor=1e-3)):
        problem = Noisy()
        history = run(Run(problem, EFSGD(c), lr, steps=40, replicates=3))
        assert history["virtual_residual"].max() < 1e-10
        rates = [lr(t) if callable(lr) else lr for t in range(40)]
        virtual = problem.x_log[0] - np.tensordot(rates, np.stack(problem.g_log), 1)
        gap = norm(history["x_final"] - virtual)
        np.testing.assert_allclose(gap, history["memory_norm"][-1], rtol=1e-10, atol=1e-12)


PATHWISE = [c for c in COMPRESSORS if c.guarantee == "pathwise" and c.delta(6) > 0]


@pytest.mark.parametrize("c", PATHWISE, ids=str)
def test_the_error_lemma_holds_on_every_path(c: Compressor) -> None:
    """|e_t| <= lr G q (1 - q^t)/(1 - q), q = sqrt(1 - delta), G the largest |g| so far; derived:

    |e_(t+1)| <= q |p_t| <= q (lr G + |e_t|), from e_0 = 0.
    """
    problem, lr = Noisy(), 0.3
    history = run(Run(problem, EFSGD(c), lr, steps=60, replicates=4))
    q = np.sqrt(1 - c.delta(6))
    t = history["step"][:, None]
    most = np.max([norm(g) for g in problem.g_log], axis=0)
    bound = lr * most * (q * (1 - q**t) / (1 - q))
    assert (history["memory_norm"] <= bound * (1 + 1e-9) + 1e-13).all()


@pytest.mark.parametrize("q", [0.1, 0.5, 0.9, 0.99])
def test_the_error_lemma_is_attained(q: float) -> None:
    """C(x) = (1-q) x and a constant gradient of length 1: equality at every step."""
    history = run(Run(Linear(), EFSGD(Scaled(Identity(), 1 - q)), 0.3, steps=200, replicates=2))
    t = history["step"][:, None] * np.ones(2)
    expected = 0.3 * q * (1 - q**t) / (1 - q)
    np.testing.assert_allclose(history["memory_norm"], expected, rtol=1e-12, atol=1e-16)


# -- the span of the gradients -------------------------------------------------------------------


def brute_force(g: list[Array], v: Array) -> Array:
    """dist(v_r, span{g_0r, g_1r, ...}) by least squares, one replicate at a time."""
    out = np.zeros(len(v))
    for r in range(len(v)):
        columns = np.stack([gradient[r] for gradient in g], axis=1)
        best, *_ = np.linalg.lstsq(columns, v[r], rcond=1e-10)
        out[r] = np.linalg.norm(v[r] - columns @ best)
    return out


@pytest.mark.parametrize("method", SPREAD, ids=str)
@pytest.mark.parametrize("make", [FewDirections, lambda: FewDirections(n=8, d=20)])
def test_span_distance_is_least_squares(method: Method, make: Any) -> None:
    problem = make()
    start = run(Run(make(), SGD(), 1e-300, steps=1, replicates=3, metrics=()))["x_final"]
    for steps in (1, 2, 5, 20):
        problem.log.clear()
        spanned = Run(problem, method, 0.05, steps, replicates=3, metrics=("span_distance",))
        history = run(spanned)
        assert not history["span_distance"][0].any()
        expected = brute_force(problem.log, history["x_final"] - start)
        np.testing.assert_allclose(history["span_distance"][-1], expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(
    "c", [c for c in EF_COMPRESSORS if c.guarantee != "unbiased" or c.delta(12) > 0], ids=str
)
def test_feedback_stays_near_the_span(c: Compressor) -> None:
    """x_t - e_t lies in x_0 + span (paper, section 5), so the distance of x_t is at most |e_t|."""
    metrics = ("span_distance", "memory_norm")
    history = run(Run(FewDirections(), EFSGD(c), 0.05, 50, replicates=3, metrics=metrics))
    assert (history["span_distance"] <= history["memory_norm"] * (1 + 1e-9) + 1e-9).all()


@pytest.mark.parametrize("method", [SGD(), SGD(momentum=0.5), SGD(momentum=0.5, form="undecayed")])
def test_sgd_stays_in_the_span(method: Method) -> None:
    problem = FewDirections()
    metrics = ("span_distance", "loss")
    history = run(Run(problem, method, 0.02, 300, replicates=3, metrics=metrics))
    assert history["span_distance"].max() < 1e-8


def test_sign_methods_leave_the_span() -> None:
    history = run(Run(FewDirections(), SignSGD(), 0.1, 5, metrics=("span_distance",)))
    assert (history["span_distance"][1:] > 1e-2).all()


def test_the_whole_space_is_at_no_distance() -> None:
    """After more than d generic gradients nothing is left outside, also beyond the first 64."""
    long = Run(Noisy(d=80), SignSGD(), 0.1, 100, replicates=2, metrics=("span_distance",))
    distance = run(long)["span_distance"]
    assert (distance[1:60] > 1e-3).all()
    assert distance[80:].max() < 1e-8


def test_gradients_of_zero_span_nothing() -> None:
    """Weight decay alone moves x: x_t = (1 - 0.1)^t x_0, all of it outside the span."""

    class Still(Noisy):
        def gradient(self, x: Array, rng: Generator) -> Array:
            return np.zeros_like(x)

    still = Run(Still(), SGD(weight_decay=0.2), 0.5, 4, metrics=("span_distance",))
    history = run(still)
    start = norm(history["x_final"]) / 0.9**4
    expected = start * (1 - 0.9 ** history["step"][:, None])
    np.testing.assert_allclose(history["span_distance"], expected, rtol=1e-12)


def test_a_span_that_needs_too_much_memory_is_refused() -> None:
    huge = Run(Noisy(d=1000), SGD(), 0.1, 10**9, replicates=20, metrics=("span_distance",))
    with pytest.raises(
        ValueError, match=r"over 1000000000 steps of 20 replicates in dimension 1000"
    ):
        run(huge)


# -- bytes ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Logging(Compressor):
    """Another compressor that notes what it was given and what was drawn."""

    inner: Compressor
    log: list[tuple[Array, Any]] = field(default_factory=list, compare=False, repr=False)

    @property
    def random(self) -> bool:
        return self.inner.random

    @property
    def guarantee(self) -> Any:
        return "none"

    def draw(self, shape: tuple[int, ...], rng: Any = None, state: Any = None) -> Any:
        return self.inner.draw(shape, rng, state)

    def next_state(self, x: Array, drawn: Any) -> Any:
        return self.inner.next_state(x, drawn)

    def apply(self, x: Array, drawn: Any = None) -> Array:
        self.log.append((x.copy(), drawn))
        return self.inner.apply(x, drawn)


@pytest.mark.parametrize("make", [EFSGD, CompressedSGD, SignSGD, Signum])
@pytest.mark.parametrize("c", COMPRESSORS, ids=str)
def test_bytes_are_the_lengths_of_the_messages(c: Compressor, make: Any) -> None:
    """What was compressed is encoded here once more, with the draws of the run."""
    if make is EFSGD and c not in EF_COMPRESSORS:
        return
    lr, options = 0.03, {"steps": 8, "replicates": 2}
    history = run(Run(Noisy(), make(c), lr, **options))
    logging = Logging(c)
    logged = run(Run(Noisy(), make(logging), lr, metrics=("loss",), **options))
    np.testing.assert_array_equal(logged["x_final"], history["x_final"])
    total = np.zeros(2)
    np.testing.assert_array_equal(history["bytes"][0], total)
    assert len(logging.log) == 8
    for t, (x, drawn) in enumerate(logging.log):
        total += [len(c.encode(x[r], drawn=row(drawn, r))) for r in range(2)]
        np.testing.assert_array_equal(history["bytes"][t + 1], total)


def test_sgd_sends_dense_vectors() -> None:
    history = run(Run(Noisy(d=50), SGD(), 0.1, steps=5, record=5))
    message_bytes = len(Identity().encode(np.zeros(50)))
    assert message_bytes >= 8 * 50
    np.testing.assert_array_equal(history["bytes"], [[0], [5 * message_bytes]])


# -- what is recorded ----------------------------------------------------------------------------

STEPS = ("achieved_delta", "phi_g", "phi_p")
FEEDBACK = {"memory_norm", "virtual_residual"}


@pytest.mark.parametrize(
    ("problem", "method", "more"),
    [
        (Noisy(), SGD(), set()),
        (Noisy(), SignSGD(), set()),
        (Noisy(), EFSGD(), FEEDBACK),
        (WithOptimum(), EFSGD(), {"distance"} | FEEDBACK),
        (Projected(), EFSGD(), {"memory_norm"}),
        (Projected(), SGD(), set()),
        (Measured(), SGD(), {"first", "largest"}),
        (Measured(), EFSGD(), {"first", "largest"} | FEEDBACK),
    ],
)
def test_everything_that_applies_but_the_span(problem: Any, method: Method, more: set[str]) -> None:
    history = run(Run(problem, method, 0.1, steps=4, replicates=3))
    assert set(history) == {"step", "x_final", "loss", "bytes", *STEPS} | more
    assert history["step"].shape == (5,)
    assert history["step"].dtype.kind == "i"
    assert history["x_final"].shape == (3, 6)
    for name in set(history) - {"step", "x_final"}:
        assert history[name].shape == (5, 3), name
        assert history[name].dtype == np.float64, name


@pytest.mark.parametrize(
    "metrics",
    [(), ("loss",), ("phi_p", "memory_norm"), ("span_distance",), ("largest",), ("bytes", "first")],
    ids=str,
)
def test_metrics_asked_for_are_recorded_and_no_others(metrics: tuple[str, ...]) -> None:
    whole = run(Run(Measured(), EFSGD(), 0.1, steps=6, replicates=2))
    history = run(Run(Measured(), EFSGD(), 0.1, steps=6, replicates=2, metrics=metrics))
    assert set(history) == {"step", "x_final", *metrics}
    for name in metrics:
        if name != "span_distance":
            np.testing.assert_array_equal(history[name], whole[name])


@pytest.mark.parametrize(
    ("problem", "method", "name"),
    [
        (Noisy(), EFSGD(), "lss"),
        (Noisy(), EFSGD(), "distance"),
        (Noisy(), SGD(), "memory_norm"),
        (Noisy(), SignSGD(), "virtual_residual"),
        (Projected(), EFSGD(), "virtual_residual"),
        (Noisy(), SGD(), "first"),
        (Noisy(), SGD(), "step"),
        (Noisy(), SGD(), "x_final"),
    ],
)
def test_metrics_that_do_not_apply_are_refused(problem: Any, method: Method, name: str) -> None:
    with pytest.raises(ValueError, match=f"metrics: '{name}' is not recorded here") as refusal:
        run(Run(problem, method, 0.1, steps=2, metrics=("loss", name)))
    assert "loss" in str(refusal.value)
    assert "span_distance" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def steps(total: int, record: Any) -> list[int]:
    return Run(Noisy(), SGD(), 0.1, steps=total, record=record).recorded()


@pytest.mark.parametrize(
    ("total", "record", "expected"),
    [
        (3, None, [0, 1, 2, 3]),
        (1, None, [0, 1]),
        (10, 1, list(range(11))),
        (10, 5, [0, 5, 10]),
        (10, 4, [0, 4, 8, 10]),
        (10, 10, [0, 10]),
        (10, 99, [0, 10]),
        (10, (), [0, 10]),
        (10, (0, 10), [0, 10]),
        (10, (7, 2, 7), [0, 2, 7, 10]),
        (1000, None, list(range(1001))),
        (2000, None, list(range(0, 2001, 2))),
        (10**6, None, list(range(0, 10**6 + 1, 1000))),
    ],
)
def test_recorded_steps(total: int, record: Any, expected: list[int]) -> None:
    assert steps(total, record) == expected


@given(st.integers(1001, 10**7))
@settings(max_examples=50)
def test_long_runs_record_about_a_thousand_even_steps(total: int) -> None:
    chosen = steps(total, None)
    assert len(chosen) == 1001
    gaps = np.diff(chosen)
    assert (chosen[0], chosen[-1]) == (0, total)
    assert (np.abs(gaps - total / 1000) <= 1).all()


@pytest.mark.parametrize("record", [None, 1, 3, (2, 5)])
def test_the_history_has_the_recorded_steps(record: Any) -> None:
    recording = Run(Noisy(), EFSGD(Natural()), 0.1, steps=7, record=record)
    history = run(recording)
    assert history["step"].tolist() == recording.recorded()
    assert len(history["loss"]) == len(recording.recorded())


# -- what the keys are ----------------------------------------------------------------------------


def test_every_key_of_a_history_is_explained() -> None:
    """And only those: a metric without a sentence, or a sentence without its metric, is noticed."""
    keys: set[str] = set()
    for method in (EFSGD(TopK(2)), SGD()):
        keys |= run(Run(WithOptimum(), method, 0.1, steps=3)).keys()
    for local_steps in (1, 2):
        of_team = Run(Noisy(), EFSGD(), 0.1, steps=3, workers=2, local_steps=local_steps)
        keys |= run(of_team).keys()
    costly = Run(Noisy(), SGD(), 0.1, steps=3, metrics=("span_distance",))
    assert keys | run(costly).keys() == METRICS.keys()
    assert all(text.endswith(".") and len(text) > 10 for text in METRICS.values())


def test_the_keys_that_end_with_nan_say_so() -> None:
    history = run(Run(WithOptimum(), EFSGD(TopK(2)), 0.1, steps=3))
    for name, series in history.items():
        assert np.isnan(series[-1]).any() == ("NaN in the last row" in METRICS[name]), name
    assert "end with NaN" in str(run.__doc__)
