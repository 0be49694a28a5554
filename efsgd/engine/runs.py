"""Run a method on a problem, for many replicates at once, and record a history.

Replicates are a leading axis: x is (R, d), and R runs cost one pass of array code. A run has one
seed; starts, gradient noise and compressor draws come from separate streams, so that all methods
of a figure see the same noise.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np

from efsgd.arrays import Array, Generator
from efsgd.checks import scalar, whole
from efsgd.compressors.base import Compressor
from efsgd.engine.block import Block
from efsgd.engine.loop import Diverged, simulate
from efsgd.engine.problem import GATHERED, Problem
from efsgd.engine.several import check_workers, refuse_too_much, stepper
from efsgd.methods.base import Method
from efsgd.methods.faults import Faults
from efsgd.methods.feedback import EFSGD
from efsgd.provenance import optional
from efsgd.schedules import Constant, PerReplicate, Schedule

ARRAYS = 20  # of the size of x for all workers, at most: memories, gradients, what a step makes
DRAWN, KEYS = 6, 2  # and with batches so many of their rows for all workers, and of all rows
BLOCK = 2**17  # entries of x that step together: a handful of such arrays stay in the cache


@dataclass(frozen=True)
class Run:
    """One experiment as a value.

    ``lr`` is a number, a :class:`Schedule`, or a sequence with one step size a replicate. ``batch``
    is the number of rows a step sees of a finite sum (drawn afresh, without replacement); None
    calls ``problem.gradient``. ``record``: every so many steps, or a sequence of steps, first and
    last always; None means every step up to 1000 steps and about 1000 evenly spaced ones beyond.
    ``metrics``: what to record, names out of ``efsgd.METRICS``, which says what each is; None means
    all that apply but the costly span distance. Sequences (lists, arrays, ranges) become tuples.

    With ``workers`` n each worker has a gradient (noise or a batch of its own, or a share of the
    data: :class:`efsgd.Split`), a memory and a message of its own, and x moves by the mean.
    ``participation``: the share of them that take part in a step, or in a round of local steps,
    drawn afresh: |S| is that share of n, rounded (half to even), and at least 1. ``local_steps``:
    steps of SGD that each takes alone between two messages, which ``method`` makes of the
    differences (:class:`efsgd.LocalSteps`, which says more). Where they do not divide ``steps``,
    the last ones are never sent, and x_final is the mean of the models. ``downlink``: how the
    server compresses the mean that it sends down, as a method: ``EFSGD(c)`` with a memory of its
    own (DoubleSqueeze), which a compressor c stands for, ``CompressedSGD(c)`` without, ``EF21(c)``
    (EF21-BC, with EF21 workers). ``faults``: messages that are lost, workers that are too slow
    (:class:`efsgd.Faults`).
    """

    problem: Problem
    method: Method
    lr: float | Schedule | Sequence[float] | Array
    steps: int
    seed: int = 0
    replicates: int = 1
    batch: int | None = None
    record: int | Sequence[int] | Array | None = None
    metrics: Sequence[str] | None = None
    workers: int = optional(1)
    participation: float = optional(1.0)
    local_steps: int = optional(1)
    downlink: Method | Compressor | None = optional(None)
    faults: Faults | None = optional(None)

    def __post_init__(self) -> None:
        """Refuse what cannot run."""
        if isinstance(self.metrics, str):
            raise ValueError(f"metrics must be a tuple of names: write ({self.metrics!r},)")
        for name in ("lr", "record", "metrics"):
            object.__setattr__(self, name, _as_tuple(getattr(self, name)))
        for name, least in (("steps", 1), ("replicates", 1), ("seed", 0)):
            whole(name, getattr(self, name), least=least)
        if not isinstance(self.method, Method):
            raise ValueError(f"method must be one such as efsgd.SGD(), not {self.method!r}")
        if isinstance(self.problem, type) or not hasattr(self.problem, "gradient"):
            raise ValueError(
                f"problem must be an object with d, loss and gradient, not {self.problem!r}"
            )
        _schedule(self)
        self.recorded()
        if self.batch is not None:
            rows = getattr(self.problem, "n", None)
            if rows is None or not hasattr(self.problem, "batch_gradient"):
                raise ValueError(
                    f"batch={self.batch} needs a problem with n and batch_gradient(x, rows)"
                )
            whole("batch", self.batch, rows)
        if isinstance(self.downlink, Compressor):  # what it stands for
            object.__setattr__(self, "downlink", EFSGD(self.downlink))
        if self.faults == Faults():  # the same run, under the same key
            object.__setattr__(self, "faults", None)
        check_workers(self)

    def memory(self) -> int:
        """Bytes that the arrays of a run take, at most: what :func:`run` refuses to exceed.

        What the problem itself holds comes on top, and what its own gradients make beside that.
        """
        rows = min(_rows(self), self.replicates)
        numbers = ARRAYS * rows * self.workers * self.problem.d
        if self.batch is not None:
            of_problem: Any = self.problem
            numbers += rows * (DRAWN * self.workers * self.batch + KEYS * of_problem.n)
            numbers += max(GATHERED, self.batch * self.problem.d)
        return 8 * numbers

    def recorded(self) -> list[int]:
        """The recorded steps, increasing, from 0 to ``steps``."""
        chosen: Iterable[int]
        if isinstance(self.record, tuple):
            chosen = [whole("record", t, self.steps, least=0) for t in self.record]
        elif self.record is None and self.steps > 1000:
            chosen = (round(i * self.steps / 1000) for i in range(1001))
        else:
            interval = 1 if self.record is None else whole("record", self.record)
            chosen = range(0, self.steps, interval)
        return sorted({0, *chosen, self.steps})

    def compute(self) -> dict[str, Array]:
        """Run it; see :func:`run`."""
        return run(self)


def run(run: Run, *, diverged: Literal["raise", "keep"] = "raise") -> dict[str, Array]:
    """Return the history: "step" (T,), the metrics (T, R) in order of steps, "x_final" (R, d).

    Row i belongs to x_t and e_t at t = step[i]; ``efsgd.METRICS`` says what each key holds. Those
    of the step taken from x_t, achieved_delta, phi_g and phi_p, end with NaN, as no step is taken
    from the last iterate: ``history["phi_g"][:-1]`` are the others.

    A run that diverges raises :class:`Diverged`, which names the first step at which a replicate is
    not finite; with ``diverged="keep"`` its replicates go on as inf and NaN beside the others.
    """
    if diverged not in ("raise", "keep"):
        raise ValueError(f"diverged must be 'raise' or 'keep', not {diverged!r}")
    refuse_too_much(run)
    _keep_memory()
    rows = _rows(run)
    starts = range(0, run.replicates, rows)
    kinds = 3 if isinstance(stepper(run), Method) else 5
    streams = zip(
        *(s.spawn(len(starts)) for s in np.random.default_rng(run.seed).spawn(kinds)), strict=True
    )
    schedule = _schedule(run)
    histories: list[dict[str, Array]] = []
    divergences: list[Diverged] = []
    with np.errstate(over="ignore", invalid="ignore"):
        np.setbufsize(512)  # until errstate ends; else numpy copies rows that meet a column
        for start, rngs in zip(starts, streams, strict=True):
            block = _block(run, schedule, start, min(rows, run.replicates - start))
            try:
                histories.append(_simulated(block, rngs, diverged == "keep"))
            except Diverged as error:
                divergences.append(Diverged(error.step, start + error.replicate, error.because))
    if divergences:
        raise min(divergences, key=lambda error: (error.step, error.replicate))
    return _joined(histories)


def _rows(run: Run) -> int:
    """How many replicates step together."""
    return max(1, BLOCK // max(run.problem.d * run.workers, 1))


def _joined(histories: list[dict[str, Array]]) -> dict[str, Array]:
    """The history of all replicates; they are axis 0 of x_final and axis 1 of every metric."""
    first = histories[0]
    axes = {name: 1 for name in first if name not in ("step", "x_final")} | {"x_final": 0}
    parts = {name: [history[name] for history in histories] for name in axes}
    return {"step": first["step"]} | {n: np.concatenate(parts[n], axes[n]) for n in axes}


def _simulated(block: Block, rngs: tuple[Generator, ...], keep: bool) -> dict[str, Array]:
    """The history of one block, fast; where that fails, again from the start and carefully."""
    before = [rng.bit_generator.state for rng in rngs]
    try:
        return simulate(block, rngs, keep=keep, careful=False)
    except (ArithmeticError, ValueError):  # Diverged, or a compressor met NaN or inf
        for rng, state in zip(rngs, before, strict=True):
            rng.bit_generator.state = state
        return simulate(block, rngs, keep=keep, careful=True)


@cache
def _keep_memory() -> None:
    """Free one large block, which is never touched, so that glibc keeps what is freed from now on.

    Otherwise it hands arrays of 128 KiB and more back to the system, and every step pays the page
    faults of getting them again: measured at 10 to 20 % of the time of a run.
    """
    np.empty(31 * 2**20, np.uint8)  # the threshold grows with what is freed, up to 32 MiB


def _as_tuple(value: Any) -> Any:
    """A list, range or array as a tuple of Python's own numbers; what is none of them as it is."""
    if isinstance(value, np.ndarray):
        value = value.tolist()  # a number, of an array without axes
    return tuple(value) if isinstance(value, list | range) else value


