"""The certificates of EF and EF21 at random rational points, without rounding.

Without this file a certificate with a wrong sign, or one that holds up to rounding only, would pass
as a proof.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from exact_certificates import (
    Coefficients,
    check_ef,
    check_ef21,
    closed_rate,
    ef21_coefficients,
    ef_coefficients,
)
from surds import Surd

METHODS = {"ef": (check_ef, ef_coefficients), "ef21": (check_ef21, ef21_coefficients)}
TINY = Fraction(1, 10**30)  # far below the resolution of floats


def rational_points(number: int, seed: int) -> list[tuple[Fraction, Fraction]]:
    """Random rational (q, m) in (0, 1), with denominators up to 1000."""
    rng = np.random.default_rng(seed)
    denominators = rng.integers(2, 1001, (number, 2))
    numerators = rng.integers(1, denominators)
    return [
        (Fraction(int(a), int(b)), Fraction(int(c), int(d)))
        for (a, c), (b, d) in zip(numerators, denominators, strict=True)
    ]


@pytest.mark.parametrize("method", METHODS)
def test_the_certificate_is_an_identity_at_60_random_points(method):
    check, _ = METHODS[method]
    for q, m in rational_points(60, seed=len(method)):
        certificate = check(q, m)
        assert certificate.valid, (q, m, certificate.faults)
        assert certificate.coefficients.rho == closed_rate(q, m)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("field", [field.name for field in fields(Coefficients)])
def test_a_perturbed_coefficient_fails(method, field):
    check, coefficients = METHODS[method]
    for q, m in rational_points(5, seed=1):
        exact = coefficients(q, m)
        value = getattr(exact, field)
        for change in (TINY, -TINY):
            perturbed = (value[0] + change, *value[1:]) if field == "w" else value + change
            certificate = check(q, m, replace(exact, **{field: perturbed}))
            assert not certificate.valid
            assert any("identity" in fault for fault in certificate.faults)


@pytest.mark.parametrize("method", METHODS)
def test_a_true_identity_with_a_negative_multiplier_fails(method):
    # With -w in the place of w the identity stays one; with -a its sign is among the faults.
    check, coefficients = METHODS[method]
    q, m = Fraction(1, 3), Fraction(1, 7)
    exact = coefficients(q, m)
    assert check(q, m, replace(exact, w=tuple(-v for v in exact.w))).valid
    certificate = check(q, m, replace(exact, a=-exact.a))
    assert any("a = -" in fault and "negative" in fault for fault in certificate.faults)


@pytest.mark.parametrize("method", METHODS)
def test_the_closed_form_is_compared(method):
    check, coefficients = METHODS[method]
    q, m = Fraction(1, 2), Fraction(1, 10)
    certificate = check(q, m, replace(coefficients(q, m), rho=closed_rate(q, m) + TINY))
    assert any("closed form" in fault for fault in certificate.faults)


def test_a_rational_root_works():
    squares = [
        (q, m)
        for q in (Fraction(i, 12) for i in range(1, 12))
        for m in (Fraction(j, 40) for j in range(1, 40))
        if Surd.root((1 - m) ** 2 + 16 * m * q / (1 + q) ** 2).b == 0
    ]
    assert squares
    for q, m in squares:
        assert closed_rate(q, m).b == 0
        assert check_ef(q, m).valid
        assert check_ef21(q, m).valid


def test_the_rate_is_the_number_of_the_closed_form():
    # 50 decimal digits, straight from q + (1-q)/2 ((1-m)/(1+m))^2 [1-q + sqrt(...)]
    q, m = Fraction(2, 7), Fraction(1, 10)
    rate = closed_rate(q, m)
    with localcontext() as context:
        context.prec = 50
        Q, M = Decimal(2) / 7, Decimal("0.1")
        root = ((1 + Q) ** 2 + 16 * Q * M / (1 - M) ** 2).sqrt()
        expected = Q + (1 - Q) / 2 * ((1 - M) / (1 + M)) ** 2 * (1 - Q + root)

        def decimal(v: Fraction) -> Decimal:
            return Decimal(v.numerator) / Decimal(v.denominator)

        value = decimal(rate.a) + decimal(rate.b) * decimal(rate.D).sqrt()
        assert abs(value - expected) < Decimal("1e-45")
    assert float(rate) == pytest.approx(float(expected), rel=1e-15)


@pytest.mark.parametrize(
    ("a", "b", "D", "sign"),
    [
        (3, -2, 2, 1),
        (-3, 2, 2, -1),
        (1, -1, 2, -1),
        (-1, 1, 2, 1),
        (0, -1, 3, -1),
        (0, 0, 0, 0),
        (2, 1, 5, 1),
        (-2, -1, 5, -1),
        # u^2 - 2 v^2 = 1 with u = 886731088897: floats cannot tell u - v sqrt(2) from 0
        (886731088897, -627013566048, 2, 1),
        (-886731088897, 627013566048, 2, -1),
    ],
)
def test_signs_are_exact(a, b, D, sign):
    assert Surd(Fraction(a), Fraction(b), Fraction(D)).sign == sign


def test_numbers_form_a_field():
    D = Fraction(5, 3)
    u, v = Surd(Fraction(1, 2), Fraction(-3), D), Surd(Fraction(7), Fraction(2, 5), D)
    assert u / v * v == u
    assert (u + v) * (u - v) == u * u - v * v
    assert 1 - (1 - u) == u
    assert u - u == Surd(Fraction(0))
    assert Surd.root(D) * Surd.root(D) == Surd(D)
    assert Surd.root(Fraction(9, 4)) == Surd(Fraction(3, 2))
    with pytest.raises(ZeroDivisionError):
        u / 0
    with pytest.raises(ValueError, match="do not mix"):
        u + Surd.root(Fraction(2))
    with pytest.raises(ValueError, match="no real square root"):
        Surd.root(Fraction(-1))


@pytest.mark.parametrize("check", [check_ef, check_ef21])
def test_coefficients_that_are_not_exact_are_refused(check: Callable[..., object]):
    q, m = Fraction(1, 3), Fraction(1, 7)
    with pytest.raises(TypeError, match="coefficients must be a Coefficients, not 3"):
        check(q, m, 3)
    with_float = replace(ef_coefficients(q, m), lam=0.5)
    with pytest.raises(TypeError, match=r"lam = 0\.5 is not exact"):
        check(q, m, with_float)


@pytest.mark.parametrize("check", [check_ef, check_ef21, closed_rate])
def test_bad_parameters_are_refused(check: Callable[..., object]):
    with pytest.raises(TypeError, match=r"q = 0\.5 is not exact"):
        check(0.5, Fraction(1, 10))
    for q, m in [(Fraction(0), Fraction(1, 2)), (Fraction(1, 2), 1), (Fraction(3, 2), Fraction(1))]:
        with pytest.raises(ValueError, match="outside"):
            check(q, m)
