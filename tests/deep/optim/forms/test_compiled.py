"""The forms of a step: loop, foreach and compiled give the same, and the form taken is logged.

Without this file the compiled step, which is the one that large networks take, could differ from
the loop, compile anew at every step, or fail a training where no compiler is at hand.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch._dynamo.utils
from optimisers import Tensors, copies, normals, parameters, same, set_gradients, states, take_steps
from torch import Tensor, nn

from efsgd.compressors import Identity, RandK, ScaledSign, Sign, TopK
from efsgd.compressors.base import Compressor
from efsgd.deep import EFSGD
from efsgd.deep.kernels import apply
from efsgd.deep.optim.forms import compiled as fused
from efsgd.deep.optim.forms import dispatch
from efsgd.deep.optim.step import step

COMPILER = next(
    (n for n in ("g++", "clang++", "c++", "cl") if shutil.which(n)), os.environ.get("CXX")
)
compiles = [
    pytest.mark.skipif(not COMPILER, reason="there is no C++ compiler"),
    pytest.mark.skipif(os.environ.get("EFSGD_COMPILE") == "0", reason="EFSGD_COMPILE is 0"),
]


def compiling(test: Any) -> Any:
    for mark in compiles:
        test = mark(test)
    return test


@pytest.fixture(autouse=True)
def _nothing_global_is_touched() -> Any:
    config = torch._dynamo.config.get_config_copy()
    before = (torch.get_rng_state(), torch.get_num_threads())
    yield
    assert same(before, (torch.get_rng_state(), torch.get_num_threads()))
    assert torch._dynamo.config.get_config_copy() == config


def step_all(pairs: list[tuple[EFSGD, Tensors]], t: int, scale: float = 1.0) -> None:
    """The same gradients for each of several copies."""
    for optimizer, xs in pairs:
        set_gradients(xs, [scale * g for g in normals([tuple(x.shape) for x in xs], 1000 + t)])
        optimizer.step()


def ulps(xs: Tensors, ys: Tensors) -> float:
    """The largest difference in units in the last place of the largest entry."""
    worst = 0.0
    for x, y in zip(xs, ys, strict=True):
        off = (x.double() - y.double()).detach().abs().max().item()
        unit = torch.finfo(x.dtype).eps * y.detach().abs().max().item()
        worst = max(worst, off / unit if off else 0.0)
    return worst


def memories(optimizer: EFSGD) -> Tensors:
    return [state["memory"] for state in states(optimizer) if "memory" in state]


# -- compiled --------------------------------------------------------------------------------------


@compiling
def test_from_a_million_elements_the_step_is_compiled(caplog: pytest.LogCaptureFixture) -> None:
    """The loop's numbers; no compiling for a new lr, none of what is skipped."""
    caplog.set_level(logging.INFO, "efsgd.deep")
    wide = nn.Parameter(normals([(1024, 256, 2, 2)], dtype=torch.float32)[0])
    wide.data = wide.data.to(memory_format=torch.channels_last)
    xs = [wide, *parameters([(7,), ()])]
    momentum: dict[str, Any] = {"momentum": 0.9, "nesterov": True}
    options = momentum | {"weight_decay": 0.01, "measure": True}
    compiled = EFSGD(xs, 0.1, **options)
    loop_pair, foreach_pair = (
        (EFSGD(ys, 0.1, fused=False, foreach=foreach, **options), ys)
        for ys, foreach in ((copies(xs), False), (copies(xs), True))
    )
    pairs = [(compiled, xs), loop_pair, foreach_pair]
    step_all(pairs, 0)
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    for t in range(1, 4):
        for optimizer, _ in pairs:
            optimizer.param_groups[0]["lr"] = 0.1 / t
        step_all(pairs, t)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs
    assert [optimizer.form for optimizer, _ in pairs] == ["compiled", "loop", "foreach"]
    for optimizer, ys in pairs[1:]:
        assert ulps(xs, ys) <= 8
        assert ulps(memories(compiled), memories(optimizer)) <= 8
        for ours, theirs in zip(compiled.density()[:4], optimizer.density()[:4], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)
    before = [x.detach().clone() for x in xs], states(compiled)
    set_gradients(xs, [x.detach() * torch.inf for x in xs])
    compiled.step()
    assert same(([x.detach() for x in xs], states(compiled)), before)
    assert int(compiled.skipped) == 1
    assert all(bool(part.isnan().all()) for part in compiled.density()[:4])
    set_gradients(xs, [torch.full_like(x, 1e38) for x in xs])  # finite, and too large
    compiled.param_groups[0]["lr"] = 10.0
    compiled.step()
    assert same(([x.detach() for x in xs], states(compiled)), before)
    assert int(compiled.skipped) == 2
    messages = [r.message for r in caplog.records if "compiled (one function" in r.message]
    assert messages == ["EFSGD steps are compiled (one function for all tensors)"]
    state, ys = compiled.state_dict(), copies(xs)
    again = EFSGD(ys, 0.1)
    again.load_state_dict(state)
    step_all([(compiled, xs), (again, ys)], 9)
    assert again.form == "compiled"
    assert same([x.detach() for x in xs], [y.detach() for y in ys])


