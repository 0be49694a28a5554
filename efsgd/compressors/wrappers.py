"""Identity, and compressors made of another one: Scaled, Blockwise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from efsgd.arrays import Array, Generator, all_finite
from efsgd.checks import positive, whole
from efsgd.compressors.base import Compressor, instance
from efsgd.compressors.guarantee import Guarantee
from efsgd.compressors.packing import Reader, Shape, Writer

PADDING = 16  # bits: each part has at most two fields that are filled up to whole bytes


@dataclass(frozen=True)
class Identity(Compressor, spec="identity"):
    """x itself: delta = 1."""

    fixed_size = True
    projection = True

    @property
    def guarantee(self) -> Guarantee:
        """Holds for every x."""
        return "pathwise"

    def apply(self, x: Array, drawn: Any = None) -> Array:
        """A copy of x."""
        return x.copy()

    def _delta(self, d: int) -> float:
        return 1.0

    def _attaining_point(self, d: int, within: float) -> Array:
        return np.ones(d)


class _Wrapper:
    """What compressors made of another one take over from it."""

    compressor: Compressor

    @property
    def random(self) -> bool:
        """As the inner one."""
        return self.compressor.random

    @property
    def fixed_size(self) -> bool:
        """As the inner one."""
        return self.compressor.fixed_size


@dataclass(frozen=True)
class Scaled(_Wrapper, Compressor, spec="scaled"):
    """factor * C(x).

    Around an unbiased C: delta = 2a - a^2 (1 + omega) in expectation, greatest, 1/(1+omega), at
    a = 1/(1+omega) (arXiv 1901.09847, Theorem IV). Around a projection (<C(x), x> = |C(x)|^2):
    a(2-a) delta. Else 1 - (a sqrt(1-delta) + |1-a|)^2, which holds but need not be attained.
    """

    compressor: Compressor
    factor: float

    def __post_init__(self) -> None:
        """Refuse a factor that is not positive."""
        instance(self.compressor)
        object.__setattr__(self, "factor", positive("factor", self.factor))

    def contractive(self, d: int) -> Compressor:
        """Itself where delta(d) > 0, else what the inner one gives."""
        if self.guarantee == "unbiased" or self.delta(d) > 0:
            return super().contractive(d)
        return self.compressor.contractive(d)

    @property
    def attained(self) -> bool:
        """As the inner one, where the bound is exact."""
        inner = self.compressor
        exact = inner.projection or inner.guarantee == "unbiased" or self.factor <= 1
        return inner.attained and exact

    @property
    def guarantee(self) -> Guarantee:
        """In expectation around an unbiased one, else as the inner one."""
        inner = self.compressor.guarantee
        if self.factor == 1:
            return inner
        if inner == "unbiased":
            return "expectation"
        return "none" if inner == "absolute" else inner

    @property
    def projection(self) -> bool:
        """Only if nothing is scaled."""
        return self.factor == 1 and self.compressor.projection

    def draw(self, shape: Shape, rng: Generator | None = None, state: Any = None) -> Any:
        """What the inner one draws."""
        return self.compressor.draw(shape, rng, state)

    def next_state(self, x: Array, drawn: Any) -> Any:
        """The inner one's state."""
        return self.compressor.next_state(x, drawn)

    def apply(self, x: Array, drawn: Any = None) -> Array:
        """The factor times what the inner one sends."""
        sent: Array = self.compressor.apply(x, drawn) * np.asarray(self.factor, x.dtype)
        return sent

    def _delta(self, d: int) -> float:
        return max(0.0, self.compressor._scaled_delta(d, self.factor))

    def _scaled_delta(self, d: int, a: float) -> float:
        return self.compressor._scaled_delta(d, a * self.factor)

    def _scaled_point(self, d: int, within: float, a: float) -> Array:
        return self.compressor._scaled_point(d, within, a * self.factor)

    def _omega(self, d: int) -> float:
        return self.compressor.omega(d)

    def _attaining_point(self, d: int, within: float) -> Array:
        return self.compressor._scaled_point(d, within, self.factor)

    def _bits(self, d: int, width: int) -> int:
        return self.compressor._bits(d, width)

    def _write(self, out: Writer, x: Array, drawn: Any) -> None:
        if self.factor > 1:
            self._checked(x, drawn)
        self.compressor._write(out, x, drawn)

    def _read(self, fields: Reader, shape: Shape) -> Any:
        return self.compressor._read(fields, shape)

    def _fill(self, out: Array, message: Any) -> None:
        self.compressor._fill(out, message)
        with np.errstate(over="ignore", invalid="ignore"):
            out *= np.asarray(self.factor, out.dtype)
        if self.factor > 1 and not all_finite(out):
            raise ValueError(f"the message of {self} holds numbers beyond {out.dtype}")


