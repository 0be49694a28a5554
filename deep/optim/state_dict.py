"""The state of an optimiser as tensors, numbers and strings, and back to the bit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from efsgd.compressors import compressor
from efsgd.compressors.base import Compressor
from efsgd.deep.optim.checks import check_group, parameter_name

BUFFERS = ("memory", "momentum_buffer")  # of a parameter, of its shape
STATE = (*BUFFERS, "started")  # all that is remembered of a parameter


# -- saving ----------------------------------------------------------------------------------------


def packed(
    state: dict[str, Any],
    *,
    generators: Mapping[torch.device, torch.Generator],
    seed: int,
    skipped: Tensor,
) -> dict[str, Any]:
    """torch's state dict with compressors as specs, and all else that a later step depends on."""
    groups = [
        {name: _plain(value) for name, value in group.items()} for group in state["param_groups"]
    ]
    return state | {
        "param_groups": groups,
        "generators": {str(device): rng.get_state() for device, rng in generators.items()},
        "seed": seed,
        "skipped": skipped.clone(),
    }


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


def unpacked(state: dict[str, Any], groups: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What torch can load: specs become compressors, and each group gets the options it lacks.

    ``groups`` are those of the optimiser that loads; they fill in. Raises ValueError for the state
    of another optimiser, for options that are refused and for buffers of another shape.
    """
    if not {"state", "param_groups"} <= set(state):
        raise ValueError("this is no state of an optimiser: 'state' or 'param_groups' is missing")
    foreign = {name for buffers in state["state"].values() for name in buffers} - {*STATE}
    if foreign:
        raise ValueError(
            f"this is the state of another optimiser, which keeps {', '.join(sorted(foreign))}: "
            "load one of EFSGD or of torch.optim.SGD"
        )
    loaded = []
    for i, saved in enumerate(state["param_groups"]):
        current = groups[i] if i < len(groups) else {}
        unsaved = ("params", "param_names")
        group = {name: value for name, value in current.items() if name not in unsaved} | saved
        if isinstance(group.get("compressor"), str):
            group["compressor"] = compressor(group["compressor"])
        loaded.append(group)
        if len(saved["params"]) == len(current.get("params", ())):  # else torch says so
            check_group(group | {"params": current["params"]})
            _check_shapes(current, [state["state"].get(number, {}) for number in saved["params"]])
    return state | {"param_groups": loaded}


def _check_shapes(group: dict[str, Any], states: Sequence[dict[str, Any]]) -> None:
    for i, (x, state) in enumerate(zip(group["params"], states, strict=True)):
        for name in BUFFERS:
            value = state.get(name)
            if isinstance(value, Tensor) and value.shape != x.shape:
                saved = f"the saved {name} of {parameter_name(group, i)}"
                raise ValueError(
                    f"{saved} has shape {tuple(value.shape)}, not {tuple(x.shape)}: "
                    "load it beside the model that it was saved with"
                )


@contextmanager
def loading(
    optimizer: Optimizer,
    memory_dtype: torch.dtype | None,
    finish: Callable[[dict[str, Any]], None],
) -> Iterator[None]:
    """Inside the block torch's own ``load_state_dict`` loads what :func:`packed` has made.

    ``finish`` is called with the state at the end, before the user's own hooks.
    """
    sizes = [group["lr"] for group in optimizer.param_groups]
    states: list[dict[str, Any]] = []  # what the user's own hooks have made of it

    def unpack(_: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
        states.append(state)
        return unpacked(state, optimizer.param_groups)

    def complete(_: Optimizer) -> None:
        (state,) = states
        restore(optimizer, state, sizes, memory_dtype)
        finish(state)

    with (
        optimizer.register_load_state_dict_pre_hook(unpack),
        optimizer.register_load_state_dict_post_hook(complete, prepend=True),
    ):
        yield


def restore(
    optimizer: Optimizer,
    state: dict[str, Any],
    sizes: Sequence[float | Tensor],
    memory_dtype: torch.dtype | None,
) -> None:
    """Set what torch does not load, loads in another dtype, or shares with the state it was given.

    ``sizes`` are the step sizes before loading: a tensor of them is overwritten and stays in place,
    as a captured step reads it there.
    """
    for saved, group, lr in zip(state["param_groups"], optimizer.param_groups, sizes, strict=True):
        loaded = float(group["lr"])
        group["lr"] = lr.fill_(loaded) if isinstance(lr, Tensor) else loaded
        for number, x in zip(saved["params"], group["params"], strict=True):
            for name, value in state["state"].get(number, {}).items():
                if name in STATE and isinstance(value, Tensor):
                    dtype = x.dtype if name == "momentum_buffer" else value.dtype
                    dtype = memory_dtype or dtype if name == "memory" else dtype
                    optimizer.state[x][name] = value.to(x.device, dtype, copy=True)


def restore_generators(
    generators: dict[torch.device, torch.Generator],
    state: dict[str, Any],
    devices: Iterable[torch.device],
    seed: int,
) -> None:
    """Set the generators of these devices, in place: a captured step draws from them."""
    saved = {torch.device(name): value for name, value in state.get("generators", {}).items()}
    for device in set(devices) & (set(saved) | set(generators)):
        generator = generators.setdefault(device, torch.Generator(device))
        if device in saved:
            generator.set_state(saved[device].cpu())
        elif "generators" in state:
            generator.manual_seed(seed)