@compiling
def test_groups_draws_and_half_precision_compile_too() -> None:
    """Two groups, one vector each or not, random, dampened, skipped at the very first step."""
    xs = parameters([(9,), (3, 2, 2, 2), (5,)])
    xs[1].data = xs[1].data.to(memory_format=torch.channels_last)

    def optimizer_of(ys: Tensors, **form: Any) -> EFSGD:
        groups = [
            {"params": ys[:2], "compressor": RandK(3), "scope": "global", "dampening": 0.25},
            {"params": ys[2:], "compressor": TopK(2), "error_feedback": False, "maximize": True},
        ]
        return EFSGD(groups, 0.1, momentum=0.5, memory_dtype=torch.bfloat16, **form)

    pairs = []
    for form in (
        {"fused": True},
        {"fused": False, "foreach": False},
        {"fused": False, "foreach": True},
    ):
        ys = copies(xs)
        pairs.append((optimizer_of(ys, **form), ys))
    for t in range(6):
        if t in (0, 3):
            before = [[x.detach().clone() for x in ys] for _, ys in pairs]
            step_all(pairs, t, float("nan") if t else float("inf"))
            assert same(before, [[x.detach() for x in ys] for _, ys in pairs])
        else:
            step_all(pairs, t)
    assert [int(optimizer.skipped) for optimizer, _ in pairs] == [2, 2, 2]
    compiled, ys = pairs[0]
    for optimizer, zs in pairs[1:]:
        assert ulps(ys, zs) <= 8
        assert ulps(memories(compiled), memories(optimizer)) <= 2  # units of bfloat16
        assert same(
            compiled.generators[torch.device("cpu")].get_state(),
            optimizer.generators[torch.device("cpu")].get_state(),
        )
        torch.testing.assert_close(
            compiled.memory_norm(), optimizer.memory_norm(), rtol=1e-2, atol=0
        )
        torch.testing.assert_close(compiled.density().p, optimizer.density().p, rtol=1e-2, atol=0)


# -- which form is taken ---------------------------------------------------------------------------


@pytest.fixture
def compile_calls(monkeypatch: pytest.MonkeyPatch) -> Counter[Any]:
    """Stands for the compiler: counts what it is asked for, and runs the loop."""
    calls: Counter[Any] = Counter()

    def instead(of: Any, check: bool) -> Callable[..., Any]:
        calls[of] += 1

        def run(inputs: Any) -> Any:
            parts = [
                fused.Part(lists, numbers, rule, fused.kernel(rule.compressor), drawn)
                for (lists, numbers, drawn), rule in zip(inputs, of.rules, strict=True)
            ]
            assert all(isinstance(n, Tensor) for part in parts for n in part.numbers)
            return step(parts, check)

        return run

    monkeypatch.setattr(fused, "_compiled", instead)
    monkeypatch.setattr(fused, "compiler_missing", lambda device: None)
    monkeypatch.setattr(fused, "WORTHWHILE", 8)
    return calls


def test_small_or_dense_models_are_not_worth_it(compile_calls: Counter[Any]) -> None:
    for shape, c, feedback, form in (
        ((8,), ScaledSign(), True, "compiled"),
        ((7,), ScaledSign(), True, "loop"),
        ((8,), Identity(), True, "loop"),
        ((8,), Sign(), False, "compiled"),
    ):
        xs = parameters([shape])
        optimizer = EFSGD(xs, 0.1, c, error_feedback=feedback)
        take_steps(optimizer, xs, 1)
        assert optimizer.form == form
    xs = parameters([(7,)])
    optimizer = EFSGD(xs, 0.1, Identity(), fused=True)
    take_steps(optimizer, xs, 1)
    assert optimizer.form == "compiled"


