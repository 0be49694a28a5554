"""States that do not fit EFSGD: whatever is wrong with them, loading changes nothing.

Without this file a damaged state could leave an optimiser with half of it, or with NaN that stays.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from optimisers import as_before, parameters, same, take_steps

from efsgd.compressors import RandK
from efsgd.deep import EFSGD

NONSENSE: list[Any] = [
    "junk",
    -1,
    float("nan"),
    10**30,
    None,
    [],
    {"a": 1},
    object(),
    torch.tensor(torch.nan),
    torch.full((3, 4), torch.inf),
    torch.ones(3, 4, dtype=torch.int32),
    torch.zeros(5056, dtype=torch.uint8),
    torch.ones(3, 4).to_sparse(),
]
# numbers as others; torch.optim.SGD writes None
FITTING: list[tuple[Any, Any]] = [
    ("lr", 10**30),
    ("weight_decay", 10**30),
    ("momentum_buffer", None),
]


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every part of nested dicts and lists."""
    items: Any = ()
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
    return [path, *(way for key, part in items for way in paths(part, (*path, key)))]


def damaged(value: Any, path: tuple[Any, ...], nonsense: Any) -> Any:
    """A copy in which the part at this path is another one."""
    if not path:
        return nonsense
    part = copy.copy(value)
    part[path[0]] = damaged(value[path[0]], path[1:], nonsense)
    return part


@pytest.mark.parametrize("earlier", [False, True])
def test_nonsense_is_refused_and_changes_nothing(earlier: bool) -> None:
    xs = parameters()
    groups = [{"params": xs[:1]}, {"params": xs[1:]}]
    optimizer = EFSGD(groups, torch.tensor(0.1), RandK(1), 0.9, 0.1)
    take_steps(optimizer, xs, 2)
    good = copy.deepcopy(optimizer.state_dict())
    places = paths(good)
    if earlier:
        good = as_before(good)
        places = [path for path in paths(good) if path not in places]
    take_steps(optimizer, xs, range(2, 4))
    before, lrs = copy.deepcopy(optimizer.state_dict()), optimizer.param_groups
    for path in places:
        for nonsense in NONSENSE:
            if path and any(path[-1] == key and nonsense is value for key, value in FITTING):
                continue
            with pytest.raises(ValueError) as caught:  # noqa: PT011
                optimizer.load_state_dict(damaged(good, path, nonsense))
            assert "\n" not in str(caught.value)
            assert same(optimizer.state_dict(), before), (path, nonsense)
            assert optimizer.param_groups is lrs
    take_steps(optimizer, xs, 1)


@pytest.mark.parametrize("number", [torch.ones(2, 2).to_sparse(), torch.ones(3), 1.5], ids=str)
def test_what_is_no_parameter_of_a_group_is_named_in_one_sentence(number: Any) -> None:
    xs = parameters()
    optimizer = EFSGD(xs, 0.1)
    take_steps(optimizer, xs, 1)
    state = optimizer.state_dict()
    state["param_groups"][0]["params"][1] = number
    with pytest.raises(ValueError, match=r"group lists .* in 'params': only numbers") as caught:
        optimizer.load_state_dict(state)
    assert len(str(caught.value)) < 200
    assert "\n" not in str(caught.value)


def test_a_half_that_cannot_hold_the_memory_is_refused() -> None:
    xs = parameters()
    optimizer = EFSGD(xs, 0.1)
    take_steps(optimizer, xs, 1)
    state = copy.deepcopy(optimizer.state_dict())
    state["state"][0]["memory"][0, 0] = 1e6  # above 65504
    with pytest.raises(ValueError, match=r"memory of .* holds NaN or inf in torch.float16: load"):
        EFSGD(xs, 0.1, memory_dtype=torch.float16).load_state_dict(state)
