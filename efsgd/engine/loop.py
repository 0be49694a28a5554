"""One block of replicates, step by step: fast, or carefully where numbers stop being finite."""

from __future__ import annotations

from typing import Any

import numpy as np

from efsgd.arrays import Array, Generator
from efsgd.engine.block import Block
from efsgd.engine.metrics import History
from efsgd.engine.oracle import gradients
from efsgd.methods.base import Memory, Method, Update
from efsgd.methods.team_state import Streams, TeamMemory

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
    start_rng, gradient_rng, *others = rngs
    draws: Any = others[0] if len(others) == 1 else Streams(*others)
    x, state = _start(block, start_rng), None
    memory: Any = method.start(x)
    history = History(block, x)
    gradient, overwritable = gradients(block, gradient_rng)
    shape = x.shape if isinstance(method, Method) else (len(x), method.workers, x.shape[-1])
    row, interval = 0, 1 if careful else CHECK_EVERY
    for t in range(block.steps):
        recorded = t == block.recorded[row]
        if recorded:
            history.state(row, x, memory)
        if not keep and t % interval == 0:
            at = method.answer(x, memory)
            _raise_if_diverged(t, x, memory, history.losses(row + recorded, at, interval))
        g = gradient(method.at(x, memory))
        if t == 0 and g.shape != shape:
            raise ValueError(f"gradient returned shape {g.shape} for x of shape {x.shape}")
        diverged = _diverged(x, g, memory) if careful else None
        if diverged is not None:
            x, g, memory = _zeroed(diverged, x, g, memory)
        seen = method.mean(g) if block.schedule.adaptive else g
        lr, state = block.schedule.adapt(t, seen, state)
        first = t == 0 and isinstance(method, Method)  # whose message is checked, once
        if first or history.needs_update(recorded):
            update = method.step(x, g, memory, lr, draws)
            if isinstance(update, Update):
                method.compresses.check_shape(x, update.sent)
            history.step(row if recorded else None, g, lr, update)
            x, memory = update.x, update.memory
            del update  # a dozen arrays of several workers, which the next step needs not
        else:
            x, memory = method.advance(x, g, memory, lr, draws, overwritable)
        if diverged is not None:
            x = np.where(diverged[:, None], np.nan, x)
        if project is not None:
            x = project(x)
        row += recorded
    history.state(row, x, memory)
    if not keep:
        at = method.answer(x, memory)
        _raise_if_diverged(block.steps, x, memory, history.losses(row + 1, at, interval))
    x_final = np.array(method.answer(x, memory))  # what project returned may be used again
    return {**history.arrays(), "x_final": x_final}


def _diverged(x: Array, g: Array, memory: Memory | TeamMemory) -> Array | None:
    """Which replicates hold something that is not finite, (R,); None if none does."""
    parts = [x, g, *memory.arrays()]
    if all(np.isfinite(part).all() for part in parts):
        return None
    finite: Array = np.logical_and.reduce(
        [np.isfinite(part).all(tuple(range(1, part.ndim))) for part in parts]
    )
    return ~finite


def _zeroed(diverged: Array, x: Array, g: Array, memory: Any) -> tuple[Array, Array, Any]:
    """The same with zeros in diverged replicates, which any compressor can take."""

    def zeroed(part: Array) -> Array:
        return np.where(diverged.reshape(-1, *[1] * (part.ndim - 1)), 0.0, part)

    return zeroed(x), zeroed(g), memory.map(zeroed)


def _raise_if_diverged(t: int, x: Array, memory: Memory | TeamMemory, losses: Array) -> None:
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
