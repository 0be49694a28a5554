"""Whether a saved state can be that of a training: a file with a right digest may hold anything."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

CHECKED_ELSEWHERE = ("optimizer", "code", "machines")  # as a whole, by those who load them


def check(state: Mapping[str, Any], fresh: Mapping[str, Any], epochs: int, batches: int) -> None:
    """Raise ValueError for a state that no session of a training can be in.

    ``fresh`` is the state of one before its first step, of the same kinds and shapes. An epoch has
    ``batches`` batches.
    """
    for name, value in fresh.items():
        if name not in CHECKED_ELSEWHERE:
            _check_kind(name, state.get(name), value)
    epoch, batch, skipped = state["epoch"], state["batch"], state["skipped"]
    if not 0 <= epoch <= epochs:
        raise ValueError(f"epoch {epoch} of {epochs}")
    if not 0 <= batch <= (batches if epoch < epochs else 0):
        raise ValueError(f"batch {batch} of {batches} after epoch {epoch} of {epochs}")
    if state["diverged"] and not epoch:
        raise ValueError("it diverged before the end of an epoch")
    if not 0 <= skipped <= batch:
        raise ValueError(f"{skipped} of {batch} steps were skipped")
    if not all(0 <= seconds < math.inf for seconds in state["seconds"]):
        raise ValueError(f"seconds are {state['seconds']}")
    sums, counts = state["sums"], state["counts"]
    if not (sums.isfinite() & counts.isfinite() & (counts >= 0)).all():
        raise ValueError("means over steps are of no number of steps")
    if not state["history"]["epoch"].equal(fresh["history"]["epoch"]):
        raise ValueError("the epochs of its history are not counted from 1")
    if _options(state["optimizer"]) != _options(fresh["optimizer"]):
        raise ValueError("the optimiser has other options")


def _options(optimizer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The groups without their step size, which each epoch sets."""
    return [{**group, "lr": None} for group in optimizer["param_groups"]]


def _check_kind(name: str, value: Any, like: Any) -> None:
    """Raise ValueError where a value has not the type, shape and names of another."""
    if isinstance(like, Tensor):
        same = isinstance(value, Tensor) and (value.dtype, value.layout, value.shape) == (
            like.dtype,
            like.layout,
            like.shape,
        )
    else:
        same = type(value) is type(like)
    if not same:
        raise ValueError(f"{name} is of another kind or shape")
    if isinstance(like, dict):
        if value.keys() != like.keys():
            raise ValueError(f"{name} holds other names")
        for key in like:
            _check_kind(f"{name} {key}", value[key], like[key])
    elif isinstance(like, list):
        if len(value) != len(like):
            raise ValueError(f"{name} is a list of {len(value)}, not {len(like)}")
        for i, item in enumerate(like):
            _check_kind(f"{name} {i}", value[i], item)
