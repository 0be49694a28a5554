"""LowRank: the best approximation of given rank of a vector read as a matrix."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from efsgd.arrays import Array, all_finite, unit_scale
from efsgd.checks import whole
from efsgd.compressors.base import Compressor
from efsgd.compressors.guarantee import Guarantee
from efsgd.compressors.packing import Reader, Shape, Writer


@dataclass(frozen=True)
class LowRank(Compressor, spec="lowrank"):
    """The rank-``rank`` truncated singular value decomposition of x reshaped to ``shape``.

    delta = rank/min(m, n), attained at equal singular values. Without a shape the matrix is
    (largest divisor of d up to sqrt(d), rest). The two factors travel, and both ends multiply them
    in one fixed order, so that the result is the same to the bit on every machine.
    """

    rank: int
    shape: tuple[int, int] | None = None
    fixed_size = True
    projection = True
    _may_overflow = True

    def __post_init__(self) -> None:
        """Refuse an impossible rank or shape."""
        object.__setattr__(self, "rank", whole("rank", self.rank))
        shape = self.shape
        if shape is not None:
            if not isinstance(shape, tuple | list) or len(shape) != 2:
                raise ValueError(f"shape must be (rows, columns), not {shape}")
            object.__setattr__(self, "shape", tuple(whole("each side", side) for side in shape))

    @property
    def guarantee(self) -> Guarantee:
        """Holds for every x."""
        return "pathwise"

    def sides(self, d: int) -> tuple[int, int]:
        """The shape (m, n) of the matrix that d entries make; ValueError where they make none."""
        if self.shape is not None:
            if math.prod(self.shape) != d:
                raise ValueError(f"shape {self.shape} does not hold d = {d} entries")
            return self.shape
        m = next(m for m in range(math.isqrt(d), 0, -1) if d % m == 0)
        return m, d // m

    def rank_at(self, d: int) -> int:
        """The rank of the approximation at dimension d: ``rank``, but at most the smaller side."""
        return min(self.rank, *self.sides(d))

    def apply(self, x: Array, drawn: Any = None) -> Array:
        """The approximation, flattened again."""
        return self._product(*self._factors(x)).reshape(x.shape)

    def _factors(self, x: Array) -> tuple[Array, Array]:
        """Left (..., m, r), scaled by the singular values, and right (..., r, n).

        Each takes half the power of two, so that neither leaves the dtype where their product fits.
        """
        *lead, d = x.shape
        u, k = unit_scale(x)
        left, values, right = np.linalg.svd(u.reshape(*lead, *self.sides(d)), full_matrices=False)
        r, k = self.rank_at(d), k[..., None]
        scaled = np.ldexp(left[..., :r] * values[..., None, :r], k // 2)
        return scaled.astype(x.dtype), np.ldexp(right[..., :r, :], k - k // 2).astype(x.dtype)

    @staticmethod
    def _product(left: Array, right: Array, out: Array | None = None) -> Array:
        """left @ right, its terms added in the order of the columns of left."""
        out = np.multiply(left[..., :, :1], right[..., :1, :], out=out)
        for j in range(1, left.shape[-1]):
            out += left[..., :, j : j + 1] * right[..., j : j + 1, :]
        return out

    def _delta(self, d: int) -> float:
        return self.rank_at(d) / min(self.sides(d))

    def _attaining_point(self, d: int, within: float) -> Array:
        return np.eye(*self.sides(d)).reshape(d)

    def _bits(self, d: int, width: int) -> int:
        return width * self.rank_at(d) * sum(self.sides(d))

    def _write(self, out: Writer, x: Array, drawn: Any) -> None:
        factors = self._factors(x)
        self._finite(self._product(*factors))
        for factor in factors:
            out.floats(factor)

    def _read(self, fields: Reader, shape: Shape) -> Any:
        *lead, d = shape
        (m, n), r = self.sides(d), self.rank_at(d)
        return fields.floats((*lead, m, r)), fields.floats((*lead, r, n))

    def _fill(self, out: Array, message: Any) -> None:
        with np.errstate(over="ignore", invalid="ignore"):
            left, right = message
            matrices = out.reshape(*out.shape[:-1], *self.sides(out.shape[-1]))
            self._product(left, right, out=matrices)
        if not all_finite(out):
            raise ValueError(f"the message of {self} holds numbers beyond {out.dtype}")
