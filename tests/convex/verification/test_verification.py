"""verify finds every planted false claim, and lets every true one pass."""

from dataclasses import dataclass

import numpy as np
import pytest
from compressor_table import COMPRESSORS

import efsgd
from efsgd import QSGD, Compressor, Identity, RandK, TopK, verify
from efsgd.convex.verification import promises
from efsgd.convex.verification.candidates import candidates


class L2Sign(Compressor, spec="l2_sign_under_test"):
    guarantee = "pathwise"

    def apply(self, x, drawn=None):
        size = np.linalg.norm(x, axis=-1, keepdims=True) / np.sqrt(x.shape[-1])
        return size * np.where(x < 0, -1.0, 1.0)

    def delta(self, d):
        return 1 / d


@dataclass(frozen=True)
class KeepsOneLess(Compressor, spec="keeps_one_less"):
    k: int
    guarantee = "pathwise"

    def apply(self, x, drawn=None):
        return TopK(self.k - 1).apply(x)

    def delta(self, d):
        return self.k / d


class CheapIdentity(Compressor, spec="cheap_identity"):
    guarantee = "pathwise"

    def apply(self, x, drawn=None):
        return x.copy()

    def delta(self, d):
        return 1.0

    def bits(self, d, dtype=np.float64):
        return d


class HiddenBias(Compressor, spec="hidden_bias"):
    """QSGD whose rounding leans down by three percent."""

    guarantee = "unbiased"
    random = True

    def draw(self, shape, rng=None, state=None):
        return 0.97 * QSGD(4).draw(shape, rng)

    def apply(self, x, drawn=None):
        return QSGD(4).apply(x, drawn)

    def omega(self, d):
        return QSGD(4).omega(d)


class BadWire(Compressor, spec="bad_wire"):
    guarantee = "pathwise"

    def apply(self, x, drawn=None):
        return x.copy()

    def delta(self, d):
        return 1.0

    def _write(self, out, x, drawn):
        out.floats(x + 1)


class Underflows(Compressor, spec="underflows"):
    """Scales with a norm that squares first: right at normal sizes, 0 or inf at others."""

    guarantee = "pathwise"

    def apply(self, x, drawn=None):
        square = (x**2).sum(-1, keepdims=True)
        return x * (square / np.where(square > 0, square, 1.0))

    def delta(self, d):
        return 1.0


class MixesRows(Compressor, spec="mixes_rows"):
    """Scaled sign whose author forgot the axis: right for one vector, wrong for several."""

    guarantee = "pathwise"

    def apply(self, x, drawn=None):
        return np.abs(x).mean() * np.where(x < 0, -1.0, 1.0)

    def delta(self, d):
        return 1 / d


class CoinPathwise(Compressor, spec="coin_pathwise"):
    """Keeps x or sends nothing by a coin: delta = 1/2 in expectation, 0 on every second path."""

    guarantee = "pathwise"
    random = True

    def draw(self, shape, rng=None, state=None):
        return rng.random((*shape[:-1], 1)) < 0.5

    def apply(self, x, drawn=None):
        return x * drawn

    def delta(self, d):
        return 0.5


class OnlyFloat64(Compressor, spec="only_float64"):
    guarantee = "pathwise"

    def apply(self, x, drawn=None):
        return x * (x.dtype == np.float64)

    def delta(self, d):
        return 1.0


class FalseProjection(Compressor, spec="false_projection"):
    guarantee = "pathwise"
    projection = True

    def apply(self, x, drawn=None):
        return 0.5 * x

    def delta(self, d):
        return 0.75


class FalseSize(Compressor, spec="false_size"):
    guarantee = "pathwise"
    fixed_size = True

    def apply(self, x, drawn=None):
        return x.copy()

    def delta(self, d):
        return 1.0

    def _write(self, out, x, drawn):
        out.floats(x[x != 0])


