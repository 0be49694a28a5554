"""The state of EFSGD: saved as plain values, loaded from torch's SGD too, continued to the bit.

Without this file a training that was interrupted could go on with another memory, momentum or draw
than one that was not.
"""

from __future__ import annotations

import copy
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from on_gpu import no_synchronisation
from optimisers import (
    copies,
    loop_and_foreach,
    normals,
    parameters,
    same,
    scopes,
    set_gradients,
    skip_a_step,
    states,
    take_steps,
    through_file,
)
from torch import Tensor, nn

from efsgd.compressors import QSGD, Blockwise, Identity, RandK, ScaledSign, TopK
from efsgd.compressors.base import Compressor
from efsgd.deep import EFSGD
from efsgd.deep.kernels import apply
from efsgd.deep.training.device import own_stream
from efsgd.deep.training.graph import capturing

COMPRESSORS = [ScaledSign(), TopK(2), RandK(2), Blockwise(QSGD(255), 4), Identity()]


# -- saved at any step, continued to the bit -------------------------------------------------------


@loop_and_foreach
@scopes
@pytest.mark.parametrize("c", COMPRESSORS, ids=str)
def test_continues_to_the_bit_after_any_step(c: Compressor, scope: Any, foreach: bool) -> None:
    options: dict[str, Any] = {
        "momentum": 0.9,
        "dampening": 0.2,
        "weight_decay": 0.1,
        "scope": scope,
    }
    for at in (0, 1, 4):
        xs = parameters()
        optimizer = EFSGD(xs, 0.1, c, foreach=foreach, seed=5, **options)
        if at:  # else nothing has been drawn yet
            skip_a_step(xs, optimizer)
        take_steps(optimizer, xs, at)
        saved, ys = through_file(optimizer.state_dict()), copies(xs)
        again = EFSGD(ys, 0.5, foreach=foreach)  # everything else comes from the file
        take_steps(again, ys, range(50, 52))  # and whatever it had done before is forgotten
        for x, y in zip(xs, ys, strict=True):
            y.data.copy_(x)
        again.load_state_dict(saved)
        take_steps(optimizer, xs, range(at, at + 4))
        take_steps(again, ys, range(at, at + 4))
        assert same(xs, ys)
        assert same(states(optimizer), states(again))
        assert int(again.skipped) == int(at > 0)
        assert same(optimizer.state_dict(), again.state_dict())


@pytest.mark.parametrize(
    ("dtype", "memory_dtype"),
    [
        (torch.float32, torch.bfloat16),
        (torch.bfloat16, torch.float32),
        (torch.float64, torch.float32),
        (torch.bfloat16, None),
    ],
    ids=str,
)
def test_the_memory_keeps_its_dtype(dtype: torch.dtype, memory_dtype: torch.dtype | None) -> None:
    xs = parameters(dtype=dtype)
    optimizer = EFSGD(xs, 0.1, momentum=0.9, memory_dtype=memory_dtype)
    take_steps(optimizer, xs, 3)
    ys = copies(xs)
    for again in (EFSGD(ys, 0.1, memory_dtype=memory_dtype), EFSGD(ys, 0.1)):
        again.load_state_dict(through_file(optimizer.state_dict()))
        assert same(states(again), states(optimizer))
        assert {s["memory"].dtype for s in states(again)} == {memory_dtype or dtype}
    wide = EFSGD(ys, 0.1, memory_dtype=torch.float64)  # the argument wins over the file
    wide.load_state_dict(optimizer.state_dict())
    assert {s["memory"].dtype for s in states(wide)} == {torch.float64}


def test_a_copy_has_nothing_in_common() -> None:
    xs = parameters()
    optimizer = EFSGD(xs, 0.1, RandK(2), 0.9)
    take_steps(optimizer, xs, 2)
    state, ys = optimizer.state_dict(), copies(xs)
    again = EFSGD(ys, 0.1)
    again.load_state_dict(state)
    before = states(again), int(again.skipped)
    skip_a_step(xs, optimizer)
    take_steps(optimizer, xs, 2)
    assert same((states(again), int(again.skipped)), before)
    assert int(state["state"][0]["skipped"]) == 0


