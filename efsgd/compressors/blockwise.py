"""Blockwise: another compressor, applied to consecutive blocks of a vector."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from efsgd.arrays import Array, Generator
from efsgd.checks import whole
from efsgd.compressors.base import Compressor, instance
from efsgd.compressors.packing import Reader, Shape, Writer
from efsgd.compressors.wrappers import Wrapper

PADDING = 16  # bits: each part has at most two fields that are filled up to whole bytes


@dataclass(frozen=True)
class Blockwise(Wrapper, Compressor, spec="blockwise"):
    """C applied to consecutive blocks of ``size`` entries; the last block may be shorter.

    delta is the least over the blocks, omega the greatest, both attained by a vector that is
    nonzero only in the worst block (derived here): 1/size for scaled sign.
    """

    compressor: Compressor
    size: int

    def __post_init__(self) -> None:
        """Refuse an impossible size, and a compressor that couples workers."""
        if instance(self.compressor).joint:
            raise ValueError(
                f"blockwise cuts each vector into blocks, and {self.compressor} couples the "
                f"workers of a step: use it without blockwise"
            )
        object.__setattr__(self, "size", whole("size", self.size))

    @property
    def draws_in_order(self) -> bool:
        """Only if nothing is drawn: the full blocks of all vectors come before the rests."""
        return not self.random

    def draw(self, shape: Shape, rng: Generator | None = None, state: Any = None) -> Any:
        """A list with what the inner one draws for the full blocks and for the rest."""
        shapes = self.block_shapes(shape)
        states = state or [None] * len(shapes)
        pairs = zip(shapes, states, strict=True)
        return [self.compressor.draw(part, rng, warm) for part, warm in pairs]

    def next_state(self, x: Array, drawn: Any) -> Any:
        """A list with the inner one's states, or None."""
        pairs = zip(self._parts(x), drawn, strict=True)
        states = [self.compressor.next_state(part, draws) for part, draws in pairs]
        return None if all(state is None for state in states) else states

    def apply(self, x: Array, drawn: Any = None) -> Array:
        """C of each block, joined again."""
        pairs = zip(self._parts(x), drawn or [None, None], strict=False)
        sent = [self.compressor.apply(part, draws) for part, draws in pairs]
        rows = [part.reshape(*x.shape[:-1], math.prod(part.shape[x.ndim - 1 :])) for part in sent]
        return np.concatenate(rows, axis=-1)

    def block_shapes(self, shape: Shape) -> list[Shape]:
        """The shapes of the full blocks (..., blocks, size) and of the rest (..., d % size)."""
        *lead, d = shape
        shapes = [(*lead, d // self.size, self.size), (*lead, d % self.size)]
        return [part for part in shapes if 0 not in part[len(lead) :]]

    def _slices(self, x: Array) -> list[tuple[Array, Shape]]:
        """Views (..., n) of what the full blocks cover and of the rest, and their block shapes."""
        cut = x.shape[-1] // self.size * self.size
        views = [view for view in (x[..., :cut], x[..., cut:]) if view.shape[-1]]
        return list(zip(views, self.block_shapes(x.shape), strict=True))

    def _parts(self, x: Array) -> list[Array]:
        """The full blocks (..., blocks, size) and the rest (..., d % size), contiguous."""
        return [np.ascontiguousarray(view).reshape(shape) for view, shape in self._slices(x)]

    def block_sizes(self, d: int) -> list[int]:
        """The sizes that occur among the blocks of d entries."""
        return [shape[-1] for shape in self.block_shapes((d,))]

    def _delta(self, d: int) -> float:
        return min(self.compressor.delta(b) for b in self.block_sizes(d))

    def _omega(self, d: int) -> float:
        return max(self.compressor.omega(b) for b in self.block_sizes(d))

    def _scaled_delta(self, d: int, a: float) -> float:
        return min(self.compressor._scaled_delta(b, a) for b in self.block_sizes(d))

    def _scaled_attained(self, a: float) -> bool:
        return self.compressor._scaled_attained(a)

    def _attaining_point(self, d: int, within: float) -> Array:
        return self._scaled_point(d, within, 1.0)

    def _scaled_point(self, d: int, within: float, a: float) -> Array:
        if self.guarantee == "unbiased":
            size = max(self.block_sizes(d), key=self.compressor.omega)
        else:
            size = min(self.block_sizes(d), key=lambda b: self.compressor._scaled_delta(b, a))
        x = np.zeros(d)
        start = 0 if size == self.size else d - size
        x[start : start + size] = self.compressor._scaled_point(size, within, a)
        return x

    def _bits(self, d: int, width: int) -> int:
        shapes = self.block_shapes((d,))
        bits = (math.prod(s[:-1]) * self.compressor._bits(s[-1], width) for s in shapes)
        return sum(bits) + PADDING * len(shapes)

    def _write(self, out: Writer, x: Array, drawn: Any) -> None:
        for part, draws in zip(self._parts(x), drawn or [None, None], strict=False):
            self.compressor._write(out, part, draws)

    def _read(self, fields: Reader, shape: Shape) -> Any:
        return [self.compressor._read(fields, part) for part in self.block_shapes(shape)]

    def _fill(self, out: Array, message: Any) -> None:
        for (view, shape), part in zip(self._slices(out), message, strict=True):
            self.compressor._fill(view.reshape(shape), part)  # a view: only the last axis is split
