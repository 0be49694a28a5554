"""The engine: streams, batches, blocks, divergence, refusals, and problems users write.

Without this file methods of one figure could see different noise, a divergence could pass for a
result or be blamed on another step, and recording more could change a run.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from compressor_table import COMPRESSORS, slow_but_some
from engine_runs import Rows, equal
from hypothesis import given, settings
from hypothesis import strategies as st

import efsgd
from efsgd.arrays import Array, Generator
from efsgd.compressors import (
    QSGD,
    Blockwise,
    Compressor,
    Natural,
    RandK,
    TopK,
)
from efsgd.convex import CE2
from efsgd.convex.problems.sparse_noise import SparseNoise
from efsgd.engine.loop import CHECK_EVERY, Diverged
from efsgd.engine.problem import Problem
from efsgd.engine.runs import BLOCK, Run, run
from efsgd.methods.base import Method
from efsgd.methods.feedback import EFSGD
from efsgd.methods.sgd import SGD, CompressedSGD, SignSGD, Signum
from efsgd.schedules import AdaGradNorm, InverseSqrt


@dataclass(frozen=True)
class Noisy:
    """f(x) = |x|^2/2 with N(0, sigma^2) on every entry of the gradient, and a log of that noise."""

    d: int = 6
    sigma: float = 1.0
    log: list[Array] = field(default_factory=list, compare=False, repr=False)

    def x0(self, rng: Generator, replicates: int) -> Array:
        return rng.standard_normal((replicates, self.d))

    def loss(self, x: Array) -> Array:
        return np.vecdot(x, x) / 2

    def gradient(self, x: Array, rng: Generator) -> Array:
        noise = self.sigma * rng.standard_normal(x.shape)
        self.log.append(noise)
        return x + noise


@dataclass(frozen=True)
class Parabola:
    """f(x) = |x|^2/2 without noise, x_0 = 1, 2, ..., d in every replicate."""

    d: int = 5

    def x0(self, rng: Generator, replicates: int) -> Array:
        return np.tile(np.arange(1.0, self.d + 1), (replicates, 1))

    def loss(self, x: Array) -> Array:
        return (x**2).sum(-1) / 2  # without threads, unlike vecdot at large d

    def gradient(self, x: Array, rng: Generator) -> Array:
        return x.copy()


@dataclass(frozen=True)
class Growing:
    """Every step of size 1 multiplies x by 1 + rate; replicate r starts at starts[r] in each entry.

    The loss is |x|^2, which leaves the finite numbers long before x does, or 0.
    """

    starts: tuple[float, ...]
    rate: float
    d: int = 2
    lossless: bool = False

    def x0(self, rng: Generator, replicates: int) -> Array:
        return np.array(self.starts)[:replicates, None] * np.ones(self.d)

    def loss(self, x: Array) -> Array:
        return np.zeros(len(x)) if self.lossless else np.vecdot(x, x)

    def gradient(self, x: Array, rng: Generator) -> Array:
        return -self.rate * x


# -- every method with every compressor ----------------------------------------------------------


@pytest.mark.parametrize("c", COMPRESSORS, ids=str)
def test_every_method_runs_with_every_compressor(c: Compressor) -> None:
    methods: list[Method] = [
        make(c, **options)  # type: ignore[operator]
        for make in (CompressedSGD, SignSGD, Signum, EFSGD)
        for options in ({}, {"momentum": 0.5, "weight_decay": 0.1})
    ]
    for method in methods:
        refused = method.feeds_back and c.guarantee not in ("absolute", "none") and c.delta(6) <= 0
        if refused:
            with pytest.raises(ValueError, match="can diverge"):
                Run(Noisy(), method, 0.1, steps=4)
            continue
        history = run(Run(Noisy(), method, 0.1, steps=4, replicates=3))
        assert history["x_final"].shape == (3, 6)
        assert all(np.isfinite(series[:-1]).all() for series in history.values())


def test_the_history_is_the_plain_loop() -> None:
    """EF-signSGD, one replicate at a time, in the paper's own words (Algorithm 1)."""
    history = run(Run(Noisy(sigma=0.5), EFSGD(), 0.1, steps=30, replicates=3, seed=4))
    problem = Noisy(sigma=0.5)
    run(Run(problem, SGD(), 0.1, steps=30, replicates=3, seed=4, metrics=()))
    starts = run(Run(problem, SGD(), 1e-300, steps=1, replicates=3, seed=4, metrics=()))["x_final"]
    for r in range(3):
        x, e = starts[r].copy(), np.zeros(6)
        for t in range(30):
            np.testing.assert_allclose(history["loss"][t, r], np.sum(x**2) / 2, rtol=1e-10)
            np.testing.assert_allclose(
                history["memory_norm"][t, r], np.sqrt(np.sum(e**2)), rtol=1e-10, atol=1e-15
            )
            p = 0.1 * (x + problem.log[t][r]) + e
            sent = np.sum(np.abs(p)) / 6 * np.where(p >= 0, 1.0, -1.0)
            x, e = x - sent, p - sent
        np.testing.assert_allclose(history["x_final"][r], x, rtol=1e-10)


