"""The rank of a matrix of floats without rounding: modulo primes, where arithmetic is exact.

The rank modulo a prime is never above that over the rationals, and below it only if the prime
divides every minor of that size: two primes of 31 bits, with random combinations of the rows of
taller matrices, are mistaken with a probability of about 1e-9.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from efsgd.arrays import Array

PRIMES = (2147483629, 2147483587)  # not 2^31 - 1, a common mark of missing integers
FACTOR = 2**21  # factors of combinations lie below; times 16 bits and BLOCK rows 2^53, so exact
BLOCK = 2**16  # rows of a product that are added at a time
ENTRIES = 4_000_000  # that are worked on at a time


def rank_at_most(A: Any, k: int) -> bool:
    """Whether the columns of A (n, d), an array or CSR, span at most k dimensions, exactly."""
    return min(A.shape) <= k or all(_spanned(_combined(A, k + 1, p), p) <= k for p in PRIMES)


def _combined(A: Any, count: int, p: int) -> Array:
    """``count`` random combinations of the rows of A modulo p, or its rows if there are no more."""
    n, d = A.shape
    if n <= count:
        return np.vstack([block for _, block in _residues(A, p)])
    rng = np.random.default_rng(p)
    total = np.zeros((count, d), dtype=np.int64)
    for rows, block in _residues(A, p):
        factors = rng.integers(0, FACTOR, (count, rows)).astype(np.float64)
        high, low = (part.astype(np.float64) for part in np.divmod(block, 2**16))
        upper, lower = ((factors @ part).astype(np.int64) % p for part in (high, low))
        total = (total + upper * 2**16 + lower) % p
    return total


def _residues(A: Any, p: int) -> Iterator[tuple[int, Array]]:
    """The entries modulo p, some rows at a time, and how many rows these are."""
    step = max(1, min(BLOCK, ENTRIES // A.shape[1]))
    for start in range(0, A.shape[0], step):
        block = A[start : start + step]
        block = block.toarray() if hasattr(block, "toarray") else block
        mantissas, exponents = np.frexp(block)
        different, which = np.unique(exponents, return_inverse=True)
        powers = np.array([pow(2, int(e) - 53, p) for e in different])
        integers = np.ldexp(mantissas, 53).astype(np.int64) % p
        yield len(block), integers * powers[which.reshape(block.shape)] % p


def _spanned(rows: Array, p: int) -> int:
    """The rank of integers in [0, p) modulo p."""
    rank = 0
    while rows.size:
        first, rows = rows[0], rows[1:]
        if first.any():
            j, rank = int(np.argmax(first != 0)), rank + 1
            weights = rows[:, j] * pow(int(first[j]), -1, p) % p
            rest = np.arange(len(first)) != j
            rows = (rows[:, rest] - weights[:, None] * first[rest] % p) % p
    return rank
