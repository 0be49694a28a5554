"""Products in twice the working precision, against fractions.

Without this file a residual could lose its digits where a certificate needs them most.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from efsgd.arrays import Array
from efsgd.convex.problems import twofold
from efsgd.convex.problems.linear_map import as_rows


def exact(A: Array, x: Array) -> list[Fraction]:
    pairs = [zip(row, x.tolist(), strict=True) for row in A.tolist()]
    return [sum((Fraction(a) * Fraction(b) for a, b in row), Fraction(0)) for row in pairs]


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("block", [2**18, 7])
@pytest.mark.parametrize("transposed", [False, True])
def test_products_are_rounded_once(
    sparse: bool, block: int, transposed: bool, monkeypatch: Any
) -> None:
    """Also where terms of any size cancel: each row and x are followed by their negatives."""
    monkeypatch.setattr(twofold, "BLOCK", block)
    rng = np.random.default_rng(0)
    half = rng.standard_normal((12, 6)) * 10.0 ** rng.integers(-15, 16, 6)
    if sparse:
        half *= rng.random(half.shape) < 0.5
        half[3] = 0.0
    A = np.block([[half, -half], [half, half]])
    x = rng.standard_normal(A.shape[not transposed])
    x[-3:] = x[-3:] * (1 + 1e-15)
    rows: Any = as_rows(csr_array(A) if sparse else A)
    product = twofold.product(rows, x, transposed=transposed)
    sizes = twofold.magnitude(rows, x, transposed=transposed)
    for got, true, size in zip(product, exact(A.T if transposed else A, x), sizes, strict=True):
        assert abs(Fraction(got) - true) <= abs(true) * 2**-52 + Fraction(size) * 2**-98


def test_a_residual_keeps_its_digits() -> None:
    """y - Ax - r with y = Ax up to 1e-12, of which a plain difference knows nothing."""
    rng = np.random.default_rng(0)
    A, x, tiny = 1e6 * rng.standard_normal((9, 4)), rng.standard_normal(4), 1e-12
    y = A @ x + tiny
    r = rng.standard_normal(9) * tiny
    terms = zip(y.tolist(), exact(A, x), r.tolist(), strict=True)
    true = [float(Fraction(a) - b - Fraction(c)) for a, b, c in terms]
    np.testing.assert_allclose(twofold.residual(A, x, y, r), true, rtol=1e-15, atol=1e-24)


def test_no_entries_and_no_products() -> None:
    empty = csr_array((3, 2))
    assert not twofold.product(as_rows(empty), np.ones(2)).any()
    assert not twofold.product(np.zeros((3, 2)), np.ones(3), transposed=True).any()