def test_saving_holds_plain_values_only() -> None:
    xs = parameters()
    groups = [{"params": xs[:1]}, {"params": xs[1:], "compressor": Identity()}]
    optimizer = EFSGD(groups, 0.1, Blockwise(RandK(0.5), 4), 0.9, memory_dtype=torch.bfloat16)
    take_steps(optimizer, xs, 2)
    state = optimizer.state_dict()
    assert [group["compressor"] for group in state["param_groups"]] == [
        "blockwise:4,randk:0.5",
        "identity",
    ]

    def plain(value: Any) -> bool:
        if isinstance(value, dict):
            return all(plain(key) and plain(part) for key, part in value.items())
        if isinstance(value, list):
            return all(map(plain, value))
        return value is None or type(value) in (Tensor, bool, int, float, str)

    assert plain(state)
    assert isinstance(optimizer.param_groups[0]["compressor"], Blockwise)  # the live one stays


@pytest.mark.parametrize(
    "numbers",
    [
        {"lr": np.logspace(-5, 1, 9)[4]},
        {"lr": 0.1, "momentum": np.float64(0.9), "nesterov": np.bool_(True)},
        {"lr": np.float32(0.5), "weight_decay": np.float32(0.5), "seed": np.int64(3)},
    ],
    ids=str,
)
def test_numbers_of_numpy_are_saved_as_plain_ones(numbers: dict[str, Any]) -> None:
    xs = parameters()
    optimizer = EFSGD(xs, compressor=RandK(1), **numbers)
    take_steps(optimizer, xs, 2)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: np.float64(0.5))
    again = EFSGD(copies(xs), 0.1)
    again.load_state_dict(through_file(optimizer.state_dict()))
    for name, value in optimizer.param_groups[0].items():
        assert name == "params" or again.param_groups[0][name] == value


def test_hooks_see_and_change_what_is_saved_and_loaded() -> None:
    xs = parameters()
    optimizer = EFSGD(xs, 0.1, TopK(1), memory_dtype=torch.bfloat16)
    take_steps(optimizer, xs, 2)
    optimizer.register_state_dict_post_hook(lambda _, state: seen.append(state))
    seen: list[Any] = []
    state = through_file(optimizer.state_dict())
    assert same(seen[0], state)
    again = EFSGD(copies(xs), torch.tensor(0.5), memory_dtype=torch.bfloat16)
    lr = again.param_groups[0]["lr"]

    def renamed(_: Any, state: dict[str, Any]) -> dict[str, Any]:
        memories = {i: {"memory": buffers.pop("e")} for i, buffers in state["state"].items()}
        groups = [group | {"lr": 0.25} for group in state["param_groups"]]
        return state | {"state": memories, "param_groups": groups, "skipped": torch.tensor(7)}

    def look(loaded: Any) -> None:
        seen.append((states(loaded), float(lr), int(loaded.skipped)))

    again.register_load_state_dict_pre_hook(renamed)
    again.register_load_state_dict_post_hook(look)

    def foreign() -> dict[str, Any]:
        memories = {i: {"e": buffers["memory"]} for i, buffers in state["state"].items()}
        return state | {"state": memories}

    again.load_state_dict(foreign())
    assert same(seen[1], (states(optimizer), 0.25, 7))
    assert again.param_groups[0]["lr"] is lr
    assert same(states(again), states(optimizer))
    for _ in range(2):  # what is refused leaves no hook of ours behind
        with pytest.raises(ValueError, match=r"memory of parameter 0 .* has shape \(7,\)"):
            again.load_state_dict(state | {"state": {0: {"e": torch.ones(7)}}})
    assert len(seen) == 2
    again.load_state_dict(foreign())
    assert same(states(again), states(optimizer))


