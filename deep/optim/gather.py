"""What one step works on, gathered from the groups and the state of an optimiser."""

from __future__ import annotations

import math
from collections.abc import MutableMapping, Sequence
from typing import Any

import torch
from torch import Tensor

from efsgd.compressors.base import Compressor
from efsgd.compressors.wrappers import Identity
from efsgd.deep.kernels import draw, kernel
from efsgd.deep.optim.step import Lists, Number, Numbers, Part, Rule


@torch.inference_mode(mode=False)  # asked for inside it, they must bear to be changed outside it
def buffers(
    state: MutableMapping[Tensor, Any],
    group: dict[str, Any],
    xs: Sequence[Tensor],
    memory_dtype: torch.dtype | None,
) -> list[dict[str, Any]]:
    """The state of these parameters of one group, with all that its next step needs, zero at first.

    Either all have a memory or none: Identity needs none, but sends what another one left there.
    Without error feedback it is dropped.
    """
    states = [state[x] for x in xs]
    wanted = not isinstance(group["compressor"], Identity) or any("memory" in s for s in states)
    for x, held in zip(xs, states, strict=True):
        if not group["error_feedback"]:
            held.pop("memory", None)
        elif wanted and "memory" not in held:
            held["memory"] = torch.zeros_like(x, dtype=memory_dtype)
        fresh = group["momentum"] and held.get("momentum_buffer") is None
        if fresh:
            held["momentum_buffer"] = torch.zeros_like(x)
        if group["momentum"] and group["dampening"] and "started" not in held:
            held["started"] = torch.full((), not fresh, device=x.device)
    return states


def part_of(
    group: dict[str, Any],
    device: torch.device,
    xs: Sequence[Tensor],
    states: Sequence[dict[str, Any]],
    *,
    measure: bool,
    draws: bool = True,
    generator: torch.Generator | None = None,
) -> Part:
    """These parameters of a group, all with a gradient on ``device``, and their ``states``.

    ``generator`` is needed by a random compressor; nothing is drawn without ``draws``. Raises
    ValueError for a number that a schedule has made NaN or infinite.
    """
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
        [x.detach() for x in xs],
        [x.grad.detach() for x in xs if x.grad is not None],
        [state.get("memory") for state in states],
        [state["momentum_buffer"] if rule.momentum else None for state in states],
        [state.get("started") if rule.momentum else None for state in states],
    )
    numbers = Numbers(*(_number(group, name, device) for name in Numbers._fields))
    sizes = [x.numel() for x in xs]
    vectors = [sum(sizes)] if rule.together else sizes
    drawn = _drawn(c, generator, device, vectors) if draws else []
    return Part(lists, numbers, rule, kernel(c), drawn)


def _drawn(
    c: Compressor, generator: torch.Generator | None, device: torch.device, sizes: list[int]
) -> list[Any]:
    """What C draws for a vector of each size."""
    if not c.random:
        return [None] * len(sizes)
    return [draw(c, (d,), generator, device) for d in sizes]


def _number(group: dict[str, Any], name: str, device: torch.device) -> Number:
    """A finite float, or a 0-dim tensor where the step can read it without waiting."""
    value = group[name]
    if not isinstance(value, Tensor):
        if not math.isfinite(value):  # it would stay in the memory
            raise ValueError(f"{name} is {value} at this step: mend the schedule that set it")
        return float(value)
    return value.detach().reshape(()).to(value.device if value.device.type == "cpu" else device)
