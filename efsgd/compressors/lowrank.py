"""Approximations of low rank of vectors read as matrices: LowRank, PowerSGD."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from efsgd.arrays import Array, Generator, all_finite, max_abs, unit_scale
from efsgd.checks import whole
from efsgd.compressors.base import Compressor, need
from efsgd.compressors.guarantee import Guarantee
from efsgd.compressors.packing import Reader, Shape, Writer


class Matrices:
    """What compressors share that send x, reshaped to (m, n), as a product of two factors.

    Both ends multiply the factors in one fixed order, so that the result is the same to the bit on
    every machine. Without a shape the matrix is (largest divisor of d up to sqrt(d), rest).
    """

    rank: int
    shape: tuple[int, int] | None
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

    def _factors(self, x: Array, drawn: Any) -> tuple[Array, Array]:
        """Left (..., m, r) and right (..., r, n), in the dtype of x; the left axes broadcast.

        Each takes half the power of two, so that neither leaves the dtype where their product fits.
        """
        raise NotImplementedError

    def apply(self, x: Array, drawn: Any = None) -> Array:
        """The approximation, flattened again."""
        if x.size == 0:
            return x.copy()
        return self._product(*self._factors(x, drawn)).reshape(x.shape)

    @staticmethod
    def _product(left: Array, right: Array, out: Array | None = None) -> Array:
        """left @ right, its terms added in the order of the columns of left."""
        out = np.multiply(left[..., :, :1], right[..., :1, :], out=out)
        for j in range(1, left.shape[-1]):
            out += left[..., :, j : j + 1] * right[..., j : j + 1, :]
        return out

    def _bits(self, d: int, width: int) -> int:
        return width * self.rank_at(d) * sum(self.sides(d))

    def _write(self, out: Writer, x: Array, drawn: Any) -> None:
        factors = self._factors(x, drawn)
        if not all_finite(self._product(*factors)):
            raise OverflowError(f"{self} of this vector does not fit {x.dtype}: scale it down")
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


@dataclass(frozen=True)
class LowRank(Matrices, Compressor, spec="lowrank"):
    """The rank-``rank`` truncated singular value decomposition of x reshaped to ``shape``.

    delta = rank/min(m, n), attained at equal singular values. Without a shape the matrix is
    (largest divisor of d up to sqrt(d), rest). The two factors travel, and both ends multiply them
    in one fixed order, so that the result is the same to the bit on every machine.
    """

    rank: int
    shape: tuple[int, int] | None = None

    @property
    def guarantee(self) -> Guarantee:
        """Holds for every x."""
        return "pathwise"

    def _factors(self, x: Array, drawn: Any = None) -> tuple[Array, Array]:
        """The left factor is scaled by the singular values."""
        *lead, d = x.shape
        u, k = unit_scale(x)
        left, values, right = np.linalg.svd(u.reshape(*lead, *self.sides(d)), full_matrices=False)
        r, k = self.rank_at(d), k[..., None]
        scaled = np.ldexp(left[..., :r] * values[..., None, :r], k // 2)
        return scaled.astype(x.dtype), np.ldexp(right[..., :r, :], k - k // 2).astype(x.dtype)

    def _delta(self, d: int) -> float:
        return self.rank_at(d) / min(self.sides(d))

    def _attaining_point(self, d: int, within: float) -> Array:
        return np.eye(*self.sides(d)).reshape(d)


@dataclass(frozen=True)
class PowerSGD(Matrices, Compressor, spec="powersgd"):
    """One power iteration a step, warm from the last (Vogels, Karimireddy, Jaggi, 2019).

    arXiv 1905.13727, Algorithm 1. x is a matrix M (m, n) as of :class:`LowRank`. P is an
    orthonormal basis of M Q, and P P'M is sent as P and M'P, which is the Q of the next step; the
    first Q is standard normal. The n workers of an input (R, n, d) act together: P is the basis of
    the mean of their M_i Q, the next Q the mean of their M_i'P, and P P'M_i is what each has sent,
    so that the mean of these is what an all-reduce of P and Q gives. Both means have the team's
    weights. On a wire the M_i Q travel first, and the M_i'P once P is known; the message of a
    worker holds P and M_i'P, which are as many numbers (:meth:`joined`), as that of the mean does.
    With one or two axes each vector acts alone. An orthogonal projection, |C(x)| <= |x|, and no
    more is guaranteed: where M Q = 0, C(x) may be 0. Where M Q has not full rank, QR fills up P
    with other orthonormal columns, so that all stays finite, and zeros stay zeros.
    """

    rank: int
    shape: tuple[int, int] | None = None
    random = True
    warm = True
    joint = True
    adds = True

    def first_state(self, weights: Array) -> Any:
        """The weights, beside a Q that is still to be drawn."""
        return [None, weights]

    def draw(self, shape: Shape, rng: Generator | None = None, state: Any = None) -> Any:
        """Q (..., n, r), float64: standard normal, or that of ``state``, and then nothing is drawn.

        That of an input (R, n, d) is drawn for R and broadcast over its n workers. Where ``state``
        has weights, a list of Q and each worker's weight (R, n).
        """
        *lead, d = shape
        known, weights, _ = _parts(state)
        if known is None:
            own = (*lead[:-1], 1) if len(lead) > 1 else tuple(lead)
            rows, r = (self.sides(d)[1], self.rank_at(d)) if d else (0, 0)
            drawn = need(rng, self).standard_normal((*own, rows, r))
            known = np.broadcast_to(drawn, (*lead, rows, r))
        known = np.asarray(known)
        return known if weights is None else [known, np.broadcast_to(weights, lead)]

    def joined(self, x: Array, drawn: Any) -> Any:
        """[Q, weights or None, P (..., m, r)], with the P that all workers have in common."""
        if x.size == 0:
            return drawn
        known, weights, _ = _parts(drawn)
        basis = self._power(x, drawn)[0]
        return [known, weights, np.broadcast_to(basis, (*x.shape[:-1], *basis.shape[-2:]))]

    def next_state(self, x: Array, drawn: Any) -> Any:
        """M'P, (..., n, r), up to a power of two; of workers that act together the mean."""
        if x.size == 0:
            return drawn
        right = self._power(x, drawn)[1].swapaxes(-1, -2)
        weights = _parts(drawn)[1]
        mean = _mean(right, weights) if x.ndim > 2 else right
        known = np.broadcast_to(np.ascontiguousarray(mean), right.shape)
        return known if weights is None else [known, weights]

    def _power(self, x: Array, drawn: Any) -> tuple[Array, Array, Array]:
        """P (..., m, r), P'M/2^k (..., r, n) in float64, and k (..., 1, 1); one k for all workers.

        The workers' axis of P and k has length 1 where they act together.
        """
        *lead, d = x.shape
        known, weights, basis = _parts(drawn)
        _, k = np.frexp(max_abs(x).astype(np.float64))
        k = k.max(-2, keepdims=True) if x.ndim > 2 else k
        matrices = np.ldexp(x.astype(np.float64), -k).reshape(*lead, *self.sides(d))
        if basis is None:
            image = matrices @ known
            basis = np.linalg.qr(_mean(image, weights) if x.ndim > 2 else image)[0]
        elif x.ndim > 2:
            basis = basis[..., :1, :, :]
        return basis, basis.swapaxes(-1, -2) @ matrices, k[..., None]

    def _factors(self, x: Array, drawn: Any) -> tuple[Array, Array]:
        """P and P'M."""
        basis, right, k = self._power(x, drawn)
        left = np.ldexp(basis, k // 2).astype(x.dtype)
        return left, np.ldexp(right, k - k // 2).astype(x.dtype)


def _parts(drawn: Any) -> tuple[Any, Any, Any]:
    """Q, the weights and P, of a draw or a state; None for what it has not."""
    known, weights, basis = (
        (*drawn, None, None)[:3] if isinstance(drawn, list) else (drawn, None, None)
    )
    return known, weights, basis


def _mean(matrices: Array, weights: Array | None) -> Array:
    """The mean over the workers of matrices (..., n, :, :), whose axis stays with length 1."""
    mean: Array
    if weights is None:
        mean = matrices.mean(-3, keepdims=True)
    else:
        mean = (weights[..., None, None] * matrices).sum(-3, keepdims=True)
    return mean
