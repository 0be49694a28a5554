"""Natural: entries rounded to powers of two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from efsgd.arrays import Array, Generator, pieces
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
