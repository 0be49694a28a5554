"""One block of replicates, step by step: fast, or carefully where numbers stop being finite."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from efsgd.arrays import Array, Generator
from efsgd.compressors.sparse import sample_subset
from efsgd.engine.block import Block
from efsgd.engine.metrics import History
from efsgd.methods.base import Memory

LOOK = 256  # steps between looks for numbers that are not finite


class Diverged(ArithmeticError):
    """A replicate left the finite numbers; ``step`` is the first step at which it had."""

    def __init__(self, step: int, replicate: int) -> None:
        super().__init__(
            f"the run diverged: replicate {replicate} is not finite at step {step}, "
            f"use a smaller step size"
        )
        self.step = step
        self.replicate = replicate


def simulate(
    block: Block, rngs: tuple[Generator, ...], *, keep: bool, careful: bool
) -> dict[str, Array]:
    """The history of one block.

    Looks every ``LOOK`` steps whether all is finite and raises Diverged if not, naming that step;
    if ``careful``, at every step, and dead replicates are stepped from zeros and become NaN, so
    that the compressor meets finite numbers only. With ``keep`` nothing is raised.
    """
    problem, method = block.problem, block.method
    start_rng, gradient_rng, compressor_rng = rngs
    x = _start(block, start_rng)
    memory, state, schedule = method.start(x), None, block.schedule
    history = History(block, x)
    (gradient, own), project = _oracle(block, gradient_rng), getattr(problem, "project", None)
    recorded, of_steps = block.recorded, history.watches or history.of_steps
    row, look = 0, 1 if careful else LOOK
    for t in range(block.steps):
        record = t == recorded[row]
        if record:
            history.state(row, x, memory)
        if not keep and t % look == 0:
            _stop_if_dead(t, x, memory, history.losses(row + record, x, look))
        g = gradient(x)
        if t == 0 and g.shape != x.shape:
            raise ValueError(f"gradient returned shape {g.shape} for x of shape {x.shape}")
        dead = _dead(x, g, memory) if careful else None
        if dead is not None:
            x, g, memory = _revived(dead, x, g, memory)
        lr, state = schedule.adapt(t, g, state)
        noted = of_steps and (record or history.watches)
        if noted or t == 0:
            update = method.step(x, g, memory, lr, compressor_rng)
            method.compresses.check_shape(x, update.sent)
            if noted:
                history.step(row if record else None, g, lr, update)
            x, memory = update.x, update.memory
        else:
            x, memory = method.advance(x, g, memory, lr, compressor_rng, own)
        if dead is not None:
            x = np.where(dead[:, None], np.nan, x)
        if project is not None:
            x = project(x)
        row += record
    history.state(row, x, memory)
    if not keep:
        _stop_if_dead(block.steps, x, memory, history.losses(row + 1, x, look))
    return {**history.arrays(), "x_final": method.answer(x, memory)}


def _dead(x: Array, g: Array, memory: Memory) -> Array | None:
    """The replicates in which something is not finite, (R,); None if there is none."""
    parts = [part for part in (x, g, memory.e, memory.m, memory.h) if part is not None]
    if all(np.isfinite(part).all() for part in parts):
        return None
    alive: Array = np.logical_and.reduce([np.isfinite(part).all(-1) for part in parts])
    return ~alive


def _revived(dead: Array, x: Array, g: Array, memory: Memory) -> tuple[Array, Array, Memory]:
    """The same with zeros in dead replicates, which any compressor can take."""
    column = dead[:, None]
    e, m, h = (
        None if v is None else np.where(column, 0.0, v) for v in (memory.e, memory.m, memory.h)
    )
    return np.where(column, 0.0, x), np.where(column, 0.0, g), memory._replace(e=e, m=m, h=h)


def _stop_if_dead(t: int, x: Array, memory: Memory, losses: Array) -> None:
    """Raise Diverged if x_t, its memory or a loss (rows, R) is not finite in some replicate."""
    dead = _dead(x, x, memory)
    if dead is None and np.isfinite(losses).all():
        return
    lost = ~np.isfinite(losses).all(0)
    raise Diverged(t, int(np.argmax(lost if dead is None else lost | dead)))


def _start(block: Block, rng: Generator) -> Array:
    """x_0, checked: the problem's own or zeros."""
    shape = (block.replicates, block.problem.d)
    if not hasattr(block.problem, "x0"):
        return np.zeros(shape)
    x = np.array(block.problem.x0(rng, block.replicates), dtype=np.float64)
    if x.shape != shape:
        raise ValueError(
            f"x0 returned shape {x.shape}, but {shape} replicates and entries are needed"
        )
    if not np.isfinite(x).all():
        raise ValueError("x0 holds NaN or inf: start from finite numbers")
    return x


def _oracle(block: Block, rng: Generator) -> tuple[Callable[[Array], Array], bool]:
    """The function x -> gradient of this block, and whether its arrays are ours to overwrite.

    A problem may have ``oracle(rng, R)``, which prepares such a function for a whole run (noise
    drawn in bulk) and gives its arrays away. It counts only beside the ``gradient`` it stands for:
    a subclass with a gradient of its own does not inherit it.
    """
    problem, b = block.problem, block.batch
    if b is not None:
        n, batch = problem.n, problem.batch_gradient  # type: ignore[attr-defined]
        subset = partial(sample_subset, rng, n, b, (block.replicates,))
        return lambda x: np.asarray(batch(x, subset()), np.float64), False
    home = next((kind for kind in type(problem).__mro__ if "gradient" in vars(kind)), object)
    if "oracle" in vars(home):
        return problem.oracle(rng, block.replicates), True  # type: ignore[attr-defined]
    return lambda x: np.asarray(problem.gradient(x, rng), np.float64), False
