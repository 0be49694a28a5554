"""Certificates prove what is claimed, never more than is true, and whatever the solver says."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from compressor_table import COMPRESSORS, LIBRARY, expected_error, square, vectors

from efsgd import (
    QSGD,
    Blockwise,
    Identity,
    LowRank,
    Natural,
    RandK,
    Scaled,
    ScaledSign,
    Sign,
    SignTopK,
    TernGrad,
    Threshold,
    TopK,
    TwoMeans,
    achieved_delta,
    verify,
)
from efsgd.convex.verification import programmes
from efsgd.convex.verification.certificates import (
    BY_HAND,
    FITTED,
    PROOFS,
    DeltaCertificate,
    certificate,
)
from efsgd.convex.verification.fitted_form import fitted
from efsgd.convex.verification.plain_function import PlainFunction

EPS = np.finfo(np.float64).eps
DIMS = (1, 2, 5, 16, 64)
KINDS = [  # which programme certifies which compressor: derived here
    (ScaledSign(), "sorted-cone LP"),
    (ScaledSign(zero=0), "sorted-cone LP"),
    (Blockwise(ScaledSign(), 4), "sorted-cone LP"),
    (SignTopK(3), "sorted-cone LP"),
    (TopK(3), "LP in u = x^2"),
    (LowRank(2), "LP in u = x^2"),
    (Scaled(TopK(3), 0.5), "LP in u = x^2"),
    (TernGrad(), "LMI"),
    (TernGrad().contractive(16), "LMI"),
    (Natural(), "2x2 SOS"),
    (Natural().contractive(16), "2x2 SOS"),
    (Natural(nearest=True), "piecewise quadratic"),
    (Scaled(Natural(nearest=True), 1.2), "piecewise quadratic"),
    (QSGD(2), "one-variable dual"),  # 16 >= 4 s^2
    (QSGD(2).contractive(16), "one-variable dual"),
    (QSGD(7), "enumeration"),
    (RandK(3), "identity"),
    (RandK(3, unbiased=True), "identity"),
    (Identity(), "identity"),
    (TwoMeans(), "argument"),
    (Threshold(l2=0.5), "argument"),
    (Threshold(linf=0.5), "argument"),
    (Threshold(abs=0.5), "argument"),
]


def test_every_class_that_claims_a_bound_has_a_proof():
    assert {*PROOFS, Sign, Scaled, Blockwise} == set(LIBRARY)
    assert {type(c) for c, _ in KINDS} | {Sign} == set(LIBRARY)


@pytest.mark.parametrize(("c", "kind"), KINDS, ids=str)
def test_each_compressor_has_its_kind_of_certificate(c, kind):
    found = certificate(c, 16)
    assert found.kind == kind
    assert found.solved == (kind not in BY_HAND)
    assert found.holds()
    assert math.isnan(found.dual) == (kind in (*BY_HAND, "enumeration", "piecewise quadratic"))
    if not math.isnan(found.dual):  # both sides of the programme meet
        assert found.dual == pytest.approx(found.value, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("d", DIMS)
@pytest.mark.parametrize("c", COMPRESSORS, ids=str)
def test_a_certificate_proves_the_claim_and_not_more_than_is_true(c, d):
    found = certificate(c, d)
    if found is None:
        assert c.guarantee == "none"
        return
    assert found.holds()
    if c.guarantee == "absolute" or c.delta(d) == 0 == found.value:
        return
    x = c.attaining_point(d)
    true = expected_error(c, x) / square(x)
    slack = 1e-12 + (0 if c.attained else 1e-6)
    if found.quantity == "omega":
        assert found.value >= true - slack
    else:
        assert found.value <= 1 - true + slack


def test_certificates_hold_far_beyond_the_dimensions_of_a_search():
    for c in (ScaledSign(), TopK(7), SignTopK(40), LowRank(3), TernGrad(), QSGD(16), Natural()):
        found = certificate(c, 2000)
        assert found.holds(), found
        assert found.solved


def test_what_has_no_certificate():
    class Mine(TopK):
        """A subclass computes what it likes."""

    assert certificate(Sign(), 4) is None
    assert certificate(Scaled(Sign(), 0.1), 4) is None
    assert certificate(Blockwise(Sign(), 2), 4) is None
    assert certificate(Mine(1), 4) is None
    with pytest.raises(ValueError, match="d must be at least 1"):
        certificate(TopK(1), 0)
    with pytest.raises(ValueError, match="an instance"):
        certificate(TopK, 4)


def test_what_is_too_large_says_so_and_proves_nothing():
    for c, d in ((ScaledSign(), 5000), (TopK(1), 5000), (QSGD(2**19), 16)):
        found = certificate(c, d)
        assert found.kind == "not solved"
        assert not found.holds()
        assert not found.solved
        assert "too" in str(found)


def test_a_claim_that_is_too_high_is_not_proven():
    one = certificate(TopK(3), 16)
    higher = DeltaCertificate(one.kind, "delta", one.value, 4 / 16, one.dual, 0.0, one.text)
    assert higher.gap == pytest.approx(1 / 16, abs=1e-9)
    assert not higher.holds()
    omega = DeltaCertificate("LMI", "omega", 1.5, 1.4, 1.5, 0.0, "")
    assert omega.gap == pytest.approx(0.1)
    assert not omega.holds()
    assert str(one).startswith("delta >= 0.1875 by LP in u = x^2: ")
    assert str(omega).startswith("omega <= 1.5 by LMI")


# -- the programmes -------------------------------------------------------------------------------


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
        off = (gain - form) / np.maximum(square(x), 1e-300)
        assert off.min() >= -1e-12
        if c != ScaledSign(zero=0):
            assert off.max() <= 1e-12


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
        assert programmes.nearest_power(a).value == pytest.approx(1 - worst, rel=1e-14)


@pytest.mark.parametrize("error", [-0.3, -1e-3, 1e-3, 0.3])
def test_a_solver_that_errs_does_not_make_a_false_proof(monkeypatch, error):
    """What is proven is recomputed from a point that is made feasible: it only gets weaker."""

    def wrong(objective, conditions, x):
        found, seconds = solve(objective, conditions, x)
        object.__setattr__(found, "x", found.x * (1 + error) + error * np.ones_like(found.x) / 7)
        return found, seconds

    solve = programmes._minimised
    monkeypatch.setattr(programmes, "_minimised", wrong)
    assert programmes.sorted_cone(np.full((5, 5), 0.2)).value <= 0.2 * (1 + 1e-12)
    assert programmes.largest_shares(2, 7).value <= 2 / 7 * (1 + 1e-12)
    assert programmes.largest_and_sum(9).value >= 1 - 1e-12
    assert Fraction(programmes.stochastic_powers().value) >= Fraction(1, 8)
    assert programmes.stochastic_levels(16, 2).value >= 1 - 1e-12


# -- verdicts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("c", "kind"), KINDS, ids=str)
def test_verify_says_certified_where_a_computation_proves_the_claim(c, kind):
    found = verify(c, 4, np.random.default_rng(1), samples=200, certify=True)
    if c == Threshold(abs=0.5):
        assert found.verdict == "claims nothing"
    else:
        assert found.verdict == ("certified" if found.certificate.solved else "attained")
    assert str(found.certificate) in str(found)
    assert verify(c, 4, np.random.default_rng(1), samples=200).certificate is None


FORMS = [c for c, kind in KINDS if kind in ("sorted-cone LP", "identity") and not c.random]


@pytest.mark.parametrize("d", [1, 2, 9, 64])
@pytest.mark.parametrize("c", [*FORMS, TopK(3), Scaled(TopK(3), 0.5), Threshold(linf=1.0)], ids=str)
def test_a_form_that_is_read_off_gives_the_exact_delta(c, d):
    """Of those whose s'Ms is known: (sum s)^2/d, (s_1+..+s_k)^2/k, s_1^2+..+s_k^2."""
    if isinstance(c, Blockwise):
        assert (fitted(c, d, np.random.default_rng(0)) is None) == (d > c.size)
        return
    found = fitted(c, d, np.random.default_rng(0))
    assert found.kind == FITTED
    assert not found.solved
    assert found.value == pytest.approx(c.delta(d), rel=1e-9)
    assert found.holds()


