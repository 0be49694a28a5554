"""Batches of several workers: b of each worker's own rows, without replacement."""

from __future__ import annotations

import numpy as np

from efsgd.arrays import Array, Generator

SINGLY = 4  # up to a batch of b rows with b*b of so many times the rows there are


def worker_rows(rng: Generator, sizes: Array, b: int, replicates: int) -> Array:
    """Positions (R, n, b), each b distinct ones out of 0, ..., sizes[i] - 1, uniformly.

    Few are drawn one after the other (Floyd's algorithm: a row that is taken already gives its
    place to the last one so far, Bentley, CACM 1987), many, worker by worker, as those with the
    least of random keys: that takes R sizes[i] numbers at a time.
    """
    chosen = np.empty((replicates, len(sizes), b), np.int64)
    if b * b > SINGLY * sizes.max():
        for i, size in enumerate(sizes):
            keys = rng.random((replicates, int(size)))
            chosen[:, i] = np.argpartition(keys, b - 1, axis=-1)[:, :b]
        return chosen
    for i in range(b):
        last = sizes - b + i
        row = rng.integers(last + 1, size=(replicates, len(sizes)))
        taken = (chosen[..., :i] == row[..., None]).any(-1)
        chosen[..., i] = np.where(taken, last, row)
    return chosen