@dataclass(frozen=True)
class Blockwise(_Wrapper, Compressor, spec="blockwise"):
    """C applied to consecutive blocks of ``size`` entries; the last block may be shorter.

    delta is the least over the blocks, omega the greatest, both attained by a vector that is
    nonzero only in the worst block (derived here): 1/size for scaled sign.
    """

    compressor: Compressor
    size: int

    def __post_init__(self) -> None:
        """Refuse an impossible size."""
        instance(self.compressor)
        object.__setattr__(self, "size", whole("size", self.size))

    @property
    def guarantee(self) -> Guarantee:
        """As the inner one."""
        return self.compressor.guarantee

    @property
    def attained(self) -> bool:
        """As the inner one."""
        return self.compressor.attained

    @property
    def projection(self) -> bool:
        """As the inner one."""
        return self.compressor.projection

    def draw(self, shape: Shape, rng: Generator | None = None, state: Any = None) -> Any:
        """A list with what the inner one draws for the full blocks and for the rest."""
        shapes = self.block_shapes(shape)
        states = state or [None] * len(shapes)
        return [self.compressor.draw(*p) for p in zip(shapes, [rng] * 2, states, strict=False)]

    def next_state(self, x: Array, drawn: Any) -> Any:
        """A list with the inner one's states, or None."""
        pairs = zip(self._parts(x), drawn, strict=True)
        states = [self.compressor.next_state(*pair) for pair in pairs]
        return None if all(state is None for state in states) else states

    def apply(self, x: Array, drawn: Any = None) -> Array:
        """C of each block, joined again."""
        pairs = zip(self._parts(x), drawn or [None, None], strict=False)
        sent = [self.compressor.apply(*pair) for pair in pairs]
        flat = [
            piece.reshape(*x.shape[:-1], math.prod(piece.shape[x.ndim - 1 :])) for piece in sent
        ]
        return np.concatenate(flat, axis=-1)

    def block_shapes(self, shape: Shape) -> list[Shape]:
        """The shapes of the full blocks (..., blocks, size) and of the rest (..., d % size)."""
        *lead, d = shape
        shapes = [(*lead, d // self.size, self.size), (*lead, d % self.size)]
        return [part for part in shapes if 0 not in part[len(lead) :]]

    def _parts(self, x: Array) -> list[Array]:
        cut = x.shape[-1] // self.size * self.size
        pieces = [piece for piece in (x[..., :cut], x[..., cut:]) if piece.shape[-1]]
        pairs = zip(pieces, self.block_shapes(x.shape), strict=True)
        return [np.ascontiguousarray(piece).reshape(shape) for piece, shape in pairs]

    def block_sizes(self, d: int) -> list[int]:
        """The sizes that occur among the blocks of d entries."""
        return [shape[-1] for shape in self.block_shapes((d,))]

    def _delta(self, d: int) -> float:
        return min(self.compressor.delta(b) for b in self.block_sizes(d))

    def _omega(self, d: int) -> float:
        return max(self.compressor.omega(b) for b in self.block_sizes(d))

    def _scaled_delta(self, d: int, a: float) -> float:
        return min(self.compressor._scaled_delta(b, a) for b in self.block_sizes(d))

    def _attaining_point(self, d: int, within: float) -> Array:
        return self._scaled_point(d, within, 1.0)

    def _scaled_point(self, d: int, within: float, a: float) -> Array:
        if self.guarantee == "unbiased":
            worst = max(self.block_sizes(d), key=self.compressor.omega)
        else:
            worst = min(self.block_sizes(d), key=self.compressor.delta)
        x = np.zeros(d)
        start = 0 if worst == self.size else d - worst
        x[start : start + worst] = self.compressor._scaled_point(worst, within, a)
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
        cut = out.shape[-1] // self.size * self.size
        pieces = [piece for piece in (out[..., :cut], out[..., cut:]) if piece.shape[-1]]
        shapes = self.block_shapes(out.shape)
        for piece, shape, part in zip(pieces, shapes, message, strict=True):
            block = np.empty(shape, out.dtype)
            self.compressor._fill(block, part)
            piece[...] = block.reshape(piece.shape)
