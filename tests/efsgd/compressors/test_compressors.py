"""How compressors treat arrays: shapes, dtypes, layouts, extremes, draws and state.

Without this file a compressor could return inf, NaN or another dtype, change its input, or treat a
vector differently beside other replicates.
"""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError, dataclass, fields
from typing import Any

import numpy as np
import pytest
from compressor_table import (
    COMPRESSORS,
    DETERMINISTIC,
    DTYPES,
    HOMOGENEOUS,
    INSTANCES,
    LIBRARY,
    RANDOM,
    drawn_for,
    row,
    sent,
    vectors,
)
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import efsgd
from efsgd.arrays import Array, Generator
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
    selection,
)
from efsgd.compressors.selection import seeded_subset, splitmix64

each = pytest.mark.parametrize("c", COMPRESSORS, ids=str)
either = pytest.mark.parametrize("dtype", DTYPES)


def same(a: Array, b: Array) -> bool:
    """Whether dtype, shape and every bit agree, signs of zeros included."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


# -- the table ------------------------------------------------------------------------------------


def test_the_library_is_complete() -> None:
    """Nineteen, each a direct subclass, with a spec and exported."""
    registered = Compressor.registry.values()
    assert len(LIBRARY) == 19
    assert set(LIBRARY) == {c for c in registered if c.__module__.startswith("efsgd.compressors.")}
    assert all(getattr(efsgd, cls.__name__) is cls for cls in LIBRARY)
    assert all(cls.__module__.startswith("efsgd.") for cls in LIBRARY)


def test_no_compressor_is_missing_from_the_table() -> None:
    ours = [
        cls
        for cls in Compressor.__subclasses__()
        if cls.__module__.startswith("efsgd.")
        and not cls.__module__.startswith("efsgd.convex.")  # instruments, not compressors to use
        and not cls.__name__.startswith("_")
    ]
    assert set(ours) == set(LIBRARY) == set(INSTANCES)
    assert all(type(c) is cls for cls, row in INSTANCES.items() for c in row)


# -- known values ---------------------------------------------------------------------------------

X = [3.0, -1.0, 0.0, -4.0]  # |x|_1 = 8, |x|_2^2 = 26, max 4
HALF = np.full(4, 0.5)  # draws
VALUES = [  # by hand from the definitions
    (Identity(), None, [3, -1, 0, -4]),
    (Sign(), None, [1, -1, 1, -1]),
    (Sign(zero=0), None, [1, -1, 0, -1]),
    (ScaledSign(), None, [2, -2, 2, -2]),
    (ScaledSign(zero=0), None, [2, -2, 0, -2]),
    (TwoMeans(), None, [1.5, -2.5, 1.5, -2.5]),
    (TopK(2), None, [3, 0, 0, -4]),
    (TopK(0.25), None, [0, 0, 0, -4]),
    (TopK(1.0), None, [3, -1, 0, -4]),
    (RandK(2), np.array([0, 1]), [3, -1, 0, 0]),
    (RandK(2, unbiased=True), np.array([0, 1]), [6, -2, 0, 0]),
    (QSGD(1), HALF, [26**0.5, 0, 0, -(26**0.5)]),  # shares .588 .196 0 .784
    (TernGrad(), HALF, [4, 0, 0, -4]),  # shares 3/4 1/4 0 1
    (Natural(), HALF, [2, -1, 0, -4]),  # 3 goes up with probability 1/2: not at 0.5
    (Natural(), HALF / 2, [4, -1, 0, -4]),
    (Natural(nearest=True), None, [2, -1, 0, -4]),  # a tie goes to the smaller
    (SignTopK(2), None, [3.5, 0, 0, -3.5]),
    (Threshold(abs=3.0), None, [3, 0, 0, -4]),
    (Threshold(linf=0.5), None, [3, 0, 0, -4]),
    (Threshold(l2=1.0), None, [3, 0, 0, -4]),  # sqrt(26/4) = 2.55
    (Threshold(l2=0.3), None, [3, -1, 0, -4]),  # 0.76
    (Scaled(TopK(1), 0.25), None, [0, 0, 0, -1]),
    (Contractive(QSGD(1)), HALF, [26**0.5 / 2, 0, 0, -(26**0.5) / 2]),  # omega(4) = 2/1 - 1
    (Contractive(RandK(2, unbiased=True)), np.array([0, 1]), [3, -1, 0, 0]),  # omega = 4/2 - 1
    (  # by the two entries of each block: omega(2) = sqrt(2) - 1, |x|_2 = sqrt(10) and 4
        Blockwise(Contractive(QSGD(1)), 2),
        [HALF.reshape(2, 2)],
        [5**0.5, 0, 0, -(8**0.5)],
    ),
    (Blockwise(ScaledSign(), 3), None, [4 / 3, -4 / 3, 4 / 3, -4]),
    (Blockwise(TopK(1), 2), None, [3, 0, 0, -4]),
    (LowRank(2), None, [3, -1, 0, -4]),
    (NaturalDithering(1), HALF, [4, 0, 0, -4]),  # as TernGrad
    (NaturalDithering(2), HALF, [2, 0, 0, -4]),  # 3/4 goes up to 1 at draws below 1/2: not at 0.5
    (NaturalDithering(2), HALF / 2, [4, -2, 0, -4]),  # 1/4 goes up to 1/2 at draws below 1/2
    (NaturalDithering(3), HALF, [2, -1, 0, -4]),  # 1/4 is a level
    (Quantised(TopK(2), 2), None, [3, 0, 0, -4]),  # the two ends
    (Quantised(TopK(3), 2), None, [4, -1, 0, -4]),  # 3 lies nearer to 4 than to 1
    (Quantised(TopK(3), 3), None, [3, -1, 0, -4]),  # levels 1, 2, 3, 4
    (Quantised(TopK(4), 3), None, [8 / 3, -4 / 3, 0, -4]),  # levels 0, 4/3, 8/3, 4
    (Blockwise(Quantised(TopK(1), 2), 2), None, [3, 0, 0, -4]),
    (Shared(RandK(2)), [np.int64(7), np.array([0, 3])], [3, 0, 0, -4]),
    (Shared(RandK(2, unbiased=True)), [np.int64(7), np.array([0, 3])], [6, 0, 0, -8]),
    # M = [[3, -1], [0, -4]]; M Q = (3, 0) for Q = (1, 0): the first row is kept
    (PowerSGD(1), np.array([[1.0], [0.0]]), [3, -1, 0, 0]),
    # M Q = (-1, -4): PP'M = (1, 4)'(1, 4) M / 17 = (1, 4)'(3, -17)/17
    (PowerSGD(1), np.array([[0.0], [1.0]]), [3 / 17, -1, 12 / 17, -4]),
    (PowerSGD(2), np.eye(2), [3, -1, 0, -4]),
]


@either
@pytest.mark.parametrize(("c", "drawn", "expected"), VALUES, ids=str)
def test_values(c: Compressor, drawn: Any, expected: list[float], dtype: type) -> None:
    y = c.apply(np.array(X, dtype), drawn)
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(y, np.array(expected, dtype), rtol=8 * eps, atol=8 * eps)


def test_ties_go_to_the_first_also_in_long_vectors() -> None:
    for d in (5, 10_000, 100_003):
        x = np.where(np.arange(d) % 2, -1.0, 1.0)
        assert np.flatnonzero(TopK(3)(x)).tolist() == [0, 1, 2]
        x[-1] = 2
        assert np.flatnonzero(TopK(3)(x)).tolist() == [0, 1, d - 1]


@pytest.mark.parametrize("k", [1, 7, 200, 4000])
def test_top_k_of_a_long_vector_is_exact(k: int) -> None:
    """The sampled search against a stable sort, also where the sample sees only zeros."""
    d = 40_001
    rng = np.random.default_rng(k)
    spike = np.zeros(d)
    spike[1:300:2] = rng.standard_normal(150)
    for x in (rng.standard_normal(d), rng.integers(-3, 4, d) * 1.0, np.zeros(d), spike, -spike):
        order = np.argsort(-np.abs(x), kind="stable")[:k]
        expected = np.zeros(d)
        expected[order] = x[order]
        assert np.array_equal(TopK(k)(x), expected)


# -- arrays ---------------------------------------------------------------------------------------


@either
@each
def test_dtype_shape_and_input_are_kept(c: Compressor, dtype: type) -> None:
    for d in (0, 1, 2, 3, 17):
        x = vectors(d, dtype)
        before = x.tobytes()
        x.flags.writeable = False
        y = sent(c, x)
        assert y.dtype == dtype
        assert y.shape == x.shape
        assert y.flags.writeable
        assert not np.shares_memory(x, y)
        assert x.tobytes() == before


@either
@each
def test_zero_is_sent_as_zero(c: Compressor, dtype: type) -> None:
    for d in (0, 1, 2, 17):
        for zero in (np.zeros(d, dtype), -np.zeros(d, dtype), np.zeros((3, d), dtype)):
            assert not sent(c, zero).any()


@each
def test_signed_zeros_are_all_the_same(c: Compressor) -> None:
    x = np.array([0.0, 1.0, 0.0, -2.0, 0.0, 0.5])
    assert np.array_equal(sent(c, x), sent(c, np.where(x == 0, -0.0, x)))


@either
@each
def test_leading_axes_change_no_bit(c: Compressor, dtype: type) -> None:
    """Row by row with the draws of that row, for (R, d) and (2, R, d)."""
    for d in (1, 2, 7, 33):
        x = vectors(d, dtype)
        drawn = drawn_for(c, x.shape)
        y = c.apply(x, drawn)
        for i, vector in enumerate(x):
            assert same(y[i], c.apply(vector, row(drawn, i)))
        if not c.random:
            assert same(c(np.stack([x, x[::-1]])), np.stack([y, y[::-1]]))


@either
@pytest.mark.parametrize("c", [c for c in COMPRESSORS if "lowrank" not in str(c)], ids=str)
def test_leading_axes_change_no_bit_of_long_vectors(c: Compressor, dtype: type) -> None:
    """Beyond the pieces in which long vectors are summed and searched."""
    x = np.random.default_rng(0).standard_normal((2, 40_001)).astype(dtype)
    drawn = drawn_for(c, x.shape)
    y = c.apply(x, drawn)
    for i, vector in enumerate(x):
        assert same(y[i], c.apply(vector, row(drawn, i)))


@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (0, 0), (2, 0, 7), (1, 1), (0, 1)])
@each
def test_empty_axes(c: Compressor, shape: tuple[int, ...]) -> None:
    assert sent(c, np.ones(shape)).shape == shape


@each
def test_layout_does_not_matter(c: Compressor) -> None:
    x = np.random.default_rng(0).standard_normal((6, 14))
    y = sent(c, x)
    padded = np.zeros((12, 42))
    padded[::2, ::3] = x
    layouts = {
        "Fortran": np.asfortranarray(x),
        "strided": padded[::2, ::3],
        "negative": x[::-1, ::-1].copy()[::-1, ::-1],
        "big-endian": x.astype(">f8"),
        "broadcast": x[:, None] if c.joint else np.broadcast_to(x, (1, 6, 14)),
        "list": x.tolist(),
    }
    for name, other in layouts.items():
        assert same(sent(c, other).reshape(y.shape), y), name
    column = np.asfortranarray(x)[:, 0]
    assert same(sent(c, column), sent(c, column.copy()))


@each
def test_integers_are_taken_as_float64(c: Compressor) -> None:
    x = np.array([3, -1, 0, -4, 2, 2])
    assert same(sent(c, x), sent(c, x.astype(np.float64)))
    assert same(sent(c, x > 1), sent(c, (x > 1).astype(np.float64)))


@each
def test_what_is_not_a_vector_of_floats_is_refused(c: Compressor) -> None:
    for kind in (np.float16, np.complex128, np.object_):
        with pytest.raises(TypeError, match="expected float32 or float64"):
            sent(c, np.ones(4, kind))
    with pytest.raises(ValueError, match="not a scalar"):
        sent(c, 1.0)  # type: ignore[arg-type]
    for bad in (np.nan, np.inf, -np.inf):
        for x in (np.array([1.0, bad, 0.0, 1.0]), np.array([[1.0, 2.0], [bad, 1.0]])):
            with pytest.raises(ValueError, match="NaN or inf"):
                sent(c, x)


# -- extremes -------------------------------------------------------------------------------------


@either
@pytest.mark.parametrize("c", HOMOGENEOUS, ids=str)
def test_powers_of_two_pass_through(c: Compressor, dtype: type) -> None:
    """C(2^k x) = 2^k C(x) to the bit: at 1e+-30 in float32 and 1e+-150 in float64."""
    for d in (1, 2, 7, 33):
        x = vectors(d, dtype)
        x[np.abs(x) < 1e-3] = 0  # so that nothing becomes denormal below
        drawn = drawn_for(c, x.shape)
        y = c.apply(x, drawn)
        for k in (-100, 100) if dtype == np.float32 else (-900, -500, 500, 900):
            scaled = np.ldexp(c.apply(np.ldexp(x, k), drawn), -k)
            if "lowrank" in str(c):  # but for entries that are all rounding
                np.testing.assert_allclose(scaled, y, rtol=0, atol=np.finfo(dtype).eps * 1e3)
            else:
                assert same(scaled, y)


@either
@each
def test_denormals(c: Compressor, dtype: type) -> None:
    """Every entry is what it is at a scale where nothing is rounded, but for the rounding.

    (Not so where a rounded norm decides: QSGD may round to another level, l2 may keep one more.)
    """
    tiny = np.finfo(dtype).smallest_subnormal
    for whole in ([1.0], [1.0, 0.0], [3.0, -1.0, 0.0, -4.0, 2.0], [1.0] * 9):
        x = np.array(whole, dtype)
        drawn = drawn_for(c, x.shape)
        y = c.apply(x * tiny, drawn)
        if c in HOMOGENEOUS and not re.search("qsgd|l2=", str(c)):
            steps = y.astype(np.float64) / float(tiny)
            assert np.abs(steps - c.apply(x, drawn)).max() <= 1.5
        assert np.isfinite(y).all()


def test_terngrad_is_unbiased_on_denormals() -> None:
    """Its values are 0 and +-max|x|, so no rounding excuses a bias: 1, 2, 3 denormals of 3."""
    x = np.array([1, 2, 3]) * 5e-324
    u = (np.arange(3000) + 0.5) / 3000
    y = TernGrad().apply(np.broadcast_to(x, (3000, 3)), np.repeat(u[:, None], 3, axis=1))
    assert (y > 0).mean(0).tolist() == [1 / 3, 2 / 3, 1]


MOST = {np.float32: np.finfo(np.float32).max, np.float64: np.finfo(np.float64).max}


@either
@each
def test_the_largest_numbers_fit_or_overflow_in_words(c: Compressor, dtype: type) -> None:
    """Never inf, never NaN: a finite result, or OverflowError from call and encode alike."""
    for whole in ([1.0], [1.0, -1.0], [1.0, 0.0, -1.0, 1.0, 1.0], [1.0, 0.4, -0.2, 0.1]):
        x = (np.array(whole) * MOST[dtype]).astype(dtype)
        drawn = drawn_for(c, x.shape)
        with np.errstate(over="ignore", invalid="ignore"):
            y = c.apply(x, drawn)
        if np.isfinite(y).all():
            assert same(sent(c, x), y)
            assert same(efsgd.decode(c.encode(x, drawn=drawn)), y)
        else:
            for act in (lambda: sent(c, x), lambda: c.encode(x, drawn=drawn)):  # noqa: B023
                with pytest.raises(OverflowError, match="scale it down"):
                    act()


# Not those that scale entries up, round them up, or wrap such a compressor.
FITS = [
    c
    for c in COMPRESSORS
    if isinstance(c, TernGrad)
    or (c.guarantee != "unbiased" and not isinstance(c, Natural | Scaled | Contractive | Blockwise))
]


@either
@pytest.mark.parametrize("c", FITS, ids=str)
def test_what_fits_does_not_overflow(c: Compressor, dtype: type) -> None:
    """Sums, norms and singular values of this vector leave the dtype, but no entry of C(x) does."""
    x = np.full(9, MOST[dtype] / 2)
    np.testing.assert_allclose(np.abs(sent(c, x)).max(), 1 if type(c) is Sign else x[0], rtol=1e-5)


@either
def test_what_does_not_fit_overflows(dtype: type) -> None:
    x = np.full(9, MOST[dtype])
    for c in (QSGD(1), RandK(2, unbiased=True), Natural(nearest=True), Scaled(Identity(), 1.1)):
        with pytest.raises(OverflowError, match=f"does not fit {np.dtype(dtype)}: scale it down"):
            sent(c, x)


@pytest.mark.parametrize("width", [32, 64])
@given(data=st.data())
def test_any_floats(width: int, data: st.DataObject) -> None:
    """No warning, no NaN; the message says the same; negative zeros change nothing."""
    c = data.draw(st.sampled_from(COMPRESSORS))
    numbers = st.floats(width=width, allow_nan=False, allow_infinity=False)
    x = data.draw(arrays(f"f{width // 8}", st.integers(0, 12), elements=numbers))
    try:
        y = sent(c, x)
    except OverflowError:
        return
    assert np.isfinite(y).all()
    assert same(efsgd.decode(c.encode(x, np.random.default_rng(0))), y)
    assert np.array_equal(sent(c, x + 0.0), y)


def test_a_row_at_the_threshold_keeps_its_largest_entry() -> None:
    """With l2 = 1 the rounded |x|_2/sqrt(d) may exceed every |x_i|; delta = 1/d still holds."""
    for d in range(1, 40):
        x = np.random.default_rng(d).random((100, 1)) * np.ones(d)
        assert Threshold(l2=1.0)(x).any(-1).all()


# -- draws and state ------------------------------------------------------------------------------


@pytest.mark.parametrize("c", DETERMINISTIC, ids=str)
def test_deterministic_compressors_draw_nothing(c: Compressor) -> None:
    rng = np.random.default_rng(0)
    state = rng.bit_generator.state
    x = np.arange(6.0)
    assert same(c(x, rng), c(x))
    assert rng.bit_generator.state == state


@pytest.mark.parametrize("c", RANDOM, ids=str)
def test_draws_do_not_look_at_the_vector(c: Compressor) -> None:
    """The same amount of randomness for every x of a shape, so that runs share their noise."""
    states = []
    for x in (np.zeros(7), np.arange(7.0), -np.ones(7)):
        rng = np.random.default_rng(0)
        c(x, rng)
        states.append(str(rng.bit_generator.state))
    assert len(set(states)) == 1


@dataclass(frozen=True)
class Cyclic(Compressor, spec="cyclic"):
    """Keeps one entry, the next one at every step: its state is that position."""

    random = True
    projection = True

    def draw(
        self, shape: tuple[int, ...], rng: Generator | None = None, state: Any = None
    ) -> Array:
        return np.zeros((*shape[:-1], 1), int) if state is None else state

    def apply(self, x: Array, drawn: Any = None) -> Array:
        return np.where(np.arange(x.shape[-1]) == drawn, x, 0.0)

    def next_state(self, x: Array, drawn: Any) -> Array:
        return np.asarray((drawn + 1) % x.shape[-1])


def test_the_state_travels_from_step_to_step() -> None:
    for c in (Cyclic(), Scaled(Cyclic(), 0.5), Scaled(Scaled(Cyclic(), 2.0), 0.25)):
        state, places = None, []
        for _ in range(4):
            drawn = c.draw((3,), None, state)
            places.append(int(np.flatnonzero(c.apply(np.ones(3), drawn))[0]))
            state = c.next_state(np.ones(3), drawn)
        assert places == [0, 1, 2, 0]


@each
def test_only_what_is_warm_has_a_state(c: Compressor) -> None:
    """Of the form that is drawn: what draws with it draws no number."""
    x = np.random.default_rng(0).standard_normal((2, 3, 12))
    drawn = drawn_for(c, x.shape)
    state = c.next_state(x, drawn)
    assert c.warm == (state is not None)
    if c.warm:
        again = c.draw(x.shape, None, state)
        assert (again.shape, again.dtype) == (drawn.shape, drawn.dtype)


def test_the_states_of_blocks() -> None:
    """Five entries in blocks of three: modulo 3 in the first block, modulo 2 in the rest."""
    c, state = Blockwise(Cyclic(), 3), None
    for step in range(7):
        drawn = c.draw((5,), None, state)
        assert np.flatnonzero(c.apply(np.ones(5), drawn)).tolist() == [step % 3, 3 + step % 2]
        state = c.next_state(np.ones(5), drawn)
    plain = Blockwise(TopK(1), 3)
    assert plain.next_state(np.ones(5), plain.draw((5,))) is None


@dataclass(frozen=True)
class Slope:
    """f = sum x_i."""

    d: int = 3

    def loss(self, x: Array) -> Array:
        return np.asarray(x.sum(-1))

    def gradient(self, x: Array, rng: Generator) -> Array:
        return np.ones_like(x)


def test_a_method_owns_the_state() -> None:
    """EF with Cyclic: coordinate i is sent at steps i, i+3, ..., each time all it has gathered."""
    history = efsgd.run(efsgd.Run(Slope(), efsgd.EFSGD(Cyclic()), lr=1.0, steps=6, replicates=2))
    assert history["x_final"].tolist() == [[-4.0, -5.0, -6.0]] * 2


def test_compressors_are_frozen_values() -> None:
    for c in COMPRESSORS:
        twin = type(c)(**{field.name: getattr(c, field.name) for field in fields(c)})
        assert twin == c
        assert hash(twin) == hash(c)
        with pytest.raises(FrozenInstanceError):
            c.name = "other"  # type: ignore[misc]
    assert len(set(COMPRESSORS)) == len(COMPRESSORS)
    for kind in (TopK, RandK, SignTopK):  # the first entry alone, and all of them
        assert kind(1) != kind(1.0)
        assert Scaled(kind(1), 0.5) != Scaled(kind(1.0), 0.5)


# -- workers that act together --------------------------------------------------------------------

JOINT = [c for c in COMPRESSORS if c.joint]


def test_what_is_joint() -> None:
    """Shared and PowerSGD, also inside Scaled and Contractive; never by blocks."""
    assert {type(c) for c in JOINT} == {Shared, PowerSGD, Scaled, Contractive}
    for c in JOINT:
        words = f"cuts each vector into blocks, and {c} couples the workers of a step"
        with pytest.raises(ValueError, match=re.escape(words)):
            Blockwise(c, 4)


@pytest.mark.parametrize("c", JOINT, ids=str)
def test_workers_of_a_step_share_their_draw_and_replicates_do_not(c: Compressor) -> None:
    """All that is drawn carries the axes (R, n) of x, the same along n; (R, d) draws row by row."""
    for part in parts(drawn_for(c, (3, 4, 40))):
        assert part.shape[:2] == (3, 4)
        assert (part == part[:, :1]).all()
        assert len({one.tobytes() for one in part[:, 0]}) == 3
    for part in parts(drawn_for(c, (12, 40))):
        assert len({one.tobytes() for one in part}) == 12
    inner = row(row(drawn_for(c, (3, 4, 40)), 1), 2)
    x = np.random.default_rng(1).standard_normal(40)
    assert same(efsgd.decode(c.encode(x, drawn=inner)), c.apply(x, inner))


def parts(drawn: Any) -> list[Array]:
    return drawn if isinstance(drawn, list) else [drawn]


@either
@pytest.mark.parametrize("c", JOINT, ids=str)
def test_one_worker_alone_is_a_vector_alone(c: Compressor, dtype: type) -> None:
    """(R, 1, d) and (R, d), with the same draws; replicates do not see each other."""
    x = np.random.default_rng(0).standard_normal((5, 1, 24)).astype(dtype)
    drawn = drawn_for(c, x.shape)
    y = c.apply(x, drawn)
    for r in range(5):
        assert same(y[r, 0], c.apply(x[r, 0], row(row(drawn, r), 0)))
        assert same(y[r : r + 1], c.apply(x[r : r + 1], row_of(drawn, r)))


def row_of(drawn: Any, r: int) -> Any:
    """The draws of replicate r, with its axis."""
    if isinstance(drawn, list):
        return [row_of(part, r) for part in drawn]
    return drawn[r : r + 1]


@either
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("c", [*JOINT, Scaled(PowerSGD(2), 0.5)], ids=str)
def test_a_worker_of_a_step_encodes_what_it_has_sent(
    c: Compressor, weighted: bool, dtype: type
) -> None:
    """With its row of what all found out; and a message of the mean is the mean of what was sent.

    The mean is with the weights that the workers have, and its message as long as each of theirs.
    """
    x = np.random.default_rng(0).standard_normal((3, 4, 40)).astype(dtype)
    weights = np.array([0.1, 0.2, 0.3, 0.4]) if weighted else np.full(4, 0.25)
    first = c.first_state(weights) if weighted else None
    drawn = c.draw(x.shape, np.random.default_rng(1), first)
    y, joined = c.apply(x, drawn), c.joined(x, drawn)
    assert same(c.apply(x, joined), y)
    near = {"rtol": 0, "atol": 20 * np.finfo(dtype).eps * np.abs(y).max()}
    lengths = set()
    for r in range(3):
        for i in range(4):
            data = c.encode(x[r, i], drawn=row(row(joined, r), i))
            np.testing.assert_allclose(efsgd.decode(data), y[r, i], **near)
            lengths.add(len(data))
        mean = c.encode((weights @ x[r]).astype(dtype), drawn=row(row(joined, r), 0))
        np.testing.assert_allclose(efsgd.decode(mean), weights @ y[r], **near)
        lengths.add(len(mean))
    assert len(lengths) == 1
    assert c.adds


@pytest.mark.parametrize("c", [c for c in COMPRESSORS if not c.joint], ids=str)
def test_messages_of_workers_apart_do_not_add(c: Compressor) -> None:
    assert not c.adds
    drawn = drawn_for(c, (2, 3, 40))
    assert c.joined(np.ones((2, 3, 40)), drawn) is drawn


@either
@pytest.mark.parametrize("c", [Shared(RandK(3)), Shared(RandK(0.4, unbiased=True))], ids=str)
def test_shared_is_randk_at_its_positions(c: Shared, dtype: type) -> None:
    x = np.random.default_rng(0).standard_normal((3, 4, 20)).astype(dtype)
    seeds, positions = drawn_for(c, x.shape)
    assert same(c.apply(x, [seeds, positions]), c.inner.apply(x, positions))
    assert np.array_equal(positions, seeded_subset(seeds, 20, positions.shape[-1]))
    total = c.apply(x, [seeds, positions]).sum(1)
    assert (np.count_nonzero(total, axis=-1) == positions.shape[-1]).all()  # nothing fills up


def test_positions_of_a_seed() -> None:
    """The published first words of SplitMix64 with the state 1234567 (rosettacode.org)."""
    words = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    seed = np.array([1234567])
    assert splitmix64(seed, 0, 5).tolist() == [words]
    assert splitmix64(seed, 2, 4).tolist() == [words[2:4]]
    assert [seeded_subset(seed, 5, k).tolist() for k in (1, 2, 3)] == [[[4]], [[2, 4]], [[0, 2, 4]]]
    assert splitmix64(np.array([-1]), 0, 1) == splitmix64(np.array([2**64 - 1], np.uint64), 0, 1)


@pytest.mark.parametrize("d", [1, 5, 40_001, 100_000])
def test_positions_of_long_vectors(d: int) -> None:
    """Without holding all words: as by a sort of them, for few, half, all but one and all."""
    seeds = np.random.default_rng(d).integers(-(2**63), 2**63, 3)
    for k in {1, min(3, d), -(-d // 2), d - 1 or 1, d}:
        order = np.argsort(splitmix64(seeds, 0, d), axis=-1, kind="stable")
        expected = np.sort(order[:, d - k :], axis=-1)
        assert np.array_equal(seeded_subset(seeds, d, k), expected)


def test_positions_where_the_guess_of_the_threshold_fails(monkeypatch: Any) -> None:
    """The k-th word far from its rank: all words are held, and the positions are the same."""
    seed = np.array([3])
    expected = seeded_subset(seed, 50_000, 20_000)
    kth = selection._kth_word
    monkeypatch.setattr(
        selection, "_kth_word", lambda s, d, k, spread: kth(s, d, k, 1e-9 if spread < d else spread)
    )
    assert np.array_equal(seeded_subset(seed, 50_000, 20_000), expected)


def test_seeds_choose_every_subset_equally_often() -> None:
    """Chi-square with 14 degrees of freedom: mean 14, variance 28; 4 standard deviations above."""
    n = 20_000
    _, positions = Shared(RandK(2)).draw((n, 6), np.random.default_rng(1))
    assert (np.diff(positions) > 0).all()
    counts = np.bincount(positions[:, 0] * 6 + positions[:, 1], minlength=36)
    used = counts[counts > 0]
    assert used.size == 15
    assert np.sum((used - n / 15) ** 2) / (n / 15) < 14 + 4 * 28**0.5


# -- PowerSGD -------------------------------------------------------------------------------------


@either
def test_powersgd_sends_what_an_all_reduce_of_its_factors_gives(dtype: type) -> None:
    """The mean of what each worker has sent is P Q' with Q the mean of the M_i'P (Algorithm 1)."""
    c, x = PowerSGD(2), np.random.default_rng(0).standard_normal((3, 4, 30)).astype(dtype)
    drawn = c.draw(x.shape, np.random.default_rng(1))
    y, state = c.apply(x, drawn), c.next_state(x, drawn)
    assert state.shape == drawn.shape == (3, 4, 6, 2)
    matrices = x.astype(np.float64).reshape(3, 4, 5, 6)
    for r in range(3):
        P = np.linalg.qr(np.mean(matrices[r] @ drawn[r, 0], axis=0))[0]
        Q = np.mean([M.T @ P for M in matrices[r]], axis=0)
        eps = 100 * np.finfo(dtype).eps
        np.testing.assert_allclose(y[r].mean(0).reshape(5, 6), P @ Q.T, rtol=eps, atol=eps)
        power = np.exp2(np.frexp(np.abs(x[r]).max())[1])
        np.testing.assert_allclose(state[r], np.broadcast_to(Q / power, (4, 6, 2)), atol=1e-12)


@either
@pytest.mark.parametrize("c", [PowerSGD(2), Scaled(PowerSGD(2), 0.5)], ids=str)
def test_powersgd_of_workers_that_do_not_count_alike(c: Compressor, dtype: type) -> None:
    """Both means of Algorithm 1 have the weights, at the first step and, carried on, at the next.

    Two workers that count 2 and 1 are three that count alike, of which two have the same.
    """
    x = np.random.default_rng(0).standard_normal((2, 2, 30)).astype(dtype)
    three = x[:, [0, 0, 1]]
    drawn = c.draw(x.shape, np.random.default_rng(1), c.first_state(np.array([2 / 3, 1 / 3])))
    alike: Any = c.draw(three.shape, np.random.default_rng(1))
    eps = 1000 * np.finfo(dtype).eps
    for step in range(3):
        y, expected = c.apply(x + step, drawn), c.apply(three + step, alike)[:, 1:]
        np.testing.assert_allclose(y, expected, rtol=eps, atol=eps)
        drawn = c.draw(x.shape, None, c.next_state(x + step, drawn))
        alike = c.draw(three.shape, None, c.next_state(three + step, alike))
    assert np.array_equal(drawn[1], np.broadcast_to([2 / 3, 1 / 3], (2, 2)))


def test_a_warm_powersgd_finds_the_largest_singular_vectors() -> None:
    """Power iteration on one matrix: it ends at the best approximation of its rank."""
    c, x, state = PowerSGD(2), np.random.default_rng(0).standard_normal(48), None
    rng = np.random.default_rng(1)
    for _ in range(200):
        drawn = c.draw(x.shape, rng, state)
        state = c.next_state(x, drawn)
    before = rng.bit_generator.state
    assert np.array_equal(c.draw(x.shape, rng, state), state)
    assert rng.bit_generator.state == before  # a warm start draws nothing
    np.testing.assert_allclose(c.apply(x, state), LowRank(2)(x), atol=1e-12)
    scaled = Scaled(c, 0.5)
    assert scaled.warm
    np.testing.assert_array_equal(scaled.next_state(x, state), c.next_state(x, state))


@either
def test_powersgd_of_matrices_without_full_rank(dtype: type) -> None:
    """Of rank 1, 0 and of one entry, cold and warm: finite, and what has rank 1 is sent whole."""
    rng = np.random.default_rng(0)
    for rank in (1, 2, 3):
        c = PowerSGD(rank, shape=(4, 5))
        one = np.outer(rng.standard_normal(4), rng.standard_normal(5)).reshape(20).astype(dtype)
        drawn = c.draw(one.shape, rng)
        y = c.apply(one, drawn)
        np.testing.assert_allclose(y, one, rtol=0, atol=40 * np.finfo(dtype).eps)
        for x in (np.zeros(20, dtype), np.eye(20, dtype=dtype)[7]):
            state = c.next_state(x, drawn)
            assert np.isfinite(state).all()
            for Q in (drawn, state, np.zeros_like(state)):
                y = c.apply(x, Q)
                assert np.isfinite(y).all()
                assert x.any() or not y.any()


@pytest.mark.parametrize("c", [PowerSGD(1), PowerSGD(2)], ids=str)
def test_powersgd_never_expands_and_may_send_nothing(c: PowerSGD) -> None:
    x = np.random.default_rng(0).standard_normal((50, 24))
    y = sent(c, x)
    assert (np.vecdot(x - y, x - y) <= np.vecdot(x, x) * (1 + 1e-12)).all()
    M = np.outer([0.0, 1.0, 2.0, 2.0], [0.0, 1.0] + [0.0] * 4)
    assert not PowerSGD(1).apply(M.reshape(24), np.eye(6)[:, :1]).any()  # M Q = 0
    assert c.guarantee == "none"


@either
def test_powersgd_of_workers_of_very_different_size(dtype: type) -> None:
    """One power of two for all: the mean of M_i Q is one of float64, and each P P'M_i finite."""
    big = np.finfo(dtype).max / 4
    x = np.random.default_rng(0).uniform(-1, 1, (2, 3, 12))
    x *= np.array([1.0, 1e-20, big / np.abs(x).max()])[:, None]
    x = x.astype(dtype)
    drawn = drawn_for(PowerSGD(1), x.shape)
    y = PowerSGD(1).apply(x, drawn)
    assert np.isfinite(y).all()
    assert np.isfinite(PowerSGD(1).next_state(x, drawn)).all()
    length = np.linalg.norm(x.astype(np.float64) / big, axis=-1)
    error = np.linalg.norm((x.astype(np.float64) - y.astype(np.float64)) / big, axis=-1)
    assert (error <= length * (1 + 1e-6)).all()


