"""Batches of several workers: b of each worker's own rows, without replacement."""

from __future__ import annotations

import numpy as np

from efsgd.arrays import Array, Generator

FEW = 32  # rows of a batch up to which they are drawn one after the other


def worker_rows(rng: Generator, sizes: Array, b: int, replicates: int) -> Array:
    """Positions (R, n, b), each b distinct ones out of 0, ..., sizes[i] - 1, uniformly.

    Few are drawn one after the other (Floyd's algorithm: a row that is taken already gives its
    place to the last one so far, Bentley, CACM 1987), many as those with the least of random keys.
    """
    if b > FEW:
        keys = rng.random((replicates, len(sizes), int(sizes.max())))
        keys[:, np.arange(keys.shape[-1]) >= sizes[:, None]] = 2.0
        return np.argpartition(keys, b - 1, axis=-1)[..., :b]
    chosen = np.empty((replicates, len(sizes), b), np.int64)
    for i in range(b):
        last = sizes - b + i
        row = rng.integers(last + 1, size=(replicates, len(sizes)))
        taken = (chosen[..., :i] == row[..., None]).any(-1)
        chosen[..., i] = np.where(taken, last, row)
    return chosen
