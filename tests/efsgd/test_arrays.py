"""The reductions that must not underflow, overflow, or depend on the rows beside them.

Without this file a norm of very small or very large vectors could become 0 or inf and decide a
bound.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from efsgd.arrays import (
    CHUNK,
    achieved_delta,
    all_finite,
    as_vectors,
    density,
    max_abs,
    mean_abs,
    norm,
    rms,
    sum_abs,
    times_power,
    unit_scale,
)

TINY = 5e-324
HUGE = np.finfo(np.float64).max


@pytest.mark.parametrize("kind", ["b1", "i1", "u2", "i8", "u8"])
def test_integers_become_float64(kind: str) -> None:
    x = as_vectors(np.array([1, 0, 1], kind))
    assert x.dtype == np.float64
    assert x.tolist() == [1, 0, 1]


@pytest.mark.parametrize("kind", ["f2", "g", "c8", "c16", "O", "U3", "M8[s]"])
def test_other_dtypes_are_refused(kind: str) -> None:
    with pytest.raises(TypeError, match="expected float32 or float64, not"):
        as_vectors(np.zeros(3, np.dtype(kind)))


@pytest.mark.parametrize("kind", [">f4", "<f4", ">f8", "<f8"])
def test_either_byte_order_is_read(kind: str) -> None:
    x = as_vectors(np.array([1.5, -2.0], kind))
    assert x.dtype == np.dtype(kind).newbyteorder("=")
    assert x.dtype.isnative
    assert x.tolist() == [1.5, -2.0]


def test_scalars_nan_and_inf_are_refused() -> None:
    with pytest.raises(ValueError, match="not a scalar"):
        as_vectors(1.0)
    for bad in (np.nan, np.inf, -np.inf):
        with pytest.raises(ValueError, match="NaN or inf"):
            as_vectors([0.0, bad])


@pytest.mark.parametrize("size", [1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 5])
def test_all_finite_looks_at_every_piece(size: int) -> None:
    x = np.zeros(size, np.float32)
    assert all_finite(x)
    for place in {0, size // 2, size - 1}:
        x[place] = np.nan
        assert not all_finite(x)
        x[place] = 0


def test_one_row_does_not_change_another() -> None:
    """Where one row's sum overflows, a denormal row keeps its mean and an ordinary one its bits."""
    ordinary = np.random.default_rng(0).standard_normal(7)
    rows = np.stack([np.full(7, HUGE), np.full(7, TINY), ordinary, np.zeros(7)])
    together = mean_abs(rows)
    assert np.array_equal(together, np.stack([mean_abs(r) for r in rows]))
    assert together[1] == TINY
    assert together[0] == pytest.approx(HUGE, rel=1e-15)


@pytest.mark.parametrize("d", [1, 9, CHUNK, CHUNK + 1, 5 * CHUNK + 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sums_are_accurate(d: int, dtype: type) -> None:
    """Against math.fsum, which is exact; a pairwise sum of 2^15 entries loses 15 + 8 roundings."""
    x = np.random.default_rng(d).standard_normal((2, d)).astype(dtype)
    exact = [[math.fsum(np.abs(r).tolist())] for r in x]
    np.testing.assert_allclose(sum_abs(x), exact, rtol=24 * np.finfo(dtype).eps)
    np.testing.assert_allclose(mean_abs(x), np.array(exact) / d, rtol=25 * np.finfo(dtype).eps)
    assert sum_abs(x).dtype == dtype


def test_unit_scale_is_exact() -> None:
    x = np.array([[TINY, -3 * TINY], [HUGE, -1.0], [0.0, -0.0], [0.3, 5.0]])
    u, k = unit_scale(x)
    assert np.array_equal(np.ldexp(u, k), x)
    assert (np.abs(u) <= 1).all()
    assert np.array_equal(max_abs(u)[[0, 1, 3]] >= 0.5, [[True]] * 3)


@pytest.mark.parametrize("k", [-2000, -1073, -1001, -999, -60, 0, 1, 999, 1001, 1100, 2100])
def test_powers_of_two_have_the_bits_of_ldexp(k: int) -> None:
    """Also where the result is rounded below the normal numbers, or overflows."""
    x = np.array([[TINY, -3 * TINY, -0.0, 0.0], [HUGE, -1.0, 1e-290 / 3, 1e290 / 3]])
    for power in (np.array([[k], [k]]), np.array([[k], [5]])):
        with np.errstate(over="ignore"):
            expected = np.ldexp(x, power)
            assert times_power(x, power).tobytes() == expected.tobytes()


@pytest.mark.parametrize("scale", [TINY, 1e-310, 1e-162, 1e-150, 1.0, 1e150, 1e300])
def test_norms_at_every_scale(scale: float) -> None:
    """|(3, 4)|_2 = 5; a product of two numbers near 1e-162 would already be 0."""
    x = np.array([3 * scale, -4 * scale])
    assert norm(x)[0] == pytest.approx(5 * scale, rel=1e-15)
    assert rms(x)[0] == pytest.approx(5 * scale / math.sqrt(2), rel=1e-15, abs=TINY)
    assert density(x) == pytest.approx(49 / 50)
    assert achieved_delta(x, 0 * x) == 0
    assert achieved_delta(x, x) == 1
    assert achieved_delta(x, 2 * x) == pytest.approx(0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_norms_have_the_bits_of_scaled_vectors(dtype: type) -> None:
    """The short way of vectors whose squares are normal, and the long one of all others."""
    rng = np.random.default_rng(0)
    mixed = rng.standard_normal((3, 400)) * 10.0 ** rng.integers(-200, 1, (3, 400))
    least, most = np.finfo(dtype).minexp, np.finfo(dtype).maxexp
    for exponent in range(least - 52, most - 12, 7):
        x = np.ldexp(mixed, exponent).astype(dtype)
        u, k = unit_scale(x)
        scaled = np.ldexp(np.sqrt(np.vecdot(u, u))[..., None], k)
        assert norm(x).tobytes() == scaled.tobytes(), exponent


def test_norm_beyond_float64_is_inf() -> None:
    assert norm(np.full(2, HUGE))[0] == np.inf
    assert rms(np.full(2, HUGE))[0] == HUGE


def test_max_abs() -> None:
    assert max_abs(np.array([[1.0, -3.0], [-0.0, 0.0]])).tolist() == [[3.0], [0.0]]
    assert max_abs(np.zeros((2, 0))).tolist() == [[0.0], [0.0]]


def test_achieved_delta_without_a_vector() -> None:
    zero, ones = np.zeros(3), np.ones(3)
    assert achieved_delta(zero, zero) == 1
    assert achieved_delta(zero, ones) == -np.inf
    assert achieved_delta(np.zeros(0), np.zeros(0)) == 1
    assert achieved_delta(np.full(3, TINY), np.full(3, HUGE)) == -np.inf
    assert achieved_delta(np.ones((4, 5, 3)), np.ones((4, 5, 3))).shape == (4, 5)


def test_density_spans_its_range() -> None:
    assert density(np.zeros(4)) == 1
    assert density(np.zeros(0)) == 1
    assert density(np.array([0.0, -2.0, 0.0, 0.0])) == 1 / 4
    assert density(np.full((2, 4), -0.25)).tolist() == [1, 1]
