"""What one step works on, gathered from the groups and the state of an optimiser.

Letters as in the paper (arXiv 1901.09847, Algorithm 2), one entry a parameter, each of the shape of
that parameter: x iterate, g gradient, m momentum buffer, e memory (what has not been sent yet).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from efsgd.compressors.base import Compressor
from efsgd.compressors.wrappers import Identity
from efsgd.deep.kernels import Kernel, draw, kernel
from efsgd.deep.optim.checks import with_gradient

Number: TypeAlias = float | Tensor  # a float, or a 0-dim tensor where a change must not recompile


class Lists(NamedTuple):
    """The tensors of a step; ``e``, ``m`` and ``started`` hold None where there is none."""

    x: list[Tensor]
    g: list[Tensor]
    e: list[Tensor | None]
    m: list[Tensor | None]
    started: list[Tensor | None]  # 0-dim bool: m holds a gradient; only where m is dampened


class Numbers(NamedTuple):
    """The numbers of a step, which a schedule may change."""

    lr: Number
    weight_decay: Number
    momentum: Number
    dampening: Number


@dataclass(frozen=True)
class Rule:
    """What stays the same from step to step; a compiled step is made for one Rule."""

    compressor: Compressor
    feedback: bool
    weight_decay: bool
    momentum: bool
    nesterov: bool
    maximize: bool
    together: bool  # all tensors make one vector, instead of one each
    measure: bool

    @property
    def dense(self) -> bool:
        """Whether all is sent, so that nothing is compressed and nothing remembered."""
        return isinstance(self.compressor, Identity) and not self.feedback


class Part(NamedTuple):
    """The tensors of one parameter group on one device."""

    lists: Lists
    numbers: Numbers
    rule: Rule
    kernel: Kernel  # of rule.compressor
    drawn: list[Any]  # what the compressor drew, for each vector that it is given

    def vectors(self) -> list[Part]:
        """One part for each vector that the compressor is given: one tensor, or all together."""
        if self.rule.together:
            return [self]
        x, g, e, m, started = self.lists
        vectors = []
        for i, drawn in enumerate(self.drawn):
            lists = Lists([x[i]], [g[i]], [e[i]], [m[i]], [started[i]])
            vectors.append(Part(lists, self.numbers, self.rule, self.kernel, [drawn]))
        return vectors


class Subgroup(NamedTuple):
    """The parameters of a group on one device that have a gradient."""

    group: dict[str, Any]
    device: torch.device
    parameters: list[Tensor]


def subgroups(groups: Sequence[dict[str, Any]]) -> list[Subgroup]:
    """The parameters that have a gradient, by group and device; refuses a sparse gradient."""
    return [
        Subgroup(group, device, parameters)
        for group in groups
        for device, parameters in with_gradient(group).items()
    ]


@torch.inference_mode(mode=False)  # made inside it, they must bear to be changed outside it
def buffers(
    states: Mapping[Tensor, Any], subgroup: Subgroup, memory_dtype: torch.dtype | None
) -> list[dict[str, Any]]:
    """The state of each of these parameters, with all that its next step needs, zero at first.

    Either all have a memory or none: Identity needs none, but sends what another one left there.
    Without error feedback it is dropped. A state that lacks nothing is given back as it is; of
    another a new dict is made, and nothing changes until the step puts it in its place.
    """
    group, parameters = subgroup.group, subgroup.parameters
    compresses = not isinstance(group["compressor"], Identity)
    remembers = compresses or any("memory" in states.get(x, ()) for x in parameters)
    complete = []
    for x in parameters:
        state = states.get(x, {})
        new: dict[str, Any] = {}
        if group["error_feedback"] and remembers and "memory" not in state:
            new["memory"] = torch.zeros_like(x, dtype=memory_dtype)
        starts = group["momentum"] and state.get("momentum_buffer") is None
        if starts:
            new["momentum_buffer"] = torch.zeros_like(x)
        if group["momentum"] and group["dampening"] and "started" not in state:
            new["started"] = torch.full((), not starts, device=x.device)
        if not group["error_feedback"] and "memory" in state:
            state = {name: value for name, value in state.items() if name != "memory"}
        complete.append(state | new if new else state)
    return complete


def part_of(
    subgroup: Subgroup,
    states: Sequence[dict[str, Any]],
    *,
    measure: bool,
    draws: bool = True,
    generator: torch.Generator | None = None,
) -> Part:
    """These parameters, with their ``states`` and the numbers of their group.

    ``generator`` is needed by a random compressor; nothing is drawn without ``draws``.
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
    """A float, or a 0-dim tensor where the step can read it without waiting."""
    value = group[name]
    if not isinstance(value, Tensor):
        return float(value)
    return value.detach().reshape(()).to(value.device if value.device.type == "cpu" else device)
