"""What compressors guarantee: never violated, exact where attained, refused where absent.

Without this file a delta or an omega could be wrong, and with it every step size and bound of the
theory that rests on it; error feedback could accept compressors with which it diverges.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pytest
from compressor_table import (
    BOUNDED,
    COMPRESSORS,
    DTYPES,
    RANDOM,
    UNBIASED,
    count,
    drawn_for,
    expected_error,
    sent,
    square,
    vectors,
)
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from efsgd import EFSGD, CompressedSGD, achieved_delta, compressor, density
from efsgd.arrays import Array
from efsgd.compressors import (
    QSGD,
    Blockwise,
    Compressor,
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
)
from efsgd.methods.feedback import check_feedback

EPS = np.finfo(np.float64).eps
R = 20_000  # replicates of a statistical test


@dataclass(frozen=True)
class L2Sign(Compressor):
    """|x|_2/sqrt(d) sign(x), which theory.md says is no compressor for d > 4."""

    def apply(self, x: Array, drawn: object = None) -> Array:
        return np.sqrt(square(x)[..., None] / x.shape[-1]) * np.where(x < 0, -1.0, 1.0)


@dataclass(frozen=True)
class Shrink(Compressor):
    """(1-q)x: meets any delta = 1 - q^2 exactly, and is no projection."""

    q: float

    @property
    def guarantee(self) -> str:  # type: ignore[override]
        return "pathwise"

    def apply(self, x: Array, drawn: object = None) -> Array:
        return (1 - self.q) * x

    def _delta(self, d: int) -> float:
        return 1 - self.q**2

    def _attaining_point(self, d: int, within: float) -> Array:
        return np.ones(d)


def bound(c: Compressor, d: int) -> float:
    """The least b with E|C(x)-x|^2 <= b |x|^2 that c claims; inf where delta = 0 says nothing."""
    if c.guarantee == "unbiased":
        return c.omega(d)
    return 1 - c.delta(d) if c.delta(d) > 0 else math.inf


def ratio(c: Compressor, x: Array) -> Array:
    """E|C(x)-x|^2/|x|^2 of each vector; 0 for the zero vector."""
    total = square(x)
    return np.divide(expected_error(c, x), total, out=np.zeros_like(total), where=total > 0)


# -- the bound is exact ---------------------------------------------------------------------------


@pytest.mark.parametrize("c", BOUNDED, ids=str)
def test_the_worst_case_is_met_at_the_attaining_point(c: Compressor) -> None:
    for d in (1, 2, 3, 4, 5, 8, 12, 30, 64, 257, 1000):
        worst = bound(c, d)
        x = c.attaining_point(d)
        assert x.shape == (d,)
        assert x.dtype == np.float64
        if worst == math.inf:  # delta = 0 is no modesty: all of |x|^2 can be lost, and more
            assert ratio(c, x) >= 1
        elif c.attained:
            assert ratio(c, x) == pytest.approx(worst, rel=1e-12, abs=64 * EPS)
        else:
            assert worst - 1e-6 <= ratio(c, x) <= worst + 64 * EPS


@pytest.mark.parametrize("within", [0.5, 1e-3, 1e-9, 1e-12])
@pytest.mark.parametrize("c", [c for c in BOUNDED if not c.attained], ids=str)
def test_an_infimum_is_approached_as_closely_as_asked(c: Compressor, within: float) -> None:
    for d in (2, 3, 64, 1000):
        reached = ratio(c, c.attaining_point(d, within))
        assert bound(c, d) - within <= reached + 64 * EPS
        assert reached <= bound(c, d) + 64 * EPS


def test_ternary_scaled_sign_comes_close_in_high_dimension() -> None:
    """phi(1, h, ..., h) = (1+(d-1)h)^2/(d(1+(d-1)h^2)): h must shrink as d grows."""
    c, d, within = ScaledSign(zero=0), 2**20, 1e-5
    assert 1 / d <= density(c.attaining_point(d, within)) <= 1 / d + within


@pytest.mark.parametrize("d", [1, 2, 3, 5, 7, 16])
@pytest.mark.parametrize("c", BOUNDED, ids=str)
def test_no_search_beats_the_bound(c: Compressor, d: int) -> None:
    """From every hard vector, keep what raises the ratio among shrinking random changes."""
    rng = np.random.default_rng(d)
    x = np.concatenate([vectors(d), c.attaining_point(d)[None]])
    best = ratio(c, x)
    worst = bound(c, d)
    for step in np.geomspace(1, 1e-6, 40):
        change = rng.standard_normal(x.shape) * (rng.random(x.shape) < rng.choice([0.3, 1.0]))
        trial = x + step * np.sqrt(square(x) / d)[..., None] * change
        reached = ratio(c, trial)
        x = np.where((reached > best)[..., None], trial, x)
        best = np.maximum(reached, best)
    assert best.max() <= worst * (1 + 1e-12) + 64 * EPS


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("power", [-110, -100, 0, 100])
@pytest.mark.parametrize("c", [c for c in BOUNDED if not c.random], ids=str)
def test_the_bound_holds_at_every_scale(c: Compressor, power: int, dtype: type) -> None:
    """1e+-30 in float32, 1e+-150 in float64, where squares under- and overflow."""
    power = power if dtype == np.float32 else 5 * power
    for d in (1, 2, 7, 33):
        if bound(c, d) < math.inf:
            x = np.ldexp(vectors(d), power).astype(dtype)
            reached = achieved_delta(x, c(x))
            assert reached.min() >= c.delta(d) - 8 * d * np.finfo(dtype).eps


def slack(x: Array) -> float:
    """What rounding to x's dtype may cost of delta: a few eps, and one denormal an entry."""
    info = np.finfo(x.dtype)
    largest = np.abs(x).max(initial=0).astype(np.float64)
    denormal = 2 * math.sqrt(x.size) * (float(info.smallest_subnormal) / largest if largest else 0)
    return 16 * (1 + x.size) * float(info.eps) + 2 * denormal + denormal**2