# -- Quantised ------------------------------------------------------------------------------------


@either
@pytest.mark.parametrize("bits", [2, 3, 8, 16])
def test_quantised_takes_the_nearest_level(bits: int, dtype: type) -> None:
    """The ends exactly, every other kept entry within half a step; never another place or sign."""
    c, rng = Quantised(TopK(0.4), bits), np.random.default_rng(bits)
    for d in (1, 2, 3, 7, 50, 1000):
        x = (rng.standard_normal((20, d)) * np.exp(rng.standard_normal((20, d)))).astype(dtype)
        y, kept = c(x), TopK(0.4)(x)
        assert np.array_equal(np.sign(y), np.sign(kept))
        assert not ((kept == 0) & (y != 0)).any()
        sizes = np.where(kept == 0, np.nan, np.abs(kept).astype(np.float64))
        least, most = np.nanmin(sizes, -1, keepdims=True), np.nanmax(sizes, -1, keepdims=True)
        off = np.abs(y.astype(np.float64) - kept)
        assert (off <= (most - least) / (2 * c.levels) + np.spacing(most.astype(dtype))).all()
        at_ends = (np.abs(kept) == least) | (np.abs(kept) == most)
        assert not off[at_ends].any()
        numbers = {len(np.unique(np.abs(one[one != 0]))) for one in y}
        assert max(numbers) <= c.levels + 1


def test_the_bits_of_quantised_by_blocks() -> None:
    """2 bits an entry, 64 of each 4096: 64 codes, 64 positions of 12 bits, two ends a block."""
    c, d = efsgd.compressor("blockwise:4096,quantised:2,topk:64"), 3 * 4096
    x = np.random.default_rng(0).standard_normal(d).astype(np.float32)
    data = c.encode(x)
    assert same(efsgd.decode(data), c(x))
    fields = 3 * (2 * 32 + 64 * 12 + 64 * 2)
    assert 0 <= 8 * len(data) - fields <= 8 * efsgd.HEADER
    assert np.count_nonzero(c(x)) == 3 * 64
    blocks = x.reshape(3, 4096)
    assert same(c(x).reshape(3, 4096), Quantised(TopK(64), 2)(blocks))