def test_a_hook_may_remove_itself() -> None:
    xs = parameters()
    optimizer = EFSGD(xs, 0.1)
    calls: list[str] = []
    handles: dict[str, Any] = {}

    def once(name: str) -> Any:
        def hook(*_: Any) -> None:
            calls.append(name)
            handles[name].remove()

        return hook

    for kind in (
        "state_dict_pre",
        "state_dict_post",
        "load_state_dict_pre",
        "load_state_dict_post",
    ):
        register = getattr(optimizer, f"register_{kind}_hook")
        handles[kind] = register(once(kind))
        register(lambda *_, kind=kind: calls.append(f"every {kind}"))
    for _ in range(2):
        optimizer.load_state_dict(optimizer.state_dict())
    every = [f"every {kind}" for kind in handles]
    assert calls == [name for pair in zip(handles, every, strict=True) for name in pair] + every


def test_several_threads_may_save_at_once() -> None:
    xs = parameters()
    optimizer = EFSGD(xs, 0.1, RandK(2), 0.9)
    take_steps(optimizer, xs, 2)
    optimizer.register_state_dict_post_hook(lambda _, state: None)
    expected = through_file(optimizer.state_dict())
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            saved = list(pool.map(lambda _: optimizer.state_dict(), range(200)))
    finally:
        sys.setswitchinterval(interval)
    assert all(same(state, expected) for state in saved)


def test_what_the_file_does_not_say_stays() -> None:
    xs = parameters()
    names = ("compressor", "scope", "error_feedback")
    optimizer = EFSGD(xs, 0.1, TopK(1), scope="global")
    state = EFSGD(xs, 0.3).state_dict()
    for name in names:
        del state["param_groups"][0][name]
    optimizer.load_state_dict(state)
    group = optimizer.param_groups[0]
    assert [group[name] for name in names] == [TopK(1), "global", True]
    assert group["lr"] == 0.3


def test_a_compressor_may_be_changed_in_the_file() -> None:
    xs = parameters()
    optimizer = EFSGD(xs, 0.1, TopK(1))
    take_steps(optimizer, xs, 2)
    state = optimizer.state_dict()
    state["param_groups"][0]["compressor"] = "topk:3"
    optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["compressor"] == TopK(3)
    take_steps(optimizer, xs, 1)


def test_the_state_of_another_optimiser_is_refused_whole() -> None:
    xs, ys = parameters(), parameters()
    adam = torch.optim.Adam(xs)
    take_steps(adam, xs, 1)
    optimizer = EFSGD(ys, 0.1, TopK(1))
    take_steps(optimizer, ys, 1)
    before = states(optimizer)
    with pytest.raises(ValueError, match=r"which keeps exp_avg, exp_avg_sq, step: load one of EF"):
        optimizer.load_state_dict(adam.state_dict())
    assert same([s["memory"] for s in before], [s["memory"] for s in states(optimizer)])
    assert optimizer.param_groups[0]["lr"] == 0.1


# -- from torch.optim.SGD --------------------------------------------------------------------------


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("dampening", [0.0, 0.3])
def test_loads_torchs_sgd(momentum: float, dampening: float) -> None:
    xs = parameters()
    theirs = torch.optim.SGD(xs, 0.2, momentum, dampening, weight_decay=0.1)
    take_steps(theirs, xs, 3)
    ys, zs = copies(xs), copies(xs)
    dense = EFSGD(ys, 0.1, Identity(), error_feedback=False)
    feedback = EFSGD(zs, 0.1, TopK(1))
    for optimizer in (dense, feedback):
        optimizer.load_state_dict(through_file(theirs.state_dict()))
        assert optimizer.param_groups[0]["momentum"] == momentum
        assert optimizer.param_groups[0]["lr"] == 0.2
        assert optimizer.memory_norm() == 0
    take_steps(theirs, xs, range(3, 6))
    take_steps(dense, ys, range(3, 6))
    assert same(xs, ys)  # the same steps, to the bit
    take_steps(feedback, zs, range(3, 4))
    assert feedback.memory_norm() > 0


# -- refused ---------------------------------------------------------------------------------------


class Unregistered(Compressor):
    guarantee = "none"

    def apply(self, x: Any, drawn: Any = None) -> Any:
        return x


@dataclass(frozen=True)
class Registered(Compressor, spec="optimiser_state_test"):
    factor: float = 0.5
    guarantee = "none"

    def apply(self, x: Any, drawn: Any = None) -> Any:
        return self.factor * x


