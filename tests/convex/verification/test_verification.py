"""verify finds every false claim that is planted, and accepts every true one.

Without this file ``verify`` could call broken compressors sound, or sound ones broken, and the
published bounds would still look checked.
"""

import numpy as np
import pytest
from compressor_table import COMPRESSORS, slow_but_some
from false_claims import (
    BadWire,
    CheapIdentity,
    Claiming,
    CoinPathwise,
    FalseProjection,
    FalseSize,
    HiddenBias,
    KeepsOneLess,
    L2Sign,
    MixesRows,
    Nothing,
    OnlyFloat64,
    Overwrites,
    PlainQSGD,
    Shrunk,
    Silent,
    Underflows,
)

import efsgd
from efsgd import QSGD, Identity, RandK, TopK, verify
from efsgd.convex.verification import promises
from efsgd.convex.verification.candidates import candidates
from efsgd.convex.verification.precision import rounding


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
    verification = verify(c, 4)
    assert not verification
    assert reason in verification.reason


def test_a_function_with_an_option_is_not_taken_for_random():
    assert verify(np.copy, 4, delta=1.0).verdict == "attained"
    assert verify(np.sign, 4, delta=0.75).verdict == "VIOLATED"


def test_a_compressor_that_overwrites_its_input_is_found():
    verification = verify(Overwrites(), 4)
    assert not verification
    assert "overwrites" in verification.reason
    assert verification.vector.any()


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
    verification = verify(function, 4, delta=-1e9)
    assert verification.verdict == "VIOLATED"
    assert reason in verification.reason
    assert "nan" not in str(verification).replace("NaN", "")


def test_no_negative_zero_is_shown():
    assert "-0." not in str(verify(lambda x: np.where(x < 0, 0.0, x), 3, delta=0.5))


def test_a_function_held_to_delta_zero_may_not_expand():
    assert verify(lambda x: 2.5 * x, 4, delta=0.0).verdict == "VIOLATED"
    assert verify(lambda x: 2.0 * x, 4, delta=0.0).verdict == "attained"


@pytest.mark.parametrize("d", [5, 16])
@pytest.mark.parametrize(
    "spec",
    [
        "topk:0.25",
        "scaledsign",
        "scaledsign:zero=0",
        "twomeans",
        "signtopk:4",
        "natural:nearest",
        "scaled:1.2,natural:nearest",
        "lowrank:2",
        "threshold:l2=0.5",
        "threshold:linf=0.5",
        "threshold:linf=0.9",
        "blockwise:5,scaledsign",
        "lowrank:1",
    ],
)
def test_a_claim_that_is_too_large_by_a_little_is_found_unaided(spec, d):
    """The true delta is exact; where nothing is random two parts in a million are enough."""
    c = efsgd.compressor(spec)
    if c.delta(d) < 1:
        verification = verify(Claiming(c, 2e-6), d)
        assert verification.verdict == "VIOLATED"
        assert verification.worst >= c.delta(d) - 1e-9
    assert verify(Claiming(c, 0.0), d)


@pytest.mark.parametrize("c", [QSGD(2).contractive(16), efsgd.TernGrad()], ids=str)
def test_a_random_claim_that_is_too_large_by_two_percent_is_found_unaided(c):
    verification = verify(Claiming(c, 0.02), 16)
    assert verification.verdict == "VIOLATED"
    assert verify(Claiming(c, 0.0), 16)


@pytest.mark.parametrize("d", [5, 16, 256])
def test_the_l2_scaled_sign_is_no_compressor_beyond_four_entries(d):
    """Its true delta is 2/sqrt(d) - 1, at 1-sparse x: |C|^2 = 1, <C, x> = 1/sqrt(d)."""
    verification = verify(L2Sign(), d)
    assert not verification
    assert verification.verdict == "VIOLATED"
    assert verification.worst == pytest.approx(2 / np.sqrt(d) - 1, abs=1e-6)
    sent = L2Sign()(verification.vector)
    assert efsgd.achieved_delta(verification.vector, sent) == pytest.approx(verification.worst)


def test_top_k_that_keeps_one_less_is_found():
    verification = verify(KeepsOneLess(4), 16)
    assert (verification.verdict, verification.worst) == ("VIOLATED", pytest.approx(3 / 16))


