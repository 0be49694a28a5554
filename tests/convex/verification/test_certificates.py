"""Certificates prove what is claimed, and never more than is true.

Without this file the bounds that the project publishes as proven could be larger than the truth, or
be proven for another formula than that of the code.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from compressor_table import COMPRESSORS, LIBRARY, expected_error, square

from efsgd import (
    QSGD,
    Blockwise,
    Contractive,
    Identity,
    LowRank,
    Natural,
    NaturalDithering,
    PowerSGD,
    Quantised,
    RandK,
    Scaled,
    ScaledSign,
    Shared,
    Sign,
    SignTopK,
    TernGrad,
    Threshold,
    TopK,
    TwoMeans,
    achieved_delta,
    verify,
)
from efsgd.convex.verification.certificates import (
    PROOFS,
    UNSOLVED,
    DeltaCertificate,
    certificate,
)

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
    (Contractive(QSGD(2)), "one-variable dual"),
    (Scaled(Contractive(TernGrad()), 0.5), "LMI"),
    (Blockwise(Contractive(QSGD(1)), 5), "one-variable dual"),
    (Contractive(Blockwise(QSGD(1), 5)), "one-variable dual"),
    (Scaled(Scaled(QSGD(2), 0.5), 2.0), "one-variable dual"),  # whose delta is 0 here
    (QSGD(7), "enumeration"),
    (NaturalDithering(3), "piecewise quadratic"),
    (Contractive(NaturalDithering(1)), "piecewise quadratic"),
    (Quantised(TopK(3), 4), "piecewise quadratic"),
    (Quantised(TopK(1.0), 2), "piecewise quadratic"),
    (Scaled(Quantised(TopK(1.0), 2), 0.5), "piecewise quadratic"),
    (Blockwise(Quantised(TopK(4), 2), 6), "piecewise quadratic"),
    (Shared(RandK(3)), "identity"),
    (Contractive(Shared(RandK(3, unbiased=True))), "identity"),
    (RandK(3), "identity"),
    (RandK(3, unbiased=True), "identity"),
    (Identity(), "identity"),
    (TwoMeans(), "argument"),
    (Threshold(l2=0.5), "argument"),
    (Threshold(linf=0.5), "argument"),
    (Threshold(abs=0.5), "argument"),
]


def test_every_class_that_claims_a_bound_has_a_proof():
    assert {*PROOFS, Sign, PowerSGD, Scaled, Contractive, Blockwise} == set(LIBRARY)
    assert {type(c) for c, _ in KINDS} | {Sign, PowerSGD} == set(LIBRARY)


@pytest.mark.parametrize(("c", "kind"), KINDS, ids=str)
def test_each_compressor_has_its_kind_of_certificate(c, kind):
    proof = certificate(c, 16)
    assert proof.kind == kind
    assert proof.solved == (kind not in UNSOLVED)
    assert proof.holds()
    assert math.isnan(proof.dual) == (kind in (*UNSOLVED, "enumeration", "piecewise quadratic"))
    if not math.isnan(proof.dual):  # both sides of the programme meet
        assert proof.dual == pytest.approx(proof.value, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("d", DIMS)
@pytest.mark.parametrize("c", COMPRESSORS, ids=str)
def test_a_certificate_proves_the_claim_and_not_more_than_is_true(c, d):
    proof = certificate(c, d)
    if proof is None:
        assert c.guarantee == "none"
        return
    assert proof.holds()
    if c.guarantee == "absolute" or c.delta(d) == 0 == proof.value:
        return
    x = c.attaining_point(d)
    true = expected_error(c, x) / square(x)
    slack = 1e-12 + (0 if c.attained else 1e-6)
    if proof.quantity == "omega":
        assert proof.value >= true - slack
    else:
        assert proof.value <= 1 - true + slack


def test_certificates_hold_far_beyond_the_dimensions_of_a_search():
    for c in (ScaledSign(), TopK(7), SignTopK(40), LowRank(3), TernGrad(), QSGD(16), Natural()):
        proof = certificate(c, 2000)
        assert proof.holds(), proof
        assert proof.solved


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
        proof = certificate(c, d)
        assert proof.kind == "not solved"
        assert not proof.holds()
        assert not proof.solved
        assert "too" in str(proof)


def test_a_claim_that_is_too_high_is_not_proven():
    proof = certificate(TopK(3), 16)
    higher = replace(proof, claimed=4 / 16)
    assert higher.gap == pytest.approx(1 / 16, abs=1e-9)
    assert not higher.holds()
    omega = DeltaCertificate(
        kind="LMI", quantity="omega", value=1.5, claimed=1.4, dual=1.5, seconds=0.0, text=""
    )
    assert omega.gap == pytest.approx(0.1)
    assert not omega.holds()
    assert str(proof).startswith("delta >= 0.1875 by LP in u = x^2: ")
    assert str(omega).startswith("omega <= 1.5 by LMI")


@pytest.mark.parametrize(("c", "kind"), KINDS, ids=str)
def test_verify_says_certified_where_a_computation_proves_the_claim(c, kind):
    verification = verify(c, 4, np.random.default_rng(1), samples=200, certify=True)
    if c == Threshold(abs=0.5):
        assert verification.verdict == "claims nothing"
    else:
        assert verification.verdict == (
            "certified" if verification.certificate.solved else "attained"
        )
    assert str(verification.certificate) in str(verification)
    assert verify(c, 4, np.random.default_rng(1), samples=200).certificate is None


def test_a_proof_does_not_excuse_the_code(monkeypatch):
    """The certificate is about the formula: code that does something else is still found out."""
    monkeypatch.setattr(TopK, "apply", lambda self, x, drawn=None: np.zeros_like(x))
    monkeypatch.setattr(TopK, "_write", lambda self, out, x, drawn: out.floats(x))
    verification = verify(TopK(2), 4, certify=True)
    assert verification.verdict == "VIOLATED"


# -- compressors without a class of their own ----------------------------------------------------


def power_step(M, Q):
    """One power iteration: M projected on the span of MQ."""
    MQ = M @ Q
    size = np.linalg.norm(MQ)
    P = np.linalg.qr(MQ)[0] if size > 0 else np.zeros_like(MQ)
    return P @ (P.T @ M)


@pytest.mark.parametrize("claimed", [1e-3, 1e-9, 1e-12])
def test_a_proof_of_nothing_certifies_no_delta(claimed):
    """The solver's accuracy is absolute: a tiny delta must not hide in it."""
    proof = DeltaCertificate(
        kind="LP", quantity="delta", value=0.0, claimed=claimed, dual=0.0, seconds=0.0, text=""
    )
    assert not proof.holds()
    assert replace(proof, value=claimed * (1 - 1e-8)).holds()


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
