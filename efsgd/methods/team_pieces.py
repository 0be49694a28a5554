"""A step of many workers some at a time, so that what it makes stays in the cache.

A step makes about ten arrays of the size (R, n, d). Where these leave the cache, the memory's speed
decides, and the system's, which fills every new page with zeros. So the workers of a large team
step in groups, each group to the end, and their memories are overwritten; the bits are those of one
step of all, and so are the draws. What a group does is in :mod:`efsgd.methods.team_steps`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from efsgd.arrays import Array, Generator
from efsgd.methods.base import Memory, Method, StepSize
from efsgd.methods.team_steps import STEPS, Told

GROUP = 2**17  # entries (R, m, d) of the workers that step together: these stay in the cache

Part = tuple[slice, slice]  # some replicates, some of their workers


def separable(method: Method, shape: tuple[int, ...]) -> bool:
    """Whether workers with gradients of this shape (R, n, d) are to step in groups."""
    c = method.compresses
    alone = type(method) in STEPS and c.draws_in_order and not (c.joint or c.warm)
    return alone and math.prod(shape) > GROUP // 8 and shape[-1] > 1  # less stays there anyway


def overwritable(method: Method, x: Array, g: Array, memory: Memory, lr: StepSize) -> bool:
    """Whether a step may overwrite ``memory``: it makes no array anew, nor of another dtype."""
    dtypes = {part.dtype for part in (x, g, *memory.arrays())}
    alike = len(dtypes) == 1 and np.result_type(lr, x) == x.dtype
    return alike and not (method.momentum and memory.m is None)


def groups(shape: tuple[int, ...]) -> Iterator[list[Part]]:
    """The workers that step together, of all with gradients (R, n, d), in their order in memory.

    In lists, each with all workers of the same replicates.
    """
    replicates, n, d = shape
    together = max(1, GROUP // (n * d))
    size = max(1, GROUP // d) if together == 1 else n
    for r in range(0, replicates, together):
        yield [(slice(r, r + together), slice(i, i + size)) for i in range(0, n, size)]


def each(lr: StepSize) -> StepSize:
    """The step size of each replicate, for arrays (R, n, d)."""
    return lr if np.ndim(lr) == 0 else np.asarray(lr)[..., None]


def move_in_groups(
    worker: Method, x: Array, g: Array, memory: Memory, lr: StepSize, rng: Generator
) -> Array:
    """How far x (R, d) moves by a step of all workers, whose ``memory`` is overwritten.

    ``g`` is (R, n, d), and ``worker`` separable.
    """
    step = STEPS[type(worker)]
    moves = []
    for parts in groups(g.shape):
        told, replicates = Told(), parts[0][0]
        own_lr = lr if np.ndim(lr) == 0 else np.asarray(lr)[replicates]
        for part in parts:
            own = _of_part(memory, part)
            step(worker, x[replicates, None], g[part], own, each(own_lr), rng, told)
        moves.append(told.move(g.shape[1], own_lr))
    return np.concatenate(moves)


def _of_part(memory: Memory, part: Part) -> Memory:
    """The memories of some workers, as views of those of all."""
    return memory.map(lambda whole: whole[part])