def test_an_identity_that_claims_fewer_bits_than_it_sends_is_found():
    verification = verify(CheapIdentity(), 5)
    assert not verification
    assert "bits" in verification.reason


def test_a_hidden_bias_is_found():
    verification = verify(HiddenBias(), 16)
    assert not verification
    assert "standard errors away from x" in verification.reason


@pytest.mark.parametrize("c", [Shrunk(), Nothing()], ids=str)
def test_a_bias_of_what_is_seldom_sent_is_found(c):
    verification = verify(c, 64)
    assert not verification
    assert "standard errors away from x" in verification.reason


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("c", [QSGD(2), RandK(1, unbiased=True)], ids=str)
def test_what_is_seldom_sent_is_no_bias(c, seed):
    """Of 50,000 means some are far off, the more so as few draws tell their spread."""
    points = candidates(512, np.random.default_rng(seed))
    counterexample, bias = promises.check_unbiased(c, points, np.random.default_rng(seed), 500)
    assert counterexample is None
    assert 1 < bias <= promises.ERRORS


def test_a_message_that_decodes_to_something_else_is_found():
    verification = verify(BadWire(), 5)
    assert not verification
    assert "decode" in verification.reason


def test_a_norm_that_underflows_is_found():
    with np.errstate(all="ignore"):
        verification = verify(Underflows(), 5)
    assert not verification
    assert np.abs(verification.vector).max() < 1e-100 or np.abs(verification.vector).max() > 1e100


@pytest.mark.parametrize("d", [2, 5, 16])
def test_plain_qsgd_is_not_contractive(d):
    """E|C(x)-x|^2 = omega|x|^2 at its worst, sqrt(d) - 1 for d >= 4, and no less than allowed."""
    verification = verify(PlainQSGD(), d)
    assert verification.verdict == "VIOLATED"
    assert verification.worst == pytest.approx(
        1 - QSGD(1).omega(d), abs=5 * verification.error + 1e-6
    )
    assert (
        verification.interval[0]
        < verification.worst
        < verification.interval[1]
        < verification.claimed
    )
    assert verify(QSGD(1).contractive(d), d).verdict == "attained"


def test_what_was_measured_is_told():
    """16 float64 and the header make a message of the identity; deterministic means no spread."""
    verification = verify(Identity(), 16)
    assert verification.bits == 8 * len(Identity().encode(np.ones(16)))
    assert verification.allowed == 16 * 64 + 8 * efsgd.HEADER
    assert verification.interval == (1.0, 1.0)
    assert np.isnan(verification.bias)
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
    with pytest.raises(ValueError, match="use contractive,qsgd:1"):
        efsgd.EFSGD(QSGD(1)).check(100)


@pytest.mark.parametrize("d", [1, 2, 5, 16])
@pytest.mark.parametrize("c", slow_but_some(COMPRESSORS), ids=str)
def test_every_built_in_keeps_its_word(c, d):
    verification = verify(c, d, np.random.default_rng(d), samples=500)
    assert verification, str(verification)
    unbiased = c.guarantee == "unbiased"
    silent = c.guarantee in ("absolute", "none") or (c.delta(d) == 0 and not unbiased)
    assert verification.verdict == ("claims nothing" if silent else "attained")


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
    verification = verify(function, 6, delta=delta)
    assert verification.verdict == verdict
    assert bool(verification) == (verdict != "VIOLATED")


@pytest.mark.parametrize("d", [1, 4, 30])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_a_function_may_return_any_dtype_of_floats(dtype, d):
    """Half of x is .75 of it to the rounding of that dtype, and no more; scaled sign is 1/d."""

    def half_of_it(x):
        return (0.5 * x).astype(dtype)

    def scaled_sign(x):
        x = x.astype(dtype)
        largest = np.abs(x).max()
        return largest * np.abs(x / largest).mean() * np.sign(x) if largest else x

    assert verify(half_of_it, d, delta=0.75).verdict == "attained"
    assert verify(half_of_it, d, delta=0.7).verdict in ("attained", "not violated")
    assert verify(half_of_it, d, delta=0.8).verdict == "VIOLATED"
    assert verify(lambda x: x.astype(dtype), d, delta=1.0).verdict == "attained"
    assert verify(scaled_sign, d, delta=1 / d).verdict == "attained"


