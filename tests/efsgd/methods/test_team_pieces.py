"""A large team steps in groups of workers: with the same bits, and only where it may.

Without this file a run would depend on the size of the cache, or on which metrics it records.
"""

import numpy as np
import pytest

from efsgd import EF21, EFSGD, MARINA, SGD, CompressedSGD, Faults, ScaledSign, SignSGD, TopK
from efsgd.compressors import Identity, compressor
from efsgd.methods import Signum, Streams, Team, team_pieces

METHODS = [
    SGD(weight_decay=0.1),
    EFSGD(),
    EFSGD(TopK(2), decay=0.5),
    EFSGD(Identity()),
    EF21(TopK(2), weight_decay=0.2),
    CompressedSGD(ScaledSign(zero=0)),
    SignSGD(),
]
SHAPES = [(1, 5, 100), (1, 100, 2), (3, 7, 11), (1, 2, 300)]  # with groups of at most 64 entries


def streams() -> Streams:
    return Streams(*np.random.default_rng(0).spawn(3))


def stepped(team: Team, shape: tuple[int, int, int], way: str) -> list[bytes]:
    """x and all memories after three steps by ``step`` or ``advance``."""
    replicates, _, d = shape
    rng = np.random.default_rng(1)
    x = rng.standard_normal((replicates, d))
    lr = rng.random((replicates, 1))
    memory = team.start(x)
    for _ in range(3):
        g = np.round(rng.standard_normal(shape), 1)
        before = (x.copy(), g.copy())
        if way == "step":
            update = team.step(x, g, memory, lr, streams())
            new, memory = update.x, update.memory
        else:
            new, memory = team.advance(x, g, memory, lr, streams())
        np.testing.assert_array_equal(before[0], x)
        np.testing.assert_array_equal(before[1], g)
        x = new
    return [part.tobytes() for part in (x, *memory.arrays())]


@pytest.mark.parametrize("downlink", [None, EFSGD(TopK(1))], ids=["mean", "downlink"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_the_bits_are_those_of_one_step_of_all(monkeypatch, method, shape, downlink):
    monkeypatch.setattr(team_pieces, "GROUP", 64)
    monkeypatch.setattr(team_pieces, "LONG", 50)
    assert team_pieces.separable(method, shape)
    assert len(list(team_pieces.groups(shape))) > 1
    team = Team(method, shape[1], downlink=downlink)
    assert stepped(team, shape, "advance") == stepped(team, shape, "step")


def test_every_worker_is_in_one_group(monkeypatch):
    monkeypatch.setattr(team_pieces, "GROUP", 64)
    for n in (1, 5, 6, 7, 30):
        seen = [i for group in team_pieces.groups((2, n, 5)) for i in range(n)[group]]
        assert seen == list(range(n))


@pytest.mark.parametrize(
    "team",
    [
        Team(EFSGD(compressor("randk:2")), 7),  # whose draws are one for all
        Team(MARINA(Identity(), probability=0.5), 7),  # whose coin is
        Team(EFSGD(compressor("powersgd:1")), 7),
        Team(Signum(), 7),
        Team(EFSGD(), 7, participation=0.5),
        Team(EFSGD(), 7, faults=Faults(loss=0.3)),
        Team(EFSGD(), 7, weights=tuple(np.arange(7) / 21)),
    ],
    ids=["random", "coin", "joint", "momentum", "absent", "lost", "weights"],
)
def test_others_step_all_at_once(monkeypatch, team):
    monkeypatch.setattr(team_pieces, "GROUP", 64)
    monkeypatch.setattr("efsgd.methods.team.move_in_groups", None)  # a call would fail
    assert stepped(team, (3, 7, 11), "advance") == stepped(team, (3, 7, 11), "step")


class Doubled(EFSGD):
    """A method of one's own, whose mean need not be one mean."""


def test_a_method_of_ones_own_steps_all_at_once():
    assert not team_pieces.separable(Doubled(), (1, 1000, 1000))
    assert team_pieces.separable(EFSGD(), (1, 1000, 1000))
    assert not team_pieces.separable(EFSGD(), (1, 10, 1000))  # they fit