# -- streams -------------------------------------------------------------------------------------


STREAM_METHODS: list[Method] = [
    SGD(),
    SGD(momentum=0.9),
    SignSGD(),
    Signum(),
    CompressedSGD(RandK(2)),
    CompressedSGD(QSGD(2)),
    EFSGD(),
    EFSGD(RandK(1)),
    EFSGD(Natural()),
    EFSGD(Blockwise(RandK(1), 3)),
]


@pytest.mark.parametrize("metrics", [None, (), ("loss", "span_distance")], ids=str)
def test_all_methods_see_the_same_start_and_noise(metrics: tuple[str, ...] | None) -> None:
    noises, starts = [], []
    for method in STREAM_METHODS:
        problem = Noisy()
        history = run(Run(problem, method, 0.1, steps=20, replicates=3, metrics=metrics))
        noises.append(np.stack(problem.log))
        starts.append(history.get("loss", np.zeros(1))[0])
    for noise, start in zip(noises, starts, strict=True):
        np.testing.assert_array_equal(noise, noises[0])
        np.testing.assert_array_equal(start, starts[0])


def test_noise_differs_between_steps_replicates_and_seeds() -> None:
    noises = []
    for seed in range(3):
        problem = Noisy()
        run(Run(problem, SGD(), 0.1, steps=20, replicates=3, seed=seed))
        noises.append(np.stack(problem.log))
    entries = np.stack(noises).ravel()
    assert len(np.unique(entries)) == entries.size


