"""A step on rows (n, d_k) of float32, parameter by parameter: the unit that is compared with ranks.

Without this file a step of n rows could mix them, leave float32, or differ from the team's, and
what real communication is held to would be another method.
"""

from __future__ import annotations

import numpy as np
import pytest

import efsgd
from efsgd.arrays import Array
from efsgd.compressors import compressor
from efsgd.compressors.base import drawn_for
from efsgd.methods import (
    DASHA,
    DIANA,
    EF21,
    EF21SGDM,
    EFSGD,
    MARINA,
    SGD,
    CompressedSGD,
    EControl,
    EF21Plus,
    FullyCorrectiveEF,
    GradientEF,
    Memory,
    Method,
    SignSGD,
    Signum,
    Streams,
    Team,
    Update,
)

N, SIZES, STEPS, LR = 4, (7, 1, 12), 3, 0.1
TOP, QSGD, RAND = compressor("topk:0.3"), compressor("qsgd:4"), compressor("randk:0.3,unbiased")
HEAVY = {"momentum": 0.9, "weight_decay": 0.1}
ALONE: list[Method] = [  # one row's draws follow another's
    SGD(**HEAVY),
    CompressedSGD(TOP),
    SignSGD(),
    Signum(),
    EFSGD(),
    EFSGD(TOP, nesterov=True, decay=0.9, **HEAVY),
    EFSGD(compressor("blockwise:5,quantised:2,topk:0.5")),
    EFSGD(compressor("contractive,natural")),
    GradientEF(TOP),
    FullyCorrectiveEF(TOP),
    EF21(TOP),
    EF21SGDM(TOP),
    EF21Plus(TOP),
    EControl(TOP, eta=0.1),
    DIANA(QSGD),
    DIANA(compressor("dithering:4")),
    DASHA(QSGD),
]
DRAWN_TOGETHER: list[Method] = [DIANA(RAND), EFSGD(compressor("randk:0.3"))]
SHARED, POWER = compressor("shared:randk:0.3"), compressor("powersgd:1")


def recorded(d: int, rows: int = N) -> Array:
    """Gradients (T, n, d) of float32."""
    rng = np.random.default_rng(d)
    return rng.standard_normal((STEPS, rows, d)).astype(np.float32)


def followed(method: Method, g: Array, lead: tuple[int, ...], seed: int = 0) -> list[Update]:
    """The steps of rows (*lead, d) that start at 0 and take the recorded gradients."""
    x = np.zeros((*lead, g.shape[-1]), np.float32)
    memory, rng, updates = method.start(x), np.random.default_rng(seed), []
    for t in range(STEPS):
        updates.append(method.step(x, g[t].reshape(x.shape), memory, LR, rng))
        x, memory = updates[-1].x, updates[-1].memory
    return updates


def bits(memory: Memory, row: int | slice = slice(None)) -> list[bytes]:
    return [part[..., row, :].tobytes() for part in memory.arrays()]


@pytest.mark.parametrize("method", [*ALONE, *DRAWN_TOGETHER], ids=repr)
def test_the_team_takes_the_step_of_the_rows(method: Method) -> None:
    """Memories to the bit; x moves by the mean of what the rows move by."""
    for d in SIZES:
        g = recorded(d)
        team, x = Team(method, N), np.zeros((1, d), np.float32)
        memory = team.start(x)
        streams = Streams(*(np.random.default_rng(s) for s in (0, 1, 2)))
        own, rng = method.start(np.zeros((N, d), np.float32)), np.random.default_rng(0)
        for t in range(STEPS):
            rows = method.step(np.repeat(x, N, axis=0), g[t], own, LR, rng)
            update = team.step(x, g[t][None], memory, LR, streams)
            assert bits(update.memory.workers[0]) == bits(rows.memory)
            np.testing.assert_allclose(update.x[0], rows.x.mean(0), rtol=1e-5, atol=1e-6)
            parts = (update.x, rows.x, rows.sent, *rows.memory.arrays())
            assert {part.dtype for part in parts} == {np.dtype(np.float32)}
            x, memory, own = update.x, update.memory, rows.memory


@pytest.mark.parametrize("method", ALONE, ids=repr)
def test_a_row_knows_nothing_of_the_others(method: Method) -> None:
    """One step of n rows is n steps of one each, whose draws follow each other."""
    for d in SIZES:
        g, rng = recorded(d), np.random.default_rng(0)
        together = method.start(np.zeros((N, d), np.float32))
        alone = [method.start(np.zeros((1, d), np.float32)) for _ in range(N)]
        one = np.random.default_rng(0)
        for t in range(STEPS):
            rows = method.step(np.ones((N, d), np.float32), g[t], together, LR, rng)
            for i in range(N):
                x = np.ones((1, d), np.float32)
                row = method.step(x, g[t, i : i + 1], alone[i], LR, one)
                assert row.x.tobytes() == rows.x[i].tobytes()
                assert bits(row.memory) == bits(rows.memory, i)
                alone[i] = row.memory
            together = rows.memory


@pytest.mark.parametrize("method", [*ALONE[1:], *DRAWN_TOGETHER], ids=repr)
def test_the_message_of_a_row_says_what_it_sent(method: Method) -> None:
    c = method.compresses
    for d in SIZES:
        for update in followed(method, recorded(d), (N,)):
            sent = c.apply(update.given, update.drawn)
            for i in range(N):
                message = c.encode(update.given[i], drawn=drawn_for(i, update.drawn))
                assert efsgd.decode(message).tobytes() == sent[i].tobytes()


def test_workers_that_draw_together_need_three_axes() -> None:
    """With two axes they are strangers: (N, d) are N replicates of one worker."""
    together, strangers = sent_by(SHARED, (1, N)) != 0, sent_by(SHARED, (N,)) != 0
    assert (together == together[0]).all()
    assert not (strangers == strangers[0]).all()
    assert not np.array_equal(sent_by(POWER, (1, N)), sent_by(POWER, (N,)))


def sent_by(c: efsgd.Compressor, lead: tuple[int, ...]) -> Array:
    """The first messages of N rows, (N, 12)."""
    return followed(EFSGD(c), recorded(12), lead)[0].sent.reshape(N, 12)


def test_so_do_workers_that_share_a_coin() -> None:
    apart, joint = coins((6,)), coins((1, 6))
    assert len(joint) == len(apart) == 8
    assert all(coin.all() or not coin.any() for coin in joint)
    assert not all(coin.all() or not coin.any() for coin in apart)


def coins(lead: tuple[int, ...]) -> list[Array]:
    """Who sends its whole gradient in the second step of MARINA, with each of eight seeds."""
    method = MARINA(RAND, probability=0.5)
    seconds = [followed(method, recorded(7, 6), lead, seed)[1].dense for seed in range(8)]
    return [dense for dense in seconds if dense is not None]
