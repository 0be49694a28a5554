"""What the dtype of C(x) allows: vectors that lie in its range, and how much rounding may hide.

A function may return float32 or float16, of whatever it is given. There a loss is known to fewer
digits, and a vector that float64 holds may be 0 or infinite.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from efsgd.arrays import Array, max_abs
from efsgd.compressors.base import Compressor

ROUNDING = {2: 3e-2, 4: 1e-4, 8: 1e-9}  # of a loss |C(x)-x|^2/|x|^2, by the bytes of a number
SCALES = (1e-309, 1e-150, 1e150)  # of float64: a denormal, and where |x|^2 under- or overflows


@dataclass(frozen=True)
class Precision:
    """The dtype in which C(x) comes back."""

    dtype: np.dtype

    @property
    def rounding(self) -> float:
        """What rounding may add to a loss."""
        return ROUNDING[min(self.dtype.itemsize, 8)]

    @property
    def scales(self) -> tuple[float, ...]:
        """Factors by which vectors become tiny or huge, and can still be held."""
        if self.dtype.itemsize >= 8:
            return SCALES
        limits = np.finfo(self.dtype)
        tiny, most = float(limits.tiny), float(limits.max)
        return tiny / 8, tiny**0.5, most**0.5 / 2

    def fit(self, points: Array) -> Array:
        """The vectors (N, d) as the dtype holds them, the greatest entry of each in [1/2, 1].

        In float64 as they are.
        """
        if self.dtype.itemsize >= 8:
            return points
        _, exponent = np.frexp(max_abs(points))
        return np.ldexp(points, -exponent).astype(self.dtype).astype(np.float64)


def precision_of(c: Compressor, d: int) -> Precision:
    """The dtype of C(x) for a float64 vector of dimension d; float64 where C refuses it."""
    try:
        dtype = np.asarray(c(np.ones(d), np.random.default_rng(0))).dtype
    except (ValueError, ArithmeticError):  # the search shows where and why
        dtype = np.dtype(np.float64)
    return Precision(dtype if dtype.kind == "f" else np.dtype(np.float64))