def test_gradients_that_come_and_go_do_not_compile_for_ever(compile_calls: Counter[Any]) -> None:
    xs = parameters([(8,)] * 5)
    optimizer = EFSGD(xs, 0.1)
    seen = []
    for t in range(1, 32):
        set_gradients(xs, [g if t >> i & 1 else None for i, g in enumerate(normals([(8,)] * 5))])
        optimizer.step()
        seen.append(optimizer.form)
    # by number of tensors: the shapes are alike, so there are five structures
    assert set(seen) == {"compiled"}
    shapes = [(8 + i,) for i in range(5)]
    xs = parameters(shapes)
    optimizer = EFSGD(xs, 0.1)
    compile_calls.clear()
    for t in [*range(1, 32), 1, 2]:
        set_gradients(xs, [g if t >> i & 1 else None for i, g in enumerate(normals(shapes))])
        optimizer.step()
    assert len(compile_calls) == fused.MOST
    assert optimizer.form == "compiled"  # what has been compiled is used again


def test_the_environment_switches_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EFSGD_COMPILE", "0")
    monkeypatch.setattr(fused, "WORTHWHILE", 1)
    xs = parameters()
    optimizer = EFSGD(xs, 0.1)
    take_steps(optimizer, xs, 1)
    assert optimizer.form == "loop"
    wrong = EFSGD(xs, 0.1, fused=True)
    before = [x.detach().clone() for x in xs]
    with pytest.raises(RuntimeError, match="fused=True, but EFSGD_COMPILE is 0: leave fused to No"):
        wrong.step()
    assert same(before, [x.detach() for x in xs])


def test_without_a_compiler_the_loop_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EFSGD_COMPILE", raising=False)
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(fused, "WORTHWHILE", 1)
    xs = parameters()
    optimizer = EFSGD(xs, 0.1)
    take_steps(optimizer, xs, 1)
    assert optimizer.form == "loop"
    with pytest.raises(RuntimeError, match="there is no C\\+\\+ compiler: leave fused to None"):
        take_steps(EFSGD(xs, 0.1, fused=True), xs, 1)


@dataclass(frozen=True)
class Waits(Compressor):
    """A compressor that cannot be compiled: it reads a number back."""

    guarantee = "none"

    def apply(self, x: Any, drawn: Any = None) -> Any:
        return x


@apply.register
def _waits(c: Waits, x: Tensor, drawn: Any = None) -> Tensor:
    return x * 0.5 if x.abs().max().item() > 0 else x.clone()


def no_python(*args: Any, **kwargs: Any) -> Any:
    raise RuntimeError("torch.compile is not supported on this Python\nand more lines")


@pytest.mark.parametrize("fault", ["kernel", "torch"])
def test_what_does_not_compile_falls_back_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    caplog.set_level(logging.INFO, "efsgd.deep")
    monkeypatch.setattr(fused, "WORTHWHILE", 1)
    monkeypatch.setattr(fused, "compiler_missing", lambda device: None)
    if fault == "torch":
        monkeypatch.setattr(torch, "compile", no_python)
    c: Compressor = Waits() if fault == "kernel" else RandK(2)
    xs = parameters()
    ys = copies(xs)
    optimizer, plain = EFSGD(xs, 0.1, c, 0.9), EFSGD(ys, 0.1, c, 0.9, fused=False)
    take_steps(optimizer, xs, 3)
    take_steps(plain, ys, 3)
    assert same(xs, ys)
    assert same(states(optimizer), states(plain))
    assert optimizer.form == "loop"
    records = [r for r in caplog.records if r.name == "efsgd.deep"]  # torch 2.6 warns as well
    warned = [r for r in records if r.levelno == logging.WARNING]
    assert len(warned) == 1
    assert "EFSGD steps are loop (not compiled: compiling failed (" in warned[0].message
    assert "\n" not in warned[0].message
    forced = EFSGD(xs, 0.1, c, 0.9, fused=True, measure=False)
    before = [x.detach().clone() for x in xs]
    for _ in range(2):
        with pytest.raises(
            RuntimeError, match=r"fused=True, but compiling failed .*leave fused to"
        ):
            forced.step()
    assert same(before, [x.detach() for x in xs])


