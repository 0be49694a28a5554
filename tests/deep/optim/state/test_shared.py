"""What all parameters of EFSGD share, saved beside one of them: seed, generators, skipped steps.

Without this file a tool that saves parameters and groups could lose draws and counts, and the
states of earlier versions could no longer be read.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from optimisers import as_before, copies, parameters, same, skip_a_step, take_steps, through_file
from torch import nn

from efsgd.compressors import RandK
from efsgd.deep import EFSGD


def flattened(state: dict[str, Any]) -> dict[str, Any]:
    """What torch makes of a flattened file that lacks what is shared: {} for every name."""
    state = as_before(state)
    nothing: dict[str, Any] = {"seed": {}, "skipped": {}, "cpu_generator": {}}
    first = state["state"][0] | nothing
    return {"state": state["state"] | {0: first}, "param_groups": state["param_groups"]}


def test_what_is_shared_stands_beside_parameters_that_learn() -> None:
    frozen = nn.Parameter(torch.ones(2), requires_grad=False)
    x, y = parameters([(3,), (4,)])
    optimizer = EFSGD([frozen, x, y], 0.1, RandK(2), seed=2**40)
    take_steps(optimizer, [x, y], 2)
    skip_a_step([x, y], optimizer)
    assert [list(optimizer.state[p]) for p in (x, y)] == [
        ["memory", "seed", "skipped", "cpu_generator"],
        ["memory", "seed"],  # not of the frozen one
    ]
    state = optimizer.state_dict()["state"]
    assert sorted(state) == [1, 2]
    assert (state[1]["seed"], int(state[1]["skipped"])) == (2**40, 1)
    assert torch.equal(
        state[1]["cpu_generator"], optimizer.generators[torch.device("cpu")].get_state()
    )


@pytest.mark.parametrize("at", [0, 2])
def test_states_of_earlier_versions_are_read(at: int) -> None:
    xs = parameters()
    optimizer = EFSGD(xs, 0.1, RandK(2), 0.9, seed=5)
    if at:
        take_steps(optimizer, xs, at)
        skip_a_step(xs, optimizer)
    ys = copies(xs)
    again = EFSGD(ys, 0.5)
    again.load_state_dict(through_file(as_before(optimizer.state_dict())))
    assert (again.seed, int(again.skipped)) == (5, int(at > 0))
    take_steps(optimizer, xs, range(5, 7))
    take_steps(again, ys, range(5, 7))
    assert same(xs, ys)
    assert same(optimizer.state_dict(), again.state_dict())


def test_a_state_with_the_seed_beside_the_first_parameter_only_is_read() -> None:
    xs = parameters()
    optimizer = EFSGD(xs, 0.1, RandK(2), seed=5)
    take_steps(optimizer, xs, 2)
    state = through_file(optimizer.state_dict())
    for entries in (state["state"][1], state["state"][2]):
        del entries["seed"]
    again = EFSGD(copies(xs), 0.5)
    again.load_state_dict(state)
    assert same(optimizer.state_dict(), again.state_dict())


def test_what_a_flattened_file_lacks_stays() -> None:
    xs = parameters()
    optimizer = EFSGD(xs, 0.1, RandK(2), seed=5)
    take_steps(optimizer, xs, 2)
    before = optimizer.state_dict()
    optimizer.load_state_dict(flattened(before))
    assert same(optimizer.state_dict(), before)


METHODS = ("sign", "scaledsign", "identity", "randk:2")


@pytest.mark.parametrize("flat", [False, True], ids=["nested", "flat"])
@pytest.mark.parametrize("momentum", [0, 0.9])
@pytest.mark.parametrize("c", METHODS)
def test_torch_saves_and_loads_a_method_without_memory(c: str, momentum: float, flat: bool) -> None:
    """It expects a state of each parameter that learns as soon as one of them has any."""
    tools = pytest.importorskip("torch.distributed.checkpoint.state_dict")
    options = tools.StateDictOptions(flatten_optimizer_state_dict=flat)

    def trained(steps: range | int) -> tuple[nn.Module, EFSGD]:
        net = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
        xs = list(net.parameters())
        for x, start in zip(xs, parameters([tuple(x.shape) for x in xs]), strict=True):
            x.data.copy_(start)
        optimizer = EFSGD(xs, 0.1, c, momentum, error_feedback=False)
        take_steps(optimizer, xs, steps)
        return net, optimizer

    net, optimizer = trained(3)
    xs = list(net.parameters())
    skip_a_step(xs, optimizer)
    saved = tools.get_optimizer_state_dict(net, optimizer, options=options)
    again, other = trained(0)
    again.load_state_dict(net.state_dict())
    tools.set_optimizer_state_dict(again, other, saved, options=options)
    assert int(other.skipped) == 1
    ys = list(again.parameters())
    take_steps(optimizer, xs, range(5, 7))
    take_steps(other, ys, range(5, 7))
    assert same([x.detach() for x in xs], [y.detach() for y in ys])


def test_a_state_that_another_wrote_is_taken_over() -> None:
    """ZeroRedundancyOptimizer writes into the state of the optimiser that it wraps."""
    xs = parameters()
    ys = copies(xs)
    optimizer, again = (EFSGD(ps, 0.1, RandK(2), 0.9, 0.1, seed=3) for ps in (xs, ys))
    take_steps(optimizer, xs, 2)
    skip_a_step(xs, optimizer)
    for x, y in zip(xs, ys, strict=True):
        y.data.copy_(x)
    saved = optimizer.state_dict()
    for i, y in enumerate(ys):
        again.state[y] = dict(saved["state"][i])
    assert int(again.skipped) == 1
    take_steps(optimizer, xs, range(2, 4))  # in other memory than the one that was written
    take_steps(again, ys, range(2, 4))
    assert same(xs, ys)
    assert same(optimizer.state_dict(), again.state_dict())
    again.state[ys[1]]["memory"] = torch.ones(7)
    again.state[ys[0]] = dict(again.state[ys[0]], skipped=torch.tensor(3))
    with pytest.raises(ValueError, match=r"memory of parameter 1 .* has shape \(7,\), not \(5,\)"):
        take_steps(again, ys, 1)
    again.state.clear()  # a new start
    take_steps(again, ys, 1)
    assert int(again.skipped) == 1
