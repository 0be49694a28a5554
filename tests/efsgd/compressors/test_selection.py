"""The k largest entries, chosen fast where no two are equal, and the same where some are.

Without this file ties, zeros or a NaN could shift what one vector sends into another.
"""

import numpy as np
import pytest

from efsgd.compressors.selection import top_indices


def plain(x: np.ndarray, k: int) -> list[list[int]]:
    """Row by row: by magnitude, of equal ones the first."""
    return [sorted(np.argsort(-np.abs(row), kind="stable")[:k].tolist()) for row in x]


@pytest.mark.parametrize("k", [1, 2, 3, 6, 7])
def test_ties_and_zeros(k: int) -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((60, 7))
    rows[20:40] = np.round(rows[20:40])  # ties
    rows[::7] = 0.0
    for x in (rows, rows[:20], rows[1:6], rows.astype(np.float32)):
        assert top_indices(x, k).tolist() == plain(x, k)
        assert top_indices(x[None, :, :], k)[0].tolist() == plain(x, k)


def test_a_tie_does_not_make_up_for_nan() -> None:
    """From the second largest on there are three entries in one row and one in the other."""
    x = np.array([[2.0, 2.0, 2.0, 1.0], [np.nan, 2.0, 1.0, 0.0]])
    with pytest.raises(ValueError, match="reshape"):  # which makes the engine step carefully
        top_indices(x, 2)
