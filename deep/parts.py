"""What one step works on, gathered from the groups and the state of an optimiser."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from efsgd.base import Compressor
from efsgd.deep.kernels import draw, kernel
from efsgd.deep.state import buffers
from efsgd.deep.step import Lists, Number, Numbers, Part, Rule

if TYPE_CHECKING:
    from efsgd.deep.optimiser import EFSGD


def part_of(
    optimiser: EFSGD,
    group: dict[str, Any],
    device: torch.device,
    xs: Sequence[Tensor],
    draws: bool = True,
) -> Part:
    """These parameters of a group, all with a gradient on ``device``; buffers that lack are made.

    Raises ValueError for a number that a schedule has made NaN or infinite.
    """
    c, states = group["compressor"], buffers(optimiser, group, xs)
    rule = Rule(
        c,
        feedback="memory" in states[0],  # of all or of none
        weight_decay=group["weight_decay"] != 0,
        momentum=group["momentum"] != 0,
        nesterov=group["nesterov"],
        maximize=group["maximize"],
        together=group["scope"] == "global",
        measure=optimiser.measure,
    )
    lists = Lists(
        [x.detach() for x in xs],
        [x.grad.detach() for x in xs if x.grad is not None],
        [state.get("memory") for state in states],
        [state["momentum_buffer"] if rule.momentum else None for state in states],
        [state.get("started") if rule.momentum else None for state in states],
    )
    numbers = Numbers(*(_number(group, name, device) for name in Numbers._fields))
    sizes = [x.numel() for x in xs]
    vectors = [sum(sizes)] if rule.together else sizes
    drawn = _drawn(optimiser, c, device, vectors) if draws else []
    return Part(lists, numbers, rule, kernel(c), drawn)


def _drawn(optimiser: EFSGD, c: Compressor, device: torch.device, sizes: list[int]) -> list[Any]:
    """What C draws for a vector of each size, from the one generator of the device."""
    if not c.random:
        return [None] * len(sizes)
    if device not in optimiser.generators:
        optimiser.generators[device] = torch.Generator(device).manual_seed(optimiser.seed)
    return [draw(c, (d,), optimiser.generators[device], device) for d in sizes]


def _number(group: dict[str, Any], name: str, device: torch.device) -> Number:
    """A finite float, or a 0-dim tensor where the step can read it without waiting."""
    value = group[name]
    if not isinstance(value, Tensor):
        if not math.isfinite(value):  # it would stay in the memory
            raise ValueError(f"{name} is {value} at this step: mend the schedule that set it")
        return float(value)
    return value.detach().reshape(()).to(value.device if value.device.type == "cpu" else device)
