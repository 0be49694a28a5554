"""The bug museum, the hall of other libraries: each formula as it stood, and what catches it.

Formulas are written afresh, with the compressors of efsgd; several workers are rows of one array.
docs/bug-museum.md tells the stories. Without this file a mistake that users of other libraries met
could come back in ours.
"""

from __future__ import annotations

import copy
import io
import math
from typing import Any

import numpy as np
import pytest
import torch
from museum import Exhibit, Hall

import efsgd
from efsgd.deep import EFSGD
from efsgd.deep.kernels import apply

HALL = Hall(__file__)
exhibit = HALL.exhibit
TOP = efsgd.TopK(1)


def normals(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape)


def walk(method: efsgd.Method, gradients: np.ndarray, sizes: list[float]) -> np.ndarray:
    """Where a method of efsgd gets from 0 by these gradients."""
    x, rng = np.zeros((1, gradients.shape[1])), np.random.default_rng(0)
    memory = method.start(x)
    for g, lr in zip(gradients, sizes, strict=True):
        x, memory = method.advance(x, g[None], memory, lr, rng)
    return x[0]


def walk_in_torch(gradients: np.ndarray, sizes: list[float]) -> np.ndarray:
    """The same with the torch optimiser, in the usual loop."""
    x = torch.zeros(gradients.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = EFSGD([x], lr=sizes[0], compressor=TOP)
    for g, lr in zip(torch.from_numpy(gradients), sizes, strict=True):
        optimizer.param_groups[0]["lr"] = lr
        optimizer.zero_grad()
        (x @ g).backward()
        optimizer.step()
    return x.detach().numpy()


# -- step sizes and the memory --------------------------------------------------------------------


def first_step_at_full_size(gradients: np.ndarray, sizes: list[float]) -> np.ndarray:
    x, e = np.zeros(gradients.shape[1]), None
    for g, lr in zip(gradients, sizes, strict=True):
        p = g if e is None else lr * g + e
        sent = TOP(p)
        x, e = x - sent, p - sent
    return x


def memory_in_the_gradient(gradients: np.ndarray, sizes: list[float]) -> np.ndarray:
    x = torch.zeros(gradients.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([x], lr=sizes[0])
    for g, lr in zip(torch.from_numpy(gradients), sizes, strict=True):
        optimizer.zero_grad()
        (x @ g).backward()  # adds to what was not sent, or would
        sent = apply(TOP, x.grad)
        x.data.sub_(lr * sent)
        x.grad.sub_(sent)
    return x.detach().numpy()


def walk_ours(gradients: np.ndarray, sizes: list[float]) -> np.ndarray:
    return walk(efsgd.EFSGD(TOP), gradients, sizes)


def check_delivery(arrive: Any, sizes: list[float]) -> None:
    gradients = normals(8, 4)
    gradients[4:] = 0
    expected = -np.array(sizes) @ gradients
    np.testing.assert_allclose(arrive(gradients, sizes), expected, rtol=1e-12, atol=1e-12)


@exhibit("the first step ignores the step size", first_step_at_full_size, walk_ours)
@exhibit("zero_grad() kills the memory", memory_in_the_gradient, walk_in_torch)
def every_gradient_arrives(arrive):
    """Gradients of 0 empty the memory, one entry a step; then x = -sum lr g (Theorem II)."""
    check_delivery(arrive, [0.1] * 8)


def size_fixed_when_made(gradients: np.ndarray, sizes: list[float]) -> np.ndarray:
    made_with, x, e = sizes[0], np.zeros(gradients.shape[1]), np.zeros(gradients.shape[1])
    for g, lr in zip(gradients, sizes, strict=True):
        p = made_with * g + e
        sent = TOP(p)
        x, e = x - lr * (sent / made_with), p - sent
    return x


def size_from_a_stale_file(gradients: np.ndarray, sizes: list[float]) -> np.ndarray:
    file = {"before": sizes[0], "now": sizes[0]}  # nobody writes the new step size into it
    x, e = np.zeros(gradients.shape[1]), np.zeros(gradients.shape[1])
    for g, lr in zip(gradients, sizes, strict=True):
        p = g + file["before"] / file["now"] * e
        sent = TOP(p)
        x, e = x - lr * sent, p - sent
    return x


def walk_rescaled(gradients: np.ndarray, sizes: list[float]) -> np.ndarray:
    return walk(efsgd.GradientEF(TOP), gradients, sizes)


@exhibit("the step size is fixed when the memory is made", size_fixed_when_made, walk_in_torch)
@exhibit("the memory does not hear of a new step size", size_from_a_stale_file, walk_rescaled)
def every_gradient_arrives_under_a_schedule(arrive):
    check_delivery(arrive, [0.1, 0.1, 0.05, 0.05, 0.01, 0.01, 0.01, 0.01])


@pytest.mark.parametrize("bug", [size_fixed_when_made, size_from_a_stale_file])
def test_without_a_schedule_nobody_notices(bug):
    every_gradient_arrives(bug)


def any_compressor_behind_any_memory(c: efsgd.Compressor, gradients: np.ndarray) -> float:
    e, rng = np.zeros(gradients.shape[1]), np.random.default_rng(0)
    for g in gradients:
        p = g + e
        e = p - c(p, rng)
    return float(np.linalg.norm(e))


def memory_ours(c: efsgd.Compressor, gradients: np.ndarray) -> float:
    d = gradients.shape[1]
    with pytest.raises(ValueError, match=r"can diverge: use contractive,") as refused:
        efsgd.EFSGD(c).check(d)
    cure = efsgd.Contractive(c)
    assert str(cure) in str(refused.value)
    method, x, rng = efsgd.EFSGD(cure), np.zeros((1, d)), np.random.default_rng(0)
    memory = method.start(x)
    for g in gradients:
        x, memory = method.advance(x, g[None], memory, 1.0, rng)
    return float(np.linalg.norm(memory.e))


def memory_in_torch(c: efsgd.Compressor, gradients: np.ndarray) -> float:
    x = torch.zeros(gradients.shape[1], dtype=torch.float64, requires_grad=True)
    with pytest.raises(ValueError, match=r"can diverge: use contractive,"):
        EFSGD([x], 1.0, c)
    optimizer = EFSGD([x], 1.0, c.contractive(len(x)))
    for g in torch.from_numpy(gradients):
        x.grad = g
        optimizer.step()
    return float(optimizer.memory_norm())


@exhibit("QSGD behind a plain memory", any_compressor_behind_any_memory, memory_ours)
@exhibit("QSGD behind a plain memory, in torch", any_compressor_behind_any_memory, memory_in_torch)
def the_memory_stays_bounded(memory):
    """Lemma 3 of the paper at lr = 1: |e| <= 2 sqrt(1-delta)/delta G."""
    c, gradients = efsgd.QSGD(16), normals(30, 4096)
    delta = c.contractive(4096).delta(4096)
    most = np.linalg.norm(gradients, axis=1).max()
    assert memory(c, gradients) <= 2 * math.sqrt(1 - delta) / delta * most


# -- the compressors ------------------------------------------------------------------------------


def reseeds_the_user(x: torch.Tensor) -> None:
    torch.default_generator.manual_seed(sum(b"fc.weight"))  # "the same positions everywhere"
    indices = torch.randperm(x.numel())[:2]
    x.data[indices] -= 0.1 * x.grad[indices]


def draws_of_its_own(x: torch.Tensor) -> None:
    EFSGD([x], 0.1, efsgd.RandK(2)).step()


@exhibit("rand-k reseeds the user's generator", reseeds_the_user, draws_of_its_own)
def the_users_stream_goes_on(step):
    with torch.random.fork_rng(devices=[]):
        before = torch.get_rng_state()
        x = torch.ones(6, requires_grad=True)
        x.grad = torch.ones(6)
        step(x)
        assert int((x != 1).sum()) == 2
        assert torch.equal(torch.get_rng_state(), before)


def two_copies_of_qsgd(x: np.ndarray, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    def compress(v: np.ndarray, u: np.ndarray) -> np.ndarray:
        size = np.linalg.norm(v, axis=-1, keepdims=True)
        return size / 64 * np.sign(v) * np.floor(64 * abs(v) / size + u)

    blocks = compress(x.reshape(-1, 128), drawn.reshape(-1, 128))  # one norm for each 128 entries
    return compress(x, drawn), blocks.ravel()


def numpy_and_torch(x: np.ndarray, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    c = efsgd.QSGD(64)
    return c.apply(x, drawn), apply(c, torch.from_numpy(x), torch.from_numpy(drawn)).numpy()


@exhibit("copies of one compressor drift apart", two_copies_of_qsgd, numpy_and_torch)
def copies_agree(both):
    """test_kernels.py::test_parity asks it of every compressor."""
    x = normals(512)
    one, other = both(x, np.random.default_rng(1).random(512))
    np.testing.assert_allclose(one, other, rtol=1e-14)


def one_norm_for_the_batch(matrices: np.ndarray) -> np.ndarray:
    q = np.ones((*matrices.shape[:1], matrices.shape[2], 1))
    p = matrices @ q
    p /= np.linalg.norm(p)  # of all matrices together, not of each
    return p @ (p.mT @ matrices)


def low_rank_ours(matrices: np.ndarray) -> np.ndarray:
    flat = matrices.reshape(len(matrices), -1)
    return efsgd.LowRank(1, matrices.shape[1:])(flat).reshape(matrices.shape)


@exhibit("one norm for a batch of rank-1 matrices", one_norm_for_the_batch, low_rank_ours)
def rank_one_is_kept(approximate):
    u, v = normals(5, 8, 1), normals(5, 1, 6)
    error = np.linalg.norm(approximate(u @ v) - u @ v) / np.linalg.norm(u @ v)
    assert error <= 1e-14


def sign_with_euclidean_scale(x: np.ndarray) -> np.ndarray:
    return np.linalg.norm(x) / math.sqrt(x.size) * np.where(x < 0, -1.0, 1.0)


@exhibit("signs scaled by |x|_2/sqrt(d)", sign_with_euclidean_scale, efsgd.ScaledSign())
def a_sign_is_a_contraction(compress):
    """1 - |C(x)-x|^2/|x|^2 must not fall below 1/d; here it is 2/sqrt(d) - 1 = -0.98."""
    x = np.eye(1, 10_000)[0]
    assert efsgd.achieved_delta(x, compress(x)) >= (1 - 1e-9) / x.size


def dithering_that_does_nothing(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return x.copy()


def check_unbiased(compress: Any) -> None:
    """The test that let it pass: the mean of 2000 draws is x, within 6 standard errors."""
    x, rng = normals(40), np.random.default_rng(1)
    mean = np.mean([compress(x, rng) for _ in range(2000)], axis=0)
    assert (abs(mean - x) <= 6 * math.sqrt(1 / 8 / 2000) * abs(x)).all()


@exhibit("natural dithering that is the identity", dithering_that_does_nothing, efsgd.Natural())
def it_rounds_to_powers_of_two(compress):
    check_unbiased(compress)
    mantissa, _ = np.frexp(compress(normals(40), np.random.default_rng(0)))
    assert (abs(mantissa) == 0.5).all()


def test_the_identity_is_unbiased():
    check_unbiased(dithering_that_does_nothing)


def indices_are_free(x: np.ndarray, k: int) -> int:
    return 32 * k


def bits_of_the_message(x: np.ndarray, k: int) -> int:
    message = efsgd.TopK(k).encode(x)
    assert np.count_nonzero(efsgd.decode(message)) == k
    return 8 * (len(message) - efsgd.HEADER)


@exhibit("the positions of top-k travel for free", indices_are_free, bits_of_the_message)
def positions_are_paid_for(bits):
    """No code tells C(d, k) subsets apart with fewer than log2 C(d, k) bits on average."""
    x, k = normals(2**15).astype(np.float32), 400
    assert bits(x, k) >= 32 * k + math.log2(math.comb(x.size, k))


def decay_dropped(x: np.ndarray, g: np.ndarray, weight_decay: float) -> np.ndarray:
    h = np.zeros_like(g)
    h = h + TOP(g - h)
    return x - 0.1 * h


def decay_ours(x: np.ndarray, g: np.ndarray, weight_decay: float) -> np.ndarray:
    method = efsgd.EF21(TOP, weight_decay=weight_decay)
    x = x[None]
    return method.advance(x, g[None], method.start(x), 0.1, np.random.default_rng(0))[0][0]


@exhibit("EF21 drops weight decay", decay_dropped, decay_ours)
def weight_decay_counts(step):
    x = step(np.array([1.0, 2.0]), np.zeros(2), 0.5)  # direction 0.5 x; the second is sent
    np.testing.assert_allclose(x, [1.0, 1.9], rtol=1e-15)


# -- several workers, each a row ------------------------------------------------------------------


def subtract_the_mean(c: efsgd.Compressor, gradients: np.ndarray) -> np.ndarray:
    e = np.zeros(gradients.shape[1:])
    for g in gradients:
        p = g + e
        e = p - c(p.mean(0))  # what all agreed on, from what each had
    return e


def subtract_what_one_sent(c: efsgd.Compressor, gradients: np.ndarray) -> np.ndarray:
    x, method, rng = np.zeros(gradients.shape[1:]), efsgd.EFSGD(c), np.random.default_rng(0)
    memory = method.start(x)
    for g in gradients:
        update = method.step(x, g, memory, 1.0, rng)
        x, memory = np.broadcast_to(x - update.sent.mean(0), x.shape), update.memory
        np.testing.assert_allclose(update.sent + memory.e, update.p, rtol=1e-12, atol=1e-12)
    return memory.e


def two_workers(steps: int) -> np.ndarray:
    """Gradients of two workers whose data differ: the same noise, opposite offsets."""
    offset = normals(16)
    return normals(steps, 1, 16) + np.array([[offset], [-offset]]).reshape(1, 2, 16)


@exhibit(
    "the averaged message is subtracted from the local gradient",
    subtract_the_mean,
    subtract_what_one_sent,
)
def no_memory_grows(memories):
    """Lemma 3 of the paper at lr = 1, for each worker: |e| <= 2 sqrt(1-delta)/delta G."""
    c, gradients = efsgd.LowRank(1, (4, 4)), two_workers(400)
    delta = c.delta(16)
    most = np.linalg.norm(gradients, axis=2).max()
    e = memories(c, gradients)
    assert np.linalg.norm(e, axis=1).max() <= 2 * math.sqrt(1 - delta) / delta * most


@exhibit("a tensor that is sent whole has a memory too", subtract_the_mean, subtract_what_one_sent)
def what_is_sent_whole_leaves_nothing(memories):
    assert not memories(efsgd.Identity(), two_workers(5)).any()


# -- what training does to it ---------------------------------------------------------------------


def memory_meets_inf(gradients: torch.Tensor) -> torch.Tensor:
    x = e = torch.zeros_like(gradients[0])
    for g in gradients:
        p = 0.1 * g + e
        sent = apply(efsgd.ScaledSign(), p)
        e = p - sent
        if torch.isfinite(g).all():  # the scaler leaves out this step, but the hook has run
            x = x - sent
    return x


def inf_is_skipped(gradients: torch.Tensor) -> torch.Tensor:
    x = torch.zeros_like(gradients[0], requires_grad=True)
    optimizer = EFSGD([x], 0.1)
    for g in gradients:
        x.grad = g.clone()
        optimizer.step()
    return x.detach()


@exhibit("one inf stays in the memory for ever", memory_meets_inf, inf_is_skipped)
def inf_leaves_no_trace(train):
    gradients = torch.from_numpy(normals(6, 4))
    bad = gradients.clone()[2:3]
    bad[0, 1] = torch.inf
    assert torch.equal(train(torch.cat([gradients[:2], bad, gradients[2:]])), train(gradients))


def memory_in_scaled_units(gradients: torch.Tensor, scales: list[float]) -> torch.Tensor:
    x = e = torch.zeros_like(gradients[0])
    for g, scale in zip(gradients, scales, strict=True):
        p = scale * g + e
        sent = apply(TOP, p)
        e = p - sent
        x = x - 0.125 * (sent / scale)
    return x


def under_a_scaler(gradients: torch.Tensor, scales: list[float]) -> torch.Tensor:
    x = torch.zeros_like(gradients[0], requires_grad=True)
    optimizer = EFSGD([x], 0.125, TOP)
    for g, scale in zip(gradients, scales, strict=True):
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        optimizer.zero_grad()
        scaler.scale(x @ g).backward()
        scaler.step(optimizer)
    return x.detach()


@exhibit("the memory is in units of the scaled loss", memory_in_scaled_units, under_a_scaler)
def the_scale_does_not_matter(train):
    """Powers of two change no bit."""
    gradients = torch.from_numpy(normals(6, 4))
    scales = [1024.0, 1024.0, 512.0, 512.0, 2048.0, 2048.0]
    assert torch.equal(train(gradients, scales), train(gradients, [1.0] * 6))


def memory_by_place(gradients: torch.Tensor) -> torch.Tensor:
    x, memory, order = torch.zeros_like(gradients[0]), torch.zeros_like(gradients[0]), [0, 1]
    for g in gradients:
        for place, i in enumerate(order):
            p = 0.1 * g[i] + memory[place]
            sent = apply(TOP, p)
            x[i] -= sent
            memory[place] = p - sent
        order = [1, 0]  # say that the buckets are built anew after the first step
    return x


def memory_by_parameter(gradients: torch.Tensor) -> torch.Tensor:
    xs = [torch.zeros_like(g, requires_grad=True) for g in gradients[0]]
    optimizer, order = EFSGD(xs, 0.1, TOP), list(reversed(xs))
    for step in gradients:
        for x, g in zip(xs, step, strict=True):
            x.grad = g.clone()
        optimizer.step()
        optimizer.param_groups[0]["params"] = order
    return torch.stack(xs).detach()


@exhibit("the memory is found by its place in a list", memory_by_place, memory_by_parameter)
def each_parameter_keeps_its_memory(train):
    """As in every_gradient_arrives, for two parameters."""
    gradients = torch.from_numpy(normals(8, 2, 4))
    gradients[4:] = 0
    torch.testing.assert_close(train(gradients), -0.1 * gradients.sum(0), rtol=1e-12, atol=1e-12)


def resumed(optimizer: EFSGD, x: torch.Tensor) -> EFSGD:
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    again = EFSGD([x], 0.1)
    again.load_state_dict(torch.load(file, weights_only=True))
    return again


def memory_not_saved(optimizer: EFSGD, x: torch.Tensor) -> EFSGD:
    state = copy.deepcopy(optimizer.state_dict())
    for one in state["state"].values():
        del one["memory"]
    again = EFSGD([x], 0.1)
    again.load_state_dict(state)
    return again


def memory_cleared_on_load(optimizer: EFSGD, x: torch.Tensor) -> EFSGD:
    again = resumed(optimizer, x)
    for one in again.state.values():
        one["memory"].zero_()
    return again


@exhibit("the memory is not saved", memory_not_saved, resumed)
@exhibit("the memory is thrown away on load", memory_cleared_on_load, resumed)
def a_stop_changes_no_bit(resume):
    gradients = torch.from_numpy(normals(6, 4))
    x = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    optimizer = EFSGD([x], 0.1, TOP, momentum=0.9)
    for g in gradients[:3]:
        x.grad = g.clone()
        optimizer.step()
    y = x.detach().clone().requires_grad_()
    again = resume(optimizer, y)
    for g in gradients[3:]:
        x.grad, y.grad = g.clone(), g.clone()
        optimizer.step()
        again.step()
    assert torch.equal(x, y)


# -- the museum -----------------------------------------------------------------------------------


@HALL.each
def test_ours_passes(exhibit: Exhibit) -> None:
    exhibit.passes()


@HALL.each
def test_the_bug_is_caught(exhibit: Exhibit) -> None:
    exhibit.fails()


def test_the_page_tells_every_story() -> None:
    assert sorted(HALL.stories()) == sorted(HALL.titles)
