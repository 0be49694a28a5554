"""What an optimiser keeps of each parameter, and all of it as plain values, and back to the bit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from efsgd.base import Compressor, compressor
from efsgd.deep.checks import called, check_group
from efsgd.wrappers import Identity

if TYPE_CHECKING:
    from efsgd.deep.optimiser import EFSGD

KEPT = ("memory", "momentum_buffer", "started")  # of a parameter
# of the optimiser: what copies and pickles need besides state and groups
OPTIONS = (
    *("capturable", "nonfinite", "memory_dtype", "measure", "seed", "generators"),
    *("_adopted", "_forms", "_skipped", "_measured", "_elsewhere"),
)


@torch.inference_mode(mode=False)  # asked for inside it, they must bear to be changed outside it
def buffers(optimiser: EFSGD, group: dict[str, Any], xs: Sequence[Tensor]) -> list[dict[str, Any]]:
    """The state of these parameters of one group, with all that its next step needs, zero at first.

    Either all have a memory or none: Identity needs none, but sends what another one left there.
    Without error feedback it is dropped.
    """
    states = [optimiser.state[x] for x in xs]
    wanted = not isinstance(group["compressor"], Identity) or any("memory" in s for s in states)
    for x, state in zip(xs, states, strict=True):
        if not group["error_feedback"]:
            state.pop("memory", None)
        elif wanted and "memory" not in state:
            state["memory"] = torch.zeros_like(x, dtype=optimiser.memory_dtype)
        fresh = group["momentum"] and state.get("momentum_buffer") is None
        if fresh:
            state["momentum_buffer"] = torch.zeros_like(x)
        if group["momentum"] and group["dampening"] and "started" not in state:
            state["started"] = torch.full((), not fresh, device=x.device)
    return states


def remembered(optimiser: EFSGD) -> list[tuple[Tensor, Tensor]]:
    """The parameters that have a memory, with it."""
    every = [x for group in optimiser.param_groups for x in group["params"]]
    state = optimiser.state
    return [(x, state[x]["memory"]) for x in every if "memory" in state.get(x, {})]


# -- saving ----------------------------------------------------------------------------------------


def packed(state: dict[str, Any], optimiser: EFSGD) -> dict[str, Any]:
    """The state dict of torch, with specs for compressors, and what else a step depends on."""
    every = state["param_groups"]
    groups = [{name: _plain(value) for name, value in group.items()} for group in every]
    generators = {str(device): g.get_state() for device, g in optimiser.generators.items()}
    more = {"generators": generators, "seed": optimiser.seed, "skipped": optimiser.skipped.clone()}
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


def unpacked(state: dict[str, Any], optimiser: EFSGD) -> dict[str, Any]:
    """What torch can load: compressors again, and groups that say everything; raises ValueError."""
    if not {"state", "param_groups"} <= set(state):
        raise ValueError("this is no state of an optimiser: 'state' or 'param_groups' is missing")
    foreign = {name for own in state["state"].values() for name in own} - {*KEPT}
    if foreign:
        raise ValueError(
            f"this is the state of another optimiser, which keeps {', '.join(sorted(foreign))}: "
            "load one of EFSGD or of torch.optim.SGD"
        )
    groups = []
    for i, saved in enumerate(state["param_groups"]):
        own = optimiser.param_groups[i] if i < len(optimiser.param_groups) else {}
        unsaved = ("params", "param_names")
        group = {name: value for name, value in own.items() if name not in unsaved} | saved
        if isinstance(group.get("compressor"), str):
            group["compressor"] = compressor(group["compressor"])
        groups.append(group)
        if len(saved["params"]) == len(own.get("params", ())):  # else torch says so
            check_group(group | {"params": own["params"]})
            _check_shapes(own, [state["state"].get(number, {}) for number in saved["params"]])
    return state | {"param_groups": groups}


def _check_shapes(group: dict[str, Any], states: Sequence[dict[str, Any]]) -> None:
    for i, (x, state) in enumerate(zip(group["params"], states, strict=True)):
        for name in KEPT[:2]:
            value = state.get(name)
            if isinstance(value, Tensor) and value.shape != x.shape:
                raise ValueError(
                    f"the saved {name} of {called(group, i)} has shape {tuple(value.shape)}, not "
                    f"{tuple(x.shape)}: load it beside the model that it was saved with"
                )


def restore(optimiser: EFSGD, state: dict[str, Any], sizes: Sequence[float | Tensor]) -> None:
    """What torch does not load, or loads in another dtype, or shares with the state it was given.

    ``sizes`` are the step sizes so far: a tensor is filled, as a captured step reads it there.
    """
    for saved, group, lr in zip(state["param_groups"], optimiser.param_groups, sizes, strict=True):
        now = float(group["lr"])
        group["lr"] = lr.fill_(now) if isinstance(lr, Tensor) else now
        for number, x in zip(saved["params"], group["params"], strict=True):
            for name, value in state["state"].get(number, {}).items():
                if name in KEPT and isinstance(value, Tensor):
                    dtype = x.dtype if name == "momentum_buffer" else value.dtype
                    dtype = optimiser.memory_dtype or dtype if name == "memory" else dtype
                    optimiser.state[x][name] = value.to(x.device, dtype, copy=True)
    _restore_draws(optimiser, state)
    if "skipped" in state:
        optimiser.skipped.copy_(state["skipped"])


def _restore_draws(optimiser: EFSGD, state: dict[str, Any]) -> None:
    """The generators of these devices, in place: a captured step draws from them."""
    optimiser.seed = state.get("seed", optimiser.seed)
    devices = {x.device for group in optimiser.param_groups for x in group["params"]}
    saved = {torch.device(name): value for name, value in state.get("generators", {}).items()}
    for device in devices & (set(saved) | set(optimiser.generators)):
        generator = optimiser.generators.setdefault(device, torch.Generator(device))
        if device in saved:
            generator.set_state(saved[device].cpu())
        elif "generators" in state:
            generator.manual_seed(optimiser.seed)
