"""Runs with several workers: streams, batches, metrics, blocks, memory, divergence, refusals.

Without this file workers could share their noise, a default could change old results, and an
impossible run could fail in its middle or not at all.
"""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from engine_runs import Rows, equal
from plain_world import Disagreeing

import efsgd
from efsgd.arrays import Array, Generator, achieved_delta, density
from efsgd.compressors import (
    Compressor,
    Identity,
    PowerSGD,
    RandK,
    Scaled,
    ScaledSign,
    Shared,
    TopK,
)
from efsgd.compressors.base import drawn_for
from efsgd.convex import CE2, LeastSquares
from efsgd.engine import runs, several
from efsgd.engine.loop import Diverged
from efsgd.engine.runs import Run, run
from efsgd.engine.split import Split
from efsgd.methods import (
    DASHA,
    DIANA,
    EF21,
    EF21SGDM,
    EFSGD,
    MARINA,
    SGD,
    CompressedSGD,
    EControl,
    Faults,
    GradientEF,
    LocalSteps,
    MajorityVote,
    Method,
    PostMomentumEF,
    Signum,
    Streams,
    Team,
    team_pieces,
)
from efsgd.provenance import key, spec_of
from efsgd.schedules import AdaGradNorm

UNBIASED = RandK(2, unbiased=True)
DEFAULTS = {
    "workers": 1,
    "participation": 1.0,
    "local_steps": 1,
    "downlink": None,
    "faults": None,
}
EVERY_KIND: list[tuple[Method, dict[str, Any]]] = [
    (SGD(momentum=0.9), {}),
    (EFSGD(TopK(2), momentum=0.5), {"participation": 0.5, "faults": Faults(0.2, 0.2)}),
    (EFSGD(RandK(3)), {"downlink": EFSGD(RandK(2))}),
    (GradientEF(TopK(1)), {"faults": Faults(loss=0.3)}),
    (PostMomentumEF(TopK(2), momentum=0.5), {}),
    (EF21SGDM(TopK(2)), {"participation": 0.75}),
    (EControl(TopK(2), eta=0.1), {}),
    (MajorityVote(momentum=0.5), {}),
    (DIANA(UNBIASED), {"downlink": EFSGD(TopK(2))}),
    (MARINA(UNBIASED, probability=0.4), {}),
    (DASHA(UNBIASED), {"faults": Faults(silence=0.4)}),
    (LocalSteps(EFSGD(TopK(2)), SGD(momentum=0.5), SGD(momentum=0.5)), {"local_steps": 3}),
    (LocalSteps(EFSGD(TopK(1)), fragments=2), {"local_steps": 2}),
]
KINDS = pytest.mark.parametrize(
    ("method", "options"), EVERY_KIND, ids=lambda value: getattr(type(value), "__name__", "")
)


@dataclass(frozen=True)
class Noisy:
    """f(x) = |x|^2/2 with N(0, 1) on every entry of the gradient, and logs of x and that noise."""

    d: int = 6
    points: list[Array] = field(default_factory=list, compare=False, repr=False)
    log: list[Array] = field(default_factory=list, compare=False, repr=False)

    def loss(self, x: Array) -> Array:
        return np.vecdot(x, x) / 2

    def gradient(self, x: Array, rng: Generator) -> Array:
        noise = rng.standard_normal(x.shape)
        self.points.append(x.copy())
        self.log.append(noise)
        return x + noise


class Dealt(Rows):
    """The same, with rows 0, 1, 2 for the first worker and 3, ..., 6 for the second."""

    def worker_batches(self, rng: Generator, replicates: int, b: int) -> Array:
        first, second = (rng.permuted(np.tile(part, (replicates, 1)), axis=1) for part in ROWS_OF)
        return np.stack([first[:, :b], second[:, :b]], axis=1)


ROWS_OF = (np.arange(3), np.arange(3, 7))


# -- one worker is the run of before ---------------------------------------------------------------


def test_a_run_of_before_has_its_key() -> None:
    """The keys that commit 3130f88 gave, the last one without workers."""
    before = {
        "ef01e906df25a7d2": Run(CE2(), EFSGD(), 0.1, 10),
        "60eb55290dd1c8b4": Run(CE2(), Signum(), (0.1, 0.2), 50, replicates=2, record=10),
    }
    for name, made in before.items():
        assert key(spec_of(made)) == name
        assert not set(spec_of(made)) & set(DEFAULTS)
    assert key(spec_of(EF21SGDM(TopK(3)))) == "4959716e6e1858a8"


