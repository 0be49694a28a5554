"""QSGD takes short cuts for speed: the same bits as by the long way.

Without this file vectors of extreme size could be sent with another norm, or beyond it.
"""

import numpy as np
import pytest

from efsgd.compressors import QSGD


@pytest.mark.parametrize("s", [1, 7, 126, 127, 2**15 - 1, 2**15, 2**20])
def test_no_level_is_beyond_s(s: int) -> None:
    """s plus the largest draw rounds up to s + 1."""
    x = np.array([[0.0, -3.0, 0.0], [5.0, 0.0, 0.0]])
    np.testing.assert_array_equal(QSGD(s).apply(x, np.full(x.shape, 1 - 2.0**-53)), x)
