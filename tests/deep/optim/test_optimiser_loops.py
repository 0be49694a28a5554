"""EFSGD in training loops: groups, schedules, scalers, several devices, inf and NaN.

Without this file one bad gradient could stay in the memory for good, and a schedule or a scaler
could drive the optimiser wrongly.
"""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from optimisers import (
    SHAPES,
    copies,
    loop_and_foreach,
    normals,
    parameters,
    same,
    scopes,
    set_gradients,
    states,
    take_steps,
)
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import efsgd
from efsgd.compressors import QSGD, Identity, RandK, ScaledSign, TopK
from efsgd.compressors.base import Compressor
from efsgd.deep import EFSGD
from efsgd.deep.optim.forms.foreach import advance_many
from efsgd.deep.optim.parts import Subgroup, buffers
from efsgd.deep.optim.step import advance

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


# -- groups and parameters -------------------------------------------------------------------------


def test_groups_have_what_is_theirs() -> None:
    xs = parameters()
    ys = copies(xs)
    weights, biases = {"params": xs[:1]}, {"params": xs[1:], "compressor": "identity", "lr": 0.3}
    optimizer = EFSGD([weights, biases], 0.1, "topk:2")
    separate = [EFSGD(ys[:1], 0.1, TopK(2)), torch.optim.SGD(ys[1:], 0.3)]
    take_steps(optimizer, xs, 4)
    for t in range(4):
        set_gradients(ys, normals(seed=1000 + t))
        for single in separate:
            single.step()
    assert same(xs, ys)
    assert [list(state) for state in states(optimizer)] == [["memory"], [], []]
    assert [group["compressor"] for group in optimizer.param_groups] == [TopK(2), Identity()]


@loop_and_foreach
def test_every_argument_may_differ_by_group(foreach: bool) -> None:
    options: list[dict[str, Any]] = [
        {"lr": 0.1},
        {"lr": 0.2, "compressor": TopK(1), "momentum": 0.9, "nesterov": True},
        {"lr": 0.3, "momentum": 0.5, "dampening": 0.25, "error_feedback": False},
        {"lr": 0.4, "weight_decay": 0.1, "scope": "global", "maximize": True},
    ]
    xs = parameters([(4,), (3, 2), (5,), (2,), (6,)])
    ys = copies(xs)
    cuts = [slice(0, 1), slice(1, 2), slice(2, 3), slice(3, 5)]
    pairs = list(zip(cuts, options, strict=True))
    optimizer = EFSGD(
        [{"params": xs[cut], **arguments} for cut, arguments in pairs], 1.0, foreach=foreach
    )
    separate = [EFSGD(ys[cut], foreach=foreach, **arguments) for cut, arguments in pairs]
    for t in range(5):
        gs = normals([tuple(x.shape) for x in xs], t)
        for ps, optimizers in ((xs, [optimizer]), (ys, separate)):
            set_gradients(ps, gs)
            for single in optimizers:
                single.step()
    assert same(xs, ys)
    assert same(states(optimizer), [state for single in separate for state in states(single)])


@loop_and_foreach
@scopes
def test_one_extra_tensor_for_each_parameter(scope: Any, foreach: bool) -> None:
    expected: list[tuple[dict[str, Any], set[str]]] = [
        ({}, {"memory"}),
        ({"momentum": 0.9}, {"memory", "momentum_buffer"}),
        ({"momentum": 0.9, "dampening": 0.1}, {"memory", "momentum_buffer", "started"}),
        ({"error_feedback": False}, set()),
        ({"error_feedback": False, "momentum": 0.9}, {"momentum_buffer"}),
        ({"compressor": Identity()}, set()),
    ]
    for options, names in expected:
        xs = parameters()
        optimizer = EFSGD(xs, 0.1, scope=scope, foreach=foreach, **options)
        take_steps(optimizer, xs, 2)
        for x, state in zip(xs, states(optimizer), strict=True):
            assert set(state) == names
            assert all(state[name].shape == x.shape for name in names - {"started"})
        assert "started" not in names or state["started"].ndim == 0