def test_a_fault_of_the_step_itself_is_no_fault_of_the_compiler(
    monkeypatch: pytest.MonkeyPatch, compile_calls: Counter[Any]
) -> None:
    def broken(*args: Any) -> Any:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(fused, "_compiled", lambda of, check: broken)
    xs = parameters()
    with pytest.raises(RuntimeError, match="out of memory"):
        take_steps(EFSGD(xs, 0.1), xs, 1)


class UnheardOfError(Exception):
    """What a compiler may raise: torch's own classes have no common parent."""


def unheard_of(*args: Any, **kwargs: Any) -> Any:
    def function(inputs: Any) -> Any:
        raise UnheardOfError("a limit was hit\nand more lines")

    return function


def test_whatever_the_compiler_raises_the_plain_form_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch, "compile", unheard_of)
    monkeypatch.setattr(fused, "compiler_missing", lambda device: None)
    monkeypatch.setattr(fused, "WORTHWHILE", 1)
    monkeypatch.setattr(fused, "own_compiler_cache", lambda: None)
    xs = parameters([(10,)])  # of no other test: what has been compiled is kept
    ys = copies(xs)
    optimizer, plain = EFSGD(xs, 0.1), EFSGD(ys, 0.1, fused=False)
    take_steps(optimizer, xs, 2)
    take_steps(plain, ys, 2)
    assert same(xs, ys)
    assert optimizer.form == "loop"
    warned = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert warned == ["EFSGD steps are loop (not compiled: compiling failed (a limit was hit))"]


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Steps are traced, each function once, and the graph is run as it is; the graphs so far."""
    graphs: list[Any] = []

    def inductor(graph: Any, inputs: Any, options: Any) -> Any:
        graphs.append(graph)
        return graph

    monkeypatch.delenv("EFSGD_COMPILE", raising=False)
    monkeypatch.setattr(torch._inductor, "compile", inductor)
    monkeypatch.setattr(fused, "compiler_missing", lambda device: None)
    monkeypatch.setattr(fused, "own_compiler_cache", lambda: None)
    fused._compiled.cache_clear()
    config = torch._dynamo.config
    limit = "recompile_limit" if hasattr(config, "recompile_limit") else "cache_size_limit"  # 2.6
    with config.patch({limit: 1}):
        yield graphs
    fused._compiled.cache_clear()


@contextmanager
def switched_off(monkeypatch: pytest.MonkeyPatch, switch: str) -> Iterator[None]:
    """torch.compile switched off for a while, in one of the ways that torch has."""
    if switch == "TORCH_COMPILE_DISABLE":  # torch reads it once, into this setting
        with torch._dynamo.config.patch(disable=True):
            yield
    elif switch == "TORCHDYNAMO_DISABLE":
        with monkeypatch.context() as environment:
            environment.setenv(switch, "1")
            yield
    else:
        with torch.compiler.set_stance(switch):
            yield


@pytest.mark.parametrize(
    "switch",
    ["TORCH_COMPILE_DISABLE", "TORCHDYNAMO_DISABLE", "force_eager", "eager_on_recompile"],
)
def test_where_torch_compile_is_switched_off_the_step_is_taken_once(
    monkeypatch: pytest.MonkeyPatch,
    traced: list[Any],
    caplog: pytest.LogCaptureFixture,
    switch: str,
) -> None:
    """The first entry moves by lr times the mean of |g|, the scaled sign's, and by it once."""
    caplog.set_level(logging.INFO, "efsgd.deep")
    monkeypatch.setattr(fused, "WORTHWHILE", 1)
    g = torch.tensor([4.0, -2.0, 0.0])
    x = nn.Parameter(torch.zeros(3))
    x.grad = g.clone()
    optimizer = EFSGD([x], 0.5, ScaledSign())
    with switched_off(monkeypatch, switch):
        optimizer.step()
        assert x.tolist() == [-1.0, 1.0, -1.0]
        assert states(optimizer)[0]["memory"].tolist() == [1.0, 0.0, -1.0]
        with pytest.raises(RuntimeError, match=r"fused=True, but torch\.compile is switched off"):
            EFSGD([x], 0.5, fused=True).step()
        assert x.tolist() == [-1.0, 1.0, -1.0]
    assert optimizer.form == "loop"
    (record,) = [r for r in caplog.records if r.name == "efsgd.deep"]
    assert record.message == "EFSGD steps are loop (not compiled: torch.compile is switched off)"
    assert record.levelno == logging.INFO
    assert not traced


