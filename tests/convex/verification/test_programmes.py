"""The programmes behind the certificates give the exact bound, whatever the solver returns.

Without this file an inaccurate solution, or a mistake in the algebra, could pass for a proof.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from compressor_table import square, vectors

from efsgd import QSGD, ScaledSign, SignTopK
from efsgd.convex.verification import piecewise, programmes

EPS = np.finfo(np.float64).eps


def test_the_sorted_cone_by_hand():
    """|s|^2 has 1_i'1_j = min(i, j), so M = I gives 1; the sum of all squared over d gives 1/d."""
    assert programmes.sorted_cone(np.eye(5)).value == 1
    for d in (1, 3, 10):
        proof = programmes.sorted_cone(np.full((d, d), 1 / d))
        assert proof.value == pytest.approx(1 / d, rel=1e-12)
    mixed = programmes.sorted_cone(np.array([[1.0, -0.5], [-0.5, 1.0]]))
    assert mixed.value == pytest.approx(0.5)  # 1_2'M1_2 = 1, over 2; also 1_1'M1_2 = 0.5, over 1


@pytest.mark.parametrize("seed", range(20))
def test_the_sorted_cone_is_never_above_a_sorted_vector(seed):
    rng = np.random.default_rng(seed)
    M = rng.standard_normal((6, 6)) + 0.5
    M = M + M.T
    proof = programmes.sorted_cone(M)
    s = np.sort(rng.exponential(size=(2000, 6)) ** 3, axis=1)[:, ::-1]
    corners = np.tril(np.ones((6, 6)))
    s = np.concatenate([s, corners])
    reached = np.einsum("ni,ij,nj->n", s, M, s) / square(s)
    assert reached.min() >= proof.value - 1e-9
    i, j = map(int, proof.text.rpartition("(")[2].rstrip(")").split(","))
    if i == j:  # then it is exact
        assert reached.min() == pytest.approx(proof.value, rel=1e-9)


def test_a_form_must_be_square():
    for shape in ((2, 3), (4,), (0, 0)):
        with pytest.raises(ValueError, match="must be a matrix"):
            programmes.sorted_cone(np.ones(shape))


@pytest.mark.parametrize("d", [1, 2, 7, 16])
def test_the_forms_are_those_of_the_code(d):
    """|x|^2 - |C(x)-x|^2 on hard vectors: (s_1+..+s_k)^2/k, or more if ternary."""
    x = vectors(d)
    s = np.sort(np.abs(x), axis=1)[:, ::-1]
    for c, k in ((ScaledSign(), d), (ScaledSign(zero=0), d), (SignTopK(2), min(2, d))):
        gain = square(x) - square(c(x) - x)
        form = s[:, :k].sum(axis=1) ** 2 / k
        excess = (gain - form) / np.maximum(square(x), 1e-300)
        assert excess.min() >= -1e-12
        if c != ScaledSign(zero=0):
            assert excess.max() <= 1e-12


@pytest.mark.parametrize(("k", "d"), [(1, 1), (1, 7), (3, 7), (7, 7), (64, 256)])
def test_the_k_largest_squares(k, d):
    """Equal entries hold k/d in any k of them, and no vector less in its k largest."""
    proof = programmes.largest_shares(k, d)
    assert k / d - 1e-9 <= proof.value <= k / d * (1 + 1e-12)


def test_levels_by_the_dual_and_by_enumeration():
    """The dual is a bound everywhere; exact for d >= 4s^2 and where 4s^2 is a sum of odd squares.

    S = d modulo 8 for a sum of d odd squares, and any such S >= d is one for d >= 3 (Gauss).
    """
    for s in (1, 2, 3, 5):
        for d in (1, 2, 3, 4, 6, 16, 50):
            dual, exact = programmes.stochastic_levels(d, s), programmes.odd_squares(d, s)
            assert exact.value == pytest.approx(QSGD(s).omega(d), rel=1e-12, abs=EPS)
            assert dual.value >= exact.value - 1e-12
            tight = d >= 4 * s * s or (d >= 3 and (4 * s * s - d) % 8 == 0)
            assert (dual.value - exact.value < 1e-8) == tight


def test_powers_of_two_in_rational_numbers():
    """(t-1)(2-t)/t^2 has its maximum 1/8 at t = 4/3; a c/t - 1 runs over [2a/3 - 1, 4a/3 - 1]."""
    t = Fraction(4, 3)
    assert (t - 1) * (2 - t) / t**2 == Fraction(1, 8)
    proof = programmes.stochastic_powers()
    assert 0 <= Fraction(proof.value) - Fraction(1, 8) <= Fraction(1, 10**8)
    for a in (0.5, 1.0, 1.2, 1.5):
        worst = max((2 * a / 3 - 1) ** 2, (4 * a / 3 - 1) ** 2)
        assert piecewise.nearest_power(a).value == pytest.approx(1 - worst, rel=1e-14)


@pytest.mark.parametrize("error", [-0.3, -1e-3, 1e-3, 0.3])
def test_a_solver_that_errs_does_not_make_a_false_proof(monkeypatch, error):
    """What is proven is recomputed from a point that is made feasible: it only gets weaker."""

    def wrong(objective, conditions, x):
        solution, seconds = minimised(objective, conditions, x)
        wrong_x = solution.x * (1 + error) + error * np.ones_like(solution.x) / 7
        return replace(solution, x=wrong_x), seconds

    minimised = programmes.minimised
    monkeypatch.setattr(programmes, "minimised", wrong)
    assert programmes.sorted_cone(np.full((5, 5), 0.2)).value <= 0.2 * (1 + 1e-12)
    assert programmes.largest_shares(2, 7).value <= 2 / 7 * (1 + 1e-12)
    assert programmes.largest_and_sum(9).value >= 1 - 1e-12
    assert Fraction(programmes.stochastic_powers().value) >= Fraction(1, 8)
    assert programmes.stochastic_levels(16, 2).value >= 1 - 1e-12


@pytest.mark.parametrize("d", [1, 2, 9, 100])
def test_dithered_is_no_less_than_any_vector(d):
    """In rational numbers: the least double at which all discriminants are at most 0."""
    u = np.linspace(0, 1, 10_001)
    for s in (1, 2, 5):
        levels = np.array([0.0, *(2.0**-j for j in range(s - 1, -1, -1))])
        at = np.searchsorted(levels[:-1], u, side="right") - 1
        ratio = (d - 1) * (levels[at + 1] - u) * (u - levels[at]) / (1 + (d - 1) * u**2)
        value = piecewise.dithered(s, d).value
        assert value >= ratio.max() - EPS
        assert value <= ratio.max() * (1 + 1e-4) + EPS
    assert piecewise.dithered(1, d).value == pytest.approx((d**0.5 - 1) / 2, rel=1e-14)


def test_kept_levels_by_hand():
    """k = d, s = 1: (1, 1/2, .., 1/2, 0); where little is kept k/d; beyond delta = 0 nothing."""
    for d in (2, 3, 10):
        worst = (d - 2) / 4 / (1 + (d - 2) / 4)
        assert piecewise.kept_levels(d, d, 1).value == pytest.approx(1 - worst, abs=1e-12)
        assert piecewise.kept_levels(1, d, 1).value == pytest.approx(1 / d, abs=1e-12)
        half = piecewise.kept_levels(1, d, 1, 0.5).value
        assert half == pytest.approx(0.75 / d, abs=1e-12)
    assert piecewise.kept_levels(12, 12, 1, 1.5).value == 0
