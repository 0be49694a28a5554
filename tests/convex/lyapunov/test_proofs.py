"""The rates of EF, EF21 and CGD as identities and signs, and the polynomials that prove them.

Without this file a wrong certificate could pass as a proof for all q and m at once: by a rule that
is false, because whatever is asked comes out as 0, or by a multiplier that is negative.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from exact_certificates import closed_rate
from mutants import edited

from efsgd.convex.lyapunov import proofs, signs
from efsgd.convex.lyapunov.polynomial import RULES, Polynomial, letter
from efsgd.convex.lyapunov.proofs import IDENTITIES, M, Q, R
from efsgd.convex.lyapunov.rate import quadratic_rate
from efsgd.convex.lyapunov.signs import MEANING, SIGNS, Sign, is_positive


@pytest.mark.parametrize("name", IDENTITIES)
def test_the_identity_holds(name):
    assert IDENTITIES[name]().is_zero


@pytest.mark.parametrize("name", IDENTITIES)
@pytest.mark.parametrize("constant", ["STEP", "RATE", "Z", "TRACE", "CGD_NUMERATOR"])
def test_it_fails_with_another_constant(name, constant, monkeypatch):
    uses = {"ef": "STEP RATE Z", "ef21": "STEP RATE Z", "root": "RATE Z"}
    uses |= {"determinant": "", "traces": "TRACE", "lead": "CGD_NUMERATOR"}
    changed_constant = getattr(proofs, constant) + Fraction(1, 10**30) * Q * M
    monkeypatch.setattr(proofs, constant, changed_constant)
    assert IDENTITIES[name]().is_zero == (constant not in uses[name].split())


EDITS = [  # a function, one edit of it, the identities that fail then
    ("certificate_of_ef21", "d_next = d + c", "d_next = d - c", {"ef21"}),
    ("certificate_of_ef21", "(g_next - d_next) ** 2", "(g_next - d_next) ** 3", {"ef21"}),
    ("certificate_of_ef21", "_contraction(g_next - d, c)", "_contraction(g_next + d, c)", {"ef21"}),
    ("certificate_of_ef21", "Q * g_next**2", "Q**2 * g_next**2", {"ef21"}),
    ("_contraction", "(p - c) ** 2", "(p + c) ** 2", {"ef", "ef21"}),
    ("_contraction", "(p - c) ** 2", "(p - c) ** 3", {"ef", "ef21"}),
    ("_contraction", "Q**2 * p**2", "Q * p**2", {"ef", "ef21"}),
    ("certificate_of_ef", "e_next**2 * PER_Q", "e_next**3 * PER_Q", {"ef"}),
    ("step_of_ef", "return x - c", "return x + c", {"ef"}),
    ("step_of_ef", "p - c", "p + c", {"ef", "determinant", "traces"}),
    ("matrix_of_ef", "(1 + Q) * p", "(1 - Q) * p", {"determinant", "traces"}),
    ("matrix_of_ef", "eta * (h * x) + e", "eta * (h * x) - e", {"determinant", "traces"}),
    ("determinant_of_ef", "a * d - b * c", "a * d + b * c", {"determinant"}),
    ("trace_of_ef", "a + d", "a - d", {"traces"}),
    ("traces", "M * trace_of_ef(ONE)", "trace_of_ef(ONE)", {"traces"}),
    ("traces", "(1 + M) * TRACE", "TRACE", {"traces"}),
]  # fmt: skip


@pytest.mark.parametrize(("function", "before", "after", "wrong"), EDITS)
def test_another_method_or_lyapunov_function_fails(function, before, after, wrong):
    with edited(getattr(proofs, function), before, after):
        assert not any(IDENTITIES[name]().is_zero for name in wrong)


@pytest.mark.parametrize("h", [0.1, 0.7, 1.0])
def test_the_matrix_is_that_of_a_step_of_error_feedback(h):
    q, lr = 0.6, 0.3
    entries = {"q": q, "eta": lr, "h": h}
    rows = proofs.matrix_of_ef(letter("h"))
    matrix = [[sum(float(a) * np.prod([entries[n] for n in names])
                   for names, a in one.terms.items()) for one in row] for row in rows]  # fmt: skip
    for x, e in ((1.0, 0.0), (-0.5, 2.0)):
        p = lr * h * x + e
        sent = (1 + q) * p
        assert matrix @ np.array([x, e]) == pytest.approx([x - sent, p - sent])


def test_no_step_size_gives_ef_a_better_rate():
    for q, m in ((0.05, 0.005), (0.3, 0.8), (0.9, 0.1)):
        lrs = np.geomspace(1e-3, 3, 500)
        rates = [quadratic_rate("ef", lr=lr, delta=1 - q**2, mu=m) for lr in lrs]
        assert min(rates) >= proofs.RATE.at(q, m) * (1 - 1e-12)


STATED = [(name, one) for name, make in SIGNS.items() for one in make()]
POINTS = [(q, m) for q in (1e-3, 0.05, 0.4, 0.9, 0.999) for m in (1e-3, 0.1, 0.6, 0.999)]


@pytest.mark.parametrize(("name", "one"), STATED)
def test_the_sign_is_proven_and_seen(name, one):
    sign = SIGNS[name]()[one]
    assert sign.proven
    assert min(sign.quantity.at(*point) for point in POINTS) > 0


def test_every_identity_has_its_signs():
    assert SIGNS.keys() == IDENTITIES.keys()


def with_the_negative_root() -> dict[str, Polynomial]:
    """Z and RATE with -R in the place of R, which the rules cannot tell from R."""
    Z = ((1 - Q) * (1 - M) - (1 + Q) * R) * proofs.PER_1M * Fraction(1, 2)
    return {"R": -R, "Z": Z, "RATE": Q + (1 - Q) * (1 - M) * proofs.PER_1M * Z}


DOCTORED = [  # what is changed, and the signs that are wrong then; no identity notices
    (with_the_negative_root(), {"ef: lam", "ef: a", "ef21: eta* lam", "ef21: a", "root: z"}),
    ({"CGD_NUMERATOR": -proofs.CGD_NUMERATOR, "CGD_DENOMINATOR": -proofs.CGD_DENOMINATOR},
     {"lead: s D", "lead: D", "lead: (z - s) D"}),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "wrong"), DOCTORED)
def test_a_wrong_sign_that_no_identity_notices_fails(changes, wrong, monkeypatch):
    for name, value in changes.items():
        monkeypatch.setattr(proofs, name, value)
    assert all(make().is_zero for make in IDENTITIES.values())
    failed = {f"{name}: {one}" for name, one in STATED if not SIGNS[name]()[one].proven}
    assert wrong <= failed


@pytest.mark.parametrize(
    ("method", "at"), [(method, at) for method in ("ef", "ef21") for at in range(3)]
)
def test_a_negative_multiplier_fails(method, at, monkeypatch):
    coefficients = list(getattr(proofs, f"coefficients_of_{method}")())
    coefficients[at] = -coefficients[at]
    monkeypatch.setattr(proofs, f"coefficients_of_{method}", lambda: coefficients)
    assert [sign.proven for sign in SIGNS[method]().values()] == [i != at for i in range(3)]


@pytest.mark.parametrize("factor", [0, -1, 2])
def test_a_sign_needs_its_identity_and_positive_terms(factor):
    q, p = signs.q, signs.p
    true = {"quantity": Q - Q**2, "product": q * p, "multiplier": signs.ONE}
    assert Sign(**true).proven
    for name, value in true.items():
        assert not Sign(**(true | {name: value * factor})).proven
    # 1/2 - q is neither always positive nor a sum of positive terms
    assert not Sign(Fraction(1, 2) - Q, Fraction(1, 2) - q).proven
    assert not Sign(-Q, q, -signs.ONE).proven


def test_only_letters_with_a_meaning_are_positive():
    assert not is_positive(letter("x"))
    assert not is_positive(Q)  # products of such letters are rewritten, and may hide a sign
    for name, meaning in MEANING.items():
        assert is_positive(letter(name))
        assert min(meaning.at(*point) for point in POINTS) > 0


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
