"""QSGD takes short cuts for speed: the same bits as by the long way.

Without this file vectors of extreme size could be sent with another norm, or beyond it.
"""

import numpy as np
import pytest

from efsgd.arrays import norm
from efsgd.compressors import QSGD
from efsgd.compressors.quantise import _norm


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_norm_has_the_bits_of_the_scaled_one(dtype: type) -> None:
    rng = np.random.default_rng(0)
    mixed = rng.standard_normal((3, 400)) * 10.0 ** rng.integers(-200, 1, (3, 400))
    least, most = np.finfo(dtype).minexp, np.finfo(dtype).maxexp
    for exponent in range(least - 52, most - 12, 7):
        x = np.ldexp(mixed, exponent).astype(dtype)
        assert _norm(x).tobytes() == norm(x).tobytes(), exponent


@pytest.mark.parametrize("s", [1, 7, 126, 127, 2**15 - 1, 2**15, 2**20])
def test_no_level_is_beyond_s(s: int) -> None:
    """s plus the largest draw rounds up to s + 1."""
    x = np.array([[0.0, -3.0, 0.0], [5.0, 0.0, 0.0]])
    np.testing.assert_array_equal(QSGD(s).apply(x, np.full(x.shape, 1 - 2.0**-53)), x)
