"""Vectors that are compressed some at a time: the same draws and the same bits as all at once.

Without this file a large team, whose workers step in groups, could draw other numbers than one
whose steps are recorded.
"""

import numpy as np
import pytest
from compressor_table import COMPRESSORS

from efsgd.compressors import (
    QSGD,
    Blockwise,
    Compressor,
    Contractive,
    Natural,
    NaturalDithering,
    Scaled,
    TernGrad,
)

IN_ORDER = [c for c in COMPRESSORS if c.draws_in_order and not (c.joint or c.warm)]


@pytest.mark.parametrize("c", IN_ORDER, ids=str)
def test_some_at_a_time_are_all_at_once(c: Compressor) -> None:
    x = np.random.default_rng(0).standard_normal((3, 4, 30))
    rng, other = np.random.default_rng(1), np.random.default_rng(1)
    whole = c.apply(x, c.draw(x.shape, rng))
    parts = [x[:1, :3], x[:1, 3:], x[1:]]
    sent = [c.apply(part, c.draw(part.shape, other)).reshape(-1, 30) for part in parts]
    assert np.concatenate(sent).tobytes() == whole.tobytes()
    assert rng.random() == other.random()


def test_which_random_ones_draw_in_order() -> None:
    assert {type(c) for c in IN_ORDER if c.random} == {
        QSGD,
        TernGrad,
        Natural,
        NaturalDithering,
        Scaled,
        Contractive,
    }


def test_blocks_do_not() -> None:
    """All full blocks are drawn before all rests."""
    c, x = Blockwise(TernGrad(), 4), np.ones((2, 6))
    rng, other = np.random.default_rng(1), np.random.default_rng(1)
    whole = c.draw(x.shape, rng)
    parts = [c.draw(part.shape, other) for part in (x[:1], x[1:])]
    assert not np.array_equal(whole[0][1], parts[1][0][0])
    assert not c.draws_in_order
    assert Blockwise(Natural(nearest=True), 4).draws_in_order
