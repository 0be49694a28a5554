"""Wrong variants of a step with several workers: what tests of methods and of claims must notice.

``with MUTANTS["the sum, not the mean"]():`` runs what is inside with the engine broken in this way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
from mutants import edited

from efsgd.arrays import Array, Generator
from efsgd.compressors import PowerSGD, Sign, lowrank
from efsgd.engine.meters import TeamMeter
from efsgd.methods import (
    DASHA,
    DIANA,
    EF21,
    EFSGD,
    MARINA,
    EControl,
    GradientEF,
    LocalSteps,
    MajorityVote,
    Mean,
    Memory,
    Method,
    SignSGD,
    StepSize,
    Streams,
    Team,
    TeamMemory,
    TeamUpdate,
    Update,
)
from efsgd.methods.differences import Differences
from efsgd.methods.ef21 import Estimates

Mutant = Callable[[], AbstractContextManager[Any]]


# -- the mean and the move -------------------------------------------------------------------------


@contextmanager
def _sum() -> Iterator[None]:
    of_all, of_arrived = Mean.of_all, Mean.of_arrived
    with (
        patch.object(Mean, "of_all", lambda self, rows: rows.shape[1] * of_all(self, rows)),
        patch.object(Mean, "of_arrived", lambda self, rows: rows.shape[1] * of_arrived(self, rows)),
    ):
        yield


@contextmanager
def _upwards() -> Iterator[None]:
    exchange = Team._exchange

    def wrong(self: Team, x: Array, *others: Any) -> Any:
        new, memories, made = exchange(self, x, *others)
        return 2 * x - new, memories, made

    with patch.object(Team, "_exchange", wrong):
        yield


@contextmanager
def _all_count_as_asked() -> Iterator[None]:
    of_arrived = Mean.of_arrived

    def wrong(self: Mean, rows: Array) -> Array:
        return of_arrived(self._replace(share=1.0), rows)

    with patch.object(Mean, "of_arrived", wrong):
        yield


@contextmanager
def _present_only() -> Iterator[None]:
    def wrong(
        self: Method,
        x: Array,
        before: Memory,
        update: Update,
        after: Memory,
        lr: StepSize,
        mean: Mean,
    ) -> Array:
        assert after.h is not None
        return lr * mean.of_arrived(after.h)

    with (
        patch.object(Estimates, "mean_move", wrong),
        patch.object(Differences, "mean_move", wrong),
    ):
        yield


# -- memories --------------------------------------------------------------------------------------


@contextmanager
def _exchanged(change: Callable[[Memory, Memory], tuple[Memory, Memory]]) -> Iterator[None]:
    """What is remembered after an exchange, by the workers and by the server, changed."""
    exchange = Team._exchange

    def wrong(self: Team, *others: Any) -> Any:
        new, memories, made = exchange(self, *others)
        return new, change(*memories), made

    with patch.object(Team, "_exchange", wrong):
        yield


def _one_memory() -> AbstractContextManager[None]:
    def mean(part: Array) -> Array:
        return np.broadcast_to(part.mean(1, keepdims=True), part.shape).copy()

    return _exchanged(lambda workers, server: (workers.map(mean), server))


def _forgetful_server() -> AbstractContextManager[None]:
    return _exchanged(lambda workers, server: (workers, server.map(np.zeros_like)))


@contextmanager
def _untold() -> Iterator[None]:
    with ExitStack() as stack:
        for method in (EFSGD, GradientEF, EF21, EControl, Differences):
            wrong = lambda self, before, update: update.memory  # noqa: E731
            stack.enter_context(patch.object(method, "undelivered", wrong))
        yield


@contextmanager
def _absent_go_on() -> Iterator[None]:
    where = Memory.where

    def wrong(self: Memory, mask: Array, other: Memory) -> Memory:
        return where(self, np.ones_like(mask), other)

    with patch.object(Memory, "where", wrong):
        yield


@contextmanager
def _fresh_inner() -> Iterator[None]:
    step = Team._local_step

    def wrong(
        self: Team,
        method: LocalSteps,
        x: Array,
        g: Array,
        memory: TeamMemory,
        lr: StepSize,
        rng: Streams,
    ) -> TeamUpdate:
        if memory.t % self.local_steps == 0:
            memory = memory._replace(inner=memory.inner._replace(m=None))
        return step(self, method, x, g, memory, lr, rng)

    with patch.object(Team, "_local_step", wrong):
        yield


# -- who takes part, the server, the wire ----------------------------------------------------------


@contextmanager
def _with_replacement() -> Iterator[None]:
    def wrong(self: Team, replicates: int, rng: Generator) -> Array | None:
        if self.asked == self.workers:
            return None
        chosen = rng.integers(self.workers, size=(replicates, self.asked))
        present = np.zeros((replicates, self.workers), bool)
        np.put_along_axis(present, chosen, True, axis=1)
        return present

    with patch.object(Team, "_present", wrong):
        yield


@contextmanager
def _all_arrives() -> Iterator[None]:
    with patch.object(Team, "_arrived", lambda self, present, shape, rng: present):
        yield


@contextmanager
def _one_draw() -> Iterator[None]:
    compress = Method.compress

    def wrong(self: Method, v: Array, memory: Memory, rng: Generator) -> Any:
        if v.ndim < 3:
            return compress(self, v, memory, rng)
        drawn = self.compresses.draw(v.shape, rng, memory.warm)
        if isinstance(drawn, np.ndarray):
            drawn = np.broadcast_to(drawn[:, :1], drawn.shape)
        return self.compresses.apply(v, drawn), drawn, self.compresses.next_state(v, drawn)

    with patch.object(Method, "compress", wrong):
        yield


@contextmanager
def _down_twice() -> Iterator[None]:
    served = Team._served

    def wrong(
        self: Team, x: Array, move: Array, memory: Memory, lr: StepSize, rng: Generator
    ) -> Update | None:
        down = served(self, x, move, memory, lr, rng)
        return down and served(self, down.x, move, down.memory, lr, rng)

    with patch.object(Team, "_served", wrong):
        yield


@contextmanager
def _no_weights() -> Iterator[None]:
    with patch.object(Team, "_weights", None):
        yield


@contextmanager
def _ties_go_up() -> Iterator[None]:
    with patch.object(MajorityVote, "server", SignSGD(Sign())):
        yield


@contextmanager
def _absent_pay() -> Iterator[None]:
    add = TeamMeter._add

    def wrong(self: TeamMeter, exchange: Any) -> None:
        add(self, exchange._replace(spoke=None))

    with patch.object(TeamMeter, "_add", wrong):
        yield


@contextmanager
def _means_come_whole() -> Iterator[None]:
    with patch.object(PowerSGD, "adds", False):
        yield


@contextmanager
def _other_entries() -> Iterator[None]:
    parts = LocalSteps.parts

    def wrong(self: LocalSteps, d: int) -> list[slice]:
        return parts(self, d)[::-1]

    with patch.object(LocalSteps, "parts", wrong):
        yield


# -- one method ------------------------------------------------------------------------------------


@contextmanager
def _all_of_the_change() -> Iterator[None]:
    step = DIANA.step

    def wrong(self: DIANA, *others: Any) -> Update:
        return step(replace(self, alpha=1.0), *others)

    with patch.object(DIANA, "step", wrong):
        yield


def _own_coins() -> AbstractContextManager[None]:
    return edited(MARINA.step, "(len(g), *[1] * (g.ndim - 1))", "(*g.shape[:-1], 1)")


@contextmanager
def _old_units() -> Iterator[None]:
    with patch.object(GradientEF, "idle", lambda self, before, lr: before):
        yield


@contextmanager
def _alike() -> Iterator[None]:
    with patch.object(PowerSGD, "first_state", lambda self, weights: None):
        yield


@contextmanager
def _first_basis() -> Iterator[None]:
    with patch.object(lowrank, "_mean", lambda matrices, weights: matrices[..., :1, :, :]):
        yield


@contextmanager
def _cold() -> Iterator[None]:
    with patch.object(PowerSGD, "next_state", lambda self, x, drawn: None):
        yield


def _no_pull() -> AbstractContextManager[None]:
    return edited(DASHA.step, " - a * (memory.h - memory.last)", "")


MUTANTS: dict[str, Mutant] = {
    "the sum, not the mean": _sum,
    "up, not down": _upwards,
    "|S| counted as n": _all_count_as_asked,
    "estimates of the present only": _present_only,
    "one memory for all workers": _one_memory,
    "the server forgets": _forgetful_server,
    "a loss that its sender does not learn of": _untold,
    "the absent go on": _absent_go_on,
    "inner momentum starts anew each round": _fresh_inner,
    "participation with replacement": _with_replacement,
    "what is lost arrives": _all_arrives,
    "one draw for all workers": _one_draw,
    "downlink applied twice": _down_twice,
    "weights ignored": _no_weights,
    "a tie goes up": _ties_go_up,
    "bytes of the absent": _absent_pay,
    "fragments of other entries": _other_entries,
    "fragments at another time": lambda: edited(
        Team._local_step, "t + 1 - f * h // method.fragments", "t + 1 - f"
    ),
    "DIANA with alpha = 1": _all_of_the_change,
    "MARINA with a coin of each worker": _own_coins,
    "DASHA with a = 0": _no_pull,
    "gradient EF, the absent keep old units": _old_units,
    "PowerSGD, workers count alike": _alike,
    "PowerSGD, a basis for the first worker": _first_basis,
    "PowerSGD starts anew at each step": _cold,
    "a mean of messages that add comes whole": _means_come_whole,
}
