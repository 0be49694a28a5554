"""What the dtype of C(x) allows: vectors that lie in its range, and how much rounding may hide.

A function may return float32 or float16, of whatever it is given. There a loss L =
|C(x)-x|^2/|x|^2 is known to fewer digits, and a vector that float64 holds may be 0 or infinite.

How much of L rounding can explain (derived here): where the exact C_0 keeps its claim and |C(x) -
C_0(x)| <= e, |C_0(x)-x| >= |C(x)-x| - e, so that L exceeds the claim by at most 2|C(x)-x| e/|x|^2.
Here e has three parts:

- r|C(x)| with r = (4 + log2 d) u, u half the distance from 1 to the next number: a handful of
  operations, the last of which gives C(x) its dtype, and a sum over d entries;
- sqrt(d) times the least number above 0, for entries that fall below the normal ones;
- 2|y-x|, if the dtype holds only y near x: C may have compressed y. The search takes y = x.

The sum is assumed to be made in pairs, as by ``numpy.sum``, or in float32 or more for float16; one
entry after the other may lose d u. A true C pays for that only near its worst x.

The factor |C(x)| makes small claims decidable. Scaled sign has |C(x)| = |x|/sqrt(d) in its worst
case, and float32 tells delta = 1/d to 0.1 % up to d = 10^5; float16 does to a half up to d = 10^3.
And zero, with C(x) = 0, has next to no rounding to excuse it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from efsgd.arrays import Array, max_abs, norm, unit_scale
from efsgd.compressors.base import Compressor

ROUNDING = 1e-9  # of a loss of which all is computed in float64
OPERATIONS = 4  # roundings of an entry of C(x), beside those of a sum
SCALES = (1e-309, 1e-150, 1e150)  # of float64: a denormal, and where |x|^2 under- or overflows


@dataclass(frozen=True)
class Precision:
    """The dtype in which C(x) comes back."""

    dtype: np.dtype

    @property
    def exact(self) -> bool:
        """Whether it holds what float64 does, and rounds no more."""
        return self.dtype.itemsize >= 8

    @property
    def scales(self) -> tuple[float, ...]:
        """Factors by which vectors become tiny or huge, and can still be held."""
        if self.exact:
            return SCALES
        limits = np.finfo(self.dtype)
        tiny, most = float(limits.tiny), float(limits.max)
        return tiny / 8, tiny**0.5, most**0.5 / 2

    def fit(self, points: Array) -> Array:
        """The vectors (N, d) as the dtype holds them, the greatest entry of each in [1/2, 1].

        In float64 as they are.
        """
        if self.exact:
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


def rounding(x: Array, sent: Array) -> Array:
    """How much of |C(x)-x|^2/|x|^2 the dtype of ``sent`` = C(x) may explain, (..., d) -> (...).

    0 where that is not finite: then no claim holds. The module's docstring derives it.
    """
    limits = np.finfo(sent.dtype)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        u, k = unit_scale(x)
        sent_u = np.ldexp(sent.astype(np.float64), -k)
        y = np.ldexp(x.astype(sent.dtype).astype(np.float64), -k)
        d = x.shape[-1]
        share = (OPERATIONS + np.log2(d)) * float(limits.eps) / 2
        error = share * norm(sent_u) + 2.0 * norm(y - u)
        error += d**0.5 * np.ldexp(float(limits.smallest_subnormal), -k)
        part = (2.0 * norm(sent_u - u) * error / norm(u) ** 2)[..., 0]
    return np.where(np.isfinite(part), part, 0.0)