def test_what_was_switched_off_for_a_while_compiles_afterwards(traced: list[Any]) -> None:
    (x,) = parameters([(12,)])
    x.grad = torch.ones(12)
    optimizer = EFSGD([x], 0.1, fused=True)
    with torch.compiler.set_stance("force_eager"), pytest.raises(RuntimeError, match="switched"):
        optimizer.step()
    optimizer.step()
    assert optimizer.form == "compiled"
    assert len(traced) == 1


def test_a_number_of_threads_uses_up_no_recompilation(traced: list[Any]) -> None:
    """torch compiles one function a few times only, and a guard is on the number of threads."""
    xs = parameters([(6,)])
    optimizer = EFSGD(xs, 0.1, fused=True)
    threads = torch.get_num_threads()
    try:
        for n in (1, 2, 3, 1):
            torch.set_num_threads(n)
            take_steps(optimizer, xs, 1)
    finally:
        torch.set_num_threads(threads)
    assert optimizer.form == "compiled"
    assert len(traced) == 3


def test_optimisers_that_differ_have_no_limit_in_common(traced: list[Any]) -> None:
    """Of one rule and shape, with other dtypes and layouts of what is kept, and kinds of lr."""
    shape = (2, 3)
    variants: list[tuple[Any, bool, torch.dtype]] = [
        (0.1, False, torch.float32),
        (torch.tensor(0.1), False, torch.float32),
        (0.1, True, torch.float32),
        (0.1, False, torch.bfloat16),
    ]
    for lr, transposed, memory_dtype in variants * 2:
        (x,) = parameters([shape])
        g = torch.ones(shape)
        x.grad = g.t().contiguous().t() if transposed else g
        optimizer = EFSGD([x], lr, TopK(1), memory_dtype=memory_dtype, fused=True)
        optimizer.step()
        assert optimizer.form == "compiled"
    assert len(traced) == len(variants)


def test_a_sweep_of_one_optimiser_ends_at_its_limit(compile_calls: Counter[Any]) -> None:
    (x,) = parameters([(8,)])
    optimizer = EFSGD([x], 0.1)
    seen = []
    for stride in range(1, 12):
        x.grad = torch.ones(8 * stride)[::stride]
        optimizer.step()
        seen.append(optimizer.form)
    assert seen == ["compiled"] * fused.MOST + ["loop"] * 3


def test_what_a_compiled_step_raises_is_its_own(
    monkeypatch: pytest.MonkeyPatch, traced: list[Any]
) -> None:
    """Something may have changed by then, so no other form may try again."""

    def breaks(graph: Any, inputs: Any, options: Any) -> Any:
        def run(*tensors: Any) -> Any:
            raise MemoryError("of the step")

        return run

    monkeypatch.setattr(torch._inductor, "compile", breaks)
    (x,) = parameters([(11,)])
    x.grad = torch.ones(11)
    with pytest.raises(MemoryError, match="of the step"):
        EFSGD([x], 0.1, fused=True).step()


def test_each_form_is_said_once(
    caplog: pytest.LogCaptureFixture, compile_calls: Counter[Any]
) -> None:
    caplog.set_level(logging.INFO, "efsgd.deep")
    xs = parameters([(8,), (3,)])
    optimizer = EFSGD(xs, 0.1)
    assert optimizer.form == ""
    for t in range(6):
        set_gradients(xs, [normals([(8,)])[0] if t % 2 else None, normals([(3,)])[0]])
        optimizer.step()
        assert optimizer.form == ("compiled" if t % 2 else "loop")
    assert [r.levelno for r in caplog.records] == [logging.INFO] * 2
    assert caplog.records[0].message == (
        "EFSGD steps are loop (not compiled: 3 elements are fewer than 8)"
    )
    assert dispatch.log.name == "efsgd.deep"
