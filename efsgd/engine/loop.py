"""One block of replicates, step by step: fast, or carefully where numbers stop being finite."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from efsgd.arrays import Array, Generator, all_finite
from efsgd.compressors.wrappers import Identity
from efsgd.engine.block import Block
from efsgd.engine.metrics import History
from efsgd.engine.oracle import gradients
from efsgd.methods.base import Memory, Method, Update
from efsgd.methods.team import Team
from efsgd.methods.team_checks import check_apart
from efsgd.methods.team_state import Streams, TeamMemory

CHECK_EVERY = 256  # steps between checks that all numbers are finite


class Diverged(ArithmeticError):
    """A replicate left the finite numbers; ``step`` is the first step at which it had.

    ``because`` names the gradient that left them first, where it did.
    """

    def __init__(self, step: int, replicate: int, because: str = "") -> None:
        reason = f", as {because} is not" if because else ""
        super().__init__(
            f"the run diverged: replicate {replicate} is not finite at step {step}{reason}, "
            f"use a smaller step size"
        )
        self.step = step
        self.replicate = replicate
        self.because = because


class _Broken(NamedTuple):
    """A gradient that is not finite."""

    step: int
    where: Array  # (R, d), or (R, n, d) of several workers

    def named(self, replicate: int) -> str:
        """Which one it is of this replicate, in words; empty where that one is finite."""
        where = self.where[replicate]
        if not where.any():
            return ""
        of_worker = f" of worker {np.argwhere(where)[0, 0]}" if where.ndim == 2 else ""
        return f"the gradient{of_worker} at step {self.step}"


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
    # What is sent of NaN may be finite, and without a memory nothing else shows it.
    broken: _Broken | None = None
    hides = not (method.feeds_back or isinstance(method.compresses, Identity))
    for t in range(block.steps):
        recorded = t == block.recorded[row]
        if recorded:
            history.state(row, x, memory)
        if not keep and t % interval == 0:
            at = method.answer(x, memory)
            _raise_if_diverged(t, x, memory, history.losses(row + recorded, at, interval), broken)
        g = gradient(method.at(x, memory))
        if t == 0 and g.shape != shape:
            raise ValueError(_misshapen(g, x, shape))
        look = careful or (hides and not all_finite(g))
        diverged = _diverged(x, g, memory) if look else None
        if diverged is not None and not careful:
            raise Diverged(t + 1, int(np.argmax(diverged)))
        if diverged is not None:
            broken = _Broken(t, ~np.isfinite(g))
            x, g, memory = _zeroed(diverged, x, g, memory)
        seen = method.mean(g) if block.schedule.adaptive else g
        lr, state = block.schedule.adapt(t, seen, state)
        if t == 0 and isinstance(method, Team):
            check_apart(method, x, g, lr)
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
        losses = history.losses(row + 1, at, interval)
        _raise_if_diverged(block.steps, x, memory, losses, broken)
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


def _misshapen(g: Array, x: Array, shape: tuple[int, ...]) -> str:
    """The refusal of gradients of another shape than this."""
    if len(shape) == 2:
        return f"gradient returned shape {g.shape} for x of shape {x.shape}"
    return (
        f"the workers' gradients have shape {g.shape}, but {shape} is needed, (R, n, d), for x of "
        f"shape {x.shape} or, with local steps, the model of each worker"
    )


def _zeroed(diverged: Array, x: Array, g: Array, memory: Any) -> tuple[Array, Array, Any]:
    """The same with zeros in diverged replicates, which any compressor can take."""

    def zeroed(part: Array) -> Array:
        return np.where(diverged.reshape(-1, *[1] * (part.ndim - 1)), 0.0, part)

    return zeroed(x), zeroed(g), memory.map(zeroed)


def _raise_if_diverged(
    t: int, x: Array, memory: Memory | TeamMemory, losses: Array, broken: _Broken | None
) -> None:
    """Raise Diverged if x_t, its memory or a loss (rows, R) is not finite in some replicate."""
    diverged = _diverged(x, x, memory)
    if diverged is None and np.isfinite(losses).all():
        return
    of_loss = ~np.isfinite(losses).all(0)
    replicate = int(np.argmax(of_loss if diverged is None else of_loss | diverged))
    raise Diverged(t, replicate, "" if broken is None else broken.named(replicate))


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
