"""Threshold: the entries that are large enough, however many they are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from efsgd.arrays import Array, max_abs, rms
from efsgd.checks import positive
from efsgd.compressors.base import Compressor
from efsgd.compressors.guarantee import Guarantee
from efsgd.compressors.packing import Reader, Shape, Writer, place_marked


@dataclass(frozen=True)
class Threshold(Compressor, spec="threshold"):
    """The entries of magnitude at least a threshold, the others 0. Give exactly one of

    - ``l2`` = tau in (0, 1]: tau |x|_2/sqrt(d); delta = 1 - (d-1)tau^2/d;
    - ``linf`` = tau in (0, 1]: tau max|x_i|; delta = 1/(1 + (d-1)tau^2);
    - ``abs`` = lambda > 0: lambda itself; |C(x)-x|^2 < d lambda^2 and delta = 0.

    Both delta are infima, approached where the entries lie just below (derived here).
    """

    l2: float | None = None
    linf: float | None = None
    abs: float | None = None
    projection = True

    def __post_init__(self) -> None:
        """Refuse anything but one valid threshold."""
        thresholds = {
            name: v for name in ("l2", "linf", "abs") if (v := getattr(self, name)) is not None
        }
        if len(thresholds) != 1:
            raise ValueError(f"give exactly one of l2, linf and abs, not {len(thresholds)} of them")
        for name, threshold in thresholds.items():
            most = math.inf if name == "abs" else 1.0
            object.__setattr__(self, name, positive(name, threshold, most))

    @property
    def guarantee(self) -> Guarantee:
        """For the relative thresholds, every x."""
        return "pathwise" if self.abs is None else "absolute"

    @property
    def attained(self) -> bool:
        """Never: an entry just below the threshold can always come closer to it."""
        return False

    def apply(self, x: Array, drawn: Any = None) -> Array:
        """The kept entries, 0 elsewhere."""
        return np.where(self._mask(x), x, np.zeros((), x.dtype))

    def _mask(self, x: Array) -> Array:
        """Which entries are sent: never a zero, so that of the zero vector none is."""
        mask: Array = (np.abs(x) >= self._least(x)) & (x != 0)
        return mask

    def _least(self, x: Array) -> Array | float:
        """The threshold itself: a number, or (..., 1) where it depends on x."""
        if self.abs is not None:
            return self.abs
        if self.linf is not None:
            return np.asarray(self.linf * max_abs(x).astype(np.float64))
        assert self.l2 is not None
        return np.minimum(self.l2 * rms(x), max_abs(x))  # rounding may lift the rms above max|x_i|

    def _delta(self, d: int) -> float:
        if self.l2 is not None:
            return 1.0 - (d - 1) * self.l2**2 / d
        assert self.linf is not None
        return 1.0 / (1.0 + (d - 1) * self.linf**2)

    def _attaining_point(self, d: int, within: float) -> Array:
        below = 1.0 - within / 4
        x = np.ones(d)
        if self.linf is not None:
            x[1:] = self.linf * below
        elif self.l2 is not None:
            x[1:] = self.l2 * below / math.sqrt(d)
            x[0] = math.sqrt(1.0 - (d - 1) * x[-1] ** 2) if d > 1 else 1.0
        return x

    def _bits(self, d: int, width: int) -> int:
        return 64 + d * width + d

    def _write(self, out: Writer, x: Array, drawn: Any) -> None:
        mask = self._mask(x).reshape(-1)
        indices = np.flatnonzero(mask)
        out.codes(np.array([indices.size]), 64)
        out.subset(indices, mask.size)
        out.floats(x.reshape(-1)[indices])

    def _read(self, fields: Reader, shape: Shape) -> Any:
        size = math.prod(shape)
        count = int(fields.codes((1,), 64)[0])
        if not 0 <= count <= size:
            raise ValueError(f"the message keeps {count} entries of {size}")
        return fields.subset((), count, size), fields.floats((count,))

    def _fill(self, out: Array, message: Any) -> None:
        positions, values = message
        if positions.dtype == bool:
            place_marked(out, positions.reshape(out.shape), values)
        else:
            out[...] = 0
            out.flat[positions] = values  # out may be a view, of which reshape would make a copy
