"""What is recorded of a run: quantities of the iterate, and of the step taken from it.

:data:`efsgd.METRICS` says what each is; whatever ``problem.measure(x)`` returns joins them. Those
of a step are NaN in the last row, from which no step is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from efsgd.arrays import Array, achieved_delta, density
from efsgd.engine.block import Block
from efsgd.engine.keys import METRICS, OF_STEPS
from efsgd.engine.meters import Meter, TeamMeter
from efsgd.engine.states import BYTES, OF_TEAMS, norm
from efsgd.methods.base import Memory, Method, StepSize, Update
from efsgd.methods.team import Team
from efsgd.methods.team_state import TeamMemory, TeamUpdate

SPAN_TOLERANCE = 1e-10  # a gradient this much out of the span, relatively, extends it
SPAN_LIMIT = 2**28  # entries of the basis


class History:
    """Collects the chosen metrics of one block of replicates."""

    def __init__(self, block: Block, x: Array) -> None:
        self.problem, self.method, self.x0 = block.problem, block.method, x
        shape = np.shape(block.problem.loss(x))
        if shape != (len(x),):
            raise ValueError(f"loss returned shape {shape} for x of shape {x.shape}")
        self.steps = block.recorded
        extra = self._measured(x)
        self.names = _chosen(block, tuple(extra))
        self.measures = bool(set(self.names) & set(extra))
        shape = (len(self.steps), len(x))
        self.values = {name: np.full(shape, np.nan) for name in self.names}
        self.of_steps = bool(set(self.names) & set(OF_STEPS))
        self.virtual = _Virtual(block.method, x) if "virtual_residual" in self.names else None
        self.span = _Span(block, x) if "span_distance" in self.names else None
        self.meter = _meter(block, x) if set(self.names) & set(BYTES) else None
        accumulators = (self.virtual, self.span, self.meter)
        self.every_step = any(accumulator is not None for accumulator in accumulators)
        self.of_states = [
            (self.values[name], measure)
            for name, measure in self._of_states().items()
            if name in self.names
        ]

    def _of_states(self) -> dict[str, Callable[[Array, Array, Any], Any]]:
        """Name -> the function of the answer, x_t and the memory that a metric of (x_t, e_t) is."""
        loss = self.problem.loss
        of_states: dict[str, Callable[[Array, Array, Any], Any]] = {
            "loss": lambda at, x, memory: loss(at),
            "distance": lambda at, x, memory: norm(at - self.problem.optimum.x),  # type: ignore[attr-defined]
            "memory_norm": lambda at, x, memory: norm(memory.e),
        }
        if isinstance(self.method, Team):
            of_states |= OF_TEAMS
        if self.virtual is not None:
            virtual = self.virtual
            of_states["virtual_residual"] = lambda at, x, memory: virtual.residual(x, memory)
        if self.span is not None:
            span = self.span
            of_states["span_distance"] = lambda at, x, memory: span.distance(at - self.x0)
        if isinstance(self.meter, Meter):
            meter = self.meter
            of_states["bytes"] = lambda at, x, memory: meter.total
        if isinstance(self.meter, TeamMeter):
            ups = self.meter
            of_states["bytes_up"] = lambda at, x, memory: ups.up.sum(1)
            of_states["bytes_worker"] = lambda at, x, memory: ups.up.max(1)
            of_states["bytes_down"] = lambda at, x, memory: ups.down
        return of_states

    def state(self, row: int, x: Array, memory: Memory | TeamMemory) -> None:
        """Record the quantities of (x_t, e_t)."""
        at = self.method.answer(x, memory)  # type: ignore[arg-type]
        for series, measure in self.of_states:
            series[row] = measure(at, x, memory)
        if self.measures:
            for name, value in self._measured(at).items():
                if name in self.values:
                    self.values[name][row] = value

    def needs_update(self, recorded: bool) -> bool:
        """Whether :meth:`step` is to be told of a step, which may start at a recorded iterate."""
        return self.every_step or (recorded and self.of_steps)

    def step(self, row: int | None, g: Array, lr: StepSize, update: Update | TeamUpdate) -> None:
        """Take note of a step; ``row`` where it starts at a recorded iterate."""
        if self.virtual is not None:
            self.virtual.x -= lr * self._direction(update)
        if self.span is not None:
            self.span.extend(g)
        if self.meter is not None:
            self.meter.add(update)  # type: ignore[arg-type]
        if row is not None and self.of_steps:
            rows = update if isinstance(update, Update) else update.exchanges[0].rows
            measures = {
                "achieved_delta": lambda: achieved_delta(rows.p, rows.sent),
                "phi_g": lambda: density(g),
                "phi_p": lambda: density(rows.p),
            }
            for name in OF_STEPS:
                if name in self.values:
                    value = measures[name]()
                    self.values[name][row] = value if value.ndim == 1 else value.mean(1)

    def _direction(self, update: Update | TeamUpdate) -> Array:
        """What SGD along the same gradients moves by -lr times, (R, d)."""
        if isinstance(update, Update):
            return update.direction
        assert isinstance(self.method, Team)  # whose update it is
        return self.method.direction(update)

    def losses(self, rows: int, x: Array, interval: int) -> Array:
        """The losses recorded within the last ``interval`` steps, or else that of x; (rows, R)."""
        if interval == 1 or "loss" not in self.values:
            return np.asarray(self.problem.loss(x))[None]
        return self.values["loss"][max(rows - interval, 0) : rows]

    def arrays(self) -> dict[str, Array]:
        """The history as arrays over time."""
        return {"step": np.array(self.steps), **self.values}

    def _measured(self, x: Array) -> dict[str, Array]:
        """What the problem's own ``measure`` returns, if it has one."""
        measure = getattr(self.problem, "measure", None)
        return {} if measure is None else dict(measure(x))