@pytest.mark.parametrize(
    "options",
    [
        {"workers": 4},
        {"participation": 0.5},
        {"local_steps": 2},
        {"downlink": EFSGD()},
        {"faults": Faults(loss=0.1)},
    ],
    ids=str,
)
def test_what_is_not_a_default_has_a_key_of_its_own(options: dict[str, Any]) -> None:
    made, plain = Run(CE2(), EFSGD(), 0.1, 10, **options), Run(CE2(), EFSGD(), 0.1, 10)
    assert key(spec_of(made)) != key(spec_of(plain))
    assert set(options) < set(spec_of(made))


def test_faults_that_never_happen_are_none() -> None:
    made, plain = Run(CE2(), EFSGD(), 0.1, 10, faults=Faults()), Run(CE2(), EFSGD(), 0.1, 10)
    assert key(spec_of(made)) == key(spec_of(plain))


@KINDS
def test_one_worker_without_faults_is_the_method_alone(
    method: Method, options: dict[str, Any]
) -> None:
    if isinstance(method, LocalSteps):
        return
    alone = Run(Noisy(), method, 0.1, 12, replicates=3)
    equal(run(alone), run(replace(alone, **DEFAULTS)))
    equal(run(alone), run(replace(alone, faults=Faults(), participation=0.5)))
    assert "bytes" in run(alone)
    assert "bytes_up" not in run(alone)


# -- streams and batches ---------------------------------------------------------------------------


def test_every_worker_has_noise_of_its_own_and_every_method_the_same() -> None:
    logs = []
    for method, options in EVERY_KIND:
        problem = Noisy()
        run(Run(problem, method, 0.01, 6, replicates=2, workers=4, **options))
        logs.append(np.stack(problem.log))
        assert logs[-1].shape == (6, 8, 6)
        np.testing.assert_array_equal(logs[-1], logs[0])
    assert len(np.unique(logs[0])) == logs[0].size


def test_the_mean_of_n_gradients_has_an_nth_of_the_variance() -> None:
    history = run(Run(Noisy(d=40), SGD(), 1.0, 1, replicates=50, workers=16))
    squares = history["x_final"].ravel() ** 2  # x_1 is minus the mean noise
    assert abs(squares.mean() - 1 / 16) < 4 * np.sqrt(2 / squares.size) / 16


def test_local_steps_ask_for_gradients_at_each_model() -> None:
    problem = Noisy(d=2)
    run(Run(problem, LocalSteps(), 0.1, 4, workers=3, replicates=2, local_steps=2))
    distinct = [len(np.unique(x.reshape(2, 3, 2), axis=1)[0]) for x in problem.points]
    assert distinct == [1, 3, 1, 3]
    first, noise = problem.points[1], problem.log[0]
    np.testing.assert_allclose(first, -0.1 * noise, rtol=1e-14)


@pytest.mark.parametrize("b", [1, 3, 6])
def test_each_worker_draws_a_batch_of_its_own(b: int) -> None:
    problem = Rows()
    run(Run(problem, SGD(), 0.1, 200, replicates=2, workers=3, batch=b))
    rows = np.stack(problem.log)
    assert rows.shape == (200, 6, b)
    assert all(len(set(batch)) == b for batch in rows.reshape(-1, b).tolist())
    seen = np.bincount(rows.ravel(), minlength=7) / 1200
    p = b / 7
    assert (np.abs(seen - p) < 4 * np.sqrt(p * (1 - p) / 1200)).all()
    assert not (rows[:, 0] == rows[:, 1]).all()


def test_a_problem_may_say_which_rows_are_whose() -> None:
    problem = Dealt()
    run(Run(problem, SGD(), 0.1, 20, replicates=2, workers=2, batch=2))
    rows = np.stack(problem.log).reshape(20, 2, 2, 2)  # step, replicate, worker, b
    for i, own in enumerate(ROWS_OF):
        assert set(rows[:, :, i].ravel()) == set(own.tolist())


def test_a_step_size_that_adapts_sees_the_mean_gradient() -> None:
    problem = Disagreeing(3, weighted=True)
    x, total = problem.x0(np.random.default_rng(0), 1), 0.1**2
    made = Run(Start(problem, x), SGD(), AdaGradNorm(0.5, b0=0.1), 5, workers=3)
    for _ in range(5):
        g = problem.gradient(x, np.random.default_rng(0))
        total += np.sum(g * g)
        x = x - 0.5 / np.sqrt(total) * g
    np.testing.assert_allclose(run(made)["x_final"], x, rtol=1e-12)