def pays_for_ties(x):
    """Top-1, but nothing where several entries are the largest: fits wherever magnitudes differ."""
    most = np.abs(x).max()
    return np.where((np.abs(x) == most) & ((np.abs(x) == most).sum() == 1), x, 0.0)


@pytest.mark.parametrize(
    "c",
    [
        *(Natural(nearest=True), LowRank(1), Threshold(l2=0.5), TwoMeans(), RandK(1)),
        PlainFunction(pays_for_ties, 0.1),
        PlainFunction(lambda x: np.where(np.arange(x.size) < 2, x, 0.0), 0.1),  # not symmetric
    ],
    ids=str,
)
def test_what_is_no_form_of_magnitudes_is_not_fitted(c):
    assert fitted(c, 6, np.random.default_rng(0)) is None
    assert fitted(TopK(1), 129, np.random.default_rng(0)) is None


def test_a_function_may_be_certified_under_a_condition():
    """(1-q)x keeps 1 - q^2 of |x|^2, whatever x: a form, that of q = 1/2 here."""
    found = verify(lambda x: 0.5 * x, 4, delta=0.75, certify=True)
    assert found.verdict == "attained"
    assert found.certificate.kind == FITTED
    assert found.certificate.value == pytest.approx(0.75)
    assert "if what is kept is a form" in str(found)
    modest = verify(lambda x: 0.5 * x, 4, delta=0.7, certify=True)
    assert modest.verdict == "not violated"
    assert modest.certificate.gap == pytest.approx(-0.05)
    assert verify(lambda x: 0.5 * x, 4, delta=0.76, certify=True).certificate is None


