"""What one step of the optimiser works on: lists of tensors, numbers, and what stays the same.

Letters as in the paper (arXiv 1901.09847, Algorithm 2), one entry a parameter, each of the shape of
that parameter: x iterate, g gradient, m momentum buffer, e memory (what has not been sent yet).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from torch import Tensor

from efsgd.compressors.base import Compressor
from efsgd.compressors.wrappers import Identity
from efsgd.deep.kernels import Kernel

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