@dataclass(frozen=True)
class Start:
    """A problem from another start, the same in every replicate."""

    problem: Any
    start: Array

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("project", "oracle"):
            raise AttributeError(name)
        return getattr(self.problem, name)

    def x0(self, rng: Generator, replicates: int) -> Array:
        return np.repeat(self.start[:1], replicates, axis=0)

    def gradient(self, x: Array, rng: Generator) -> Array:
        return np.asarray(self.problem.gradient(x, rng))


# -- metrics ---------------------------------------------------------------------------------------


def test_the_metrics_of_a_step_are_means_over_workers() -> None:
    problem, c, lr = Disagreeing(3), TopK(2), 0.1
    history = run(Run(problem, EFSGD(c), lr, 3, workers=3))
    x, e = problem.x0(np.random.default_rng(0).spawn(5)[0].spawn(1)[0], 1), np.zeros((3, 7))
    for t in range(3):
        g = problem.worker_gradients(x, np.random.default_rng(0))[0]
        p = lr * g + e
        np.testing.assert_allclose(history["phi_g"][t, 0], density(g).mean(), rtol=1e-12)
        np.testing.assert_allclose(history["phi_p"][t, 0], density(p).mean(), rtol=1e-12)
        expected = achieved_delta(p, c.apply(p)).mean()
        np.testing.assert_allclose(history["achieved_delta"][t, 0], expected, rtol=1e-12)
        x, e = x - c.apply(p).mean(0), p - c.apply(p)
    assert np.isnan(history["phi_p"][-1]).all()


def test_a_history_has_what_applies() -> None:
    def names(method: Method, **options: Any) -> set[str]:
        return set(run(Run(Disagreeing(4), method, 0.1, 2, workers=4, **options)))

    every = {"step", "x_final", "loss", "bytes_up", "bytes_worker", "bytes_down"}
    step = {"achieved_delta", "phi_g", "phi_p"}
    memory = {"memory_norm", "memory_largest", "memory_spread"}
    assert names(SGD()) == every | step
    assert names(EFSGD()) == every | step | memory | {"virtual_residual"}
    assert names(EF21(TopK(2))) == every | step | memory
    assert names(LocalSteps(), local_steps=2) == every | {"consensus"}
    assert names(LocalSteps(EFSGD()), local_steps=2) == every | memory | {"consensus"}
    for name in names(EFSGD()) | names(LocalSteps(), local_steps=2):
        assert name in efsgd.METRICS


MEANS: dict[str, tuple[Method, dict[str, Any], int]] = {  # and numbers that come down a step
    "PowerSGD": (EFSGD(PowerSGD(1)), {}, 20 + 20),
    "PowerSGD, scaled, rank 2": (CompressedSGD(Scaled(PowerSGD(2), 0.5)), {}, 2 * (20 + 20)),
    "PowerSGD, an outer optimiser": (
        LocalSteps(EFSGD(PowerSGD(1)), outer=SGD(momentum=0.9)),
        {"local_steps": 1},
        20 + 20,
    ),
    "shared": (CompressedSGD(Shared(RandK(20))), {"participation": 0.5}, 20 + 1),
    "shared, estimates": (DIANA(Shared(RandK(20, unbiased=True))), {}, 20 + 1),
    "shared, MARINA": (MARINA(Shared(RandK(20, unbiased=True)), probability=1.0), {}, 400),
    "shared, downlink": (EFSGD(Shared(RandK(20))), {"downlink": EFSGD(Identity())}, 20 + 1),
    "positions of their own": (EFSGD(RandK(20)), {}, 400),
    "nothing compressed": (SGD(), {}, 400),
}


@pytest.mark.parametrize("name", MEANS)
def test_a_mean_of_messages_that_add_comes_down_as_one_of_them(name: str) -> None:
    method, options, numbers = MEANS[name]
    made = Run(Noisy(d=400), method, 0.1, 3, workers=4, **options)
    down = run(made)["bytes_down"]
    assert down[0, 0] == 0
    assert (np.diff(down[:, 0]) == down[1, 0]).all()
    assert 8 * numbers <= down[1, 0] <= 8 * numbers + efsgd.HEADER