def test_what_another_compressor_left_is_sent_by_identity() -> None:
    xs = parameters(dtype=torch.float64)
    ys = copies(xs)
    optimizer, theirs = EFSGD(xs, 0.1, TopK(1)), torch.optim.SGD(ys, 0.1)
    take_steps(optimizer, xs, 3)
    optimizer.param_groups[0]["compressor"] = Identity()
    take_steps(optimizer, xs, range(3, 4))
    take_steps(theirs, ys, 4)
    assert optimizer.memory_norm() == 0
    for x, y in zip(xs, ys, strict=True):
        torch.testing.assert_close(x, y, rtol=0, atol=1e-14)


def test_feedback_can_be_switched_off() -> None:
    xs = parameters()
    optimizer = EFSGD(xs, 0.1, TopK(1))
    take_steps(optimizer, xs, 3)
    ys = copies(xs)
    optimizer.param_groups[0]["error_feedback"] = False
    take_steps(optimizer, xs, 1)
    take_steps(EFSGD(ys, 0.1, TopK(1), error_feedback=False), ys, 1)
    assert same(xs, ys)
    assert states(optimizer) == [{}, {}, {}]


def test_add_param_group_and_its_refusal() -> None:
    xs = parameters()
    optimizer = EFSGD(xs[:1], 0.1)
    for wrong in (
        {"params": xs[1:], "compressor": "topp:3"},
        {"params": xs[1:], "lr": -1.0},
        {"params": [nn.Parameter(torch.zeros(2, dtype=torch.complex64))]},
        {"params": xs[:1]},
        {"params": [nn.Parameter(torch.zeros(100))], "compressor": QSGD(1)},
    ):
        before = optimizer.state_dict()
        with pytest.raises((ValueError, TypeError)):
            optimizer.add_param_group(wrong)
        assert same(optimizer.state_dict(), before)
    optimizer.add_param_group({"params": xs[1:], "compressor": "topk:1"})
    take_steps(optimizer, xs, 2)
    assert "memory" in states(optimizer)[2]


def test_parameters_without_gradient_or_entries_take_no_part() -> None:
    frozen = nn.Parameter(torch.ones(3), requires_grad=False)
    empty = nn.Parameter(torch.ones(0, 3))
    for scope, foreach in itertools.product(("tensor", "global"), (False, True)):
        x, late = parameters([(3,), (2,)])
        optimizer = EFSGD([frozen, x, empty, late], 0.1, scope=scope, foreach=foreach)  # type: ignore[arg-type]
        optimizer.step()
        assert optimizer.form == ""
        assert optimizer.memory_norm() == 0
        for t in range(4):
            before = late.detach().clone()
            set_gradients(
                [x, empty, late],
                [torch.ones(3), torch.ones(0, 3), torch.ones(2) if t % 2 else None],
            )
            optimizer.step()
            assert torch.equal(late, before) == (t % 2 == 0)
        assert len(optimizer.density().each_g) == 2
        assert torch.equal(frozen, torch.ones(3))
        assert states(optimizer)[0] == states(optimizer)[2] == {}


def test_a_group_may_be_empty() -> None:
    optimizer = EFSGD([{"params": []}], 0.1, capturable=True)
    optimizer.step()
    assert int(optimizer.skipped) == 0
    assert optimizer.memory_norm() == 0
    optimizer.load_state_dict(optimizer.state_dict())