def _meter(block: Block, x: Array) -> Meter | TeamMeter:
    if isinstance(block.method, Team):
        return TeamMeter(block.method, x)
    return Meter(block.method.compresses, x)


def _chosen(block: Block, extra: tuple[str, ...]) -> tuple[str, ...]:
    """The metrics to record: those asked for, or all that apply but the span distance."""
    feeds_back, team = block.method.feeds_back, isinstance(block.method, Team)
    local = isinstance(block.method, Team) and block.method.local is not None
    applies = {
        "loss": True,
        "distance": _has_distance(block),
        "memory_norm": feeds_back,
        "virtual_residual": block.method.has_virtual and not hasattr(block.problem, "project"),
        "achieved_delta": not local,
        "phi_g": not local,
        "phi_p": not local,
        "bytes": not team,
        "bytes_up": team,
        "bytes_worker": team,
        "bytes_down": team,
        "memory_largest": feeds_back and team,
        "memory_spread": feeds_back and team,
        "consensus": local,
    }
    clash = METRICS.keys() & set(extra)
    if clash:
        raise ValueError(f"measure returns {min(clash)!r}, which the history has itself: rename it")
    known = [*(name for name, applicable in applies.items() if applicable), *extra]
    if block.metrics is None:
        return tuple(known)
    for name in block.metrics:
        if name not in (*known, *(() if team else ("span_distance",))):
            also = "" if team else " and span_distance"
            named = [key for key, applicable in applies.items() if applicable or key == "distance"]
            which = ", ".join([*named, *extra])
            raise ValueError(f"metrics: {name!r} is not recorded here, choose among {which}{also}")
    return block.metrics


def _has_distance(block: Block) -> bool:
    """Whether the distance to an optimum can be recorded; one that was asked for has to be found.

    It is not looked for in vain, as that may take long.
    """
    if block.metrics is not None:
        return "distance" in block.metrics and getattr(block.problem, "optimum", None) is not None
    try:
        return getattr(block.problem, "optimum", None) is not None
    except ArithmeticError:  # none can be certified: no reason to refuse a run
        return False


class _Virtual:
    """The iterate of SGD along the same gradients, x_0 - sum lr g."""

    def __init__(self, method: Method | Team, x: Array) -> None:
        self.method: Any = method
        self.x = x.copy()
        self.scale = np.zeros(len(x))  # the largest |x| and |e| recorded so far

    def residual(self, x: Array, memory: Memory | TeamMemory) -> Array:
        """How far x - e is from it, relative to the largest |x| and |e| recorded so far."""
        virtual = self.method.virtual(x, memory)
        self.scale = np.maximum.reduce([self.scale, norm(x), norm(x - virtual)])
        residual: Array = norm(virtual - self.x) / np.where(self.scale > 0, self.scale, 1.0)
        return residual


class _Span:
    """An orthonormal basis of the gradients so far, for each replicate, one column a step."""

    def __init__(self, block: Block, x: Array) -> None:
        replicates, d = x.shape
        columns = min(block.steps, replicates * d)
        if replicates * columns * d > SPAN_LIMIT:
            raise ValueError(
                f"span_distance over {block.steps} steps of {replicates} replicates in dimension "
                f"{d} needs too much memory: use fewer steps or replicates"
            )
        self.basis = np.zeros((replicates, min(columns, 64), d))
        self.size = 0

    def extend(self, g: Array) -> None:
        """Add what is new in g (R, d), orthogonalised twice; nothing where g lies in the span."""
        rest = self._rest(self._rest(g))
        length = norm(rest)[:, None]
        new = length > SPAN_TOLERANCE * norm(g)[:, None]
        if not new.any():
            return
        if self.size == self.basis.shape[1]:
            self.basis = np.concatenate([self.basis, np.zeros_like(self.basis)], axis=1)
        self.basis[:, self.size] = np.where(new, rest / np.where(new, length, 1.0), 0.0)
        self.size += 1

    def distance(self, v: Array) -> Array:
        """The distance of each row of v (R, d) from the span."""
        return norm(self._rest(v))

    def _rest(self, v: Array) -> Array:
        q = self.basis[:, : self.size]
        inside: Array = np.matmul(np.matmul(v[:, None], q.swapaxes(1, 2)), q)[:, 0]
        return v - inside
