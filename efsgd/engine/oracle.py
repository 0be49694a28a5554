"""Where the gradients of a run come from: for one worker, or for each of several."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from efsgd.arrays import Array, Generator
from efsgd.compressors.selection import sample_subset
from efsgd.engine.batches import worker_rows
from efsgd.engine.block import Block
from efsgd.methods.base import Method

Oracle = Callable[[Array], Array]


def gradients(block: Block, rng: Generator) -> tuple[Oracle, bool]:
    """The function x -> gradient of this block, and whether its arrays may be overwritten.

    With n workers it takes x (R, d), or a model of each (R, n, d), and returns (R, n, d).
    """
    if isinstance(block.method, Method):
        if block.batch is None:
            return _whole(block, rng, block.replicates)
        return _batches(block, rng, block.batch), False
    n, d = block.method.workers, block.problem.d
    if block.batch is not None:
        return _worker_batches(block, rng, block.batch, n), False
    own = getattr(block.problem, "worker_gradients", None)
    if own is not None:
        return lambda x: np.asarray(own(x, rng), np.float64), False
    one, overwritable = _whole(block, rng, block.replicates * n)
    return lambda x: one(_rows(x, n)).reshape(-1, n, d), overwritable


def _whole(block: Block, rng: Generator, rows: int) -> tuple[Oracle, bool]:
    """``problem.gradient`` for so many rows of x.

    A problem may have ``oracle(rng, R)``, which prepares such a function for a whole run (noise
    drawn in bulk) and returns fresh arrays. It is used only where the class that defines
    ``gradient`` defines it, too: a subclass with a gradient of its own does not inherit it.
    """
    problem = block.problem
    owner = next((cls for cls in type(problem).__mro__ if "gradient" in vars(cls)), object)
    if "oracle" in vars(owner):
        return problem.oracle(rng, rows), True  # type: ignore[attr-defined]
    return lambda x: np.asarray(problem.gradient(x, rng), np.float64), False


def _batches(block: Block, rng: Generator, b: int) -> Oracle:
    """The mean over b rows, drawn afresh for each replicate."""
    n, batch = block.problem.n, block.problem.batch_gradient  # type: ignore[attr-defined]
    subset = partial(sample_subset, rng, n, b, (block.replicates,))
    return lambda x: np.asarray(batch(x, subset()), np.float64)


def _worker_batches(block: Block, rng: Generator, b: int, n: int) -> Oracle:
    """The same for each worker: over b of its own rows where the problem says which these are."""
    problem, d = block.problem, block.problem.d
    subset = getattr(problem, "worker_batches", None)
    if subset is None:
        rows = problem.n  # type: ignore[attr-defined]

        def subset(rng: Generator, replicates: int, b: int) -> Array:
            return worker_rows(rng, np.full(n, rows), b, replicates)

    def gradient(x: Array) -> Array:
        drawn = np.asarray(subset(rng, block.replicates, b))
        if drawn.shape != (block.replicates, n, b) or drawn.dtype.kind not in "iu":
            raise ValueError(
                f"worker_batches returned {drawn.dtype}{drawn.shape}, but integers of shape "
                f"{(block.replicates, n, b)} are needed, (R, n, b)"
            )
        drawn = drawn.reshape(-1, b)
        g = problem.batch_gradient(_rows(x, n), drawn)  # type: ignore[attr-defined]
        return np.asarray(g, np.float64).reshape(-1, n, d)

    return gradient


def _rows(x: Array, n: int) -> Array:
    """x (R, d) once for each of n workers, or their models (R, n, d), as rows (R n, d)."""
    return np.repeat(x, n, axis=0) if x.ndim == 2 else x.reshape(-1, x.shape[-1])
