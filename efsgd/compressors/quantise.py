"""Compressors that keep every entry with fewer bits: QSGD, TernGrad."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from efsgd.arrays import Array, Generator, max_abs, norm, pieces, unit_scale
from efsgd.checks import whole
from efsgd.compressors.base import Compressor, need
from efsgd.compressors.guarantee import Guarantee
from efsgd.compressors.packing import Reader, Shape, Writer, fill_trits, trit_bits


@dataclass(frozen=True)
class QSGD(Compressor, spec="qsgd"):
    """|x|_2 sign(x_i) l_i/s, l_i the stochastic rounding of s|x_i|/|x|_2 (Alistarh et al., 2017).

    Unbiased. omega is exact (derived here): sqrt(d)/s - 1 where d >= 4s^2, attained at equal
    entries; below that (d/4 - min_S (s - sqrt(S)/2)^2)/s^2 over the sums S of d odd squares,
    attained at odd integers with that sum.
    """

    s: int
    fixed_size = True
    random = True
    draws_in_order = True

    def __post_init__(self) -> None:
        """Refuse an impossible number of levels."""
        object.__setattr__(self, "s", whole("s", self.s, most=2**20))

    @property
    def guarantee(self) -> Guarantee:
        """Unbiased."""
        return "unbiased"

    def draw(self, shape: Shape, rng: Generator | None = None, state: Any = None) -> Array:
        """Uniform numbers in [0, 1), one an entry."""
        return need(rng, self).random(shape)

    def apply(self, x: Array, drawn: Any = None) -> Array:
        """The rounded levels times |x|_2/s."""
        size, levels = self._parts(x, drawn)
        return self._dense(size, levels)

    def _parts(self, x: Array, drawn: Array) -> tuple[Array, Array]:
        """The norm (..., 1) as it travels, and the signed levels in few bytes."""
        size = norm(x).astype(x.dtype)
        share = np.abs(x).astype(np.float64, copy=False)
        share /= np.where(size > 0, size, 1.0)
        share *= self.s
        share += drawn
        levels = share.astype(np.min_scalar_type(-self.s - 2))  # rounds down
        levels -= levels > self.s  # s + 1, where a sum of nearly that rounds up
        levels *= 1 - 2 * (x < 0).view(np.int8)
        return size, levels

    def _dense(self, size: Array, levels: Array) -> Array:
        dense: Array = levels.astype(size.dtype)
        dense /= np.asarray(self.s, size.dtype)
        dense *= size
        return dense

    def _omega(self, d: int) -> float:
        if d >= 4 * self.s**2:
            return math.sqrt(d) / self.s - 1.0
        return (d / 4 - min(self._gap(total) for total in _odd_sums(d, self.s))) / self.s**2

    def _gap(self, total: int) -> float:
        """(s - sqrt(S)/2)^2 for S = ``total``, which the worst sum of odd squares makes least."""
        return (self.s - math.sqrt(total) / 2) ** 2

    def _attaining_point(self, d: int, within: float) -> Array:
        if d >= 4 * self.s**2 or d == 1:
            return np.ones(d)
        return _odd_integers(d, min(_odd_sums(d, self.s), key=self._gap))

    def _bits(self, d: int, width: int) -> int:
        return width + d * (1 + self.s.bit_length())

    def _write(self, out: Writer, x: Array, drawn: Any) -> None:
        size, levels = self._parts(x, drawn)
        out.floats(size)
        codes = 2 * np.abs(levels.astype(np.int64)) + (levels < 0)
        out.codes(codes, 1 + self.s.bit_length())

    def _read(self, fields: Reader, shape: Shape) -> Any:
        size = fields.floats((*shape[:-1], 1))
        codes = fields.codes(shape, 1 + self.s.bit_length())
        if codes.max(initial=0) > 2 * self.s + 1 or (codes == 1).any():
            raise ValueError(f"the message holds a level beyond {self.s} or a negative zero")
        return size, codes

    def _fill(self, out: Array, message: Any) -> None:
        size, codes = message
        for piece in pieces(codes.shape):
            levels = codes[piece].astype(np.int64) >> 1
            signed = np.where(codes[piece] & 1, -levels, levels)
            out[piece] = self._dense(size[piece[: codes.ndim - 1]], signed)


def _odd_sums(d: int, s: int) -> list[int]:
    """The sums of d odd squares nearest to 4s^2 on either side; all are d modulo 8."""
    if d == 1:
        return [(2 * s - 1) ** 2]
    if d == 2:  # in plain numbers: torch.compile reads this, and would trace an array
        below, above = 2, 8 * s**2 + 2
        for first in range(1, 2 * s + 1, 2):
            second = (math.isqrt(4 * s**2 - first**2) - 1) // 2 * 2 + 1  # the nearest odd below
            below = max(below, first**2 + max(second, 1) ** 2)
            above = min(above, first**2 + (second + 2) ** 2)
        return [below, above]
    below = d + (4 * s**2 - d) // 8 * 8
    return [max(below, d), below + 8]


def _odd_integers(d: int, total: int) -> Array:
    """d odd integers whose squares sum to ``total``: ones, and two or three found by search."""
    free = min(d, 3)
    rest = total - (d - free)
    for first in _odd_up_to(rest) if free == 3 else (0,):
        for second in _odd_up_to(rest - first**2):
            last = rest - first**2 - second**2
            if last > 0 and math.isqrt(last) ** 2 == last:
                others = [first] * (free - 2) + [second, math.isqrt(last)]
                return np.array([1] * (d - free) + others, np.float64)
    raise AssertionError(f"{total} is no sum of {d} odd squares")  # Gauss: never for 3 or more


def _odd_up_to(square: int) -> range:
    """The odd numbers whose square is at most ``square``, the greatest first."""
    return range((math.isqrt(max(square, 0)) + 1) // 2 * 2 - 1, 0, -2)


@dataclass(frozen=True)
class TernGrad(Compressor, spec="terngrad"):
    """max|x| sign(x_i) b_i with b_i = 1 with probability |x_i|/max|x| (Wen et al., 2017).

    Unbiased, E|U|^2 = max|x| |x|_1. omega = (sqrt(d) - 1)/2, attained at (1, a, ..., a) with
    a = 1/(1 + sqrt(d)) (derived here).
    """

    fixed_size = True
    random = True
    draws_in_order = True

    @property
    def guarantee(self) -> Guarantee:
        """Unbiased."""
        return "unbiased"

    def draw(self, shape: Shape, rng: Generator | None = None, state: Any = None) -> Array:
        """Uniform numbers in [0, 1), one an entry."""
        return need(rng, self).random(shape)

    def apply(self, x: Array, drawn: Any = None) -> Array:
        """max|x|, its negative, or 0."""
        return np.where(
            self._sent_mask(x, drawn), np.copysign(max_abs(x), x), np.zeros((), x.dtype)
        )

    @staticmethod
    def _sent_mask(x: Array, drawn: Array) -> Array:
        """Which entries become +-max|x|."""
        share = np.abs(unit_scale(x)[0])  # so that the product is no denormal
        return np.asarray(drawn * share.max(-1, keepdims=True) < share)

    def _omega(self, d: int) -> float:
        return (math.sqrt(d) - 1.0) / 2.0

    def _attaining_point(self, d: int, within: float) -> Array:
        x = np.full(d, 1.0 / (1.0 + math.sqrt(d)))
        x[0] = 1.0
        return x

    def _bits(self, d: int, width: int) -> int:
        return width + trit_bits(d)

    def _write(self, out: Writer, x: Array, drawn: Any) -> None:
        out.floats(max_abs(x))
        out.trits(self._sent_mask(x, drawn) * np.where(x < 0, np.uint8(2), np.uint8(1)))

    def _read(self, fields: Reader, shape: Shape) -> Any:
        return fields.floats((*shape[:-1], 1)), fields.trits(shape)

    def _fill(self, out: Array, message: Any) -> None:
        fill_trits(out, *message)