@pytest.mark.parametrize("c", [PowerSGD(1), Scaled(PowerSGD(1), 0.5), Shared(RandK(2)), RandK(2)])
def test_what_a_step_has_drawn_makes_the_messages_of_its_workers(c: Compressor) -> None:
    """Each of them is decoded to what its worker has sent, at the first step and a warm one."""
    team = Team(EFSGD(c), 4, weights=(0.1, 0.2, 0.3, 0.4))
    x, memory = np.zeros((2, 12)), team.start(np.zeros((2, 12)))
    streams = Streams(*np.random.default_rng(0).spawn(3))
    for _ in range(2):
        g = streams.attendance.standard_normal((2, 4, 12))
        x, memory, (exchange,) = team.step(x, g, memory, 0.1, streams)
        rows = exchange.rows
        for r, i in np.ndindex(2, 4):
            drawn = drawn_for(i, drawn_for(r, rows.drawn))
            message = c.encode(rows.given[r, i], drawn=drawn)
            np.testing.assert_allclose(efsgd.decode(message), rows.sent[r, i], atol=1e-15)


# -- the same run ----------------------------------------------------------------------------------


@KINDS
def test_a_run_is_the_same_twice_and_however_it_is_watched(
    method: Method, options: dict[str, Any]
) -> None:
    made = Run(Noisy(), method, 0.05, 13, replicates=2, workers=4, **options)
    history = run(made)
    equal(history, run(made))
    equal(history, run(made, diverged="keep"))
    for metrics, record in (((), 1), (("loss",), (5,)), (("bytes_up",), 4)):
        part = run(replace(made, metrics=metrics, record=record))
        np.testing.assert_array_equal(part["x_final"], history["x_final"])


IN_GROUPS: list[tuple[Method, dict[str, Any]]] = [
    (SGD(weight_decay=0.1), {}),
    (CompressedSGD(TopK(2)), {"downlink": EFSGD(TopK(1))}),
    (EFSGD(ScaledSign(), weight_decay=0.1), {}),
    (EFSGD(TopK(2), decay=0.9), {"downlink": CompressedSGD(ScaledSign())}),
    (EF21(TopK(2)), {"downlink": EF21(TopK(2))}),
    *EVERY_KIND,
]