def _block(run: Run, schedule: Schedule, start: int, rows: int) -> Block:
    """The replicates start, ..., start + rows - 1 of a run."""
    if isinstance(schedule, PerReplicate):
        schedule = PerReplicate(schedule.lr[start : start + rows])
    return Block(
        problem=run.problem,
        method=stepper(run),
        schedule=schedule,
        steps=run.steps,
        replicates=rows,
        recorded=tuple(run.recorded()),
        batch=run.batch,
        metrics=None if run.metrics is None else tuple(run.metrics),
    )


def _schedule(run: Run) -> Schedule:
    """The step sizes as a schedule; a tuple becomes one number a replicate."""
    lr = run.lr
    if isinstance(lr, Schedule):
        return lr
    if not isinstance(lr, tuple):
        if isinstance(lr, bool) or not isinstance(lr, int | float | np.number):
            raise ValueError(
                f"lr must be a number, a sequence of numbers or a Schedule, not {lr!r}"
            )
        return Constant(float(lr))
    for rate in lr:
        if isinstance(rate, list):  # of an array with two axes
            shape = f"one number a replicate, of shape ({run.replicates},)"
            raise ValueError(f"lr must be {shape}, not with the row {rate}: use lr.ravel()")
        scalar("lr", rate)
    if len(lr) != run.replicates:
        raise ValueError(f"lr names {len(lr)} step sizes for {run.replicates} replicates")
    return PerReplicate(lr)
