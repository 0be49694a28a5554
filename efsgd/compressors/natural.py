"""Entries rounded to powers of two (Natural), or to those times the largest (NaturalDithering)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from efsgd.arrays import Array, Generator, max_abs, pieces, unit_scale
from efsgd.checks import whole
from efsgd.compressors.base import Compressor, need
from efsgd.compressors.guarantee import Guarantee
from efsgd.compressors.packing import Reader, Shape, Writer

NATURAL_BITS = 9  # sign and 8 bits of exponent, unless the entries span more than 255 binades


@dataclass(frozen=True)
class Natural(Compressor, spec="natural"):
    """Entries rounded to a power of two: stochastically, or to the nearest (Horvath et al., 2019).

    Stochastic: unbiased, omega = 1/8, attained at |x_i| = (4/3) 2^a. Nearest (of two equally near
    the smaller): delta = 8/9, attained at |x_i| = (3/2) 2^a. Denormal entries are rounded like any
    other. A message takes 9 bits an entry; only where nonzero entries span more than 255 binades
    (77 decades) does it take more.
    """

    nearest: bool = False

    @property
    def guarantee(self) -> Guarantee:
        """Unbiased if stochastic, else for every x."""
        return "pathwise" if self.nearest else "unbiased"

    @property
    def random(self) -> bool:
        """Only the stochastic one draws."""
        return not self.nearest

    draws_in_order = True

    def draw(self, shape: Shape, rng: Generator | None = None, state: Any = None) -> Array | None:
        """Uniform numbers in [0, 1), one an entry; None for the nearest."""
        return None if self.nearest else need(rng, self).random(shape)

    def apply(self, x: Array, drawn: Any = None) -> Array:
        """Powers of two with the signs of x; 0 where x is 0."""
        mantissa, exponent = np.frexp(x)
        fraction = np.abs(mantissa).astype(np.float64)  # in [1/2, 1), to be rounded to 1/2 or 1
        up = fraction > 0.75 if self.nearest else drawn < 2.0 * fraction - 1.0
        power = np.ldexp(np.ones((), x.dtype), exponent - 1 + up)
        return np.where(x == 0, np.zeros((), x.dtype), np.copysign(power, x))

    def _delta(self, d: int) -> float:
        return 8.0 / 9.0

    def _omega(self, d: int) -> float:
        return 1.0 / 8.0

    def _attaining_point(self, d: int, within: float) -> Array:
        return np.full(d, 1.5 if self.nearest else 4.0 / 3.0)

    def _scaled_delta(self, d: int, a: float) -> float:
        """Nearest: a C(t)/t - 1 of an entry t lies in [2a/3 - 1, 4a/3 - 1] (derived here)."""
        if not self.nearest:
            return super()._scaled_delta(d, a)
        return 1.0 - max((1.0 - 2.0 * a / 3.0) ** 2, (4.0 * a / 3.0 - 1.0) ** 2)

    def _scaled_point(self, d: int, within: float, a: float) -> Array:
        x = self.attaining_point(d, within)
        # For a > 1 the worst is to round up: just above 3/2 instead of at it.
        return x * (1 + within / 8) if self.nearest and a > 1 else x

    def _bits(self, d: int, width: int) -> int:
        return 24 + d * (13 if width == 64 else 10)  # 2099 and 278 magnitudes with denormals

    def _write(self, out: Writer, x: Array, drawn: Any) -> None:
        sent = self._finite(self.apply(x, drawn))
        _, exponent = np.frexp(sent)
        nonzero = sent != 0
        least = int(exponent.min(where=nonzero, initial=2**14))
        most = int(exponent.max(where=nonzero, initial=least - 1))
        width = max(NATURAL_BITS, 1 + (most - least + 1).bit_length())
        out.codes(np.array([least + 2**15]), 16)
        out.codes(np.array([width]), 8)
        out.codes(np.where(nonzero, 2 * (exponent - least + 1) + (sent < 0), 0), width)

    def _read(self, fields: Reader, shape: Shape) -> Any:
        least = int(fields.codes((1,), 16)[0]) - 2**15
        width = int(fields.codes((1,), 8)[0])
        if not NATURAL_BITS <= width <= 13:
            raise ValueError(f"the message claims {width} bits an entry, not 9 to 13")
        codes = fields.codes(shape, width)
        most = np.finfo(fields.dtype).maxexp
        top = int(codes.max(initial=0) >> 1)
        with np.errstate(over="ignore"):
            bottom = np.ldexp(np.ones((), fields.dtype), least - 1)
        fits = top == 0 or (bottom > 0 and least + top - 1 <= most)
        if (codes == 1).any() or not fits:
            raise ValueError(f"the message holds an exponent beyond {fields.dtype}")
        return least, codes

    def _fill(self, out: Array, message: Any) -> None:
        least, codes = message
        for piece in pieces(codes.shape):
            steps = codes[piece].astype(np.int64) >> 1
            power = np.ldexp(np.ones((), out.dtype), np.where(steps, steps + least - 2, 0))
            signed = np.where(codes[piece] & 1, -power, power)
            out[piece] = np.where(steps > 0, signed, np.zeros((), out.dtype))


@dataclass(frozen=True)
class NaturalDithering(Compressor, spec="dithering"):
    """|x_i|/max|x| rounded stochastically to one of 0, 2^(1-s), ..., 1/2, 1, signs kept.

    Natural dithering (Horvath et al., arXiv 1905.10988) with the norm max|x|; s = 1 is TernGrad.
    Unbiased. omega is exact (derived here). The largest entry has no error; another of share u
    between the levels l and h has the variance (h-u)(u-l). E|C(x)-x|^2 <= w |x|^2 says that
    (d-1) max_u ((h-u)(u-l) - w u^2) <= w, a quadratic in u that is greatest at u = (l+h)/2/(1+w):
    each segment needs w = (d-1)(h-l)^2/(2(1+c + sqrt((1-c)^2 + (d-1)(l+h)^2))) with c = (d-1) l h,
    and omega is the greatest of the s, attained at (1, u, ..., u).
    """

    s: int
    fixed_size = True
    random = True
    draws_in_order = True

    def __post_init__(self) -> None:
        """Refuse an impossible number of levels."""
        object.__setattr__(self, "s", whole("s", self.s, most=256))

    @property
    def guarantee(self) -> Guarantee:
        """Unbiased."""
        return "unbiased"

    def draw(self, shape: Shape, rng: Generator | None = None, state: Any = None) -> Array:
        """Uniform numbers in [0, 1), one an entry."""
        return need(rng, self).random(shape)

    def apply(self, x: Array, drawn: Any = None) -> Array:
        """max|x| times a power of two or 0, with the signs of x."""
        return self._dense(max_abs(x), self._numbers(x, drawn), x < 0)

    def _numbers(self, x: Array, drawn: Array) -> Array:
        """The level of each entry, 0 to s: j > 0 stands for 2^(j-s)."""
        size = np.abs(unit_scale(x)[0])
        largest = size.max(-1, keepdims=True)
        share = size / np.where(largest > 0, largest, 1.0)
        mantissa, exponent = np.frexp(share)
        above = share >= 2.0 ** (1 - self.s)
        up = np.where(above, 2.0 * mantissa - 1.0, share * 2.0 ** (self.s - 1))
        numbers: Array = np.where(above, exponent - 1 + self.s, 0) + (drawn < up)
        return numbers

    def _dense(self, size: Array, numbers: Array, minus: Array) -> Array:
        """What levels and signs stand for beside the largest magnitude (..., 1)."""
        levels = np.ldexp(size, numbers - self.s)
        signed = np.where(minus, -levels, levels)
        return np.where(numbers > 0, signed, np.zeros((), size.dtype))

    def _segments(self) -> list[tuple[float, float]]:
        """The neighbours (l, h) among the levels."""
        levels = [0.0, *(2.0**-j for j in range(self.s - 1, -1, -1))]
        return list(pairwise(levels))

    def _variance(self, d: int, low: float, high: float) -> float:
        """The greatest E|C(x)-x|^2/|x|^2 with all entries but one in one segment."""
        c = (d - 1) * low * high
        root = math.sqrt((1.0 - c) ** 2 + (d - 1) * (low + high) ** 2)
        return (d - 1) * (high - low) ** 2 / (2.0 * (1.0 + c + root))

    def _omega(self, d: int) -> float:
        return max(self._variance(d, low, high) for low, high in self._segments())

    def _attaining_point(self, d: int, within: float) -> Array:
        low, high = max(self._segments(), key=lambda segment: self._variance(d, *segment))
        x = np.full(d, (low + high) / 2.0 / (1.0 + self._variance(d, low, high)))
        x[0] = 1.0
        return x

    def _code_bits(self) -> int:
        """Of an entry: it takes one of 2s + 1 values."""
        return (2 * self.s).bit_length()

    def _bits(self, d: int, width: int) -> int:
        return width + d * self._code_bits()

    def _write(self, out: Writer, x: Array, drawn: Any) -> None:
        numbers = self._numbers(x, drawn)
        out.floats(max_abs(x))
        out.codes(np.where(numbers > 0, 2 * numbers - 1 + (x < 0), 0), self._code_bits())

    def _read(self, fields: Reader, shape: Shape) -> Any:
        size = fields.floats((*shape[:-1], 1))
        codes = fields.codes(shape, self._code_bits())
        if codes.max(initial=0) > 2 * self.s:
            raise ValueError(f"the message holds a level beyond {self.s}")
        return size, codes

    def _fill(self, out: Array, message: Any) -> None:
        size, codes = message
        for piece in pieces(codes.shape):
            numbers = (codes[piece].astype(np.int64) + 1) >> 1
            minus = (codes[piece] & 1) == 0
            out[piece] = self._dense(size[piece[: codes.ndim - 1]], numbers, minus)