def scaled_sign_in(dtype):
    """A function that computes scaled sign, delta = 1/d at one-hot x, in this dtype."""

    def scaled_sign(x):
        x = x.astype(dtype)
        return np.abs(x).mean() * np.sign(x)

    return scaled_sign


@pytest.mark.parametrize(
    ("dtype", "d", "factor"),
    [("f4", 30, 1.001), ("f4", 2000, 1.1), ("f2", 64, 1.5), ("f2", 1000, 30)],
)
def test_rounding_hides_no_claim_that_is_too_large_near_one_over_d(dtype, d, factor):
    """Rounding explains no more than a share of 1/d, however small 1/d is."""
    verification = verify(scaled_sign_in(dtype), d, delta=factor / d, samples=10)
    assert verification.verdict == "VIOLATED"
    assert verification.worst == pytest.approx(1 / d, rel=2e-3)


@pytest.mark.parametrize(("dtype", "d"), [("f4", 2000), ("f2", 64), ("f2", 500)])
def test_a_true_claim_near_one_over_d_passes_in_any_dtype(dtype, d):
    assert verify(scaled_sign_in(dtype), d, delta=1 / d, samples=10)


@pytest.mark.parametrize("delta", [1e-4, 0.03])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_nothing_is_sent_and_nothing_may_be_claimed(dtype, delta):
    verification = verify(lambda x: 0 * x.astype(dtype), 4, delta=delta)
    assert (verification.verdict, verification.worst) == ("VIOLATED", 0)


def test_a_dtype_that_cannot_decide_is_refused_with_the_remedy():
    """At d = 2048 rounding may take (4 + 11) 2^-10 / sqrt(d) = 0.66/d of a loss in float16."""
    remedy = "float16, whose rounding may hide 0.0003. of delta = 0.000488281 at d = 2048: return"
    with pytest.raises(ValueError, match=remedy):
        verify(scaled_sign_in("f2"), 2048, delta=1 / 2048, samples=10)


def test_what_rounding_may_explain():
    """C(x) = x/2: 2|C(x)-x| r|C(x)|/|x|^2 = r/2 with r = (4 + log2 16) eps/2, and the 16 entries
    may each lack the least number above 0."""
    x = np.ones((1, 16))
    for dtype in (np.float16, np.float32):
        limits = np.finfo(dtype)
        expected = (4 + 4) * float(limits.eps) / 4 + float(limits.smallest_subnormal)
        assert rounding(x, (x / 2).astype(dtype)) == pytest.approx(expected, rel=1e-6)
    unheld = x + 2.0**-30  # float32 holds 1 instead: 2 2^-30/|x_i| more of an error
    more = rounding(unheld, (x / 2).astype("f4")) - rounding(x, (x / 2).astype("f4"))
    assert more == pytest.approx(2.0**-29, rel=1e-3)


def test_an_excess_that_six_digits_do_not_show_is_said():
    """In float32 a/2 is off by up to 2^-24 of it; it comes back as float64, which excuses that."""
    verification = verify(lambda x: (0.5 * x).astype("f4").astype("f8"), 4, delta=0.75)
    assert "claimed delta = 0.75, worst found 0.75, off by " in str(verification)
    assert "off by" not in str(verify(half, 4, delta=0.76))


@pytest.mark.parametrize(
    "spec", ["topk:1", "scaledsign", "twomeans", "signtopk:1", "natural:nearest"]
)
def test_nothing_in_float32_breaks_a_small_delta_and_built_ins_keep_theirs(spec):
    """1/4096 is beyond what float32 explains, and every point but one-hot ones does better."""
    points = candidates(4096, np.random.default_rng(0))
    c = efsgd.compressor(spec)
    bound = 1 - c.delta(4096)
    assert promises.check_float32(c, points, bound) is None
    assert "float32" in promises.check_float32(OnlyFloat64(), points, 1 - 5e-5).reason


def test_the_answer_reads_well_and_repeats():
    first, second = (verify(L2Sign(), 16, np.random.default_rng(3)) for _ in range(2))
    assert str(first) == str(second)
    assert "l2_sign_under_test, d = 16: VIOLATED; claimed delta = 0.0625" in str(first)
    assert "at x = [" in str(first)
    assert "attained" in str(verify(Identity(), 3))


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