for _cls in (Unregistered, Registered):

    @apply.register(_cls)
    def _kernel(c: Any, x: Tensor, drawn: Any = None) -> Tensor:
        return getattr(c, "factor", 1.0) * x


def test_your_own_compressor_is_saved_if_it_has_a_name() -> None:
    xs = parameters()
    optimizer = EFSGD(xs, 0.1, Registered(0.25))
    take_steps(optimizer, xs, 2)
    again = EFSGD(copies(xs), 0.1)
    again.load_state_dict(through_file(optimizer.state_dict()))
    assert again.param_groups[0]["compressor"] == Registered(0.25)
    nameless = EFSGD(xs, 0.1, Unregistered())
    take_steps(nameless, xs, 1)
    with pytest.raises(ValueError, match=r"Unregistered\(\) cannot be saved .* register it, class"):
        nameless.state_dict()


def changed(key: str, value: Any) -> Any:
    def change(state: dict[str, Any]) -> None:
        state["param_groups"][0][key] = value

    return change


def narrow(state: dict[str, Any]) -> None:
    state["state"][1]["memory"] = torch.zeros(7)


def fewer(state: dict[str, Any]) -> None:
    state["param_groups"][0]["params"] = [0, 1]


def more_groups(state: dict[str, Any]) -> None:
    state["param_groups"].append(state["param_groups"][0])


