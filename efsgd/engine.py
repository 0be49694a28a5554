"""Run a method on a problem, for many replicates at once, and record a history.

Replicates are a leading axis: x is (R, d), and R runs cost one pass of array code. One seed a run;
starts, gradient noise and compressor draws come from streams of their own, so that all methods of
a figure see the same noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, Literal

import numpy as np

from efsgd.arrays import Array, Generator
from efsgd.history import History
from efsgd.methods import Method
from efsgd.problem import Problem
from efsgd.schedules import Constant, Schedule
from efsgd.sparse import sample_subset

BLOCK = 2**17  # entries of x that step together: a handful of such arrays stay in the cache
CHECK = 256  # steps between looks for a diverged run; the exact step is found by repeating it


class Diverged(ArithmeticError):
    """A replicate left the finite numbers; ``step`` is the first step at which it had."""

    def __init__(self, step: int, replicate: int) -> None:
        super().__init__(
            f"the run diverged: replicate {replicate} is not finite at step {step}, "
            f"use a smaller step size"
        )
        self.step = step
        self.replicate = replicate


@dataclass(frozen=True)
class Run:
    """One experiment as a value.

    ``lr`` is a number, a :class:`Schedule`, or a tuple with one step size a replicate. ``batch`` is
    the number of rows a step sees of a finite sum (drawn afresh, without replacement); None calls
    ``problem.gradient``. ``record``: every so many steps, or these steps, first and last always;
    None means every step up to 1000 steps and about 1000 evenly spaced ones beyond. ``metrics``:
    what to record (see :mod:`efsgd.history`); None means all that apply but the costly span
    distance.
    """

    problem: Problem
    method: Method
    lr: float | Schedule | tuple[float, ...]
    steps: int
    seed: int = 0
    replicates: int = 1
    batch: int | None = None
    record: int | tuple[int, ...] | None = None
    metrics: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot run."""
        for name in ("steps", "replicates", "seed"):
            value = getattr(self, name)
            if isinstance(value, bool) or int(value) != value or value < (name != "seed"):
                raise ValueError(
                    f"{name} must be a whole number, {name != 'seed':d} or more, not {value}"
                )
        _schedule(self)
        self.recorded()
        if self.batch is not None:
            rows = getattr(self.problem, "n", None)
            if rows is None or not hasattr(self.problem, "batch_gradient"):
                raise ValueError(
                    f"batch={self.batch} needs a problem with n and batch_gradient(x, rows)"
                )
            if not 1 <= self.batch <= rows:
                raise ValueError(f"batch must lie between 1 and the {rows} rows, not {self.batch}")
        self.method.check(self.problem.d)

    def recorded(self) -> list[int]:
        """The recorded steps, increasing, from 0 to ``steps``."""
        every = self.record
        if every is None:
            every = 1 if self.steps <= 1000 else 0
            chosen = [round(i * self.steps / 1000) for i in range(1001)]
        elif isinstance(every, tuple):
            chosen = [int(t) for t in every]
            if any(not 0 <= t <= self.steps for t in chosen):
                raise ValueError(f"record must name steps from 0 to {self.steps}, not {every}")
            every = 0
        elif every < 1:
            raise ValueError(f"record must be 1 or more steps apart, not {every}")
        return sorted({0, self.steps, *(range(0, self.steps, every) if every else chosen)})

    def compute(self) -> dict[str, Array]:
        """Run it; see :func:`run`."""
        return run(self)


