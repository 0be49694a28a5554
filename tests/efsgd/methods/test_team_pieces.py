"""A large team steps in groups of workers: with the same bits, and only where it may.

Without this file a run would depend on the size of the cache, or on which metrics it records.
"""

from typing import Any

import numpy as np
import pytest

from efsgd import EFSGD, Faults, TopK
from efsgd.compressors import Compressor, compressor
from efsgd.methods import (
    DASHA,
    DIANA,
    EF21,
    EF21SGDM,
    MARINA,
    SGD,
    CompressedSGD,
    EControl,
    EF21Plus,
    FullyCorrectiveEF,
    Method,
    PostMomentumEF,
    SignSGD,
    Signum,
    Streams,
    Team,
    team_pieces,
    team_steps,
)

HEAVY, NESTEROV = {"momentum": 0.9}, {"momentum": 0.5, "nesterov": True}
QSGD = compressor("qsgd:3")
SENT = [compressor(spec) for spec in ("scaledsign", "sign:zero=0", "topk:2", "identity")]
RANDOM = [compressor(f"contractive,{spec}") for spec in ("natural", "terngrad", "dithering:3")]
METHODS: list[Method] = [
    SGD(weight_decay=0.1),
    SGD(momentum=0.5, form="undecayed"),
    *[CompressedSGD(c) for c in (*SENT, QSGD)],
    SignSGD(),
    Signum(weight_decay=0.1),
    *[EFSGD(c) for c in (*SENT, *RANDOM)],
    EFSGD(TopK(2), decay=0.5, weight_decay=0.1, **NESTEROV),
    FullyCorrectiveEF(TopK(2)),
    *[EF21(c) for c in (*SENT, *RANDOM)],
    EF21(TopK(2), weight_decay=0.2, dampening=0.5, **HEAVY),
    EF21SGDM(TopK(2)),
    EF21Plus(TopK(2), **HEAVY),
    EControl(TopK(2), eta=0.1),
    DIANA(QSGD),
    DIANA(QSGD, alpha=0.1, weight_decay=0.1, **HEAVY),
    DASHA(QSGD, **NESTEROV),
]
# With groups of at most 64 entries; the last two have several replicates in one, or just fit.
SHAPES = [(1, 5, 100), (1, 100, 2), (3, 7, 11), (1, 2, 300), (5, 3, 9), (1, 2, 32)]
Shape = tuple[int, int, int]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(team_pieces, "GROUP", 64)
    monkeypatch.setattr(team_steps, "LONG", 50)


def stepped(team: Team, shape: Shape, way: str, dtype: Any = np.float64) -> list[Any]:
    """x, all memories and the next draw after four steps by ``step`` or ``advance``, or by both."""
    replicates, _, d = shape
    rng = np.random.default_rng(1)
    x = rng.standard_normal((replicates, d)).astype(dtype)
    lr = rng.random((replicates, 1)).astype(dtype)
    memory, streams = team.start(x), Streams(*np.random.default_rng(0).spawn(3))
    for t in range(4):
        g = np.round(rng.standard_normal(shape), 1).astype(dtype)
        before = (x.copy(), g.copy())
        if way == "step" or (way == "both" and t % 2):
            update = team.step(x, g, memory, lr, streams)
            new, memory = update.x, update.memory
        else:
            new, memory = team.advance(x, g, memory, lr, streams)
        np.testing.assert_array_equal(before[0], x)
        np.testing.assert_array_equal(before[1], g)
        x = new
    drawn = [rng.bit_generator.state for rng in streams]
    return [*((part.dtype, part.tobytes()) for part in (x, *memory.arrays())), drawn]


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_the_bits_are_those_of_one_step_of_all(method: Method) -> None:
    for shape in SHAPES:
        assert team_pieces.separable(method, shape)
        for downlink in (None, EFSGD(TopK(1))):
            team = Team(method, shape[1], downlink=downlink)
            whole = stepped(team, shape, "step")
            assert stepped(team, shape, "advance") == whole, shape
            assert stepped(team, shape, "both") == whole, shape


def test_every_method_that_steps_in_groups_is_here() -> None:
    assert {type(method) for method in METHODS} == set(team_steps.STEPS)


@pytest.mark.parametrize("shape", [*SHAPES, (2, 1, 5), (7, 6, 5), (2, 30, 5)], ids=str)
def test_every_worker_is_in_one_group_in_order(shape: Shape) -> None:
    place = np.arange(shape[0] * shape[1]).reshape(shape[:2])
    seen = [place[part] for parts in team_pieces.groups(shape) for part in parts]
    np.testing.assert_array_equal(np.concatenate([some.ravel() for some in seen]), place.ravel())
    for some in seen:
        assert some.size * shape[2] <= 64 or some.size == 1


OTHERS = {
    "random": Team(EFSGD(compressor("randk:2")), 7),  # whose draws are one for all
    "coin": Team(MARINA(QSGD, probability=0.5), 7),
    "joint": Team(EFSGD(compressor("powersgd:1")), 7),
    "absent": Team(EFSGD(), 7, participation=0.5),
    "lost": Team(EFSGD(), 7, faults=Faults(loss=0.3)),
    "weights": Team(EFSGD(), 7, weights=tuple(np.arange(7) / 21)),
    "local": Team(EFSGD(), 7, local_steps=2),
}


@pytest.mark.parametrize("team", OTHERS.values(), ids=OTHERS)
def test_others_step_all_at_once(monkeypatch: pytest.MonkeyPatch, team: Team) -> None:
    monkeypatch.setattr("efsgd.methods.team.move_in_groups", None)  # a call would fail
    assert stepped(team, (3, 7, 11), "advance") == stepped(team, (3, 7, 11), "step")


@pytest.mark.parametrize("method", [EFSGD(), EF21(**HEAVY), DIANA(QSGD)], ids=repr)
def test_so_do_those_whose_numbers_change_their_type(
    monkeypatch: pytest.MonkeyPatch, method: Method
) -> None:
    """x and g of float32 with a step size of float64 make memories of float64, once."""
    team, shape = Team(method, 7), (3, 7, 11)
    assert stepped(team, shape, "advance", np.float32) == stepped(team, shape, "step", np.float32)
    x = np.ones((3, 11), np.float32)
    g, lr = np.ones(shape, np.float32), np.ones((3, 1))
    assert not team_pieces.overwritable(method, x, g, team.start(x).workers[0], lr)


def test_the_server_s_momentum_is_no_worker_s() -> None:
    assert team_pieces.separable(PostMomentumEF(TopK(2), **HEAVY).worker, (3, 7, 11))


class Doubled(EFSGD):
    """A method of one's own, whose mean need not be one mean."""


def test_a_method_of_ones_own_steps_all_at_once() -> None:
    assert not team_pieces.separable(Doubled(), (1, 1000, 1000))
    assert team_pieces.separable(EFSGD(), (1, 1000, 1000))
    assert not team_pieces.separable(EFSGD(), (1, 2, 4))  # too few to matter
    assert not team_pieces.separable(EFSGD(), (1, 1000, 1))  # whose sum has another order


class Passing(Compressor):
    """Sends its input itself, and not a copy."""

    def apply(self, x: Any, drawn: Any = None) -> Any:
        return x


@pytest.mark.parametrize("kind", [CompressedSGD, EFSGD, EF21], ids=lambda kind: kind.__name__)
def test_a_compressor_may_return_its_input(kind: type[Method]) -> None:
    team = Team(kind(Passing()), 7)  # type: ignore[call-arg]
    assert stepped(team, (3, 7, 11), "advance") == stepped(team, (3, 7, 11), "step")
