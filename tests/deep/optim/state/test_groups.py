"""The groups of EFSGD: step sizes that are tensors, and groups that are edited by hand.

Without this file two groups could share a step size that a schedule fills, and what is put into
``param_groups`` could drive the memory away, unchecked.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from optimisers import (
    copies,
    normals,
    parameters,
    same,
    set_gradients,
    states,
    take_steps,
)
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from efsgd.compressors import TopK
from efsgd.deep import EFSGD


def sizes(optimizer: EFSGD) -> list[float]:
    return [float(group["lr"]) for group in optimizer.param_groups]


def two_groups(lr: Any, **options: Any) -> EFSGD:
    xs = parameters()
    return EFSGD([{"params": xs[:1]}, {"params": xs[1:]}], lr, **options)


def with_sizes(*lrs: float) -> dict[str, Any]:
    """A state whose groups have these step sizes."""
    optimizer = two_groups(1.0)
    for group, lr in zip(optimizer.param_groups, lrs, strict=True):
        group["lr"] = lr
    return optimizer.state_dict()


# -- step sizes that are tensors -------------------------------------------------------------------


@pytest.mark.parametrize("capturable", [False, True])
def test_each_group_has_a_step_size_of_its_own(capturable: bool) -> None:
    lr = torch.tensor(0.5, dtype=torch.float64)
    first, second = (two_groups(lr, capturable=capturable) for _ in range(2))
    first.load_state_dict(with_sizes(0.25, 0.125))
    assert sizes(first) == [0.25, 0.125]
    LambdaLR(second, [lambda t: 0.5, lambda t: 2.0])
    assert sizes(second) == [0.25, 1.0]
    assert sizes(first) == [0.25, 0.125]
    assert float(lr) == 0.5
    second.add_param_group({"params": [nn.Parameter(torch.ones(2))]})
    assert sizes(second)[2] == 0.5  # a schedule fills no default
    lr.fill_(7)
    assert 7 not in sizes(first) + sizes(second)


def test_two_optimisers_share_no_dict_of_a_group() -> None:
    groups = [{"params": parameters(), "lr": torch.tensor(0.5)}]
    first, second = EFSGD(groups, 0.1), EFSGD(groups, 0.1)
    first.param_groups[0]["lr"].fill_(2)
    first.param_groups[0]["momentum"] = 0.9
    assert sizes(second) == [0.5]
    assert second.param_groups[0]["momentum"] == 0
    assert float(groups[0]["lr"]) == 0.5  # type: ignore[arg-type]


@pytest.mark.parametrize("how", [None, copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_loading_fills_no_tensor_of_the_callers(how: Callable[[EFSGD], EFSGD] | None) -> None:
    optimizer = two_groups(torch.tensor(0.5))
    optimizer = how(optimizer) if how else optimizer
    ours = optimizer.param_groups[0]["lr"]
    theirs = torch.tensor(0.5)
    optimizer.param_groups[1]["lr"] = theirs
    optimizer.load_state_dict(with_sizes(0.25, 0.125))
    assert sizes(optimizer) == [0.25, 0.125]
    assert optimizer.param_groups[0]["lr"] is ours  # a captured step reads it there
    assert float(theirs) == 0.5
    for group in optimizer.param_groups:
        group["lr"] = ours
    optimizer.load_state_dict(with_sizes(0.5, 0.75))
    assert sizes(optimizer) == [0.5, 0.75]


def test_a_whole_number_as_step_size_can_be_halved() -> None:
    optimizer = EFSGD(parameters(), torch.tensor(1))
    LambdaLR(optimizer, lambda t: 0.5)
    assert sizes(optimizer) == [0.5]


def by_hand(optimizer: EFSGD, lr: Tensor) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr


def appended(optimizer: EFSGD, lr: Tensor) -> None:
    del optimizer.param_groups[:]
    for shape in ((3,), (4,)):
        optimizer.param_groups.append({"params": parameters([shape]), "lr": lr})


@pytest.mark.parametrize("edit", [by_hand, appended])
def test_a_tensor_put_into_groups_is_filled_neither_twice_nor_for_the_caller(edit: Any) -> None:
    optimizer, lr = two_groups(0.3), torch.tensor(0.5)
    edit(optimizer, lr)
    optimizer.step()
    LambdaLR(optimizer, [lambda t: 0.5, lambda t: 0.25])
    assert sizes(optimizer) == [0.25, 0.125]
    assert float(lr) == 0.5
    first, second = (group["lr"] for group in optimizer.param_groups)
    optimizer.param_groups[0]["lr"] = second  # the later group has it, unchanged
    optimizer.step()
    optimizer.param_groups.reverse()
    swapped = [group["lr"] for group in optimizer.param_groups]
    optimizer.step()
    for group, size in zip(optimizer.param_groups, swapped, strict=True):
        assert group["lr"] is size
    first.fill_(7)
    second.fill_(0.75)
    assert sizes(optimizer) == [0.125, 0.75]


def test_a_tensor_of_half_precision_holds_what_a_schedule_fills_in() -> None:
    optimizer = two_groups(torch.tensor(1.0, dtype=torch.float16))
    LambdaLR(optimizer, [lambda t: 0.1, lambda t: 0.3])
    assert sizes(optimizer) == [float(torch.tensor(lr)) for lr in (0.1, 0.3)]


# -- groups that are edited by hand ----------------------------------------------------------------


def larger(optimizer: EFSGD) -> Tensor:
    """Another parameter in the place of the first."""
    x = nn.Parameter(torch.ones(4096))
    optimizer.param_groups[0]["params"][0] = x
    return x


def grown(optimizer: EFSGD) -> Tensor:
    """The first parameter with more entries."""
    x: Tensor = optimizer.param_groups[0]["params"][0]
    x.grad, x.data = None, torch.ones(4096)
    return x


@pytest.mark.parametrize("edit", [larger, grown])
def test_parameters_that_were_put_into_a_group_are_checked(edit: Any) -> None:
    optimizer = EFSGD(parameters([(8,)]), 0.1, "qsgd:4")
    take_steps(optimizer, optimizer.param_groups[0]["params"], 2)
    x = edit(optimizer)
    set_gradients([x], [torch.ones(4096)])
    draws = optimizer.generators[torch.device("cpu")].get_state()
    for _ in range(2):
        with pytest.raises(ValueError, match=r"4096.*diverge.*mend what has changed param_gr"):
            optimizer.step()
    assert torch.equal(x, torch.ones(4096))
    assert torch.equal(optimizer.generators[torch.device("cpu")].get_state(), draws)


def test_a_parameter_that_has_grown_does_not_meet_its_old_memory() -> None:
    optimizer = EFSGD(parameters([(8,)]), 0.1)
    take_steps(optimizer, optimizer.param_groups[0]["params"], 2)
    x = grown(optimizer)
    set_gradients([x], [torch.ones(4096)])
    with pytest.raises(ValueError, match=r"memory of .* has shape \(8,\), not \(4096,\): load"):
        optimizer.step()
    del optimizer.state[x]["memory"]
    optimizer.step()
    assert states(optimizer)[0]["memory"].shape == (4096,)


def test_a_group_that_was_appended_gets_the_options_of_the_optimiser() -> None:
    xs = parameters()
    ys = copies(xs)
    by_hand = EFSGD(xs[:1], torch.tensor(0.1), "topk:1", 0.9, dampening=0.1)
    added = EFSGD(ys[:1], torch.tensor(0.1), "topk:1", 0.9, dampening=0.1)
    for optimizer, ps in ((by_hand, xs), (added, ys)):
        take_steps(optimizer, ps[:1], 1)
    by_hand.param_groups.append({"params": xs[1:], "compressor": "topk:2"})
    added.add_param_group({"params": ys[1:], "compressor": "topk:2"})
    by_hand.param_groups[0]["lr"].fill_(0.2)
    added.param_groups[0]["lr"].fill_(0.2)
    for optimizer, ps in ((by_hand, xs), (added, ys)):
        take_steps(optimizer, ps, 3)
    assert same(xs, ys)
    assert by_hand.param_groups[1]["compressor"] == TopK(2)
    assert same(by_hand.state_dict(), added.state_dict())
    by_hand.param_groups.pop(0)
    take_steps(by_hand, xs[1:], 1)
    assert list(by_hand.state_dict()["state"]) == [0, 1]  # of those that are left
    again = EFSGD(copies(xs[1:]), 0.5)
    again.load_state_dict(by_hand.state_dict())
    assert same(states(again), states(by_hand))


EDITS: list[tuple[Any, type[Exception], str]] = [
    (lambda groups, x: groups.append([x]), TypeError, "a group must be a dict with a list of"),
    (lambda groups, x: groups.append({"params": x}), TypeError, "a group must be a dict with"),
    (lambda groups, x: groups.append({}), TypeError, "a group must be a dict with a list"),
    (lambda groups, x: groups.append({"params": [x, 3]}), TypeError, "3 is no parameter"),
    (
        lambda groups, x: groups.append({"params": [x, groups[0]["params"][0]]}),
        ValueError,
        "is there twice",
    ),
    (
        lambda groups, x: groups.append({"params": [nn.Parameter(torch.eye(2).to_sparse())]}),
        TypeError,
        "is sparse",
    ),
    (lambda groups, x: groups.append({"params": [x], "lr": -1}), ValueError, "lr must be at le"),
    (lambda groups, x: groups[0]["params"].append(x.int()), TypeError, "is torch.int32"),
    (lambda groups, x: groups[0]["params"].append(2 * x), ValueError, "no leaf"),
]


@pytest.mark.parametrize(("edit", "kind", "words"), EDITS, ids=[row[2] for row in EDITS])
def test_edits_that_are_refused(edit: Any, kind: type[Exception], words: str) -> None:
    xs = parameters()
    optimizer = EFSGD(xs, 0.1, "randk:1")
    take_steps(optimizer, xs, 2)
    everything = [[x.detach() for x in xs], [optimizer.state[x]["memory"] for x in xs]]
    before = copy.deepcopy(everything)
    edit(optimizer.param_groups, nn.Parameter(torch.ones(4)))
    set_gradients(xs, normals())
    with pytest.raises(kind, match=words) as caught:
        optimizer.step()
    assert "\n" not in str(caught.value)
    assert same(everything, before)


@pytest.mark.parametrize("ask", ["step", "density", "state_dict", "memory_norm"])
def test_groups_that_are_no_list_are_refused(ask: str) -> None:
    optimizer = two_groups(0.1)
    take_steps(optimizer, [x for group in optimizer.param_groups for x in group["params"]], 1)
    optimizer.param_groups = None
    with pytest.raises(TypeError, match="param_groups must be a list of groups, not None"):
        getattr(optimizer, ask)()


# -- lazy parameters -------------------------------------------------------------------------------


def test_lazy_parameters_are_checked_once_they_are_there() -> None:
    net = nn.Sequential(nn.LazyLinear(3), nn.Linear(3, 1))
    optimizer = EFSGD(net.parameters(), 0.1, "qsgd:4", capturable=True)
    optimizer.step()
    again = EFSGD(nn.Linear(2, 3).parameters(), 0.1)
    take_steps(again, again.param_groups[0]["params"], 1)
    with pytest.raises(ValueError, match="cannot be loaded yet: run the model once, which makes"):
        EFSGD(nn.LazyLinear(3).parameters(), 0.1).load_state_dict(again.state_dict())
    optimizer.load_state_dict(optimizer.state_dict())
    net(torch.ones(2, 2)).sum().backward()
    optimizer.step()
    assert all("memory" in state for state in states(optimizer))
    wide = nn.Sequential(nn.LazyLinear(3), nn.Linear(3, 1))
    optimizer = EFSGD(wide.parameters(), 0.1, "qsgd:4")
    wide(torch.ones(2, 4096)).sum().backward()
    with pytest.raises(ValueError, match=r"12288.*diverge"):
        optimizer.step()
