"""A step that is refused leaves nothing behind: no memory, no draw, no changed parameter."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from optimisers import (
    copies,
    loop_and_foreach,
    normals,
    parameters,
    same,
    set_gradients,
    states,
    take_steps,
)

from efsgd.compressors import Identity, RandK
from efsgd.deep import EFSGD
from efsgd.deep.optim.forms import dispatch
from efsgd.deep.optim.forms.compiled import SWITCH, CompilingFailedError

CPU = torch.device("cpu")


def refuses_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise CompilingFailedError("no")

    monkeypatch.setattr(dispatch, "compiled_step", fail)
    monkeypatch.setattr(dispatch, "refusal", lambda *_: None)


@pytest.mark.parametrize("fused", [True, "triton"])
@pytest.mark.parametrize("late", [False, True], ids=["at once", "while compiling"])
@pytest.mark.parametrize("steps", [0, 2])
def test_a_form_that_refuses_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, fused: Any, late: bool, steps: int
) -> None:
    if late:
        refuses_compiling(monkeypatch)
    else:
        monkeypatch.setenv(SWITCH, "0")
    xs = parameters()
    optimizer = EFSGD(xs, 0.1, RandK(1), 0.9, dampening=0.1, fused=False)
    take_steps(optimizer, xs, steps)
    optimizer._forms.fused = fused
    optimizer.param_groups[0]["compressor"] = RandK(2)
    before = copy.deepcopy((xs, optimizer.state_dict(), states(optimizer)))
    generators = {device: rng.get_state() for device, rng in optimizer.generators.items()}
    with pytest.raises(RuntimeError, match="leave fused to None"):
        take_steps(optimizer, xs, range(5, 6))
    set_gradients(xs, [None] * 3)
    assert same((xs, optimizer.state_dict(), states(optimizer)), before)
    assert same({d: rng.get_state() for d, rng in optimizer.generators.items()}, generators)
    assert bool(optimizer.state) == (steps > 0)


def test_a_refused_step_keeps_the_memory_that_it_would_have_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    xs = parameters()
    optimizer = EFSGD(xs, 0.1, RandK(1))
    take_steps(optimizer, xs, 2)
    before = states(optimizer)
    optimizer.param_groups[0]["error_feedback"] = False
    optimizer._forms.fused = True
    monkeypatch.setenv(SWITCH, "0")
    with pytest.raises(RuntimeError, match="leave fused to None"):
        take_steps(optimizer, xs, 1)
    assert same(states(optimizer), before)


def test_no_memory_and_no_draw_stay_of_what_runs_out_of_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    xs = parameters()
    ys = copies(xs)
    optimizer, plain = (
        EFSGD([{"params": ps[:2]}, {"params": ps[2:]}], 0.1, RandK(1)) for ps in (xs, ys)
    )
    set_gradients(xs, normals(seed=1000))
    made = torch.zeros_like

    def full(x: torch.Tensor, **kind: Any) -> torch.Tensor:
        if x is xs[2]:
            raise RuntimeError("out of memory")
        return made(x, **kind)

    monkeypatch.setattr(torch, "zeros_like", full)
    with pytest.raises(RuntimeError, match="out of memory"):
        optimizer.step()
    monkeypatch.undo()
    assert not optimizer.state
    assert not optimizer.generators
    take_steps(optimizer, xs, 2)
    take_steps(plain, ys, 2)
    assert same(xs, ys)


WRONG: list[tuple[str, Any, str]] = [
    ("memory", torch.zeros(3), r"memory of .* has shape \(3,\), not \(5,\)"),
    ("memory", torch.zeros(1), r"memory of .* has shape \(1,\), not \(5,\)"),
    ("memory", torch.zeros(5, dtype=torch.int64), r"memory of .* is torch.int64"),
    ("memory", torch.zeros(5, dtype=torch.complex64), r"memory of .* is torch.complex64"),
    ("memory", torch.zeros(5).to_sparse(), r"memory of .* is sparse"),
    ("memory", [0.0] * 5, r"memory of .* is no tensor, but \[0.0, "),
    ("momentum_buffer", torch.zeros(3), r"momentum_buffer of .* has shape \(3,\), not \(5,\)"),
    ("momentum_buffer", torch.full((5,), 1e300, dtype=torch.float64), "holds NaN or inf in"),
    ("started", torch.ones(5), r"started of .* has shape \(5,\), not \(\)"),
    ("started", torch.tensor(1.0), r"started of .* is torch.float32, not torch.bool"),
    ("started", "yes", "started of .* is no tensor, but 'yes'"),
]


@loop_and_foreach
@pytest.mark.parametrize(("name", "value", "words"), WRONG, ids=[row[2] for row in WRONG])
def test_what_was_put_into_the_state_is_checked_before_anything_changes(
    name: str, value: Any, words: str, foreach: bool
) -> None:
    xs = parameters([(4,), (5,)])
    groups = [{"params": xs[:1]}, {"params": xs[1:]}]
    optimizer = EFSGD(groups, 0.1, RandK(2), 0.9, 0.1, foreach=foreach)
    take_steps(optimizer, xs, 2)
    right = optimizer.state[xs[1]][name]
    before = copy.deepcopy((xs, optimizer.state_dict()))
    optimizer.state[xs[1]][name] = value
    set_gradients(xs, normals([(4,), (5,)]))
    for ask in (optimizer.step, optimizer.density, optimizer.state_dict, optimizer.memory_norm):
        with pytest.raises((ValueError, TypeError), match=words) as caught:
            ask()
        assert "\n" not in str(caught.value)
    optimizer.state[xs[1]][name] = right
    set_gradients(xs, [None, None])
    assert same((xs, optimizer.state_dict()), before)


@pytest.mark.parametrize("state", [None, torch.zeros(3), [1.0]], ids=str)
def test_a_state_that_is_no_dict_is_refused(state: Any) -> None:
    xs = parameters()
    optimizer = EFSGD(xs, 0.1)
    take_steps(optimizer, xs, 1)
    optimizer.state[xs[1]] = state
    with pytest.raises(ValueError, match=r"saved state of parameter 1 .* is no dict") as caught:
        take_steps(optimizer, xs, 1)
    assert "\n" not in str(caught.value)


def test_a_momentum_of_another_dtype_is_taken_over() -> None:
    xs, ys = parameters(), parameters()
    optimizer, plain = EFSGD(xs, 0.1, momentum=0.9), EFSGD(ys, 0.1, momentum=0.9)
    for each, ps in ((optimizer, xs), (plain, ys)):
        take_steps(each, ps, 2)
    wide = optimizer.state[xs[0]]["momentum_buffer"].double()
    optimizer.state[xs[0]]["momentum_buffer"] = wide
    for each, ps in ((optimizer, xs), (plain, ys)):
        take_steps(each, ps, 2)
    assert same(states(optimizer), states(plain))
    assert same(xs, ys)


def test_to_ask_for_densities_makes_no_memory() -> None:
    xs = parameters()
    optimizer = EFSGD(xs, 0.1, Identity(), 0.9)
    set_gradients(xs, normals())
    optimizer.density()
    assert not optimizer.state