@pytest.mark.parametrize("lr", [0.05, (0.05, 0.1)], ids=str)
@pytest.mark.parametrize(("method", "options"), IN_GROUPS, ids=lambda value: "")
def test_workers_may_step_in_groups(
    method: Method, options: dict[str, Any], lr: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What needs no metric of a step runs a large team some workers at a time, to the same bits."""
    made = Run(Noisy(), method, lr, 9, record=4, replicates=2, workers=5, **options)
    whole = run(made)
    metrics = [name for name in ("loss", "memory_norm", "memory_spread") if name in whole]
    alone = any(method is one for one, _ in IN_GROUPS[:5])
    for size in (1, 2 * 6, 3 * 2 * 6):  # one worker at a time, one, three
        monkeypatch.setattr(team_pieces, "GROUP", size)
        assert team_pieces.separable(method.worker, (2, 5, 6)) or not alone
        part = run(replace(made, metrics=metrics))
        for name in (*metrics, "x_final"):
            np.testing.assert_array_equal(part[name], whole[name], err_msg=name)


@KINDS
def test_a_problem_may_use_its_buffer_again(method: Method, options: dict[str, Any]) -> None:
    class Reusing(Disagreeing):
        """Gradients that all come in one buffer."""

        def worker_gradients(self, x: Array, rng: Generator) -> Array:
            g = super().worker_gradients(x, rng)
            buffer = BUFFERS.setdefault(g.shape, np.empty_like(g))
            buffer[:] = g
            return buffer

    BUFFERS: dict[Any, Array] = {}
    made = Run(Disagreeing(4), method, 0.05, 9, replicates=2, workers=4, **options)
    equal(run(made), run(replace(made, problem=Reusing(4))))


@KINDS
def test_step_sizes_by_replicate_are_as_many_runs(method: Method, options: dict[str, Any]) -> None:
    if options.get("participation") or options.get("faults") or method.compresses.random:
        return  # the replicates of one run draw one after the other
    start = np.random.default_rng(0).standard_normal((1, 7))
    problem, rates = Start(Disagreeing(4), start), (0.05, 0.2, 0.1)
    made = Run(problem, method, rates, 7, replicates=3, workers=4, **options)
    whole = run(made)
    for r, lr in enumerate(rates):
        alone = run(replace(made, lr=lr, replicates=1))
        np.testing.assert_allclose(whole["x_final"][r], alone["x_final"][0], rtol=1e-12)
        np.testing.assert_array_equal(whole["bytes_up"][:, r], alone["bytes_up"][:, 0])


def test_replicates_step_in_blocks_that_hold_all_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Noisy()
    start = np.random.default_rng(0).standard_normal((1, 7))
    still = Run(Start(Disagreeing(4), start), EFSGD(TopK(2)), 0.1, 5, replicates=5, workers=4)
    still = replace(still, metrics=("memory_norm", "memory_spread", "bytes_up"))
    together = run(still)
    monkeypatch.setattr(runs, "BLOCK", 2 * 4 * 7)
    equal(run(still), together)
    run(Run(problem, EFSGD(TopK(2)), 0.1, 3, replicates=5, workers=4))
    assert [len(noise) for noise in problem.log] == [8] * 6 + [4] * 3
    entries = np.concatenate([noise.ravel() for noise in problem.log])
    assert len(np.unique(entries)) == entries.size


# -- memory and divergence -------------------------------------------------------------------------


def test_memory_is_said_before_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    class Untouched(Noisy):
        """A problem whose start must not be asked for."""

        def x0(self, rng: Generator, replicates: int) -> Array:
            raise AssertionError("memory is taken")

    made = Run(Untouched(d=1000), EFSGD(), 0.1, 5, replicates=2, workers=50)
    small = 8 * 2 * 50 * 1000  # one array (R, n, d)
    assert 4 * small <= made.memory() <= 20 * small
    monkeypatch.setattr(several, "total_memory", lambda: made.memory() - 1)
    with pytest.raises(ValueError, match=r"50 workers in dimension 1000 take about .* GiB"):
        run(made)
    monkeypatch.setattr(several, "total_memory", lambda: made.memory())
    with pytest.raises(AssertionError, match="memory is taken"):
        run(made)
    assert several.total_memory() is not None


@KINDS
def test_a_run_takes_no_more_memory_than_it_says(method: Method, options: dict[str, Any]) -> None:
    """The peak of what NumPy takes, beside the gradients that the problem holds itself."""
    problem = Noisy(d=500)
    made = Run(problem, method, 0.1, 5, record=2, workers=60, **options)
    run(
        replace(made, steps=made.local_steps)
    )  # imports, and a block that is freed once in a process
    problem.log.clear()
    problem.points.clear()
    peak = peak_of(made)
    logged = sum(array.nbytes for array in problem.log + problem.points)
    one = 8 * 60 * 500
    assert 3 * one < peak - logged < made.memory()


def peak_of(made: Run) -> int:
    """The most bytes that NumPy holds at once while it runs."""
    tracemalloc.start()
    try:
        run(made)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("n", "d", "rows", "b", "split"),
    [(50, 500, 500, 400, False), (20, 10, 20_000, 900, True), (1, 10, 90_000, 60_000, False)],
)
def test_batches_take_no_more_memory_than_it_says(
    n: int, d: int, rows: int, b: int, split: bool
) -> None:
    """The rows of all batches at once would take 80 MB of the first."""
    rng = np.random.default_rng(0)
    problem = LeastSquares(rng.standard_normal((rows, d)), rng.standard_normal(rows))
    dealt = Split(problem, n) if split else problem
    made = Run(dealt, EFSGD(), 1e-3, 3, workers=n, batch=b, metrics=("memory_norm",))
    run(made)  # imports, tables of rows, and a block that is freed once in a process
    assert 8 * n * b < peak_of(made) < made.memory()


def test_memory_is_that_of_the_replicates_that_step_together() -> None:
    """2^17 entries of x: of 60 workers in dimension 500 four replicates."""
    one, *others = (
        Run(Noisy(d=500), EFSGD(), 0.1, 5, replicates=r, workers=60).memory() for r in (1, 2, 4, 5)
    )
    assert others == [2 * one, 4 * one, 4 * one]


def test_many_replicates_take_the_memory_of_a_block() -> None:
    few, many = (
        Run(Noisy(d=100), EFSGD(), 0.1, 5, replicates=r, workers=100).memory()
        for r in (100, 10_000)
    )
    assert few == many


@dataclass(frozen=True)
class Growing:
    """Every step of size 1 multiplies x by 1 + rate, whatever worker is asked."""

    starts: tuple[float, ...]
    rate: float
    d: int = 2

    def x0(self, rng: Generator, replicates: int) -> Array:
        return np.array(self.starts)[:replicates, None] * np.ones(self.d)

    def loss(self, x: Array) -> Array:
        return np.abs(x).max(-1)

    def gradient(self, x: Array, rng: Generator) -> Array:
        return -self.rate * x


@pytest.mark.parametrize(
    ("method", "options"),
    [
        (SGD(), {}),
        (EFSGD(Identity()), {"participation": 0.5}),
        (EFSGD(ScaledSign()), {"downlink": EFSGD(TopK(1))}),
        (LocalSteps(EFSGD(TopK(1))), {"local_steps": 2}),
    ],
    ids=["SGD", "half", "two-sided", "local"],
)
def test_the_replicate_that_diverges_is_named_and_the_others_may_go_on(
    method: Method, options: dict[str, Any]
) -> None:
    problem = Growing((0.0, 1.0, 0.0), rate=1e150)
    made = Run(problem, method, 1.0, 12, replicates=3, workers=4, **options)
    with pytest.raises(Diverged, match=r"replicate 1 is not finite at step [2-7]"):
        run(made)
    kept = run(made, diverged="keep")["x_final"]
    assert not np.isfinite(kept[1]).all()
    assert (kept[[0, 2]] == 0).all()


def test_models_that_diverge_between_exchanges_are_noticed() -> None:
    """x is still where the last exchange left it; the answer, the mean of the models, is not."""

    class Squares(Growing):
        """A loss beyond the floating-point numbers at 1e200."""

        def loss(self, x: Array) -> Array:
            return np.vecdot(x, x)

    made = Run(Squares((1.0,), 1e100), LocalSteps(), 1.0, 3, workers=3, local_steps=3)
    with pytest.raises(Diverged, match="replicate 0 is not finite at step 2"):
        run(made)


# -- refusals --------------------------------------------------------------------------------------


class Constrained(Disagreeing):
    """With a box."""

    def project(self, x: Array) -> Array:
        return np.clip(x, -1, 1)


REFUSED: dict[str, tuple[Method, dict[str, Any], str]] = {
    "no workers": (SGD(), {"workers": 0}, "workers must be a whole number"),
    "part of a worker": (SGD(), {"workers": 1.5}, "workers must be a whole number"),
    "another n": (SGD(), {"workers": 3}, "split over 4 workers: use workers=4, not 3"),
    "nobody": (SGD(), {"participation": 0}, r"participation must be in \(0, 1\], not 0"),
    "more than all": (SGD(), {"participation": 2}, r"participation must be in \(0, 1\], not 2"),
    "no step": (SGD(), {"local_steps": 0}, "local_steps must be a whole number"),
    "downlink by name": (SGD(), {"downlink": "topk:3"}, "downlink must be a method such as"),
    "downlink, a class": (SGD(), {"downlink": EFSGD}, "downlink must be a method such as"),
    "downlink, local": (SGD(), {"downlink": LocalSteps()}, "downlink must be a method such as"),
    "downlink decays": (
        SGD(),
        {"downlink": EFSGD(weight_decay=0.1)},
        "server sees no x to decay: give weight_decay to the workers' method",
    ),
    "downlink of a vote": (MajorityVote(), {"downlink": EFSGD()}, "server of MajorityVote"),
    "downlink of momentum": (PostMomentumEF(), {"downlink": EFSGD()}, "server of PostMomentumEF"),
    "downlink of local steps": (LocalSteps(), {"downlink": EFSGD()}, "server of LocalSteps"),
    "downlink overshoots": (SGD(), {"downlink": EFSGD(UNBIASED)}, "can diverge"),
    "faults, a dict": (SGD(), {"faults": {"loss": 0.1}}, r"faults must be efsgd.Faults\(...\)"),
    "MARINA, absence": (
        MARINA(UNBIASED, probability=0.2),
        {"participation": 0.5},
        "MARINA asks all workers for their whole gradients at once",
    ),
    "MARINA, loss": (
        MARINA(UNBIASED, probability=0.2),
        {"faults": Faults(loss=0.1)},
        "MARINA asks all workers for their whole gradients at once",
    ),
    "PowerSGD, absence": (
        EFSGD(Scaled(PowerSGD(1), 0.5)),
        {"participation": 0.5},
        "needs the messages of all workers",
    ),
    "PowerSGD, loss": (
        LocalSteps(EFSGD(PowerSGD(1))),
        {"local_steps": 2, "faults": Faults(loss=0.1)},
        "needs the messages of all workers",
    ),
    "vote, local": (MajorityVote(), {"local_steps": 2}, "use outer for that"),
    "decay, local": (SGD(weight_decay=0.1), {"local_steps": 2}, "give weight_decay to inner"),
    "fragments beyond d": (
        LocalSteps(fragments=8),
        {"local_steps": 9},
        "fragments=8 are more than the 7 entries of x",
    ),
    "fragments beyond H": (
        LocalSteps(fragments=3),
        {"local_steps": 2},
        "fragments=3 take turns within 2 local steps: use fewer",
    ),
    "fragments, absence": (
        LocalSteps(fragments=2),
        {"local_steps": 2, "participation": 0.5},
        "fragments need all workers",
    ),
    "fragments, silence": (
        LocalSteps(fragments=2),
        {"local_steps": 2, "faults": Faults(silence=0.1)},
        "fragments need all workers",
    ),
    "a box, local": (SGD(), {"problem": Constrained(4), "local_steps": 2}, "know no constraints"),
    "a box, H = 1": (LocalSteps(), {"problem": Constrained(4)}, "know no constraints"),
    "EF, unbiased": (EFSGD(UNBIASED), {}, "can diverge: use contractive,randk:2,unbiased"),
    "DIANA, alpha": (DIANA(UNBIASED, alpha=0.9), {}, r"alpha must be at most 1/\(1 \+ omega\)"),
    "no rows": (SGD(), {"batch": 2}, "batch=2 needs a problem with n and batch_gradient"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_run_is_refused_in_one_sentence(name: str) -> None:
    method, options, message = REFUSED[name]
    problem = options.get("problem", Disagreeing(4))
    rest = {"workers": 4, **{k: v for k, v in options.items() if k != "problem"}}
    with pytest.raises(ValueError, match=message) as caught:
        Run(problem, method, 0.1, 4, **rest)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["span_distance", "bytes", "consensus", "virtual_residual"])
def test_a_metric_that_does_not_apply_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' is not recorded here, choose among loss"):
        run(Run(Disagreeing(4), SGD(), 0.1, 4, workers=4, metrics=(name,)))


def test_gradients_of_another_shape_are_refused() -> None:
    class Wrong(Disagreeing):
        """One gradient too few."""

        def worker_gradients(self, x: Array, rng: Generator) -> Array:
            return super().worker_gradients(x, rng)[:, 1:]

    with pytest.raises(ValueError, match=r"gradients have shape \(1, 3, 7\), but \(1, 4, 7\)"):
        run(Run(Wrong(4), SGD(), 0.1, 4, workers=4))


@pytest.mark.parametrize("weights", [(1.0, 2.0, 3.0), (0.5, 0.5), (1.5, -0.25, -0.25)], ids=str)
def test_weights_are_one_a_worker_with_the_sum_one(weights: tuple[float, ...]) -> None:
    class Weighted(Noisy):
        """Workers that count as told."""

        worker_weights = np.array(weights)

    with pytest.raises(ValueError, match="worker_weights must be 3 numbers with the sum 1"):
        Run(Weighted(), SGD(), 0.1, 4, workers=3)


def test_a_compressor_stands_for_a_server_with_a_memory() -> None:
    made: Any = Run(Disagreeing(4), EFSGD(), 0.1, 4, workers=4, downlink=TopK(2))  # type: ignore[arg-type]
    assert made == Run(Disagreeing(4), EFSGD(), 0.1, 4, workers=4, downlink=EFSGD(TopK(2)))


def test_a_set_of_feasible_points_holds_for_the_mean() -> None:
    problem = Constrained(4)
    x = problem.x0(np.random.default_rng(0).spawn(5)[0].spawn(1)[0], 1)
    for _ in range(5):
        x = np.clip(x - 0.5 * problem.gradient(x, np.random.default_rng(0)), -1, 1)
    history = run(Run(problem, SGD(), 0.5, 5, workers=4))
    np.testing.assert_allclose(history["x_final"], x, rtol=1e-12)
    assert "virtual_residual" not in run(Run(problem, EFSGD(), 0.5, 5, workers=4))