def headless(state: dict[str, Any]) -> None:
    del state["param_groups"]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (narrow, r"saved memory of parameter 1 of its group, shape \(5,\) has shape \(7,\), not"),
        (fewer, "doesn't match the size"),
        (more_groups, "different number of parameter groups"),
        (headless, "'state' or 'param_groups' is missing"),
        (changed("compressor", "topp:1"), "no compressor is called 'topp'"),
        (changed("compressor", "topk:0"), "'topk:0' is not a compressor"),
        (changed("compressor", "qsgd:1"), "can diverge"),
        (changed("lr", -1.0), "lr must be at least 0"),
        (changed("scope", "layer"), "scope must be"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(damage: Any, words: str) -> None:
    xs = parameters()
    optimizer = EFSGD(xs, 0.1, momentum=0.9)
    take_steps(optimizer, xs, 2)
    state = copy.deepcopy(optimizer.state_dict())
    damage(state)
    before = copy.deepcopy(optimizer.state_dict())
    with pytest.raises(ValueError, match=words):
        optimizer.load_state_dict(state)
    assert same(optimizer.state_dict(), before)
    take_steps(optimizer, xs, 1)


# -- copies, pickles, captured steps ---------------------------------------------------------------


@pytest.mark.parametrize("c", [ScaledSign(), RandK(2)], ids=str)
@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_copies_and_pickles_go_on_alike(how: str, c: Compressor) -> None:
    xs = parameters()
    more: dict[str, Any] = {"nonfinite": "raise", "memory_dtype": torch.bfloat16, "measure": True}
    for options in (more, {"foreach": True, "seed": 3}):
        optimizer = EFSGD(xs, 0.1, c, 0.9, 0.1, **options)
        take_steps(optimizer, xs, 2)
        pair = (optimizer, xs)
        again, ys = copy.deepcopy(pair) if how == "deepcopy" else pickle.loads(pickle.dumps(pair))
        assert all(a is b for a, b in zip(again.param_groups[0]["params"], ys, strict=True))
        take_steps(optimizer, xs, range(2, 5))
        take_steps(again, ys, range(2, 5))
        assert same(xs, ys)
        assert same(states(optimizer), states(again))
        assert again.form == optimizer.form
        for name in ("nonfinite", "memory_dtype", "measure", "seed", "capturable"):
            assert getattr(again, name) == getattr(optimizer, name)
        assert repr(again) == repr(optimizer)


def test_a_copy_before_the_first_step() -> None:
    xs = parameters()
    again, ys = copy.deepcopy((EFSGD(xs, 0.1, RandK(2), seed=7), xs))
    optimizer = EFSGD(xs, 0.1, RandK(2), seed=7)
    take_steps(optimizer, xs, 2)
    take_steps(again, ys, 2)
    assert same(xs, ys)


def test_what_a_captured_step_reads_stays_where_it_is() -> None:
    xs = parameters()
    optimizer = EFSGD(xs, 0.1, RandK(2), capturable=True)
    take_steps(optimizer, xs, 2)
    lr, rng = optimizer.param_groups[0]["lr"], optimizer.generators[torch.device("cpu")]
    assert isinstance(lr, Tensor)
    state = through_file(optimizer.state_dict())
    lr.fill_(0.5)
    take_steps(optimizer, xs, 2)
    optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["lr"] is lr
    assert float(lr) == float(torch.tensor(0.1))
    assert optimizer.generators[torch.device("cpu")] is rng
    assert torch.equal(rng.get_state(), state["state"][0]["cpu_generator"])
    eager = EFSGD(copies(xs), 0.3)  # a number stays a number
    eager.load_state_dict(state)
    assert eager.param_groups[0]["lr"] == float(torch.tensor(0.1))
    optimizer.load_state_dict(EFSGD(xs, 0.7).state_dict())
    assert optimizer.param_groups[0]["lr"] is lr
    assert float(lr) == float(torch.tensor(0.7))


def test_the_step_size_tensor_has_the_precision_of_the_parameters() -> None:
    for dtype, lr_dtype in (
        (torch.float64, torch.float64),
        (torch.float32, torch.float32),
        (torch.bfloat16, torch.float32),
    ):
        optimizer = EFSGD(parameters(dtype=dtype), 0.1, capturable=True)
        assert optimizer.param_groups[0]["lr"].dtype == lr_dtype


def test_generators_of_other_devices_are_left_out() -> None:
    xs = parameters()
    optimizer = EFSGD(xs, 0.1, RandK(2))
    take_steps(optimizer, xs, 1)
    state = optimizer.state_dict()
    start = torch.Generator().manual_seed(0).get_state()
    for of_a_gpu in (
        state | {"generators": {"cuda:0": torch.zeros(16, dtype=torch.uint8)}},
        changed_state(state, cuda_generator=torch.zeros(16, dtype=torch.uint8)),
    ):
        take_steps(optimizer, xs, 1)
        optimizer.load_state_dict(of_a_gpu)
        assert list(optimizer.generators) == [torch.device("cpu")]
        assert torch.equal(optimizer.generators[torch.device("cpu")].get_state(), start)
        take_steps(optimizer, xs, 1)


def changed_state(state: dict[str, Any], **entries: Any) -> dict[str, Any]:
    """The state with these entries of the first parameter, and without its generator."""
    first = {k: v for k, v in state["state"][0].items() if k != "cpu_generator"} | entries
    return state | {"state": state["state"] | {0: first}}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_a_gpu_the_steps_are_the_cpus_and_can_be_captured() -> None:
    for c in (ScaledSign(), TopK(2), Identity()):
        xs = parameters()
        ys = [nn.Parameter(x.detach().cuda()) for x in xs]
        pair = [EFSGD(p, 0.1, c, 0.9, 0.1, capturable=True) for p in (xs, ys)]
        for t in range(3):
            for optimizer, p in zip(pair, (xs, ys), strict=True):
                set_gradients(p, normals(seed=t))
                with no_synchronisation():
                    optimizer.step()
        for x, y in zip(xs, ys, strict=True):
            torch.testing.assert_close(x, y.cpu())
        graph = torch.cuda.CUDAGraph()
        with own_stream(torch.device("cuda")):
            for optimizer in pair:
                optimizer.step()
                optimizer.density()  # nothing runs for the first time in a capture
            with capturing(graph):
                pair[1].step()
                phi = pair[1].density().p
        graph.replay()
        pair[0].step()
        for x, y in zip(xs, ys, strict=True):
            torch.testing.assert_close(x, y.cpu())
        # float64, of vectors in float32
        torch.testing.assert_close(phi.cpu(), pair[0].density().p, rtol=1.3e-6, atol=0)