def run(run: Run, *, diverged: Literal["raise", "keep"] = "raise") -> dict[str, Array]:
    """Return the history: "step" (T,), the metrics (T, R) in order of steps, "x_final" (R, d).

    Row i belongs to x_t and e_t at t = step[i]. A run that diverges raises :class:`Diverged`, which
    names the step; with ``diverged="keep"`` its replicates go on as inf and NaN beside the others.
    """
    if diverged not in ("raise", "keep"):
        raise ValueError(f"diverged must be 'raise' or 'keep', not {diverged!r}")
    _keep_memory()
    rows = max(1, BLOCK // max(run.problem.d, 1))
    starts = range(0, run.replicates, rows)
    streams = zip(
        *(s.spawn(len(starts)) for s in np.random.default_rng(run.seed).spawn(3)), strict=True
    )
    blocks = []
    with np.errstate(over="ignore", invalid="ignore"):
        np.setbufsize(512)  # until errstate ends; else numpy copies rows that meet a column
        for start, rngs in zip(starts, streams, strict=True):
            part = _part(run, start, min(rows, run.replicates - start))
            kept = [rng.bit_generator.state for rng in rngs]
            try:
                blocks.append(_simulate(part, rngs, 0 if diverged == "keep" else CHECK))
            except Diverged:
                for rng, state in zip(rngs, kept, strict=True):
                    rng.bit_generator.state = state
                _find_divergence(part, rngs, start)
    if len(blocks) == 1:
        return blocks[0]
    axes = {"x_final": 0} | {name: 1 for name in blocks[0] if name not in ("step", "x_final")}
    joined = {name: np.concatenate([b[name] for b in blocks], axis) for name, axis in axes.items()}
    return {"step": blocks[0]["step"], **joined}


@cache
def _keep_memory() -> None:
    """Free one large block, which is never touched, so that glibc keeps what is freed from now on.

    Otherwise it hands arrays of 128 KiB and more back to the system, and every step pays the page
    faults of getting them again: measured at 10 to 20 % of the time of a run.
    """
    np.empty(31 * 2**20, np.uint8)  # the threshold grows with what is freed, up to 32 MiB


def _part(run: Run, start: int, rows: int) -> Run:
    """The run of the replicates start, ..., start + rows - 1."""
    lr = run.lr[start : start + rows] if isinstance(run.lr, tuple) else run.lr
    return replace(run, replicates=rows, lr=lr)


def _simulate(run: Run, rngs: tuple[Generator, ...], check: int) -> dict[str, Array]:
    """Run one block; look every ``check`` steps whether it is still finite."""
    problem, method = run.problem, run.method
    start_rng, gradient_rng, compressor_rng = rngs
    x = _start(run, start_rng)
    memory, state, schedule = method.start(x), None, _schedule(run)
    shape = np.shape(problem.loss(x))
    if shape != (len(x),):
        raise ValueError(
            f"loss returned shape {shape} for x of shape {x.shape}: return {(len(x),)}"
        )
    history = History(run, x)
    (gradient, own), project = _oracle(run, gradient_rng), getattr(problem, "project", None)
    recorded, of_steps = run.recorded(), history.watches or history.of_steps
    row = 0
    for t in range(run.steps):
        record = t == recorded[row]
        if record:
            history.state(row, x, memory)
        if check and t % check == 0:
            _stop_if_diverged(t, x, history.losses(row + record, x))
        g = gradient(x)
        if t == 0 and g.shape != x.shape:
            raise ValueError(f"gradient returned shape {g.shape} for x of shape {x.shape}")
        lr, state = schedule.adapt(t, g, state)
        if of_steps and (record or history.watches):
            update = method.step(x, g, memory, lr, compressor_rng)
            history.step(row if record else None, g, memory, update)
            x, memory = update.x, update.memory
        else:
            x, memory = method.advance(x, g, memory, lr, compressor_rng, own)
        if project is not None:
            x = project(x)
        row += record
    history.state(row, x, memory)
    if check:
        _stop_if_diverged(run.steps, x, history.losses(row + 1, x))
    return {**history.arrays(), "x_final": x}


def _start(run: Run, rng: Generator) -> Array:
    """x_0, checked: the problem's own or zeros."""
    shape = (run.replicates, run.problem.d)
    if not hasattr(run.problem, "x0"):
        return np.zeros(shape)
    x = np.array(run.problem.x0(rng, run.replicates), dtype=np.float64)
    if x.shape != shape:
        raise ValueError(
            f"x0 returned shape {x.shape}, but {shape} replicates and entries are needed"
        )
    if not np.isfinite(x).all():
        raise ValueError("x0 holds NaN or inf: start from finite numbers")
    return x


def _oracle(run: Run, rng: Generator) -> tuple[Callable[[Array], Array], bool]:
    """The function x -> gradient of this run, and whether its arrays are ours to overwrite.

    A problem may have ``oracle(rng, R)``, which prepares such a function for a whole run (noise
    drawn in bulk) and gives its arrays away. It counts only beside the ``gradient`` it stands for:
    a subclass with a gradient of its own does not inherit it.
    """
    problem, b = run.problem, run.batch
    if b is not None:
        n, batch = problem.n, problem.batch_gradient  # type: ignore[attr-defined]
        subset = partial(sample_subset, rng, n, b, (run.replicates,))
        return lambda x: np.asarray(batch(x, subset()), np.float64), False
    home = next((kind for kind in type(problem).__mro__ if "gradient" in vars(kind)), object)
    if "oracle" in vars(home):
        return problem.oracle(rng, run.replicates), True  # type: ignore[attr-defined]
    return lambda x: np.asarray(problem.gradient(x, rng), np.float64), False


def _stop_if_diverged(t: int, x: Array, losses: Array) -> None:
    """Raise Diverged if x_t or a recorded loss (rows, R) is not finite in some replicate."""
    if not (np.isfinite(x).all() and np.isfinite(losses).all()):
        finite = np.isfinite(x).all(-1) & np.isfinite(losses).all(0)
        raise Diverged(t, int(np.argmin(finite)))


def _find_divergence(run: Run, rngs: tuple[Generator, ...], start: int) -> None:
    """Repeat a diverged block looking at every step, and raise with the exact one."""
    try:
        _simulate(replace(run, record=run.steps, metrics=()), rngs, 1)
    except Diverged as error:
        raise Diverged(error.step, start + error.replicate) from None


def _schedule(run: Run) -> Schedule:
    """The step sizes as a schedule; a tuple becomes one number a replicate."""
    lr = run.lr
    if isinstance(lr, Schedule):
        return lr
    if not isinstance(lr, tuple):
        return Constant(lr)
    if len(lr) != run.replicates:
        raise ValueError(f"lr names {len(lr)} step sizes for {run.replicates} replicates")
    return _PerReplicate(lr)


@dataclass(frozen=True)
class _PerReplicate(Schedule):
    """One constant step size for each replicate."""

    lr: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse step sizes that are not positive."""
        for value in self.lr:
            Constant(value)

    def adapt(self, t: int, g: Array, state: Any) -> tuple[Array, Any]:
        """The step sizes as a column."""
        column = np.array(self.lr)[:, None] if state is None else state
        return column, column
