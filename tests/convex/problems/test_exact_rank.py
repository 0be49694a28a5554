"""The rank of matrices of floats without rounding, against fractions.

Without this file columns that differ from others by less than rounding could be called dependent,
and a false optimum be certified.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from efsgd.arrays import Array
from efsgd.convex.problems import exact_rank
from efsgd.convex.problems.exact_rank import rank_at_most


def rank(A: Array) -> int:
    """By elimination in fractions."""
    rows, count = [[Fraction(entry) for entry in row] for row in A.tolist()], 0
    while rows:
        first, rows = rows[0], rows[1:]
        j = next((j for j, entry in enumerate(first) if entry), None)
        if j is not None:
            count += 1
            rows = [
                [a - row[j] / first[j] * b for a, b in zip(row, first, strict=True)] for row in rows
            ]
    return count


def integers(n: int, d: int, k: int) -> Array:
    """Of rank k at most; rows and columns have different scales, which are powers of two."""
    rng = np.random.default_rng(n)
    A = (rng.integers(-9, 10, (n, k)) @ rng.integers(-9, 10, (k, d))).astype(float)
    return np.ldexp(np.ldexp(A, rng.integers(-200, 200, d)), rng.integers(-200, 200, n)[:, None])


def with_entry(A: Array, entry: float) -> Array:
    """A copy that differs in one place."""
    A = A.copy()
    A[2, 1] += entry
    return A


RATIO = 2.0**52 + 1, 2.0**52 - 1  # beside each other in a row; the next row has them less 2
MATRICES = {
    "tall": integers(30, 6, 4),
    "wide": integers(7, 20, 5),
    "square": integers(9, 9, 9),
    "one rounding away": with_entry(np.outer(np.arange(1.0, 9), [1.0, 1.0]), 2.0**-51),
    "1e-300 away": with_entry(np.outer([1.0, 1, 0, 1, 1], [1.0, 1.0, 3.0]), 1e-300),
    "2^-104 away": np.array([RATIO, (RATIO[0] - 2, RATIO[1] - 2), RATIO]),
    "multiples of a prime": np.array([[p, 1.0] for p in exact_rank.PRIMES] * 3),
    "marks of missing integers": np.array([[2.0**31 - 1, 1.0], [0.0, 1.0], [0.0, 2.0]]),
    "zeros": np.zeros((5, 3)),
}


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("block", [2**16, 2])
def test_rank_at_most(name: str, sparse: bool, block: int, monkeypatch: Any) -> None:
    monkeypatch.setattr(exact_rank, "BLOCK", block)
    A = MATRICES[name]
    matrix = csr_array(A) if sparse else A
    exact = rank(A)
    assert rank_at_most(matrix, exact)
    assert exact == 0 or not rank_at_most(matrix, exact - 1)
