"""The steps of some workers of a team: they overwrite memories and make only what the server needs.

Each does what the ``step`` and the ``mean_move`` of its method do, to the bit, but makes neither a
new x of every worker nor what is only recorded. Arrays are (R, m, d), and x is (R, 1, d).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from efsgd.arrays import Array, Generator
from efsgd.methods.base import Memory, Method, StepSize
from efsgd.methods.differences import DASHA, DIANA
from efsgd.methods.ef21 import EF21, EF21SGDM, EControl, EF21Plus
from efsgd.methods.feedback import EFSGD
from efsgd.methods.sgd import SGD, CompressedSGD, SignSGD, Signum
from efsgd.methods.variants import FullyCorrectiveEF

LONG = 2**12  # entries of a vector that take longer to add than to call


class Total:
    """The sum of rows that come some at a time, added in the order of one sum of all."""

    def __init__(self) -> None:
        self.sum: Array | None = None  # (R, d)

    def add(self, rows: Array) -> None:
        """Add these rows (R, m, d)."""
        if self.sum is None:
            self.sum = rows.sum(1)
        elif rows.shape[-1] < LONG:
            self.sum = np.concatenate([self.sum[:, None], rows], axis=1).sum(1)
        else:
            for i in range(rows.shape[1]):
                self.sum += rows[:, i]


class Told:
    """What the workers of some replicates have told the server so far."""

    def __init__(self) -> None:
        self.messages = Total()  # in units of x
        self.estimates = Total()  # h, in units of g

    def move(self, workers: int, lr: StepSize) -> Array:
        """How far x moves, (R, d), once all have told."""
        sent, h = self.messages.sum, self.estimates.sum
        if h is None:
            assert sent is not None
            return np.asarray(sent / workers)
        along = lr * (h / workers)
        return np.asarray(along if sent is None else along + sent / workers)


def _sgd(
    method: SGD, x: Array, g: Array, memory: Memory, lr: StepSize, rng: Generator, told: Told
) -> None:
    told.messages.add(lr * _direction(method, x, g, memory))


def _compressed(
    method: Method, x: Array, g: Array, memory: Memory, lr: StepSize, rng: Generator, told: Told
) -> None:
    told.messages.add(lr * _sent(method, _direction(method, x, g, memory), memory, rng))


def _efsgd(
    method: EFSGD, x: Array, g: Array, memory: Memory, lr: StepSize, rng: Generator, told: Told
) -> None:
    assert memory.e is not None  # made by start
    p = lr * _direction(method, x, g, memory)
    p += memory.e if method.decay == 1 else method.decay * memory.e
    sent = _sent(method, p, memory, rng)
    told.messages.add(sent)
    np.subtract(p, sent, out=memory.e)


def _ef21(
    method: EF21, x: Array, g: Array, memory: Memory, lr: StepSize, rng: Generator, told: Told
) -> None:
    h, e = memory.h, memory.e
    assert h is not None  # made by start
    difference = np.subtract(_direction(method, x, g, memory), h, out=e)
    change = _sent(method, difference, memory, rng)
    h += change
    told.estimates.add(h)
    difference -= change


def _diana(
    method: DIANA, x: Array, g: Array, memory: Memory, lr: StepSize, rng: Generator, told: Told
) -> None:
    h = memory.h
    assert h is not None  # made by start
    told.estimates.add(h)
    change = _sent(method, _direction(method, x, g, memory) - h, memory, rng)
    learnt = method.learning(g.shape[-1]) * change
    h += learnt
    told.messages.add(np.multiply(lr, change, out=learnt))


def _estimate(
    method: Method, x: Array, g: Array, memory: Memory, lr: StepSize, rng: Generator, told: Told
) -> None:
    """The step of any method that moves along its estimates."""
    after = method.step(x, g, memory, lr, rng).memory
    for old, new in zip(memory.arrays(), after.arrays(), strict=True):
        old[...] = new
    assert memory.h is not None  # made by start
    told.estimates.add(memory.h)


def _direction(method: Method, x: Array, g: Array, memory: Memory) -> Array:
    """The gradient after weight decay and momentum, whose buffer is overwritten."""
    g, m = method.direction(x, g, memory.m)
    if memory.m is not None:
        memory.m[...] = m
    return g


def _sent(method: Method, v: Array, memory: Memory, rng: Generator) -> Array:
    """C(v), which may be v itself."""
    sent, _, _ = method.compress(v, memory, rng)
    method.compresses.check_shape(v, sent)
    return sent


# By type: a method of one's own, made of one of these, may move otherwise.
STEPS: dict[type[Method], Callable[..., None]] = {
    SGD: _sgd,
    CompressedSGD: _compressed,
    SignSGD: _compressed,
    Signum: _compressed,
    EFSGD: _efsgd,
    FullyCorrectiveEF: _efsgd,
    EF21: _ef21,
    EF21SGDM: _ef21,
    EF21Plus: _estimate,
    EControl: _estimate,
    DASHA: _estimate,
    DIANA: _diana,
}
