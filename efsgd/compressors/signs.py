"""Compressors that keep signs: Sign, ScaledSign, TwoMeans.

A bit cannot carry a zero. With ``zero=1`` (default) sign(0) = +1, also for -0.0, and the message
has truly one bit an entry; with ``zero=0`` the sign is ternary, as ``np.sign`` and the paper's code
have it, and the message takes 1.6 bits. The zero vector is always sent as zero: C(0) = 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from efsgd.arrays import Array, mean_abs
from efsgd.compressors.base import Compressor
from efsgd.compressors.guarantee import Guarantee
from efsgd.compressors.packing import Reader, Shape, Writer, fill_trits, trit_bits

# row b: the signs that the eight bits of b stand for, least bit first; a set bit is a minus
_SIGNS = 1.0 - 2.0 * np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], 1, bitorder="little")


def check_zero(zero: int) -> int:
    """Return the value of sign(0), which is 1 or 0."""
    if zero not in (0, 1) or isinstance(zero, bool):
        raise ValueError(f"zero must be 1 (one bit, sign(0) = +1) or 0 (ternary), not {zero}")
    return int(zero)


def with_signs(x: Array, size: Array, zero: int = 1) -> Array:
    """``size`` with the signs of x; x (..., d), size (..., 1) non-negative, dtype of x."""
    minus = (x < 0).view(np.int8)
    signs: Array = 1 - 2 * minus if zero else (x > 0).view(np.int8) - minus
    scaled = signs.astype(x.dtype)  # np.sign and np.copysign take longer
    scaled *= size
    return scaled


def write_signs(out: Writer, x: Array, zero: int) -> None:
    """Write one bit an entry (1 for a minus), or one trit (2 for a minus) if zero is 0."""
    if zero:
        out.bits(x < 0)
    else:
        out.trits((x > 0) + np.uint8(2) * (x < 0))


def read_signs(fields: Reader, shape: Shape, zero: int) -> Array:
    """Read what ``write_signs`` wrote: packed bits if zero is 1, else trits."""
    return fields.packed_bits(int(np.prod(shape))) if zero else fields.trits(shape)


def fill_signs(out: Array, size: Array, signs: Array, zero: int) -> None:
    """Write ``size`` (..., 1) with the signs that were read into ``out`` (..., d)."""
    if not zero:
        fill_trits(out, size, signs)
    elif size.size == 1 and out.flags.c_contiguous:
        table = (_SIGNS * size.reshape(())).astype(out.dtype)
        flat, full = out.reshape(-1), out.size // 8  # bytes without padding
        np.take(table, signs[:full], axis=0, out=flat[: 8 * full].reshape(-1, 8), mode="clip")
        if out.size % 8:
            flat[8 * full :] = table[signs[full], : out.size % 8]
    else:
        minus = np.unpackbits(signs, count=out.size, bitorder="little").view(bool)
        np.copyto(out, size)
        np.copyto(out, -size, where=minus.reshape(out.shape))


def one_hot(d: int) -> Array:
    """The vector (1, 0, ..., 0)."""
    x = np.zeros(d)
    x[0] = 1.0
    return x


@dataclass(frozen=True)
class Sign(Compressor, spec="sign"):
    """sign(x), unscaled: every entry +-1 (or 0, see ``zero``). No relative bound holds.

    The update of signSGD. Behind error feedback it takes steps of length 1 whatever the step size:
    there use ``Scaled(Sign(), lr)``, or better :class:`ScaledSign`.
    """

    zero: int = 1
    fixed_size = True

    def __post_init__(self) -> None:
        """Refuse any sign(0) but 1 and 0."""
        object.__setattr__(self, "zero", check_zero(self.zero))

    def apply(self, x: Array, drawn: Any = None) -> Array:
        """The signs; 0 for the zero vector."""
        if not self.zero:
            return np.sign(x) + np.zeros((), x.dtype)
        return with_signs(x, self._size(x))

    @staticmethod
    def _size(x: Array) -> Array:
        return x.any(-1, keepdims=True).astype(x.dtype)

    def _bits(self, d: int, width: int) -> int:
        return d + 1 if self.zero else trit_bits(d)

    def _write(self, out: Writer, x: Array, drawn: Any) -> None:
        if self.zero:
            out.bits(np.asarray(x.any(-1)))
        write_signs(out, x, self.zero)

    def _read(self, fields: Reader, shape: Shape) -> Any:
        size = fields.bits((*shape[:-1], 1)) if self.zero else None
        signs = read_signs(fields, shape, self.zero)
        return np.ones((*shape[:-1], 1), bool) if size is None else size, signs

    def _fill(self, out: Array, message: Any) -> None:
        size, signs = message
        fill_signs(out, size.astype(out.dtype), signs, self.zero)


@dataclass(frozen=True)
class ScaledSign(Compressor, spec="scaledsign"):
    """|x|_1/d * sign(x). delta = 1/d; at x it is exactly the density phi(x) when sign(0) = +1.

    arXiv 1901.09847, section 4 (Algorithm 1 uses it). Attained at 1-sparse x; with ``zero=0`` 1/d
    is an infimum, approached at (1, h, ..., h) as h -> 0 (derived here). By blocks:
    ``Blockwise(ScaledSign(), 128)``.
    """

    zero: int = 1
    fixed_size = True

    def __post_init__(self) -> None:
        """Refuse any sign(0) but 1 and 0."""
        object.__setattr__(self, "zero", check_zero(self.zero))

    @property
    def guarantee(self) -> Guarantee:
        """Holds for every x."""
        return "pathwise"

    @property
    def attained(self) -> bool:
        """Only with sign(0) = +1."""
        return self.zero == 1

    @property
    def projection(self) -> bool:
        """Only with sign(0) = +1: zeros that stay zero make |C(x)|^2 smaller than <C(x), x>."""
        return self.zero == 1

    def apply(self, x: Array, drawn: Any = None) -> Array:
        """The mean magnitude with the signs of x."""
        return with_signs(x, mean_abs(x), self.zero)

    def _delta(self, d: int) -> float:
        return 1.0 / d

    def _scaled_delta(self, d: int, a: float) -> float:
        return a * (2.0 - a) / d  # as of a projection; the ternary one achieves more where x_i = 0

    def _attaining_point(self, d: int, within: float) -> Array:
        x = one_hot(d)
        if not self.zero:
            x[1:] = min(within / 4, 1.0 / d)  # phi - 1/d < 2h + d h^2 <= 3h
        return x

    def _bits(self, d: int, width: int) -> int:
        return width + (d if self.zero else trit_bits(d))

    def _write(self, out: Writer, x: Array, drawn: Any) -> None:
        out.floats(mean_abs(x))
        write_signs(out, x, self.zero)

    def _read(self, fields: Reader, shape: Shape) -> Any:
        return fields.floats((*shape[:-1], 1)), read_signs(fields, shape, self.zero)

    def _fill(self, out: Array, message: Any) -> None:
        size, signs = message
        fill_signs(out, size, signs, self.zero)


@dataclass(frozen=True)
class TwoMeans(Compressor, spec="twomeans"):
    """Entries >= 0 become their mean, entries < 0 theirs: 1-bit SGD (Seide et al., 2014).

    delta = 1/d, attained at 1-sparse x; at every x it achieves at least phi(x) (derived here).
    """

    fixed_size = True
    projection = True

    @property
    def guarantee(self) -> Guarantee:
        """Holds for every x."""
        return "pathwise"

    def apply(self, x: Array, drawn: Any = None) -> Array:
        """The mean of each entry's class."""
        low, high = self._means(x)
        return np.where(x < 0, low, high)

    @staticmethod
    def _means(x: Array) -> tuple[Array, Array]:
        """The means of the negative and of the other entries, (..., 1) each; 0 for none."""
        minus = x < 0
        below = minus.sum(-1, keepdims=True)
        counts = [np.maximum(n, 1).astype(x.dtype) for n in (below, x.shape[-1] - below)]
        zero = np.zeros((), x.dtype)
        sides = np.where(minus, x, zero), np.where(minus, zero, x)
        with np.errstate(over="ignore", invalid="ignore"):
            low, high = (TwoMeans._mean(side, n) for side, n in zip(sides, counts, strict=True))
        return low + zero, high + zero

    @staticmethod
    def _mean(side: Array, n: Array) -> Array:
        """The sum of ``side`` over n (..., 1), also where the sum itself leaves the dtype."""
        mean: Array = side.sum(-1, keepdims=True) / n
        summed = np.isfinite(mean)
        if summed.all():
            return mean
        return np.where(summed, mean, (side / n).sum(-1, keepdims=True))

    def _delta(self, d: int) -> float:
        return 1.0 / d

    def _attaining_point(self, d: int, within: float) -> Array:
        return one_hot(d)

    def _bits(self, d: int, width: int) -> int:
        return 2 * width + d

    def _write(self, out: Writer, x: Array, drawn: Any) -> None:
        low, high = self._means(x)
        out.floats(low)
        out.floats(high)
        out.bits(x < 0)

    def _read(self, fields: Reader, shape: Shape) -> Any:
        side = (*shape[:-1], 1)
        return fields.floats(side), fields.floats(side), fields.bits(shape)

    def _fill(self, out: Array, message: Any) -> None:
        low, high, minus = message
        np.copyto(out, high)
        np.copyto(out, low, where=minus)