@pytest.mark.parametrize("width", [32, 64])
@given(data=st.data())
def test_the_bound_holds_for_any_floats(width: int, data: st.DataObject) -> None:
    """Whatever hypothesis finds, denormals and signed zeros among it."""
    c = data.draw(st.sampled_from([c for c in BOUNDED if not c.random]))
    most = 2.0**100 if width == 32 else 2.0**1000
    numbers = st.floats(-most, most, width=width)
    x = data.draw(arrays(f"f{width // 8}", st.integers(1, 12), elements=numbers))
    if bound(c, x.size) < math.inf:
        assert achieved_delta(x, c(x)) >= c.delta(x.size) - slack(x)


# -- closed forms ---------------------------------------------------------------------------------

FORMULAS = [  # (compressor, d, delta), each number from the table of theory.md, section 4
    (Identity(), 9, 1.0),
    (ScaledSign(), 9, 1 / 9),
    (ScaledSign(zero=0), 9, 1 / 9),
    (TwoMeans(), 9, 1 / 9),
    (TopK(2), 9, 2 / 9),
    (TopK(0.25), 9, 2 / 9),  # floor(9/4 + 1/2) = 2
    (TopK(20), 9, 1.0),
    (RandK(2), 9, 2 / 9),
    (RandK(2, unbiased=True), 9, 0.0),
    (RandK(6, unbiased=True), 9, 1 / 2),  # 1 - (9/6 - 1)
    (RandK(2, unbiased=True).contractive(9), 9, 2 / 9),
    (QSGD(1).contractive(9), 9, 1 / 3),  # 1/(1 + sqrt(9) - 1)
    (QSGD(1), 9, 0.0),
    (TernGrad().contractive(9), 9, 2 / (1 + 3)),
    (Natural(), 9, 7 / 8),
    (Natural().contractive(9), 9, 8 / 9),
    (Natural(nearest=True), 9, 8 / 9),
    (LowRank(1), 12, 1 / 3),  # 3 x 4
    (LowRank(2), 12, 2 / 3),
    (LowRank(5), 12, 1.0),
    (LowRank(1, shape=(2, 6)), 12, 1 / 2),
    (LowRank(1), 13, 1.0),  # 1 x 13
    (PowerSGD(1), 9, 0.0),
    (Shared(RandK(2)), 9, 2 / 9),
    (Contractive(Shared(RandK(2, unbiased=True))), 9, 2 / 9),
    (NaturalDithering(1).contractive(9), 9, 1 / 2),  # TernGrad's
    (NaturalDithering(2), 9, 1 - (3**0.5 - 1) / 2),  # the segment of 0 and 1/2: sqrt(1 + 8/4)
    (Quantised(TopK(1), 4), 9, 1 / 9),
    (Quantised(TopK(2), 2), 9, 2 / 9),
    (Quantised(TopK(9), 2), 9, 1 / (1 + 7 / 4)),  # s = 1
    (Quantised(TopK(20), 3), 9, 1 / (1 + 7 / 36)),  # s = 3
    (Quantised(TopK(3), 2), 9, 1 / 3),  # below 1/(1 + 1/4)
    (Blockwise(Quantised(TopK(6), 2), 6), 9, 1 / 2),  # 1/(1 + 4/4)
    (Scaled(Quantised(TopK(1), 4), 0.5), 9, 0.75 / 9),
    (Scaled(Quantised(TopK(3), 2), 0.5), 9, 0.75 / 3),
    # (1, 1/2 seven times, 0): of each half is lost, of those 1/2 that become 0 all
    (Scaled(Quantised(TopK(9), 2), 0.5), 9, 1 - (1 / 4 + 7 / 4) / (1 + 7 / 4)),
    (SignTopK(2), 9, 2 / 9),
    (SignTopK(3), 9, 1 / 3),
    (SignTopK(4), 9, 1 / 4),
    (Threshold(l2=0.5), 9, 1 - 8 / 9 / 4),
    (Threshold(linf=0.5), 9, 1 / (1 + 8 / 4)),
    (Threshold(abs=0.5), 9, 0.0),
    (Sign(), 9, 0.0),
    (Scaled(TopK(2), 0.5), 9, 0.75 * 2 / 9),
    (Scaled(ScaledSign(zero=0), 0.5), 9, 0.75 / 9),
    (Scaled(TopK(2), 3.0), 9, 0.0),
    (Scaled(Natural(), 0.5), 9, 1 - 0.25 * 9 / 8),  # 2a - a^2 (1 + omega)
    (Scaled(Natural(nearest=True), 0.5), 9, 1 - (1 - 1 / 3) ** 2),
    (Scaled(Natural(nearest=True), 1.2), 9, 1 - 0.6**2),
    (Scaled(Natural(nearest=True), 1.5), 9, 0.0),
    (Contractive(QSGD(1)), 9, 1 / 3),  # omega = sqrt(9) - 1
    (Contractive(TernGrad()), 9, 1 / 2),  # omega = (3 - 1)/2
    (Contractive(Natural()), 9, 8 / 9),
    (Contractive(RandK(2, unbiased=True)), 9, 2 / 9),
    (Blockwise(Contractive(QSGD(1)), 4), 9, 1 / 2),  # blocks of 4, 4 and 1
    (Scaled(Contractive(TernGrad()), 0.5), 9, 0.75 / 2),  # a(2-a) delta
    (Blockwise(ScaledSign(), 4), 9, 1 / 4),
    (Blockwise(ScaledSign(), 100), 9, 1 / 9),
    (Blockwise(TopK(1), 8), 9, 1 / 8),
    (Blockwise(TopK(0.5), 4), 9, 1 / 2),
    (Blockwise(LowRank(1), 6), 9, 1 / 2),
    (Blockwise(Blockwise(ScaledSign(), 3), 5), 9, 1 / 3),
    (Scaled(Blockwise(ScaledSign(), 4), 0.5), 9, 0.75 / 4),
    (Blockwise(Scaled(ScaledSign(), 0.5), 4), 9, 0.75 / 4),
    (Scaled(Scaled(ScaledSign(), 0.5), 2.0), 9, 1 / 9),
    (Shrink(0.6), 9, 1 - 0.36),
    (Scaled(Shrink(0.6), 0.5), 9, 1 - (0.3 + 0.5) ** 2),
    (Scaled(Shrink(0.6), 1.25), 9, 1 - (0.75 + 0.25) ** 2),
]


