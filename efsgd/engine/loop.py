"""One block of replicates, step by step: fast, or carefully where numbers stop being finite."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from efsgd.arrays import Array, Generator
from efsgd.compressors.selection import sample_subset
from efsgd.engine.block import Block
from efsgd.engine.metrics import History
from efsgd.methods.base import Memory

CHECK_EVERY = 256  # steps between checks that all numbers are finite


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

    Checks every ``CHECK_EVERY`` steps whether all is finite and raises Diverged if not, naming that
    step; if ``careful``, at every step, and diverged replicates are stepped from zeros and become
    NaN, so that the compressor meets finite numbers only. With ``keep`` nothing is raised.
    """
    method, project = block.method, getattr(block.problem, "project", None)
    start_rng, gradient_rng, compressor_rng = rngs
    x, state = _start(block, start_rng), None
    memory, history = method.start(x), History(block, x)
    gradient, overwritable = _oracle(block, gradient_rng)
    row, interval = 0, 1 if careful else CHECK_EVERY
    for t in range(block.steps):
        recorded = t == block.recorded[row]
        if recorded:
            history.state(row, x, memory)
        if not keep and t % interval == 0:
            _raise_if_diverged(t, x, memory, history.losses(row + recorded, x, interval))
        g = gradient(x)
        if t == 0 and g.shape != x.shape:
            raise ValueError(f"gradient returned shape {g.shape} for x of shape {x.shape}")
        diverged = _diverged(x, g, memory) if careful else None
        if diverged is not None:
            x, g, memory = _zeroed(diverged, x, g, memory)
        lr, state = block.schedule.adapt(t, g, state)
        if t == 0 or history.needs_update(recorded):
            update = method.step(x, g, memory, lr, compressor_rng)
            method.compresses.check_shape(x, update.sent)
            history.step(row if recorded else None, g, lr, update)
            x, memory = update.x, update.memory
        else:
            x, memory = method.advance(x, g, memory, lr, compressor_rng, overwritable)
        if diverged is not None:
            x = np.where(diverged[:, None], np.nan, x)
        if project is not None:
            x = project(x)
        row += recorded
    history.state(row, x, memory)
    if not keep:
        _raise_if_diverged(block.steps, x, memory, history.losses(row + 1, x, interval))
    x_final = np.array(method.answer(x, memory))  # what project returned may be used again
    return {**history.arrays(), "x_final": x_final}


def _diverged(x: Array, g: Array, memory: Memory) -> Array | None:
    """Which replicates hold something that is not finite, (R,); None if none does."""
    parts = [part for part in (x, g, memory.e, memory.m, memory.h) if part is not None]
    if all(np.isfinite(part).all() for part in parts):
        return None
    finite: Array = np.logical_and.reduce([np.isfinite(part).all(-1) for part in parts])
    return ~finite


def _zeroed(diverged: Array, x: Array, g: Array, memory: Memory) -> tuple[Array, Array, Memory]:
    """The same with zeros in diverged replicates, which any compressor can take."""
    column = diverged[:, None]
    e, m, h = (
        None if v is None else np.where(column, 0.0, v) for v in (memory.e, memory.m, memory.h)
    )
    return np.where(column, 0.0, x), np.where(column, 0.0, g), memory._replace(e=e, m=m, h=h)


def _raise_if_diverged(t: int, x: Array, memory: Memory, losses: Array) -> None:
    """Raise Diverged if x_t, its memory or a loss (rows, R) is not finite in some replicate."""
    diverged = _diverged(x, x, memory)
    if diverged is None and np.isfinite(losses).all():
        return
    of_loss = ~np.isfinite(losses).all(0)
    raise Diverged(t, int(np.argmax(of_loss if diverged is None else of_loss | diverged)))


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
    """The function x -> gradient of this block, and whether its arrays may be overwritten.

    A problem may have ``oracle(rng, R)``, which prepares such a function for a whole run (noise
    drawn in bulk) and returns fresh arrays. It is used only where the class that defines
    ``gradient`` defines it, too: a subclass with a gradient of its own does not inherit it.
    """
    problem, b = block.problem, block.batch
    if b is not None:
        n, batch = problem.n, problem.batch_gradient  # type: ignore[attr-defined]
        subset = partial(sample_subset, rng, n, b, (block.replicates,))
        return lambda x: np.asarray(batch(x, subset()), np.float64), False
    owner = next((cls for cls in type(problem).__mro__ if "gradient" in vars(cls)), object)
    if "oracle" in vars(owner):
        return problem.oracle(rng, block.replicates), True  # type: ignore[attr-defined]
    return lambda x: np.asarray(problem.gradient(x, rng), np.float64), False
