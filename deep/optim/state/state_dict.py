"""The state of an optimiser as tensors, numbers and strings, and back to the bit."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from reprlib import repr as shortened
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from efsgd.compressors import compressor
from efsgd.compressors.base import Compressor
from efsgd.deep.optim.checks import check_group
from efsgd.deep.optim.state.entries import STATE, generator_state, seed, skipped, states_of
from efsgd.deep.optim.state.shared import Saved, Shared, is_shared

# -- saving ----------------------------------------------------------------------------------------


def packed(
    groups: Sequence[dict[str, Any]], states: Mapping[Tensor, dict[str, Any]], shared: Shared
) -> dict[str, Any]:
    """What torch's ``state_dict`` makes, with all that a later step depends on in plain values.

    Compressors become specs; what is shared stands in the state of the first parameters. The state
    of a tensor that is no longer in a group is left out.
    """
    params = [x for group in groups for x in group["params"]]
    numbers = {id(x): i for i, x in enumerate(params)}
    state: dict[int, dict[str, Any]] = {}
    for i, x in enumerate(params):
        entries = list(states.get(x, {}).items())
        if own := {name: value for name, value in entries if not is_shared(name)}:
            state[i] = own
    for x, name, value in shared.packed(groups):
        state.setdefault(numbers[id(x)], {})[name] = value
    plain = [
        {name: _plain(value) for name, value in group.items() if name != "params"}
        | {"params": [numbers[id(x)] for x in group["params"]]}
        for group in groups
    ]
    return {"state": state, "param_groups": plain}


def _plain(value: Any) -> Any:
    """A value that torch.load(weights_only=True) accepts: it refuses NumPy's numbers, for one."""
    if isinstance(value, np.generic):
        return value.item()
    return _spec(value) if isinstance(value, Compressor) else value


def _spec(c: Compressor) -> str:
    try:
        faithful = compressor(str(c)) == c
    except ValueError:
        faithful = False
    if not faithful:
        raise ValueError(
            f"{c!r} cannot be saved by its spec: register it, class Mine(Compressor, spec=...)"
        )
    return str(c)


# -- loading ---------------------------------------------------------------------------------------


class Loaded(NamedTuple):
    """A state that fits an optimiser, in memory of its own."""

    groups: list[dict[str, Any]]  # with the parameters; lr is a float
    states: dict[Tensor, dict[str, Any]]  # memory, momentum_buffer, started
    shared: Saved


def unpacked(
    state: Any, groups: Sequence[dict[str, Any]], memory_dtype: torch.dtype | None
) -> Loaded:
    """Check a state against the groups of the optimiser that loads it, and change nothing.

    What it does not say of a group stays as it is there. Raises ValueError for what does not fit.
    """
    try:
        return _unpacked(state, groups, memory_dtype)
    except Exception as error:  # whatever nonsense stands in it
        words = " ".join(str(error).split())
        if isinstance(error, ValueError) and words == str(error):
            raise
        raise ValueError(f"this state does not fit: {words}") from error


def _unpacked(
    state: Any, groups: Sequence[dict[str, Any]], memory_dtype: torch.dtype | None
) -> Loaded:
    for name, kind in (("state", Mapping), ("param_groups", Sequence)):
        if not isinstance(state, Mapping) or not isinstance(state.get(name), kind):
            raise ValueError(
                "this is no state of an optimiser: 'state' or 'param_groups' is missing"
            )
    _refuse_foreign(state["state"])
    saved_groups = state["param_groups"]
    if len(saved_groups) != len(groups):
        raise ValueError(
            f"the state has {len(saved_groups)} parameter groups, the optimiser {len(groups)}: "
            "a different number of parameter groups cannot be loaded"
        )
    pairs = list(zip(saved_groups, groups, strict=True))
    loaded = [_group(saved, group) for saved, group in pairs]
    numbers = [number for saved in saved_groups for number in saved["params"]]
    if stray := [number for number in state["state"] if number not in numbers]:
        raise ValueError(f"the state of parameter {stray[0]!r} is there, which no group lists")
    states, shared = states_of(
        loaded, [state["state"].get(number, {}) for number in numbers], memory_dtype
    )
    devices = {x.device for group in groups for x in group["params"]}
    return Loaded(loaded, states, _beside(state, shared, devices))


def _refuse_foreign(states: Mapping[Any, Any]) -> None:
    dicts = [entries for entries in states.values() if isinstance(entries, Mapping)]
    names = {str(name) for entries in dicts for name in entries}
    if foreign := {name for name in names if name not in STATE and not is_shared(name)}:
        raise ValueError(
            f"this is the state of another optimiser, which keeps {', '.join(sorted(foreign))}: "
            "load one of EFSGD or of torch.optim.SGD"
        )


def _group(saved: Any, current: dict[str, Any]) -> dict[str, Any]:
    """The group that is loaded: what is saved, for the rest what it is now."""
    if not isinstance(saved, Mapping) or not isinstance(saved.get("params"), list):
        raise ValueError("a saved group is no dict with a list of parameters as 'params'")
    for number in saved["params"]:  # torch.distributed.checkpoint has names there
        if not isinstance(number, int | str):
            raise ValueError(
                f"a saved group lists {shortened(number)} in 'params': only numbers or names of "
                "parameters can stand there"
            )
    if len(saved["params"]) != len(current["params"]):
        raise ValueError(
            f"a saved group has {len(saved['params'])} parameters, which doesn't match the size "
            f"of the optimiser's group, {len(current['params'])}"
        )
    options = {name: copy.deepcopy(value) for name, value in saved.items() if name != "params"}
    group = current | options
    if isinstance(group["compressor"], str):
        group["compressor"] = compressor(group["compressor"])
    check_group(group)
    names = group.get("param_names")
    if names is not None and len(list(names)) != len(group["params"]):
        raise ValueError(f"a saved group has {len(group['params'])} parameters, not {names!r}")
    return group | {"lr": float(group["lr"])}


def _beside(state: Mapping[str, Any], shared: Saved, devices: set[torch.device]) -> Saved:
    """What is shared, also where an earlier version put it: beside "state" and "param_groups"."""
    if "seed" in state:
        shared = shared._replace(seed=seed(state["seed"]))
    if "skipped" in state:
        shared = shared._replace(skipped=skipped(state["skipped"]))
    if "generators" in state:
        by_device = {torch.device(name): value for name, value in state["generators"].items()}
        generators = {
            device: generator_state(by_device[device], device) for device in devices & {*by_device}
        }
        shared = shared._replace(generators=generators)
    return shared