def test_noise_differs_between_blocks() -> None:
    problem = Noisy(d=BLOCK // 2)
    run(Run(problem, SGD(), 0.1, steps=1, replicates=5, metrics=()))
    assert [len(noise) for noise in problem.log] == [2, 2, 1]
    entries = np.concatenate(problem.log).ravel()
    assert len(np.unique(entries)) == entries.size


@pytest.mark.parametrize("method", STREAM_METHODS, ids=str)
def test_the_same_run_twice_is_bitwise_the_same(method: Method) -> None:
    repeated = Run(Noisy(), method, InverseSqrt(0.3), steps=25, replicates=4, seed=11)
    equal(run(repeated), run(repeated))
    equal(run(repeated), repeated.compute())
    equal(run(repeated), run(repeated, diverged="keep"))


@pytest.mark.parametrize("method", STREAM_METHODS, ids=str)
def test_what_is_recorded_does_not_change_the_run(method: Method) -> None:
    """With and without watching each message, on the fast path and on the other."""
    whole = Run(Noisy(), method, 0.3, steps=25, replicates=4)
    final = run(whole)["x_final"]
    for metrics in ((), ("loss",), ("phi_p",), ("bytes",), ("span_distance",)):
        for record in (1, 7, (3,)):
            part = run(replace(whole, metrics=metrics, record=record))
            np.testing.assert_array_equal(part["x_final"], final)


def test_an_oracle_drawn_in_bulk_is_the_gradient() -> None:
    class OneByOne(SparseNoise):
        """Its own gradient, so that the inherited bulk oracle does not count."""

        def gradient(self, x: Array, rng: Generator) -> Array:
            return super().gradient(x, rng)

    for method in (SGD(), SGD(momentum=0.5), EFSGD(), SignSGD()):
        bulk = Run(SparseNoise(d=4), method, 1e-3, steps=150, replicates=3)
        equal(run(bulk), run(replace(bulk, problem=OneByOne(d=4))))


def test_neither_global_generator_nor_error_state_changes() -> None:
    before = np.random.get_state(legacy=False)  # noqa: NPY002
    with np.errstate(all="raise", under="ignore"):
        errors, buffer = np.geterr(), np.getbufsize()
        run(Run(Noisy(), EFSGD(RandK(2)), 0.1, steps=5, replicates=2))
        assert (np.geterr(), np.getbufsize()) == (errors, buffer)
        with pytest.raises(Diverged):
            run(Run(Growing((1.0,), 1e100), SGD(), 1.0, steps=20))
        assert (np.geterr(), np.getbufsize()) == (errors, buffer)
    after = np.random.get_state(legacy=False)  # noqa: NPY002
    assert str(before) == str(after)


# -- step sizes, one for each replicate ----------------------------------------------------------


@pytest.mark.parametrize("d", [5, BLOCK // 2, BLOCK + 3], ids=["one block", "three", "five"])
@pytest.mark.parametrize("method", [SGD(), SGD(momentum=0.5), SignSGD(), EFSGD(TopK(2)), EFSGD()])
def test_a_tuple_of_step_sizes_is_as_many_runs(method: Method, d: int) -> None:
    rates = (0.5, 0.1, 0.9, 1.1, 0.3)
    metrics = None if d == 5 else ("loss",)
    together = Run(Parabola(d), method, rates, steps=6, replicates=5, metrics=metrics)
    history = run(together)
    for r, lr in enumerate(rates):
        alone = run(replace(together, lr=lr, replicates=1))
        assert set(alone) == set(history)
        for name, series in alone.items():
            whole = history[name]
            if name not in ("step", "x_final"):
                whole = whole[:, r : r + 1]
            elif name == "x_final":
                whole = whole[r : r + 1]
            np.testing.assert_array_equal(whole, series, err_msg=name)


def test_adaptive_steps_are_each_replicate_s_own() -> None:
    problem = Growing((1.0, 5.0, 0.1), rate=-1.0)
    history = run(Run(problem, SGD(), AdaGradNorm(0.5), steps=9, replicates=3))
    for r, start in enumerate(problem.starts):
        alone = replace(problem, starts=(start,))
        final = run(Run(alone, SGD(), AdaGradNorm(0.5), steps=9))["x_final"]
        np.testing.assert_array_equal(history["x_final"][r], final[0])


# -- batches -------------------------------------------------------------------------------------


@given(batch=st.integers(1, 7), replicates=st.integers(1, 3))
@settings(max_examples=30)
def test_batches_are_drawn_without_replacement(batch: int, replicates: int) -> None:
    problem = Rows()
    run(Run(problem, SGD(), 0.1, steps=5, replicates=replicates, batch=batch))
    assert len(problem.log) == 5
    for rows in problem.log:
        assert rows.shape == (replicates, batch)
        assert rows.dtype.kind in "iu"
        assert rows.min() >= 0
        assert rows.max() < problem.n
        assert all(len(set(row)) == batch for row in rows.tolist())


@pytest.mark.parametrize("batch", [1, 3, 6])
def test_every_row_is_as_likely(batch: int) -> None:
    """Each row is in a batch with probability p = b/n, in 4000 independent batches."""
    problem, draws = Rows(), 4000
    run(Run(problem, SGD(), 0.1, steps=4, replicates=draws // 4, batch=batch))
    seen = np.bincount(np.stack(problem.log).ravel(), minlength=problem.n) / draws
    p = batch / problem.n
    assert (np.abs(seen - p) <= 4 * np.sqrt(p * (1 - p) / draws)).all()


def test_the_whole_batch_is_the_full_gradient() -> None:
    sampled = run(Run(Rows(), SGD(), 0.3, steps=10, replicates=2, batch=7))
    full = run(Run(Rows(), SGD(), 0.3, steps=10, replicates=2))
    for name in ("loss", "x_final"):
        np.testing.assert_allclose(sampled[name], full[name], rtol=1e-13)


def test_all_methods_see_the_same_batches() -> None:
    logs = []
    for method in (SGD(), EFSGD(RandK(1)), Signum()):
        problem = Rows()
        run(Run(problem, method, 0.1, steps=6, replicates=2, batch=2))
        logs.append(np.stack(problem.log))
    np.testing.assert_array_equal(logs[0], logs[1])
    np.testing.assert_array_equal(logs[0], logs[2])


# -- divergence ----------------------------------------------------------------------------------


def first_failure(run_: Run) -> tuple[int, int]:
    """The first step at which x_t or its loss is not finite, looked for at every step."""
    problem, rng = run_.problem, np.random.default_rng(0)
    x = problem.x0(rng, run_.replicates)  # type: ignore[attr-defined]
    memory = run_.method.start(x)
    with np.errstate(all="ignore"):
        for t in range(run_.steps + 1):
            fine = np.isfinite(x).all(-1) & np.isfinite(problem.loss(x))
            if not fine.all():
                return t, int(np.argmin(fine))
            g = problem.gradient(x, rng)
            x, memory, *_ = run_.method.step(x, g, memory, 1.0, rng)
    raise AssertionError("this run stays finite")


@pytest.mark.parametrize("lossless", [True, False], ids=["x", "loss"])
@pytest.mark.parametrize("rate", [0.5, 1.0, 9.0, 1e3, 1e10, 1e100, 1e308])
@pytest.mark.parametrize(
    "watched", [{}, {"metrics": ()}, {"record": 10**6}, {"record": 7}], ids=str
)
def test_the_exact_step_is_named(rate: float, lossless: bool, watched: dict[str, Any]) -> None:
    problem = Growing((1e-9, 2.0, 1.0), rate, lossless=lossless)
    diverging = Run(problem, SGD(), 1.0, steps=2000, replicates=3, **watched)
    step, replicate = first_failure(diverging)
    with pytest.raises(Diverged, match=f"replicate {replicate} is not finite at step {step},") as e:
        run(diverging)
    assert (e.value.step, e.value.replicate) == (step, replicate)


@pytest.mark.parametrize("before", [-1, 0, 1], ids=["a step before", "at", "a step after"])
@pytest.mark.parametrize("at", [1, CHECK_EVERY, 2 * CHECK_EVERY])
def test_the_last_step_counts(at: int, before: int) -> None:
    """x doubles from 2^(1024 - at), so that step ``at`` is the first that is not finite."""
    problem = Growing((2.0 ** (1024 - at),), 1.0, lossless=True)
    diverging = Run(problem, SGD(), 1.0, steps=at + before or 1, metrics=())
    if diverging.steps < at:
        assert np.isfinite(run(diverging)["x_final"]).all()
        return
    with pytest.raises(Diverged) as error:
        run(diverging)
    assert error.value.step == at


def test_a_start_whose_loss_is_not_finite_diverges_at_step_0() -> None:
    with pytest.raises(Diverged, match="replicate 1 is not finite at step 0"):
        run(Run(Growing((1.0, 1e200), 1.0), SGD(), 1.0, steps=3, replicates=2))


@pytest.mark.parametrize("replicate", range(5))
def test_the_replicate_of_a_later_block(replicate: int) -> None:
    """Two replicates to a block, and one step size that is far too large: 1e100, then 1e200."""
    rates = tuple(1e100 if r == replicate else 1e-3 for r in range(5))
    problem = Growing((1.0, 1.0), 1.0, d=BLOCK // 2)
    with pytest.raises(Diverged, match=f"replicate {replicate} is not finite at step 2") as error:
        run(Run(problem, SGD(), rates, steps=9, replicates=5, metrics=("loss",)))
    assert (error.value.step, error.value.replicate) == (2, replicate)


@dataclass(frozen=True)
class Unstable(Noisy):
    """Noise on a repelling parabola; the history holds max|x|."""

    def gradient(self, x: Array, rng: Generator) -> Array:
        return -super().gradient(x, rng)

    def measure(self, x: Array) -> dict[str, Array]:
        return {"largest": np.abs(x).max(-1)}


@pytest.mark.parametrize("method", [SGD(), CompressedSGD(RandK(2)), EFSGD(RandK(3)), EFSGD()])
@pytest.mark.parametrize("watched", [{}, {"record": 500, "metrics": ("loss",)}], ids=str)
def test_the_exact_step_of_a_random_run(method: Method, watched: dict[str, Any]) -> None:
    """The repetition meets the same noise and the same draws as the run kept to its end."""
    diverging = Run(Unstable(), method, 2.0, steps=1500, replicates=4, **watched)
    history = run(replace(diverging, record=1, metrics=("loss", "largest")), diverged="keep")
    fine = np.isfinite(history["loss"]) & np.isfinite(history["largest"])
    step = int(np.argmin(fine.all(-1)))
    with pytest.raises(Diverged) as error:
        run(diverging)
    assert (error.value.step, error.value.replicate) == (step, int(np.argmin(fine[step])))


def test_keep_goes_on_beside_the_others() -> None:
    problem = Growing((1.0, 0.0, 1e-200), 9.0)
    history = run(Run(problem, SGD(), 1.0, steps=400, replicates=3), diverged="keep")
    assert not np.isfinite(history["loss"][-1, 0])
    assert not np.isfinite(history["x_final"][0]).any()
    assert not history["x_final"][1].any()
    np.testing.assert_allclose(history["x_final"][2], 1e200, rtol=1e-10)  # 1e-200 * 10^400
    first = int(np.argmin(np.isfinite(history["loss"][:, 0])))
    assert first == first_failure(Run(problem, SGD(), 1.0, steps=400, replicates=1))[0]


EXPLODING = [c for c in COMPRESSORS if c.delta(6) > 0]


@pytest.mark.parametrize("make", [CompressedSGD, EFSGD])
@pytest.mark.parametrize("metrics", [None, ("loss",)], ids=str)
@pytest.mark.parametrize("c", slow_but_some(EXPLODING), ids=str)
def test_no_compressor_hides_a_divergence(
    c: Compressor, metrics: tuple[str, ...] | None, make: Any
) -> None:
    """Messages of inf and NaN are made between two looks: Diverged is the only way to say so."""
    problem = Growing((0.0, 1.0, 0.5), 1e30, d=6)
    diverging = Run(problem, make(c), 1.0, steps=80, replicates=3, metrics=metrics)
    with pytest.raises(Diverged) as error:
        run(diverging)
    history = run(diverging, diverged="keep")
    fine = np.isfinite(history["loss"])
    assert fine[-1].tolist() == [True, False, False]
    step = int(np.argmin(fine.all(-1)))
    assert (error.value.step, error.value.replicate) == (step, int(np.argmin(fine[step])))
    np.testing.assert_array_equal(history["x_final"][0], 0.0)


@pytest.mark.parametrize("c", EXPLODING, ids=str)
def test_a_memory_of_nan_has_diverged(c: Compressor) -> None:
    """Some compressors make finite messages of NaN: then x stays finite, but e and x - e do not."""

    class Broken(Parabola):
        def gradient(self, x: Array, rng: Generator) -> Array:
            return np.where(x > 1, np.nan, 1.0)

    with pytest.raises(Diverged, match="replicate 0 is not finite at step 1") as error:
        run(Run(Broken(6), EFSGD(c), 0.1, steps=3, metrics=("loss",)))
    assert error.value.step == 1


# -- compressors that start warm -----------------------------------------------------------------


@dataclass(frozen=True)
class Warm(Compressor):
    """Half of x; its state counts the steps of each replicate, and holds what it was given."""

    seen: list[Any] = field(default_factory=list)
    random = True

    def draw(self, shape: tuple[int, ...], rng: Any = None, state: Any = None) -> Array:
        self.seen.append(state)
        return np.zeros((*shape[:-1], 1)) if state is None else state

    def apply(self, x: Array, drawn: Any = None) -> Array:
        return x / 2

    def next_state(self, x: Array, drawn: Any) -> Any:
        return drawn + x.sum(-1, keepdims=True)


@pytest.mark.parametrize("make", [CompressedSGD, EFSGD, SignSGD, Signum])
def test_a_warm_compressor_gets_its_own_state_back(make: Any) -> None:
    """The state is the sum of all it was given so far; each step sees that of the step before."""
    c = Warm()
    metrics = ("loss",)
    run(Run(Parabola(2), make(c), 0.5, steps=5, replicates=2, metrics=metrics))
    assert c.seen[0] is None
    inputs = Warm()
    x = Parabola(2).x0(np.random.default_rng(0), 2)
    method = make(inputs)
    memory, total = method.start(x), np.zeros((2, 1))
    for t in range(5):
        assert t == 0 or (c.seen[t] == total).all()
        update = method.step(x, x.copy(), memory, 0.5, np.random.default_rng(0))
        compressed = update.p if make is EFSGD else update.p / 0.5
        total = total + compressed.sum(-1, keepdims=True)
        x, memory = update.x, update.memory
    assert len(c.seen) == 5


def test_each_block_starts_cold() -> None:
    c = Warm()
    run(Run(Parabola(BLOCK // 2), EFSGD(c), 0.5, steps=3, replicates=3, metrics=()))
    assert [state is None for state in c.seen] == [True, False, False] * 2
    assert [len(state) for state in c.seen if state is not None] == [2, 2, 1, 1]


# -- a run refuses early, in words, with the value -----------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": "loss"}, r"metrics must be a tuple of names: write \('loss',\)"),
        ({"record": np.array([1.0, 3.0])}, "not 1.0: write the integer 1"),
        ({"steps": 0}, "steps must be a whole number 1, 2, ..., not 0"),
        ({"steps": -3}, "steps must be .* not -3"),
        ({"steps": 2.5}, "steps must be .* not 2.5"),
        ({"steps": True}, "steps must be .* not True"),
        ({"steps": float("nan")}, "steps must be .* not nan"),
        ({"steps": "a"}, "steps must be .* not a"),
        ({"steps": 2.0}, "steps must be .* not 2.0"),
        ({"replicates": 0}, "replicates must be a whole number 1, 2, ..., not 0"),
        ({"replicates": 1.5}, "replicates must be .* not 1.5"),
        ({"replicates": 2.0}, "replicates must be .* not 2.0"),
        ({"seed": -1}, "seed must be a whole number 0, 1, ..., not -1"),
        ({"seed": 0.5}, "seed must be .* not 0.5"),
        ({"seed": 1.0}, "seed must be .* not 1.0"),
        ({"seed": None}, "seed must be .* not None"),
        ({"lr": 0.0}, "lr must be positive and finite, not 0.0"),
        ({"lr": float("inf")}, "lr must be positive and finite, not inf"),
        ({"lr": (0.1, 0.2)}, "lr names 2 step sizes for 3 replicates"),
        ({"lr": (0.1, 0.2, -0.3)}, "lr must be positive and finite, not -0.3"),
        ({"lr": [0.1, 0.2]}, "lr names 2 step sizes for 3 replicates"),
        ({"lr": np.full((3, 1), 0.1)}, r"of shape \(3,\), not with the row \[0.1\]: use lr.ravel"),
        ({"lr": (0.1, "a", 0.3)}, "lr must be a single number, not 'a'"),
        ({"record": [0, 11]}, "record must be a whole number 0, 1, ..., 10, not 11"),
        ({"record": np.array([0.5])}, "record must be a whole number 0, 1, ..., 10, not 0.5"),
        ({"record": 0}, "record must be a whole number 1, 2, ..., not 0"),
        ({"record": -1}, "record must be a whole number 1, 2, ..., not -1"),
        ({"record": 2.5}, "record must .* not 2.5"),
        ({"record": (0, 11)}, "record must be a whole number 0, 1, ..., 10, not 11"),
        ({"record": (-1,)}, "record must be a whole number 0, 1, ..., 10, not -1"),
        ({"record": (0.5,)}, "record must be a whole number 0, 1, ..., 10, not 0.5"),
        ({"batch": 2}, r"batch=2 needs a problem with n and batch_gradient\(x, rows\)"),
        ({"problem": Rows(), "batch": 8}, "batch must be a whole number 1, 2, ..., 7, not 8"),
        ({"problem": Rows(), "batch": 0}, "batch must be a whole number 1, 2, ..., 7, not 0"),
        ({"problem": Rows(), "batch": 2.5}, "batch must .* not 2.5"),
    ],
    ids=str,
)
def test_a_run_that_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"problem": Noisy(), "method": SGD(), "lr": 0.1, "steps": 10}
    with pytest.raises(ValueError, match=message) as refusal:
        Run(**arguments | {"replicates": 3} | options)
    assert "\n" not in str(refusal.value)


def test_sequences_of_every_kind_are_taken() -> None:
    """Lists, ranges and arrays are the tuples that they hold, so that the run is the same value."""
    options: dict[str, Any] = {"problem": Noisy(), "method": SGD(), "steps": 10, "replicates": 3}
    plain = Run(lr=(0.1, 0.2, 0.3), record=(0, 4, 8), metrics=("loss",), **options)
    for lr in ([0.1, 0.2, 0.3], np.array([0.1, 0.2, 0.3])):
        for record in ([0, 4, 8], range(0, 9, 4), np.arange(0, 9, 4)):
            same = Run(lr=lr, record=record, metrics=["loss"], **options)
            assert same == plain
            assert hash(same.lr) == hash(plain.lr)
            assert same.recorded() == [0, 4, 8, 10]
    for number in (np.array(0.25), np.float64(0.25)):
        assert Run(lr=number, **options) == Run(lr=0.25, **options)
    assert np.array_equal(run(same)["x_final"], run(plain)["x_final"])


class Reusing(Noisy):
    """Returns its gradient, and its projection, in one buffer each time."""

    def __init__(self) -> None:
        super().__init__()
        for name in ("g", "x"):
            object.__setattr__(self, name, np.empty((0, 0)))

    def _in(self, name: str, value: Array) -> Array:
        if getattr(self, name).shape != value.shape:
            object.__setattr__(self, name, np.empty_like(value))
        getattr(self, name)[:] = value
        buffer: Array = getattr(self, name)
        return buffer

    def gradient(self, x: Array, rng: Generator) -> Array:
        return self._in("g", super().gradient(x, rng))

    def project(self, x: Array) -> Array:
        return self._in("x", np.clip(x, -2, 2))


class Fresh(Reusing):
    """The same with new arrays."""

    def _in(self, name: str, value: Array) -> Array:
        return value


@pytest.mark.parametrize("method", [SGD(momentum=0.5), EFSGD(momentum=0.5, weight_decay=0.1)])
def test_a_problem_may_use_its_buffers_again(method: Method) -> None:
    histories = []
    for problem in (Fresh(), Reusing()):
        first = run(Run(problem, method, 0.1, steps=9, replicates=3))
        before = {name: series.copy() for name, series in first.items()}
        run(Run(problem, method, 0.2, steps=9, replicates=3, seed=1))
        for name, series in first.items():
            assert np.array_equal(series, before[name], equal_nan=True), name
        histories.append(first)
    for name in histories[0]:
        assert np.array_equal(histories[0][name], histories[1][name], equal_nan=True), name


def test_diverged_takes_two_words() -> None:
    with pytest.raises(ValueError, match="diverged must be 'raise' or 'keep', not 'ignore'"):
        run(Run(Noisy(), SGD(), 0.1, steps=1), diverged="ignore")  # type: ignore[arg-type]


def test_half_a_finite_sum_is_refused() -> None:
    class OnlyN(Noisy):
        n = 5

    with pytest.raises(ValueError, match="batch=2 needs a problem with n and batch_gradient"):
        Run(OnlyN(), SGD(), 0.1, steps=2, batch=2)


# -- problems users write ------------------------------------------------------------------------


class Mine:
    """The least a problem needs: no x0, no noise, no dataclass."""

    d = 3

    def loss(self, x: Any) -> Any:
        return ((x - 1) ** 2).sum(1)

    def gradient(self, x: Any, rng: Generator) -> Any:
        return 2 * (x - 1)


def test_the_least_problem_starts_at_0_and_is_solved() -> None:
    assert isinstance(Mine(), Problem)
    for method in (SGD(), EFSGD(), EFSGD(TopK(1)), SGD(momentum=0.5)):
        history = efsgd.run(Run(Mine(), method, 0.05, steps=500))
        assert history["loss"][0, 0] == 3.0
        np.testing.assert_allclose(history["x_final"], 1.0, atol=1e-6)


@pytest.mark.parametrize("method", [SGD(), SGD(momentum=0.5), SignSGD(), EFSGD(TopK(1))], ids=str)
@pytest.mark.parametrize(
    "kind", [np.int8, np.int64, np.float32, np.float16, bool, list], ids=lambda kind: kind.__name__
)
def test_gradients_of_other_types_work(kind: Any, method: Method) -> None:
    """Gradients 0 and 1 are exact in all of them."""

    class Typed(Mine):
        def gradient(self, x: Array, rng: Generator) -> Any:
            g = rng.integers(2, size=x.shape)
            return g.tolist() if kind is list else g.astype(kind)

    class Exact(Typed):
        def gradient(self, x: Array, rng: Generator) -> Any:
            return rng.integers(2, size=x.shape).astype(float)

    typed = Run(Typed(), method, 0.25, steps=8, replicates=2)
    history = run(typed)
    assert history["x_final"].dtype == np.float64
    equal(history, run(replace(typed, problem=Exact())))


@pytest.mark.parametrize("start", [[[1, 2, 3]], np.ones((1, 3), np.float32)], ids=["list", "f4"])
def test_starts_of_other_types_work(start: Any) -> None:
    class Started(Mine):
        def x0(self, rng: Generator, replicates: int) -> Any:
            return start

    history = run(Run(Started(), SGD(), 0.25, steps=1))
    assert history["x_final"].dtype == np.float64
    np.testing.assert_array_equal(history["x_final"], np.asarray(start) / 2 + 0.5)


def test_a_start_is_not_written_to() -> None:
    start = np.full((2, 3), 5.0)

    class Started(Mine):
        def x0(self, rng: Generator, replicates: int) -> Any:
            return start

        def project(self, x: Array) -> Array:
            return np.clip(x, -1, 1, out=x)  # in place, on what is its own

    run(Run(Started(), EFSGD(), 0.25, steps=4, replicates=2))
    np.testing.assert_array_equal(start, 5.0)


WRONG: list[tuple[str, Any, str]] = [
    ("loss", lambda self, x: x.sum(), r"loss returned shape \(\) for x of shape \(2, 3\)"),
    ("loss", lambda self, x: x, r"loss returned shape \(2, 3\) for x of shape \(2, 3\)"),
    ("loss", lambda self, x: x[:, :1], r"loss returned shape \(2, 1\)"),
    ("gradient", lambda self, x, rng: x[0], r"gradient returned shape \(3,\) for x of shape"),
    ("gradient", lambda self, x, rng: x[:, :1], r"gradient returned shape \(2, 1\) for x of"),
    ("gradient", lambda self, x, rng: x.T, r"gradient returned shape \(3, 2\) for x of shape"),
    ("x0", lambda self, rng, replicates: np.zeros(3), r"x0 returned shape \(3,\), but \(2, 3\)"),
    ("x0", lambda self, rng, replicates: np.zeros((1, 3)), r"x0 returned shape \(1, 3\), but"),
    ("x0", lambda self, rng, replicates: np.full((2, 3), np.nan), "x0 holds NaN or inf"),
    ("x0", lambda self, rng, replicates: np.full((2, 3), np.inf), "x0 holds NaN or inf"),
]


@pytest.mark.parametrize("diverged", ["raise", "keep"])
@pytest.mark.parametrize(("name", "function", "message"), WRONG)
def test_wrong_shapes_and_starts_are_one_sentence(
    name: str, function: Any, message: str, diverged: Any
) -> None:
    problem = type("Wrong", (Mine,), {name: function})()
    with pytest.raises(ValueError, match=message) as refusal:
        run(Run(problem, SGD(), 0.1, steps=3, replicates=2), diverged=diverged)
    assert "\n" not in str(refusal.value)


def test_projection_follows_every_step() -> None:
    class Boxed(Noisy):
        def project(self, x: Array) -> Array:
            return np.clip(x, -0.25, 0.5)

        def measure(self, x: Array) -> dict[str, Array]:
            return {"high": x.max(-1), "low": x.min(-1)}

    for method in (SGD(), EFSGD(), EFSGD(TopK(1), momentum=0.5)):
        history = run(Run(Boxed(), method, 0.5, steps=30, replicates=2))
        assert history["high"][1:].max() <= 0.5
        assert history["low"][1:].min() >= -0.25


def test_a_hundred_thousand_steps_keep_few_rows() -> None:
    few = Run(Parabola(2), SGD(), 1e-4, steps=100_000, record=25_000, metrics=("loss",))
    history = run(few)
    assert history["step"].tolist() == [0, 25_000, 50_000, 75_000, 100_000]
    exact = 2.5 * (1 - 1e-4) ** (2.0 * history["step"])
    np.testing.assert_allclose(history["loss"][:, 0], exact, rtol=1e-9)
    assert sum(array.nbytes for array in history.values()) < 1000


class Shrinks(Compressor, spec="shrinks"):
    """Returns one entry for each vector, which would broadcast silently."""

    def apply(self, x, drawn=None):  # type: ignore[no-untyped-def]
        return x.mean(-1, keepdims=True)


@pytest.mark.parametrize("metrics", [("loss",), None])
def test_a_compressor_that_changes_the_shape_is_refused(metrics: tuple[str, ...] | None) -> None:
    with pytest.raises(ValueError, match=r"made shape .* apply must keep it"):
        run(Run(CE2(), EFSGD(Shrinks()), 0.1, 5, metrics=metrics))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((CE2(), SGD, 0.1, 5), "method must be one such as"),
        ((CE2, SGD(), 0.1, 5), "problem must be an object"),
    ],
)
def test_a_class_in_place_of_an_object_is_refused(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Run(*arguments)
