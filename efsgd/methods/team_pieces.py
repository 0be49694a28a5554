"""A step of many workers some at a time, so that what it makes stays in the cache.

A step makes about ten arrays of the size (R, n, d). Where these leave the cache, the memory's speed
decides, and the system's, which fills every new page with zeros. So the workers of a large team
step in groups, each group to the end, and their memories are overwritten; the bits are those of one
step of all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from efsgd.arrays import Array, Generator
from efsgd.methods.base import Memory, Method, StepSize
from efsgd.methods.ef21 import EF21
from efsgd.methods.feedback import EFSGD
from efsgd.methods.sgd import SGD, CompressedSGD, SignSGD

GROUP = 2**17  # entries (R, m, d) of the workers that step together: these stay in the cache
LONG = 2**12  # entries of a vector that take longer to add than to call
SEPARATE = (SGD, EFSGD, EF21, CompressedSGD, SignSGD)  # each move is one mean over the workers


class RunningMean:
    """The mean of rows that come some at a time: after the last ones it is that of all n.

    It takes the place of :class:`efsgd.methods.Mean` where all count alike and all arrived, and
    adds in the same order.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.total: Array | None = None

    def of_all(self, rows: Array) -> Array:
        """The sum of these rows (R, m, d) and all before, divided by n: (R, d)."""
        if self.total is None:
            self.total = rows.sum(1)
        elif rows.shape[-1] < LONG:
            self.total = np.concatenate([self.total[:, None], rows], axis=1).sum(1)
        else:
            for i in range(rows.shape[1]):
                self.total += rows[:, i]
        mean: Array = self.total / self.workers
        return mean

    of_arrived = of_all


def separable(method: Method, shape: tuple[int, ...]) -> bool:
    """Whether workers with gradients of this shape (R, n, d) are to step in groups."""
    c = method.compresses
    alone = type(method) in SEPARATE and not (method.momentum or c.random or c.joint or c.warm)
    return alone and math.prod(shape) > GROUP and shape[-1] > 1


def groups(shape: tuple[int, ...]) -> Iterator[slice]:
    """The workers that step together, of all with gradients (R, n, d)."""
    replicates, n, d = shape
    size = max(1, GROUP // (replicates * d))
    for start in range(0, n, size):
        yield slice(start, start + size)


def each(lr: StepSize) -> StepSize:
    """The step size of each replicate, for arrays (R, n, d)."""
    return lr if np.ndim(lr) == 0 else np.asarray(lr)[..., None]


def move_in_groups(
    worker: Method, x: Array, g: Array, memory: Memory, lr: StepSize, rng: Generator
) -> Array:
    """How far x (R, d) moves by a step of all workers, whose ``memory`` is overwritten.

    ``g`` is (R, n, d), and ``worker`` separable.
    """
    mean: Any = RunningMean(g.shape[1])
    move = x
    for group in groups(g.shape):
        before = _of_group(memory, group)
        rows = worker.step(x[:, None], g[:, group], before, each(lr), rng)
        move = worker.mean_move(x[:, None], before, rows, rows.memory, lr, mean)
        for whole, some in zip(memory.arrays(), rows.memory.arrays(), strict=True):
            whole[:, group] = some
    return move


def _of_group(memory: Memory, group: slice) -> Memory:
    """The memories of some workers, as views of that of all."""
    return memory.map(lambda whole: whole[:, group])