def test_tied_parameters_are_one() -> None:
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    model[1].weight = model[0].weight
    optimizer = EFSGD(model.parameters(), 0.1, Identity(), error_feedback=False)
    before = model[0].weight.detach().clone()
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    assert torch.equal(model[1].weight, before.add(model[0].weight.grad, alpha=-0.1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@loop_and_foreach
def test_half_precision_parameters(dtype: torch.dtype, foreach: bool) -> None:
    """Each step is the float32 step rounded: to a few units in the last place of x, e and p."""
    xs = parameters(dtype=dtype)
    ys = [nn.Parameter(x.detach().float()) for x in xs]
    optimizer = EFSGD(xs, 0.125, momentum=0.5, foreach=foreach)
    exact = EFSGD(ys, 0.125, momentum=0.5)
    gs = normals(dtype=dtype)
    for optimiser, p in ((optimizer, xs), (exact, ys)):
        set_gradients(p, gs)
        optimiser.step()
    assert int(optimizer.skipped) == 0
    for x, y, state, wide in zip(xs, ys, states(optimizer), states(exact), strict=True):
        assert x.dtype == state["memory"].dtype == state["momentum_buffer"].dtype == dtype
        eps = torch.finfo(dtype).eps
        torch.testing.assert_close(x.float(), y, rtol=2 * eps, atol=eps)
        torch.testing.assert_close(state["memory"].float(), wide["memory"], rtol=2 * eps, atol=eps)


@pytest.mark.parametrize("memory_dtype", [torch.bfloat16, torch.float32, torch.float64], ids=str)
@loop_and_foreach
def test_memory_has_the_dtype_that_was_asked_for(memory_dtype: torch.dtype, foreach: bool) -> None:
    xs = parameters(dtype=torch.bfloat16 if memory_dtype == torch.float32 else torch.float32)
    optimizer = EFSGD(xs, 0.1, momentum=0.9, memory_dtype=memory_dtype, foreach=foreach)
    take_steps(optimizer, xs, 3)
    assert {state["memory"].dtype for state in states(optimizer)} == {memory_dtype}
    assert {state["momentum_buffer"].dtype for state in states(optimizer)} == {xs[0].dtype}
    assert optimizer.memory_norm() > 0


@loop_and_foreach
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("c", [ScaledSign(), TopK(3), Identity()], ids=str)
def test_huge_and_tiny_gradients_are_gradients(
    c: Compressor, dtype: torch.dtype, foreach: bool
) -> None:
    info = torch.finfo(dtype)
    for size in (info.max / 2, info.tiny / 4, info.smallest_normal):
        x = nn.Parameter(torch.zeros(8, dtype=dtype))
        g = torch.tensor([1.0, -1, 1, -1, 0.5, -0.5, 0, 1], dtype=torch.float64) * size
        optimizer = EFSGD([x], 0.5, c, foreach=foreach)
        set_gradients([x], [g])
        optimizer.step()
        assert int(optimizer.skipped) == 0
        p = (0.5 * g.to(dtype)).numpy()
        sent = c.apply(p[None])[0]
        np.testing.assert_allclose(-x.detach().numpy(), sent, rtol=2 * info.eps, atol=0)


# -- training loops --------------------------------------------------------------------------------


def test_closures_run_once_with_gradients() -> None:
    xs = parameters()
    optimizer, calls = EFSGD(xs, 0.1, Identity(), error_feedback=False), []

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = torch.stack([x.square().sum() for x in xs]).sum()
        loss.backward()
        calls.append(loss)
        return loss

    before = [x.detach().clone() for x in xs]
    assert optimizer.step(closure) is calls[0]
    assert len(calls) == 1
    for x, y in zip(xs, before, strict=True):
        torch.testing.assert_close(x.detach(), 0.8 * y)
    assert optimizer.step() is None


def test_accumulated_and_clipped_gradients_are_what_counts() -> None:
    xs, gs = parameters(), [normals(seed=s, dtype=torch.float32) for s in (1, 2)]
    ys = copies(xs)
    optimizer, plain = EFSGD(xs, 0.1), EFSGD(ys, 0.1)
    for batch in gs:
        torch.stack([(x * g).sum() for x, g in zip(xs, batch, strict=True)]).sum().backward()
    norm = nn.utils.clip_grad_norm_(xs, 0.5)
    assert norm > 0.5
    assert torch.linalg.vector_norm(torch.cat([x.grad.flatten() for x in xs])) <= 0.5001  # type: ignore[union-attr]
    set_gradients(ys, [x.grad for x in xs])
    optimizer.step()
    plain.step()
    assert same(xs, ys)


def test_grad_scaler_skips_and_leaves_the_memory_clean() -> None:
    xs = parameters()
    ys = copies(xs)
    optimizer, plain = EFSGD(xs, 0.1), EFSGD(ys, 0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=100)
    for t in range(4):
        gs = normals(seed=t, dtype=torch.float32)
        scale = scaler.get_scale()
        scaler.scale(torch.zeros(()))  # as a loss would be
        scaled = [g * scale for g in gs]
        if t == 2:
            scaled[1][0] = torch.inf
        set_gradients(xs, scaled)
        before = states(optimizer)
        scaler.step(optimizer)
        scaler.update()
        if t == 2:
            assert scaler.get_scale() == scale / 2
            assert same(states(optimizer), before)
            continue
        set_gradients(ys, gs)
        plain.step()
        assert same(xs, ys)  # scales are powers of two: nothing is rounded
        assert same(states(optimizer), states(plain))
    assert int(optimizer.skipped) == 0  # the scaler has skipped it


def test_autocast_does_not_reach_the_step() -> None:
    for c in (ScaledSign(), TopK(2), efsgd.LowRank(1), QSGD(255)):
        xs = parameters()
        ys = copies(xs)
        inside, outside = EFSGD(xs, 0.1, c, 0.9), EFSGD(ys, 0.1, c, 0.9)
        with torch.autocast("cpu", torch.bfloat16):
            take_steps(inside, xs, 3)
        take_steps(outside, ys, 3)
        assert same(xs, ys)


def test_a_compiled_training_step_counts_what_it_skips() -> None:
    with torch.random.fork_rng(devices=[]):
        model = nn.Linear(4, 2)
    twin = copy.deepcopy(model)
    pair = [(net, EFSGD(net.parameters(), 0.1, RandK(2), 0.9)) for net in (model, twin)]

    def train(net: nn.Module, optimizer: EFSGD, x: Tensor) -> None:
        optimizer.zero_grad()
        net(x).square().mean().backward()
        optimizer.step()

    loops: Any = (torch.compile(train, backend="eager"), train)
    for t in range(5):
        x = normals([(6, 4)], t, dtype=torch.float32)[0] * (torch.nan if t in (0, 3) else 1.0)
        for loop, (net, optimizer) in zip(loops, pair, strict=True):
            loop(net, optimizer, x)
    assert [int(optimizer.skipped) for _, optimizer in pair] == [2, 2]
    assert same(list(model.parameters()), list(twin.parameters()))


@pytest.mark.parametrize("ask", ["skipped", "memory_norm", "density", "state_dict", "load", "step"])
def test_what_is_asked_in_inference_mode_does_not_stop_the_training(ask: str) -> None:
    xs = parameters()
    ys = copies(xs)
    optimizer, plain = EFSGD(xs, 0.1, TopK(1), 0.9, 0.1), EFSGD(ys, 0.1, TopK(1), 0.9, 0.1)
    set_gradients(xs, normals(seed=1000))
    set_gradients(ys, normals(seed=1000))
    saved = EFSGD(parameters(), 0.1, TopK(1), 0.9, 0.1).state_dict()
    with torch.inference_mode():
        if ask == "step":
            optimizer.step()
        elif ask == "load":
            optimizer.load_state_dict(saved)
        else:
            value = getattr(optimizer, ask)
            value = value() if callable(value) else value
    if ask == "step":
        plain.step()
    take_steps(optimizer, xs, 2)
    take_steps(plain, ys, 2)
    set_gradients(xs, [x.detach() * torch.nan for x in xs])
    optimizer.step()
    assert int(optimizer.skipped) == 1
    assert same(xs, ys)


def test_a_model_learns_under_autocast() -> None:
    with torch.random.fork_rng(devices=[]):
        model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.standard_normal((64, 8)), dtype=torch.float32)
    y = (x[:, 0] > 0).long()
    optimizer = EFSGD(model.parameters(), 0.2)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


def lr_schedules(optimizer: Any) -> dict[str, Any]:
    schedules = torch.optim.lr_scheduler
    return {
        "step": lambda: schedules.StepLR(optimizer, 3, 0.5),
        "onecycle": lambda: schedules.OneCycleLR(optimizer, 0.3, total_steps=12),
        "lambda": lambda: schedules.LambdaLR(optimizer, lambda t: 1 / (1 + t)),
        "cosine": lambda: schedules.CosineAnnealingLR(optimizer, 12),
    }


@pytest.mark.parametrize("name", lr_schedules(None))
@pytest.mark.parametrize("capturable", [False, True])
def test_schedules_drive_the_step_size(name: str, capturable: bool) -> None:
    xs = parameters(dtype=torch.float64)
    ys = copies(xs)
    ours = EFSGD(xs, 0.1, TopK(1), 0.9, capturable=capturable)
    theirs = torch.optim.SGD(ys, 0.1, 0.9)
    first = ours.param_groups[0]["lr"]
    pair = [lr_schedules(optimizer)[name]() for optimizer in (ours, theirs)]
    for t in range(12):
        take_steps(ours, xs, range(t, t + 1))
        take_steps(theirs, ys, range(t, t + 1))
        before = states(ours)
        for schedule in pair if t < 11 else ():
            schedule.step()
        assert same(states(ours), before)
    assert (ours.param_groups[0]["lr"] is first) == capturable  # a graph reads it there
    with ours.virtual_iterate():  # x - e is what torch's SGD reaches under the same schedule
        for x, y in zip(xs, ys, strict=True):
            torch.testing.assert_close(x, y, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "lr", [1, np.float32(0.5), torch.tensor(0.5), torch.tensor([0.5])], ids=repr
)
@loop_and_foreach
def test_step_sizes_of_any_kind(lr: Any, foreach: bool) -> None:
    for feedback in (False, True):
        xs = parameters()
        ys = copies(xs)
        take_steps(EFSGD(xs, lr, TopK(2), error_feedback=feedback, foreach=foreach), xs, 3)
        take_steps(EFSGD(ys, float(lr), TopK(2), error_feedback=feedback, foreach=foreach), ys, 3)
        for x, y in zip(xs, ys, strict=True):
            torch.testing.assert_close(x, y)


def test_nothing_global_is_touched() -> None:
    before = (torch.get_rng_state(), torch.get_num_threads(), torch.is_grad_enabled())
    xs = parameters()
    optimizer = EFSGD(xs, 0.1, RandK(2))
    take_steps(optimizer, xs, 3)
    with optimizer.virtual_iterate():
        pass
    optimizer.load_state_dict(optimizer.state_dict())
    assert same(before, (torch.get_rng_state(), torch.get_num_threads(), torch.is_grad_enabled()))


def test_the_default_device_is_not_asked() -> None:
    xs = parameters()
    optimizer = EFSGD(xs, 0.1, TopK(1), 0.9, 0.1)
    set_gradients(xs, normals())
    with torch.device("meta"):
        optimizer.step()
        optimizer.density()
        optimizer.memory_norm()
    assert {value.device.type for state in states(optimizer) for value in state.values()} == {"cpu"}


# -- several devices, and no wait for any of them --------------------------------------------------


class NoCopies(TorchDispatchMode):
    """Refuses what moves numbers between the host and a device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if "copy" in func.name():
            kinds = {t.device.type for t in tree_leaves((args, out)) if isinstance(t, Tensor)}
            assert len(kinds) == 1, f"{func} between {kinds}"
        return out


@contextmanager
def devices_at_hand(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tensors that have a CUDA device but no values: asking for a value raises."""
    with monkeypatch.context() as patch, FakeTensorMode(), NoCopies():
        # these two methods would ask for a driver first; what they dispatch to does not
        copy, dense = torch.ops.aten.copy_.default, torch.ops.aten.contiguous.default
        patch.setattr(Tensor, "copy_", lambda x, y: copy(x, y), raising=False)
        patch.setattr(Tensor, "contiguous", lambda x: dense(x), raising=False)
        yield


@loop_and_foreach
@scopes
@pytest.mark.parametrize(
    ("devices", "measure"),
    [
        ((0, 0, 0), True),
        ((0, 1, 0), False),
        ((0, 1, 0), True),
        pytest.param((0, 0, 0), False, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_no_step_waits_for_a_device(
    monkeypatch: pytest.MonkeyPatch,
    devices: tuple[int, ...],
    measure: bool,
    scope: Any,
    foreach: bool,
) -> None:
    """The kernels have such a test of their own, with every compressor."""
    options = {"scope": scope, "foreach": foreach, "fused": False, "memory_dtype": torch.bfloat16}
    options |= {"measure": measure}
    numbers = {"momentum": 0.9, "dampening": 0.1, "weight_decay": 0.1, "maximize": True}
    with devices_at_hand(monkeypatch):
        for c, feedback in ((ScaledSign(), True), (TopK(2), False), (Identity(), False)):
            shapes = zip(SHAPES, (f"cuda:{i}" for i in devices), strict=True)
            xs = [nn.Parameter(torch.empty(shape, device=device)) for shape, device in shapes]
            optimizer = EFSGD(xs, 0.1, c, error_feedback=feedback, **numbers, **options)
            for _ in range(2):
                for x in xs:
                    x.grad = torch.empty_like(x)
                optimizer.step()
                phi = optimizer.density()
                assert phi.p.device == phi.each_g.device == optimizer.skipped.device == xs[0].device
                assert optimizer.memory_norm().device == xs[0].device
                with optimizer.virtual_iterate():
                    pass
            assert all(optimizer.state[x]["momentum_buffer"].device == x.device for x in xs)


def test_the_one_that_raises_does_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    with devices_at_hand(monkeypatch):
        x = nn.Parameter(torch.empty(3, device="cuda:0"))
        x.grad = torch.empty_like(x)
        with pytest.raises(DataDependentOutputException):
            EFSGD([x], 0.1, nonfinite="raise").step()


# -- inf and NaN -----------------------------------------------------------------------------------


@loop_and_foreach
@scopes
@pytest.mark.parametrize("bad", [torch.inf, -torch.inf, torch.nan])
@pytest.mark.parametrize("at", range(3))
def test_one_bad_entry_skips_the_whole_step(bad: float, at: int, scope: Any, foreach: bool) -> None:
    xs = parameters()
    ys = copies(xs)
    groups = [[{"params": p[:1]}, {"params": p[1:], "compressor": TopK(1)}] for p in (xs, ys)]
    options: dict[str, Any] = {
        "momentum": 0.9,
        "dampening": 0.1,
        "weight_decay": 0.1,
        "scope": scope,
        "foreach": foreach,
        "measure": True,
    }
    skipping, plain = (EFSGD(param_groups, 0.1, **options) for param_groups in groups)
    for t in range(6):
        if t in (0, 1, 4):  # the very first ones too
            gs = normals(seed=t)
            gs[at].view(-1)[-1] = bad
            set_gradients(xs, gs)
            before = [x.detach().clone() for x in xs], states(skipping)
            skipping.step()
            assert same(before[0], [x.detach() for x in xs])
            assert t == 0 or same(before[1], states(skipping))
            assert all(bool(part.isnan().all()) for part in skipping.density()[:4])
        else:
            take_steps(skipping, xs, range(t, t + 1))
            take_steps(plain, ys, range(t, t + 1))
            assert same(xs, ys)
            assert same(states(skipping), states(plain))
    assert skipping.skipped.dtype == torch.int64
    assert (int(skipping.skipped), int(plain.skipped)) == (3, 0)


@pytest.mark.parametrize("foreach", [False, True])
def test_where_the_device_decides_nothing_changes_either(foreach: bool) -> None:
    xs = parameters()
    options: dict[str, Any] = {"weight_decay": 0.1, "measure": True}
    optimizer = EFSGD(xs, 0.1, momentum=0.9, dampening=0.5, **options)
    for t, ok in enumerate([False, True, False]):
        set_gradients(xs, normals(seed=t))
        subgroup = Subgroup(optimizer.param_groups[0], torch.device("cpu"), xs)
        complete = buffers(optimizer.state, subgroup, None)
        optimizer.state.update(zip(xs, complete, strict=True))
        part = optimizer._part(subgroup, complete)
        before = [x.detach().clone() for x in xs], states(optimizer)
        norms = (advance_many if foreach else advance)(part, torch.tensor(ok))
        unchanged = same([x.detach() for x in xs], before[0]) and same(states(optimizer), before[1])
        assert unchanged == (not ok)
        assert norms is not None
        assert bool(norms.isnan().all()) == (not ok)


def test_raise_names_the_parameter() -> None:
    model = nn.Linear(2, 2)
    for params, name in (
        (model.named_parameters(), "weight"),
        (model.parameters(), "parameter 0 of its group, shape (2, 2)"),
    ):
        optimizer = EFSGD(params, 0.1, RandK(1), 0.9, nonfinite="raise")
        set_gradients(list(model.parameters()), [torch.full((2, 2), torch.nan), torch.ones(2)])
        before = [x.detach().clone() for x in model.parameters()]
        with pytest.raises(FloatingPointError, match=re.escape(f"gradient of {name} holds")):
            optimizer.step()
        assert same(before, [x.detach() for x in model.parameters()])
        assert states(optimizer) == [{}, {}]
        assert optimizer.generators == {}
        assert optimizer.form == ""
