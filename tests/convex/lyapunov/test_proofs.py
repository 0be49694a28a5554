"""The rates of EF, EF21 and CGD as identities in q and m, and the polynomials that prove them.

Without this file a wrong certificate could pass as a proof for all q and m at once: by a rule that
is false, or because whatever is asked comes out as 0.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from efsgd.convex.lyapunov import proofs
from efsgd.convex.lyapunov.exact import closed_rate
from efsgd.convex.lyapunov.polynomial import RULES, Polynomial, letter
from efsgd.convex.lyapunov.proofs import IDENTITIES, M, Q, R


@pytest.mark.parametrize("name", IDENTITIES)
def test_the_identity_holds(name):
    assert IDENTITIES[name]().is_zero


@pytest.mark.parametrize("name", IDENTITIES)
@pytest.mark.parametrize("constant", ["STEP", "RATE", "Z", "CGD_NUMERATOR"])
def test_it_fails_with_another_constant(name, constant, monkeypatch):
    uses = {"ef": "STEP RATE Z", "ef21": "STEP RATE Z", "root": "RATE Z", "lead": "CGD_NUMERATOR"}
    changed = getattr(proofs, constant) + Fraction(1, 10**30) * Q * M
    monkeypatch.setattr(proofs, constant, changed)
    assert IDENTITIES[name]().is_zero == (constant not in uses[name].split())


@pytest.mark.parametrize("pair", RULES)
def test_every_rule_is_true(pair):
    # each side in floats; the letters of the right side are in normal form
    left, right = (letter(name) for name in pair)
    for q, m in ((0.3, 0.2), (0.9, 0.05), (0.01, 0.7)):
        product = left.at(q, m) * right.at(q, m)
        assert (left * right).at(q, m) == pytest.approx(product, rel=1e-12)


def test_arithmetic_is_that_of_numbers():
    rng = np.random.default_rng(0)
    a, b = Q * R + 2, 3 * letter("1/(1+q)") - letter("1/(1-m)") * M**2
    for q, m in rng.uniform(0.05, 0.9, (5, 2)):
        u, v = a.at(q, m), b.at(q, m)
        for polynomial, number in (
            (a + b, u + v),
            (a - b, u - v),
            (1 - a, 1 - u),
            (a * b, u * v),
            (-b, -v),
            (b**3, v**3),
            (a**0, 1.0),
            (Fraction(1, 3) * a, u / 3),
        ):
            assert polynomial.at(q, m) == pytest.approx(number, rel=1e-11)


def test_what_is_equal_cancels_and_what_is_not_does_not():
    x, y = letter("x"), letter("y")
    assert ((x + y) ** 2 - x**2 - 2 * x * y - y**2).is_zero
    assert not ((x + y) ** 2 - x**2 - y**2).is_zero
    assert (letter("1/q") * Q - 1).is_zero
    assert (letter("1/(1+m)") * (1 + M) * x - x).is_zero
    assert Polynomial({}).is_zero


def test_the_rates_are_those_of_the_certificates_in_fractions():
    for q, m in ((Fraction(3, 5), Fraction(1, 10)), (Fraction(1, 7), Fraction(4, 5))):
        rate = proofs.RATE.at(float(q), float(m))
        assert rate == pytest.approx(float(closed_rate(q, m)), rel=1e-14)