@pytest.mark.parametrize(("c", "d", "delta"), FORMULAS, ids=str)
def test_delta_is_what_the_theory_says(c: Compressor, d: int, delta: float) -> None:
    assert c.delta(d) == pytest.approx(delta, rel=1e-14, abs=EPS)


@pytest.mark.parametrize("c", COMPRESSORS, ids=str)
def test_nothing_is_lost_of_nothing(c: Compressor) -> None:
    assert c.delta(0) == 1
    assert c.bits(0) == 0
    if c in BOUNDED:
        assert c.attaining_point(0).shape == (0,)
    for bad in (-1, 1.5, True):
        with pytest.raises(ValueError, match="must be a dimension"):
            c.delta(bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("d", [1, 2, 9, 100])
def test_omega_is_what_the_theory_says(d: int) -> None:
    assert Natural().omega(d) == 1 / 8
    assert TernGrad().omega(d) == pytest.approx((math.sqrt(d) - 1) / 2)
    assert RandK(1, unbiased=True).omega(d) == pytest.approx(d - 1)
    assert Blockwise(TernGrad(), 4).omega(d) == TernGrad().omega(min(d, 4))
    assert Scaled(TernGrad(), 1.0).omega(d) == TernGrad().omega(d)
    for c in (TopK(1), Scaled(TernGrad(), 0.5), Sign()):
        with pytest.raises(ValueError, match="has no omega: ask for delta"):
            c.omega(d)


@pytest.mark.parametrize("c", [Sign(), Threshold(abs=1.0), Scaled(Sign(), 0.1)], ids=str)
def test_without_a_relative_bound_no_point_attains_it(c: Compressor) -> None:
    with pytest.raises(ValueError, match="has no relative bound"):
        c.attaining_point(4)
    with pytest.raises(ValueError, match="no scaling mends that"):
        c.contractive(4)


def test_within_must_be_possible() -> None:
    for bad in (0.0, 1.0, -1.0, 1e-17, math.nan):
        with pytest.raises(ValueError, match="within must lie in"):
            Threshold(linf=0.5).attaining_point(4, within=bad)


def odd_square_sums(d: int, most: int) -> set[int]:
    """All sums of d odd squares up to ``most``."""
    squares = [i * i for i in range(1, math.isqrt(most) + 1, 2)]
    sums = {0}
    for _ in range(d):
        sums = {total + s for total in sums for s in squares if total + s <= most}
    return sums


@pytest.mark.parametrize("s", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("d", [1, 2, 3, 4, 5, 6, 9, 17])
def test_omega_of_qsgd_by_enumeration(d: int, s: int) -> None:
    """Derived here: with y = s|x|/|x|_2, omega s^2 is the largest sum of the p(1-p), p = frac(y).

    p(1-p) is the maximum over all integers l of (y-l)(l+1-y), and on |y| = s the sum of these is
    linear: -s^2 + <2l+1, y> - sum l(l+1). Its maximum over the sphere is d/4 - (s - sqrt(S)/2)^2
    with S = sum (2l+1)^2: omega s^2 is the largest of these over all sums S of d odd squares.
    """
    sums = odd_square_sums(d, max(36 * s * s, d + 8))
    exact = max(d / 4 - (s - math.sqrt(total) / 2) ** 2 for total in sums) / s**2
    assert QSGD(s).omega(d) == pytest.approx(exact, rel=1e-13, abs=EPS)


@pytest.mark.parametrize("s", range(1, 9))
def test_omega_of_qsgd_by_brute_force(s: int) -> None:
    """Directions on a grid of angles, fine for d = 2, coarse for 3; the slope of p(1-p) is <= 1."""
    angle = np.linspace(0, np.pi / 2, 200_001)
    plane = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    most = expected_error(QSGD(s), plane).max()
    assert most <= QSGD(s).omega(2) * (1 + 1e-12)
    assert most >= QSGD(s).omega(2) - 2 * (np.pi / 4e5) / s
    a, b = np.meshgrid(angle[::500], angle[::500])
    ball = np.stack([np.cos(a), np.sin(a) * np.cos(b), np.sin(a) * np.sin(b)], axis=-1)
    most = expected_error(QSGD(s), ball).max()
    assert most <= QSGD(s).omega(3) * (1 + 1e-12)
    assert most >= QSGD(s).omega(3) - 3 * (np.pi / 800) / s


@pytest.mark.parametrize("d", [1, 2, 9, 100, 10_000])
def test_omega_of_dithering_by_brute_force(d: int) -> None:
    """s = 1 is TernGrad; else the ratio on a grid of shares u, dense near 0 as well."""
    assert NaturalDithering(1).omega(d) == pytest.approx(TernGrad().omega(d), rel=1e-14)
    u = np.concatenate([np.linspace(0, 1, 100_001), np.geomspace(1e-6, 1, 100_001)])
    for s in (1, 2, 3, 6, 20):
        c = NaturalDithering(s)
        levels = np.array([0.0, *(2.0**-j for j in range(s - 1, -1, -1))])
        at = np.searchsorted(levels[:-1], u, side="right") - 1
        variance = (levels[at + 1] - u) * (u - levels[at])
        most = ((d - 1) * variance / (1 + (d - 1) * u**2)).max()
        assert most <= c.omega(d) * (1 + 1e-12) + EPS
        assert most >= c.omega(d) * (1 - 1e-6)


SHAPES = [(6, 3, 2), (6, 6, 2), (6, 4, 3), (9, 9, 4), (12, 12, 2), (3, 3, 2), (5, 2, 2), (4, 1, 2)]


@pytest.mark.parametrize(("d", "k", "bits"), SHAPES)
def test_delta_of_quantised_by_brute_force(d: int, k: int, bits: int) -> None:
    """Every vector of entries on and just beside a fine grid of magnitudes, and a climb from them.

    Multiples of C as well, whose worst entries lie just beside a midpoint.
    """
    inner, rng = Quantised(TopK(k), bits), np.random.default_rng(d)
    grid = np.round(rng.random((2000, d)) * 2 * inner.levels) / 2 / inner.levels
    start = np.concatenate([rng.random((2000, d)), grid + 1e-9, np.abs(grid - 1e-9)])
    for factor in (1.0, 0.5, 0.9, 1.1, 1.25):
        c = Scaled(inner, factor)
        x = np.concatenate([start, c.attaining_point(d)[None]])
        best = square(c(x) - x) / square(x)
        for step in np.geomspace(0.5, 1e-4, 30):
            change = rng.standard_normal(x.shape) * (rng.random(x.shape) < 0.4)
            trial = np.abs(x + step * change * x.max(-1, keepdims=True))
            reached = square(c(trial) - trial) / square(trial)
            x = np.where((reached > best)[:, None], trial, x)
            best = np.maximum(best, reached)
        worst = 1 - inner._scaled_delta(d, factor)
        assert best.max() <= worst + 64 * EPS
        assert best.max() >= worst - 1e-6


def test_a_quantised_vector_is_worst_at_an_end() -> None:
    """The ratio N/D of the docstring over a = min/max of the kept: greatest at 0 or at 1."""
    a = np.linspace(0, 1, 10_001)
    for k, bits, d in itertools.product((2, 3, 10, 64), (2, 3, 8), (64, 65, 1000)):
        c, h = Quantised(TopK(k), bits), 0.5 / Quantised(TopK(k), bits).levels
        n, v = k - 2, a + h * (1 - a)
        dropped = (d - k) * a**2
        ratio = (n * h**2 * (1 - a) ** 2 + dropped) / (1 + a**2 + n * v**2 + dropped)
        assert ratio.max() == pytest.approx(max(ratio[0], ratio[-1]), rel=1e-12)
        assert c.delta(d) == pytest.approx(1 - ratio.max(), rel=1e-12)


@pytest.mark.parametrize("s", [1000, 2**16, pytest.param(2**20, marks=pytest.mark.slow)])
def test_large_numbers_of_levels(s: int) -> None:
    for d in (1, 2, 3, 4, 10):
        x = QSGD(s).attaining_point(d)
        assert ratio(QSGD(s), x) == pytest.approx(QSGD(s).omega(d), rel=1e-6, abs=EPS)
        assert QSGD(s).omega(d) <= d / (4 * s * s)


def test_the_l2_scaled_sign_is_no_compressor() -> None:
    """delta = 2/sqrt(d) - 1 at a 1-sparse vector: 0 at d = 4, negative beyond."""
    for d in (1, 2, 4, 5, 16, 100):
        x = np.eye(d)[0]
        assert achieved_delta(x, L2Sign()(x)) == pytest.approx(2 / math.sqrt(d) - 1, abs=4 * EPS)


@pytest.mark.parametrize("d", [1, 2, 7, 16])
def test_what_each_vector_achieves(d: int) -> None:
    """Scaled sign achieves exactly phi(x), two means at least that, SignTopK <= TopK."""
    x = vectors(d)
    phi = density(x)
    np.testing.assert_allclose(achieved_delta(x, ScaledSign()(x)), phi, rtol=1e-12)
    assert (achieved_delta(x, TwoMeans()(x)) >= phi - 16 * EPS).all()
    assert (achieved_delta(x, SignTopK(2)(x)) <= achieved_delta(x, TopK(2)(x)) + 16 * EPS).all()


def test_the_absolute_threshold_bounds_the_absolute_error() -> None:
    for d in (1, 2, 9):
        x = vectors(d)
        assert (square(Threshold(abs=0.1)(x) - x) < d * 0.1**2).all()


@pytest.mark.parametrize("c", [c for c in COMPRESSORS if c.projection], ids=str)
def test_projections_project(c: Compressor) -> None:
    for d, seed in itertools.product((1, 2, 7, 16), range(3)):
        x = vectors(d)
        y = sent(c, x, seed)
        np.testing.assert_allclose(np.vecdot(y, x), square(y), rtol=1e-10, atol=0)


def test_the_best_factor_of_an_unbiased_compressor() -> None:
    """Theorem IV: no factor gives more than 1/(1+omega), which contractive(d) attains."""
    for c in UNBIASED:
        best = c.contractive(9)
        assert best.delta(9) == pytest.approx(1 / (1 + c.omega(9)), rel=1e-12)
        assert all(Scaled(c, a).delta(9) <= best.delta(9) for a in np.linspace(0.01, 2, 50))


# -- random compressors ---------------------------------------------------------------------------


@pytest.mark.parametrize("c", [RandK(2), RandK(2, unbiased=True), RandK(0.6)], ids=str)
def test_every_subset_of_randk(c: RandK) -> None:
    """The mean over all k-subsets of d = 6 positions, at every x: an identity, no inequality."""
    d = 6
    k = count(c.k, d)
    subsets = np.array(list(itertools.combinations(range(d), k)))
    for x in vectors(d):
        y = c.apply(np.broadcast_to(x, (len(subsets), d)), subsets)
        np.testing.assert_allclose(square(y - x).mean(), expected_error(c, x), rtol=1e-12)
        mean = x if c.unbiased else k / d * x
        np.testing.assert_allclose(y.mean(0), mean, rtol=1e-12, atol=0)


def test_randk_draws_every_subset_equally_often() -> None:
    """Chi-square with 14 degrees of freedom: mean 14, variance 28; 4 standard deviations above."""
    for draw in (RandK(2).draw((R, 6), np.random.default_rng(1)), one_by_one(R)):
        assert (np.diff(draw) > 0).all()
        counts = np.bincount(draw[:, 0] * 6 + draw[:, 1], minlength=36)
        used = counts[counts > 0]
        assert used.size == 15
        assert np.sum((used - R / 15) ** 2) / (R / 15) < 14 + 4 * math.sqrt(28)


def one_by_one(n: int) -> Array:
    rng = np.random.default_rng(2)
    return np.stack([RandK(2).draw((6,), rng) for _ in range(n)])


LEVELS = [
    *(QSGD(1), QSGD(3), QSGD(64), TernGrad(), Natural()),
    *(NaturalDithering(1), NaturalDithering(2), NaturalDithering(8)),
]


@pytest.mark.parametrize("c", LEVELS, ids=str)
def test_the_law_of_each_entry(c: Compressor) -> None:
    """With one uniform u for all entries, integrate over u by the midpoint rule, n points.

    C_i(u) is a step of height at most |x|_2, so its mean is off by |x|_2/n, (C_i - x_i)^2 by twice
    the square.
    """
    n = 4096
    u = (np.arange(n) + 0.5) / n
    for x in vectors(5):
        y = c.apply(np.broadcast_to(x, (n, 5)), np.broadcast_to(u[:, None], (n, 5)))
        assert np.abs(y.mean(0) - x).max() <= (1 / n + n * EPS) * math.sqrt(square(x))
        off = abs(square(y - x).mean() - expected_error(c, x))
        assert off <= (2 * 5 / n + n * EPS) * square(x)


def points(c: Compressor, d: int) -> Array:
    """A few vectors for statistics: the worst one, a sparse, a tied and a Gaussian one."""
    return np.concatenate([c.attaining_point(d)[None], vectors(d)[[4, 14, 20]]])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("d", [1, 2, 7])
@pytest.mark.parametrize("c", [c for c in RANDOM if c in BOUNDED], ids=str)
def test_errors_and_means_within_four_standard_errors(c: Compressor, d: int, dtype: type) -> None:
    for number, x in enumerate(points(c, d).astype(dtype)):
        y = c(np.broadcast_to(x, (R // 4, d)), np.random.default_rng(number))
        y, x = y.astype(np.float64), x.astype(np.float64)
        rounding = 4 * d * np.finfo(dtype).eps + R * EPS
        error = square(y - x)
        off = abs(error.mean() - expected_error(c, x))
        assert off <= 4 * error.std() / math.sqrt(R // 4) + rounding * square(x)
        if c.guarantee == "unbiased":
            off = np.abs(y.mean(0) - x)
            most = 4 * y.std(0) / math.sqrt(R // 4) + rounding * np.abs(x).max()
            assert (off <= most).all()


@pytest.mark.parametrize("c", RANDOM, ids=str)
def test_same_draws_same_result_other_draws_another(c: Compressor) -> None:
    x = np.sqrt(np.arange(2.0, 42.0))
    drawn = drawn_for(c, x.shape)
    assert c.apply(x, drawn).tobytes() == c.apply(x, drawn).tobytes() == sent(c, x).tobytes()
    if c not in (Scaled(Natural(), 8 / 9), NaturalDithering(20)):
        others = {sent(c, x, seed).tobytes() for seed in range(10)}
        assert len(others) > 5
    with pytest.raises(ValueError, match="is random: pass rng"):
        c(x)


# -- refusals -------------------------------------------------------------------------------------


def test_unbiased_behind_error_feedback_is_refused_with_its_fix() -> None:
    for c, d in ((QSGD(1), 16), (TernGrad(), 100), (RandK(2, unbiased=True), 4)):
        assert c.delta(d) == 0
        with pytest.raises(ValueError, match=r"unbiased with omega = .* >= 1") as refused:
            check_feedback(c, d)
        assert f"use contractive,{c}, whose delta" in str(refused.value)
        with pytest.raises(ValueError, match="contractive"):
            EFSGD(c).check(d)
        check_feedback(c.contractive(d), d)
        CompressedSGD(c).check(d)


CURES = [  # what is refused at d = 4096, and what is named instead
    (QSGD(7), "contractive,qsgd:7"),
    (Scaled(QSGD(7), 0.5), "contractive,qsgd:7"),  # its greatest factor there is 0.22
    (QSGD(1).contractive(128), "contractive,qsgd:1"),
    (Blockwise(Scaled(TernGrad(), 0.9), 99), "blockwise:99,contractive,terngrad"),
    (Scaled(Blockwise(QSGD(1), 64), 1.5), "contractive,blockwise:64,qsgd:1"),
    (Scaled(TopK(1), 2.5), "topk:1"),
]


@pytest.mark.parametrize(("c", "cure"), CURES, ids=str)
def test_the_cure_that_is_named_cures_every_dimension(c: Compressor, cure: str) -> None:
    with pytest.raises(ValueError, match=r"has delta = 0|is unbiased") as refused:
        check_feedback(c, 4096, "layer4.weight")
    assert f" at d = 4096 (layer4.weight), so error feedback with it can diverge: use {cure}, " in (
        str(refused.value)
    )
    for d in (1, 2, 64, 4096, 2_359_296):
        check_feedback(compressor(cure), d)


@pytest.mark.parametrize("d", [1, 2, 16, 300])
@pytest.mark.parametrize("c", UNBIASED, ids=str)
def test_contractive_is_the_best_scaling_at_every_dimension(c: Compressor, d: int) -> None:
    """delta = 1/(1 + omega(d)), which no other factor exceeds (Theorem IV)."""
    wrapped = Contractive(c)
    assert wrapped.delta(d) == 1 / (1 + c.omega(d)) == wrapped.factor(d)
    best = Scaled(c, wrapped.factor(d))
    assert wrapped.delta(d) == pytest.approx(best.delta(d), rel=1e-14)
    assert all(
        Scaled(c, a).delta(d) <= wrapped.delta(d) + 4 * EPS for a in np.linspace(0.01, 2, 50)
    )
    x = np.sqrt(np.arange(1.0, d + 1))
    assert sent(wrapped, x).tobytes() == sent(best, x).tobytes()
    assert wrapped.contractive(d) is wrapped
    assert Scaled(wrapped, 0.5).delta(d) == pytest.approx(Scaled(best, 0.5).delta(d), rel=1e-14)


def test_what_error_feedback_allows() -> None:
    for c in (Sign(), Sign(zero=0), Threshold(abs=1.0), Natural(), QSGD(1), *BOUNDED):
        if c.delta(3) > 0 or c not in BOUNDED:
            check_feedback(c, 3)
    assert TernGrad().delta(8) > 0  # omega = (sqrt(8)-1)/2 < 1
    check_feedback(TernGrad(), 8)
    with pytest.raises(ValueError, match="delta = 0"):
        check_feedback(Scaled(TopK(1), 2.5), 3)


def test_a_contractive_compressor_is_its_own_contraction() -> None:
    for c in BOUNDED:
        if c.guarantee != "unbiased" and c.delta(9) > 0:
            assert c.contractive(9) is c
