"""The saved state of each parameter, entry by entry: checked, then copied beside the parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from reprlib import repr as shortened
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from efsgd.checks import whole
from efsgd.deep.optim.checks import check_tensor, computes, parameter_name
from efsgd.deep.optim.state.shared import SUFFIX, Saved

STATE = ("memory", "momentum_buffer", "started")  # all that is remembered of one parameter
NOTHING: dict[str, Any] = {}


def in_form(
    groups: Sequence[dict[str, Any]],
    states: Mapping[Tensor, Any],
    memory_dtype: torch.dtype | None,
) -> bool:
    """Whether each entry is there as a step needs it, but for its values: no device is asked.

    It is asked at every step, so it must be cheap.
    """
    for group in groups:
        for x in group["params"]:
            state = states.get(x, NOTHING)
            if not isinstance(state, dict):
                return False
            for key in STATE:
                value = state.get(key)
                if value is None:
                    if key in state and key != "momentum_buffer":
                        return False
                elif not _fits(key, value, x, memory_dtype):
                    return False
    return True


def _fits(key: str, value: Any, x: Tensor, memory_dtype: torch.dtype | None) -> bool:
    """Whether :func:`states_of` would leave this entry as it is, or refuse its values only."""
    if not isinstance(value, Tensor) or value.device != x.device:
        return False
    dtype = value.dtype
    if key == "started":
        return dtype == torch.bool and value.ndim == 0
    if dtype != (x.dtype if key == "momentum_buffer" else memory_dtype or dtype):
        return False
    dense = value.layout == torch.strided and (dtype == x.dtype or computes(dtype))
    return dense and not is_lazy(x) and value.shape == x.shape


def states_of(
    groups: Sequence[dict[str, Any]],
    saved: Sequence[Any],
    memory_dtype: torch.dtype | None,
    *,
    copy: bool = True,
) -> tuple[dict[Tensor, dict[str, Any]], Saved]:
    """The state of each parameter, and what all share.

    ``saved`` holds the entries of each parameter, in order. The tensors that are given back are
    copies, or without ``copy`` those that are saved where these lie and are as they should. Raises
    ValueError for what does not fit, and changes nothing.
    """
    states: dict[Tensor, dict[str, Any]] = {}
    shared: dict[str, Any] = {}
    generators: dict[torch.device, Tensor] = {}
    named = [(x, parameter_name(group, i)) for group in groups for i, x in _numbered(group)]
    for (x, name), entries in zip(named, saved, strict=True):
        if not isinstance(entries, Mapping):
            raise ValueError(f"the saved state of {name} is no dict, but {shortened(entries)}")
        own = {}
        for key, value in entries.items():
            if _is_absent(key, value):
                continue
            if key in STATE:
                own[key] = _entry(
                    key, value, x, f"the saved {key} of {name}", dtype=memory_dtype, copy=copy
                )
            elif key == "seed":
                shared.setdefault(key, seed(value))
            elif key == "skipped":
                shared.setdefault(key, skipped(value))
            elif key == x.device.type + SUFFIX:
                generators.setdefault(x.device, generator_state(value, x.device))
        if entries:
            states[x] = own
    says = generators or "seed" in shared
    return states, Saved(**shared, generators=generators if says else None)


def _numbered(group: dict[str, Any]) -> list[tuple[int, Tensor]]:
    return list(enumerate(group["params"]))


def _is_absent(key: str, value: Any) -> bool:
    """Whether this stands for nothing: torch writes {} for what a flattened file lacks."""
    nothing = isinstance(value, dict) and not value
    return nothing or (value is None and key == "momentum_buffer")


def _entry(
    key: str, value: Any, x: Tensor, name: str, *, dtype: torch.dtype | None, copy: bool
) -> Tensor:
    """This entry on the device of its parameter; ``dtype`` is that of a memory, None: as it is."""
    if not isinstance(value, Tensor):
        raise ValueError(f"{name} is no tensor, but {shortened(value)}")
    if is_lazy(x):
        raise ValueError(f"{name} cannot be loaded yet: run the model once, which makes it")
    shape = () if key == "started" else tuple(x.shape)
    if tuple(value.shape) != shape:
        raise ValueError(
            f"{name} has shape {tuple(value.shape)}, not {shape}: "
            "load the state of this model, or leave this entry out"
        )
    if key == "started":
        if value.dtype != torch.bool:
            raise ValueError(f"{name} is {value.dtype}, not torch.bool")
        return value.to(x.device, copy=copy)
    check_tensor(value, name)
    dtype = x.dtype if key == "momentum_buffer" else dtype or value.dtype
    own = value.detach().to(x.device, dtype, copy=copy)
    if not bool(torch.isfinite(own).all()):  # it would stay there
        raise ValueError(f"{name} holds NaN or inf in {dtype}: load an earlier state")
    return own


def seed(value: Any) -> int:
    """The seed of generators that is saved."""
    return whole("seed", value.item() if isinstance(value, Tensor) else value, 2**64 - 1, least=0)


def skipped(value: Any) -> int:
    """The number of skipped steps that is saved."""
    count = value.item() if isinstance(value, Tensor) else value
    return whole("skipped", count, 2**63 - 1, least=0)


def generator_state(value: Any, device: torch.device) -> Tensor:
    """The state of a generator of this device, tried on another one."""
    try:
        value = value.get_state() if isinstance(value, torch.Generator) else value
        state: Tensor = value.to("cpu", torch.uint8, copy=True)
        torch.Generator(device).set_state(state)
    except Exception as error:
        raise ValueError(
            f"the saved state of the generator on {device} is none: {error}"
        ) from error
    return state
