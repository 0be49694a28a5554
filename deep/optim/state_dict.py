"""The state of an optimiser as plain values, and back to the bit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from efsgd.compressors import compressor
from efsgd.compressors.base import Compressor
from efsgd.deep.optim.checks import called, check_group

KEPT = ("memory", "momentum_buffer", "started")  # of a parameter


# -- saving ----------------------------------------------------------------------------------------


def packed(
    state: dict[str, Any],
    *,
    generators: Mapping[torch.device, torch.Generator],
    seed: int,
    skipped: Tensor,
) -> dict[str, Any]:
    """The state dict of torch, with specs for compressors, and what else a step depends on."""
    groups = [
        {name: _plain(value) for name, value in group.items()} for group in state["param_groups"]
    ]
    saved = {str(device): generator.get_state() for device, generator in generators.items()}
    more = {"generators": saved, "seed": seed, "skipped": skipped.clone()}
    return state | {"param_groups": groups} | more


def _plain(value: Any) -> Any:
    """What loads with weights_only=True, which refuses NumPy's numbers, such as np.logspace's."""
    if isinstance(value, np.generic):
        return value.item()
    return _spec(value) if isinstance(value, Compressor) else value


def _spec(c: Compressor) -> str:
    try:
        same = compressor(str(c)) == c
    except ValueError:
        same = False
    if not same:
        raise ValueError(
            f"{c!r} cannot be saved by its spec: register it, class Mine(Compressor, spec=...)"
        )
    return str(c)


# -- loading ---------------------------------------------------------------------------------------


def unpacked(state: dict[str, Any], groups: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What torch can load: compressors again, and groups that say everything; raises ValueError.

    ``groups`` are those of the optimiser that loads.
    """
    if not {"state", "param_groups"} <= set(state):
        raise ValueError("this is no state of an optimiser: 'state' or 'param_groups' is missing")
    foreign = {name for buffers in state["state"].values() for name in buffers} - {*KEPT}
    if foreign:
        raise ValueError(
            f"this is the state of another optimiser, which keeps {', '.join(sorted(foreign))}: "
            "load one of EFSGD or of torch.optim.SGD"
        )
    complete = []
    for i, saved in enumerate(state["param_groups"]):
        here = groups[i] if i < len(groups) else {}
        unsaved = ("params", "param_names")
        group = {name: value for name, value in here.items() if name not in unsaved} | saved
        if isinstance(group.get("compressor"), str):
            group["compressor"] = compressor(group["compressor"])
        complete.append(group)
        if len(saved["params"]) == len(here.get("params", ())):  # else torch says so
            check_group(group | {"params": here["params"]})
            _check_shapes(here, [state["state"].get(number, {}) for number in saved["params"]])
    return state | {"param_groups": complete}


def _check_shapes(group: dict[str, Any], states: Sequence[dict[str, Any]]) -> None:
    for i, (x, state) in enumerate(zip(group["params"], states, strict=True)):
        for name in KEPT[:2]:
            value = state.get(name)
            if isinstance(value, Tensor) and value.shape != x.shape:
                raise ValueError(
                    f"the saved {name} of {called(group, i)} has shape {tuple(value.shape)}, not "
                    f"{tuple(x.shape)}: load it beside the model that it was saved with"
                )


def restore(
    optimizer: Optimizer,
    state: dict[str, Any],
    sizes: Sequence[float | Tensor],
    memory_dtype: torch.dtype | None,
) -> None:
    """What torch does not load, or loads in another dtype, or shares with the state it was given.

    ``sizes`` are the step sizes so far: a tensor is filled, as a captured step reads it there.
    """
    for saved, group, lr in zip(state["param_groups"], optimizer.param_groups, sizes, strict=True):
        now = float(group["lr"])
        group["lr"] = lr.fill_(now) if isinstance(lr, Tensor) else now
        for number, x in zip(saved["params"], group["params"], strict=True):
            for name, value in state["state"].get(number, {}).items():
                if name in KEPT and isinstance(value, Tensor):
                    dtype = x.dtype if name == "momentum_buffer" else value.dtype
                    dtype = memory_dtype or dtype if name == "memory" else dtype
                    optimizer.state[x][name] = value.to(x.device, dtype, copy=True)


def restore_generators(
    generators: dict[torch.device, torch.Generator],
    state: dict[str, Any],
    devices: Iterable[torch.device],
    seed: int,
) -> None:
    """The generators of these devices, in place: a captured step draws from them."""
    saved = {torch.device(name): value for name, value in state.get("generators", {}).items()}
    for device in set(devices) & (set(saved) | set(generators)):
        generator = generators.setdefault(device, torch.Generator(device))
        if device in saved:
            generator.set_state(saved[device].cpu())
        elif "generators" in state:
            generator.manual_seed(seed)