def test_a_proof_does_not_excuse_the_code(monkeypatch):
    """The certificate is about the formula: code that does something else is still found out."""
    monkeypatch.setattr(TopK, "apply", lambda self, x, drawn=None: np.zeros_like(x))
    monkeypatch.setattr(TopK, "_write", lambda self, out, x, drawn: out.floats(x))
    found = verify(TopK(2), 4, certify=True)
    assert found.verdict == "VIOLATED"


# -- rows of the table without a class ------------------------------------------------------------


def power_step(M, Q):
    """One power iteration: M projected on the span of MQ."""
    MQ = M @ Q
    size = np.linalg.norm(MQ)
    P = np.linalg.qr(MQ)[0] if size > 0 else np.zeros_like(MQ)
    return P @ (P.T @ M)


@pytest.mark.parametrize("r", [1, 2, 5])
def test_a_power_step_with_a_fresh_gaussian_keeps_r_over_rank(r):
    """Equal singular values: M has orthonormal columns, and |PP'M|^2/|M|^2 = r/rank for any Q."""
    rng = np.random.default_rng(r)
    M = np.linalg.qr(rng.standard_normal((8, 6)))[0]
    for _ in range(5):
        sent = power_step(M, rng.standard_normal((6, r)))
        delta = achieved_delta(M.reshape(-1), sent.reshape(-1))
        assert delta == pytest.approx(r / 6, rel=1e-9)


def test_a_warm_power_step_may_lose_everything_but_never_expands():
    """MQ = 0 sends nothing, delta = 0; a projection never sends more than there is."""
    rng = np.random.default_rng(0)
    M = np.outer([1.0, 2.0, 2.0], [1.0, 0.0, 0.0])
    assert not power_step(M, np.array([[0.0], [1.0], [0.0]])).any()
    for _ in range(20):
        M = rng.standard_normal((5, 4)) * np.exp(3 * rng.standard_normal((1, 4)))
        sent = power_step(M, rng.standard_normal((4, 2)))
        assert 0 <= achieved_delta(M.reshape(-1), sent.reshape(-1)) <= 1 + 1e-12


@pytest.mark.parametrize("size", [1e-3, 1e-6])
def test_the_unscaled_sign_has_no_relative_bound(size):
    """At x = h(1, .., 1) the relative error is (1/h - 1)^2: no delta, and no omega."""
    x = np.full(9, size)
    assert 1 - achieved_delta(x, Sign()(x)) == pytest.approx((1 / size - 1) ** 2, rel=1e-9)


@pytest.mark.parametrize("lam", [0.1, 2.0])
def test_the_absolute_threshold_loses_small_vectors(lam):
    """All entries below lambda: nothing is sent, delta = 0, and |C(x)-x|^2 < d lambda^2."""
    x = np.full(9, 0.999 * lam)
    assert achieved_delta(x, Threshold(abs=lam)(x)) == 0
    assert square(Threshold(abs=lam)(x) - x) < 9 * lam**2