@pytest.mark.parametrize(
    ("c", "reason"),
    [
        (MixesRows(), "not C of each"),
        (CoinPathwise(), "the bound does not hold"),
        (OnlyFloat64(), "float32"),
        (FalseProjection(), "projection is claimed"),
        (FalseSize(), ""),
    ],
    ids=str,
)
def test_other_false_words_are_found(c, reason):
    found = verify(c, 4)
    assert not found
    assert reason in found.reason


def test_a_function_with_an_option_is_not_taken_for_random():
    assert verify(np.copy, 4, delta=1.0).verdict == "attained"
    assert verify(np.sign, 4, delta=0.75).verdict == "VIOLATED"


class Overwrites(Compressor, spec="overwrites"):
    """Sends nothing, and hides it: what is left of x is 0 too, and looks well compressed."""

    guarantee = "pathwise"

    def apply(self, x, drawn=None):
        x *= 0.0
        return x

    def delta(self, d):
        return 1.0


def test_a_compressor_that_overwrites_its_input_is_found():
    found = verify(Overwrites(), 4)
    assert not found
    assert "overwrites" in found.reason
    assert found.vector.any()


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: x[:-1], r"the shape (3,), x has (4,)"),
        (lambda x: np.where(x > 1e100, np.nan, x), "holds NaN or inf"),
        (lambda x: x + 0j, "complex"),
        (lambda x: x * (float(x @ x) / float(x @ x)), "division by zero"),
    ],
)
def test_what_is_no_vector_is_told_by_what_it_is(function, reason):
    found = verify(function, 4, delta=-1e9)
    assert found.verdict == "VIOLATED"
    assert reason in found.reason
    assert "nan" not in str(found).replace("NaN", "")


def test_no_negative_zero_is_shown():
    assert "-0." not in str(verify(lambda x: np.where(x < 0, 0.0, x), 3, delta=0.5))


def test_a_function_held_to_delta_zero_may_not_expand():
    assert verify(lambda x: 2.5 * x, 4, delta=0.0).verdict == "VIOLATED"
    assert verify(lambda x: 2.0 * x, 4, delta=0.0).verdict == "attained"


@dataclass(frozen=True)
class Claiming(Compressor):
    """Another one, whose delta or omega is claimed to be better by a share; names no vector."""

    inner: Compressor
    share: float

    @property
    def guarantee(self):
        return self.inner.guarantee

    @property
    def random(self):
        return self.inner.random

    def draw(self, shape, rng=None, state=None):
        return self.inner.draw(shape, rng)

    def apply(self, x, drawn=None):
        return self.inner.apply(x, drawn)

    def _delta(self, d):
        return self.inner.delta(d) * (1 + self.share)

    def _omega(self, d):
        return self.inner.omega(d) / (1 + self.share)


@pytest.mark.parametrize("d", [5, 16])
@pytest.mark.parametrize(
    "spec",
    [
        *("topk:0.25", "scaledsign", "scaledsign:zero=0", "twomeans", "signtopk:4"),
        *("natural:nearest", "scaled:1.2,natural:nearest", "lowrank:2", "threshold:l2=0.5"),
        *("threshold:linf=0.5", "threshold:linf=0.9", "blockwise:5,scaledsign", "lowrank:1"),
    ],
)
def test_a_claim_that_is_too_large_by_a_little_is_found_unaided(spec, d):
    """The true delta is exact; where nothing is random two parts in a million are enough."""
    c = efsgd.compressor(spec)
    if c.delta(d) < 1:
        found = verify(Claiming(c, 2e-6), d)
        assert found.verdict == "VIOLATED"
        assert found.worst >= c.delta(d) - 1e-9
    assert verify(Claiming(c, 0.0), d)


@pytest.mark.parametrize("c", [QSGD(2).contractive(16), efsgd.TernGrad()], ids=str)
def test_a_random_claim_that_is_too_large_by_two_percent_is_found_unaided(c):
    found = verify(Claiming(c, 0.02), 16)
    assert found.verdict == "VIOLATED"
    assert verify(Claiming(c, 0.0), 16)


