"""Vectors that are hard for compressors: where the search for a worst case starts."""

from __future__ import annotations

import math

import numpy as np

from efsgd.arrays import Array, Generator


def candidates(d: int, rng: Generator) -> Array:
    """Vectors (N, d) that are worst, or nearly, for known compressors; none of them is zero.

    One-hot, constant, tied, geometric, sparse, heavy-tailed, Gaussian, near powers of two, and one
    that has equal singular values as the most nearly square matrix of d entries.
    """
    sparse = np.zeros((8, d))
    for i, k in enumerate(rng.integers(1, d + 1, size=len(sparse))):
        sparse[i, rng.permutation(d)[:k]] = rng.standard_normal(k)
    one_hot = np.eye(1, d)
    levels = (1e-8, 1e-3, 0.3, 0.999999, 1 / (1 + d**0.5))
    one_large = [np.where(one_hot, 1.0, level) for level in levels]
    halves = np.where(np.arange(d) < (d + 1) // 2, 1.0, -1.0)[None]
    side = next(m for m in range(math.isqrt(d), 0, -1) if d % m == 0)
    rows = np.concatenate(
        [
            one_hot,
            -np.eye(1, d, d - 1),
            np.ones((1, d)),
            halves,
            np.eye(side, d // side).reshape(1, d),
            *one_large,
            *(value * np.ones((1, d)) for value in (4 / 3, 1.5, 1.4999, 1.5001)),
            *(rate ** np.arange(d)[None] for rate in (0.5, 0.9)),
            rng.choice([1.0, 3.0, -1.0], (4, d)),
            sparse,
            rng.standard_normal((8, d)),
            rng.standard_normal((8, d)) * np.exp(3 * rng.standard_normal((8, d))),
            rng.integers(-2, 3, (4, d)) + (np.arange(d) == rng.integers(d, size=(4, 1))) / 8,
        ]
    )
    return rows[rows.any(-1)]
