"""What one step works on, gathered from the groups and the state of an optimiser."""

from __future__ import annotations

import math
from collections.abc import MutableMapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from efsgd.compressors.wrappers import Identity
from efsgd.deep.kernels import draw, kernel
from efsgd.deep.optim.part import Lists, Number, Numbers, Part, Rule


class Subgroup(NamedTuple):
    """The parameters of a group on one device that have a gradient."""

    group: dict[str, Any]
    device: torch.device
    parameters: list[Tensor]


@torch.inference_mode(mode=False)  # asked for inside it, they must bear to be changed outside it
def buffers(
    states: MutableMapping[Tensor, Any], subgroup: Subgroup, memory_dtype: torch.dtype | None
) -> list[dict[str, Any]]:
    """The state of each of these parameters, with all that its next step needs, zero at first.

    Either all have a memory or none: Identity needs none, but sends what another one left there.
    Without error feedback it is dropped.
    """
    group, parameters = subgroup.group, subgroup.parameters
    compresses = not isinstance(group["compressor"], Identity)
    remembers = compresses or any("memory" in states[x] for x in parameters)
    for x in parameters:
        state = states[x]
        if not group["error_feedback"]:
            state.pop("memory", None)
        elif remembers and "memory" not in state:
            state["memory"] = torch.zeros_like(x, dtype=memory_dtype)
        starts = group["momentum"] and state.get("momentum_buffer") is None
        if starts:
            state["momentum_buffer"] = torch.zeros_like(x)
        if group["momentum"] and group["dampening"] and "started" not in state:
            state["started"] = torch.full((), not starts, device=x.device)
    return [states[x] for x in parameters]


def part_of(
    subgroup: Subgroup,
    states: Sequence[dict[str, Any]],
    *,
    measure: bool,
    draws: bool = True,
    generator: torch.Generator | None = None,
) -> Part:
    """These parameters, with their ``states`` and the numbers of their group.

    ``generator`` is needed by a random compressor; nothing is drawn without ``draws``. Raises
    ValueError for a number that a schedule has made NaN or infinite.
    """
    group, device, parameters = subgroup
    c = group["compressor"]
    rule = Rule(
        c,
        feedback="memory" in states[0],  # of all or of none
        weight_decay=group["weight_decay"] != 0,
        momentum=group["momentum"] != 0,
        nesterov=group["nesterov"],
        maximize=group["maximize"],
        together=group["scope"] == "global",
        measure=measure,
    )
    lists = Lists(
        x=[x.detach() for x in parameters],
        g=[x.grad.detach() for x in parameters if x.grad is not None],
        e=[state.get("memory") for state in states],
        m=[state["momentum_buffer"] if rule.momentum else None for state in states],
        started=[state.get("started") if rule.momentum else None for state in states],
    )
    numbers = Numbers(*(_number(group, name, device) for name in Numbers._fields))
    sizes = [x.numel() for x in parameters]
    drawn = []
    if draws:
        for d in [sum(sizes)] if rule.together else sizes:
            drawn.append(draw(c, (d,), generator, device) if c.random else None)
    return Part(lists, numbers, rule, kernel(c), drawn)


def _number(group: dict[str, Any], name: str, device: torch.device) -> Number:
    """A finite float, or a 0-dim tensor where the step can read it without waiting."""
    value = group[name]
    if not isinstance(value, Tensor):
        if not math.isfinite(value):  # it would stay in the memory
            raise ValueError(f"{name} is {value} at this step: mend the schedule that set it")
        return float(value)
    return value.detach().reshape(()).to(value.device if value.device.type == "cpu" else device)