@pytest.mark.parametrize("d", [5, 16, 256])
def test_the_l2_scaled_sign_is_no_compressor_beyond_four_entries(d):
    """Its true delta is 2/sqrt(d) - 1, at 1-sparse x: |C|^2 = 1, <C, x> = 1/sqrt(d)."""
    found = verify(L2Sign(), d)
    assert not found
    assert found.verdict == "VIOLATED"
    assert found.worst == pytest.approx(2 / np.sqrt(d) - 1, abs=1e-6)
    sent = L2Sign()(found.vector)
    assert efsgd.achieved_delta(found.vector, sent) == pytest.approx(found.worst)


def test_top_k_that_keeps_one_less_is_found():
    found = verify(KeepsOneLess(4), 16)
    assert (found.verdict, found.worst) == ("VIOLATED", pytest.approx(3 / 16))


def test_an_identity_that_claims_fewer_bits_than_it_sends_is_found():
    found = verify(CheapIdentity(), 5)
    assert not found
    assert "bits" in found.reason


def test_a_hidden_bias_is_found():
    found = verify(HiddenBias(), 16)
    assert not found
    assert "standard errors away from x" in found.reason


class Shrunk(Compressor, spec="shrunk_under_test"):
    """Unbiased rand-1 times ``a``: each entry is sent so seldom that none of them tells."""

    guarantee = "unbiased"
    random = True
    a = 0.8

    def draw(self, shape, rng=None, state=None):
        return RandK(1).draw(shape, rng)

    def apply(self, x, drawn=None):
        return self.a * RandK(1, unbiased=True).apply(x, drawn)

    def omega(self, d):
        return d - 1.0


class Nothing(Shrunk, spec="nothing_under_test"):
    a = 0.0


@pytest.mark.parametrize("c", [Shrunk(), Nothing()], ids=str)
def test_a_bias_of_what_is_seldom_sent_is_found(c):
    found = verify(c, 64)
    assert not found
    assert "standard errors away from x" in found.reason


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("c", [QSGD(2), RandK(1, unbiased=True)], ids=str)
def test_what_is_seldom_sent_is_no_bias(c, seed):
    """Of 50,000 means some are far off, the more so as few draws tell their spread."""
    points = candidates(512, np.random.default_rng(seed))
    wrong, most = promises.biased(c, points, np.random.default_rng(seed), 500)
    assert wrong is None
    assert 1 < most <= promises.ERRORS


def test_a_message_that_decodes_to_something_else_is_found():
    found = verify(BadWire(), 5)
    assert not found
    assert "decode" in found.reason


def test_a_norm_that_underflows_is_found():
    with np.errstate(all="ignore"):
        found = verify(Underflows(), 5)
    assert not found
    assert np.abs(found.vector).max() < 1e-100 or np.abs(found.vector).max() > 1e100


class PlainQSGD(Compressor, spec="plain_qsgd_under_test"):
    """Not scaled by 1/(1 + omega), with the delta of that: what makes error feedback diverge."""

    guarantee = "expectation"
    random = True

    def draw(self, shape, rng=None, state=None):
        return QSGD(1).draw(shape, rng)

    def apply(self, x, drawn=None):
        return QSGD(1).apply(x, drawn)

    def delta(self, d):
        return 1 / (1 + QSGD(1).omega(d))


@pytest.mark.parametrize("d", [2, 5, 16])
def test_plain_qsgd_is_not_contractive(d):
    """E|C(x)-x|^2 = omega|x|^2 at its worst, sqrt(d) - 1 for d >= 4, and no less than allowed."""
    found = verify(PlainQSGD(), d)
    assert found.verdict == "VIOLATED"
    assert found.worst == pytest.approx(1 - QSGD(1).omega(d), abs=5 * found.error + 1e-6)
    assert found.interval[0] < found.worst < found.interval[1] < found.claimed
    assert verify(QSGD(1).contractive(d), d).verdict == "attained"


