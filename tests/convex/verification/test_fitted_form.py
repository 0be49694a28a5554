"""A certificate for a compressor that is not built in: exact where its gain is a quadratic form.

Without this file a bound could be called proven, under its condition, for compressors whose gain is
no such form.
"""

from __future__ import annotations

import numpy as np
import pytest
from test_certificates import KINDS

from efsgd import (
    Blockwise,
    LowRank,
    Natural,
    RandK,
    Scaled,
    Threshold,
    TopK,
    TwoMeans,
    verify,
)
from efsgd.convex.verification.certificates import FITTED
from efsgd.convex.verification.fitted_form import fitted
from efsgd.convex.verification.plain_function import PlainFunction

FORMS = [c for c, kind in KINDS if kind in ("sorted-cone LP", "identity") and not c.random]


@pytest.mark.parametrize("d", [1, 2, 9, 64])
@pytest.mark.parametrize("c", [*FORMS, TopK(3), Scaled(TopK(3), 0.5), Threshold(linf=1.0)], ids=str)
def test_a_form_that_is_read_off_gives_the_exact_delta(c, d):
    """Of those whose s'Ms is known: (sum s)^2/d, (s_1+..+s_k)^2/k, s_1^2+..+s_k^2."""
    if isinstance(c, Blockwise):
        assert (fitted(c, d, np.random.default_rng(0)) is None) == (d > c.size)
        return
    proof = fitted(c, d, np.random.default_rng(0))
    assert proof.kind == FITTED
    assert not proof.solved
    assert proof.value == pytest.approx(c.delta(d), rel=1e-9)
    assert proof.holds()


def pays_for_ties(x):
    """Top-1, but nothing where several entries are the largest: fits wherever magnitudes differ."""
    most = np.abs(x).max()
    return np.where((np.abs(x) == most) & ((np.abs(x) == most).sum() == 1), x, 0.0)


@pytest.mark.parametrize(
    "c",
    [
        Natural(nearest=True),
        LowRank(1),
        Threshold(l2=0.5),
        TwoMeans(),
        RandK(1),
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
    verification = verify(lambda x: 0.5 * x, 4, delta=0.75, certify=True)
    assert verification.verdict == "attained"
    assert verification.certificate.kind == FITTED
    assert verification.certificate.value == pytest.approx(0.75)
    assert "if what is kept is a form" in str(verification)
    modest = verify(lambda x: 0.5 * x, 4, delta=0.7, certify=True)
    assert modest.verdict == "not violated"
    assert modest.certificate.gap == pytest.approx(-0.05)
    assert verify(lambda x: 0.5 * x, 4, delta=0.76, certify=True).certificate is None