def test_what_was_measured_is_told():
    """16 float64 and the header make a message of the identity; deterministic means no spread."""
    found = verify(Identity(), 16)
    assert found.bits == 8 * len(Identity().encode(np.ones(16)))
    assert found.allowed == 16 * 64 + 8 * efsgd.HEADER
    assert found.interval == (1.0, 1.0)
    assert np.isnan(found.bias)
    unbiased = verify(QSGD(2), 5)
    assert 0 < unbiased.bias <= 5  # standard errors
    assert unbiased.interval[0] < QSGD(2).omega(5) < unbiased.interval[1]
    assert verify(HiddenBias(), 16).bias > 5
    assert verify(half, 4, delta=0.75).bits == 0


def test_the_simplest_of_the_worst_vectors_is_shown():
    """2/sqrt(d) - 1 is met near one-hot vectors of any size: the one without climbing is told."""
    x = verify(L2Sign(), 16).vector
    assert x[0] == 1
    assert len(set(np.abs(x[1:]))) == 1


def test_plain_qsgd_is_refused_behind_feedback():
    with pytest.raises(ValueError, match=r"contractive\(100\)"):
        efsgd.EFSGD(QSGD(1)).check(100)


@pytest.mark.parametrize("d", [1, 2, 5, 16])
@pytest.mark.parametrize("c", COMPRESSORS, ids=str)
def test_every_built_in_keeps_its_word(c, d):
    found = verify(c, d, np.random.default_rng(d), samples=500)
    assert found, str(found)
    unbiased = c.guarantee == "unbiased"
    silent = c.guarantee in ("absolute", "none") or (c.delta(d) == 0 and not unbiased)
    assert found.verdict == ("claims nothing" if silent else "attained")


def half(x):
    return 0.5 * x


def keep_half(x, rng):
    return x * (rng.random(x.shape) < 0.5)


@pytest.mark.parametrize(
    ("function", "delta", "verdict"),
    [
        (half, 0.75, "attained"),
        (half, 0.7, "not violated"),
        (half, 0.76, "VIOLATED"),
        (half, lambda d: 0.75, "attained"),
        (keep_half, 0.5, "attained"),
        (keep_half, 0.4, "not violated"),
        (keep_half, 0.6, "VIOLATED"),
        (lambda x: x[:1], 0.5, "VIOLATED"),
        (lambda x: x * np.nan, 0.5, "VIOLATED"),
    ],
)
def test_a_plain_function_is_held_to_its_delta(function, delta, verdict):
    found = verify(function, 6, delta=delta)
    assert found.verdict == verdict
    assert bool(found) == (verdict != "VIOLATED")


def test_the_answer_reads_well_and_repeats():
    first, second = (verify(L2Sign(), 16, np.random.default_rng(3)) for _ in range(2))
    assert str(first) == str(second)
    assert "l2_sign_under_test, d = 16: VIOLATED; claimed delta = 0.0625" in str(first)
    assert "at x = [" in str(first)
    assert "attained" in str(verify(Identity(), 3))


class Silent(Compressor):
    """Its author forgot to say what kind of bound it has."""

    def apply(self, x, drawn=None):
        return 0.0 * x

    def delta(self, d):
        return 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"compressor": half, "d": 4}, "pass delta"),
        ({"compressor": Identity(), "d": 4, "delta": 1.0}, "leave delta out"),
        ({"compressor": Identity(), "d": 0}, "at least 1"),
        ({"compressor": Identity(), "d": 10**7}, "at most 131072"),
        ({"compressor": half, "d": 4, "delta": float("nan")}, "not nan"),
        ({"compressor": Identity(), "d": 4, "samples": 1}, "samples must be .* not 1"),
        ({"compressor": TopK, "d": 4}, "an instance"),
        ({"compressor": Silent(), "d": 4}, "write guarantee = 'pathwise'"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        verify(**arguments)
