"""Quantised: the k largest entries, each rounded to a few evenly spaced magnitudes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from efsgd.arrays import Array, pieces
from efsgd.checks import whole
from efsgd.compressors.base import Compressor, instance
from efsgd.compressors.guarantee import Guarantee
from efsgd.compressors.packing import Reader, Shape, Writer, place, subset_bits
from efsgd.compressors.selection import count, gather, scatter, top_indices
from efsgd.compressors.sparse import TopK
from efsgd.compressors.wrappers import Wrapper

EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Quantised(Wrapper, Compressor, spec="quantised"):
    """TopK whose kept entries take ``per_entry`` bits each, a sign and B - 1 bits of magnitude.

    The magnitudes are the s + 1 evenly spaced levels from the least kept one, m, to the greatest,
    M, with s = 2^(B-1) - 1; each entry takes the nearest (of two equally near that of even number,
    as np.rint). m and M, which are exact, the positions and the codes travel. By blocks, as
    ``blockwise:4096,quantised:2,topk:64``, it has the form of what SparseLoCo sends (arXiv
    2508.15706: top-k by chunks, 2 bits a value), whose levels may be others.

    delta = min(k/d, 1/(1 + (k-2)/(4 s^2))), for k <= 2 k/d; attained at equal magnitudes, or else
    at (1, h, .., h, 0, .., 0) with h = 1/(2s) k - 2 times. Derived here: let M = 1, m = a. The kept
    entries at both ends have no error and any other v in [a, 1] at most h(1-a), at the midpoints of
    the levels. |C(x)-x|^2 <= z|x|^2 says sum (err(v)^2 - z v^2) + (1-z) sum w^2 <= z(1 + a^2) over
    the others v and the dropped w <= a. Between midpoints err^2 - z v^2 is convex in v for z < 1,
    so that v is an end or a midpoint, of which the least, a + h(1-a), makes it greatest; w = a. The
    ratio that is left is N/D with N = (k-2) h^2 (1-a)^2 + (d-k) a^2 and D = 1 + a^2 + (k-2)
    (a + h(1-a))^2 + (d-k) a^2. The sign of its slope is that of N'D - ND', a quadratic in a that is
    negative at 0 and curves upwards: N/D falls and then rises, and is greatest at a = 0 or 1.
    """

    compressor: Compressor
    per_entry: int
    projection = False

    def __post_init__(self) -> None:
        """Refuse an impossible number of bits, and anything but a TopK."""
        if type(instance(self.compressor)) is not TopK:
            raise ValueError(
                f"quantised rounds what a topk such as topk:10 keeps, and {self.compressor} is "
                f"none: put blockwise or scaled around quantised"
            )
        per_entry = whole("per_entry", self.per_entry, most=16, least=2)
        object.__setattr__(self, "per_entry", per_entry)

    @property
    def guarantee(self) -> Guarantee:
        """Holds for every x."""
        return "pathwise"

    @property
    def levels(self) -> int:
        """s = 2^(B-1) - 1, the number of the greatest level; the least has the number 0."""
        return int(2 ** (self.per_entry - 1) - 1)

    def kept(self, d: int) -> int:
        """How many of d entries are kept."""
        assert isinstance(self.compressor, TopK)
        return count(self.compressor.k, d)

    def apply(self, x: Array, drawn: Any = None) -> Array:
        """The kept entries, rounded, 0 elsewhere."""
        indices, ends, codes = self._parts(x)
        return scatter(x, indices, self._values(ends, codes))

    def _parts(self, x: Array) -> tuple[Array, Array, Array]:
        """Positions (..., k), least and greatest magnitude (..., 2), codes 2 level + minus."""
        indices = top_indices(x, self.kept(x.shape[-1]))
        entries = gather(x, indices)
        magnitude = np.abs(entries)
        ends = np.stack([magnitude.min(-1), magnitude.max(-1)], axis=-1)
        least, most = np.split(ends.astype(np.float64), 2, axis=-1)
        share = (magnitude - least) / np.where(most > least, most - least, 1.0)
        numbers = np.rint(share * self.levels).astype(np.int64)
        return indices, ends, 2 * numbers + (entries < 0)

    def _values(self, ends: Array, codes: Array) -> Array:
        """What the codes (..., k) stand for between the ends (..., 2), in the dtype of these."""
        out = np.empty(codes.shape, ends.dtype)
        for piece in pieces(codes.shape):
            of_rows = ends[piece[: codes.ndim - 1]].astype(np.float64)
            least, most = of_rows[..., :1], of_rows[..., 1:]
            numbers = codes[piece].astype(np.int64) >> 1
            between = least + (most - least) * (numbers / self.levels)
            sizes = np.where(numbers == self.levels, most, between)
            out[piece] = np.where(codes[piece] & 1, -sizes, sizes)
        out += 0.0  # no negative zero
        return out

    def _delta(self, d: int) -> float:
        k = self.kept(d)
        return min(k / d, 1.0 / (1.0 + max(k - 2, 0) / (4.0 * self.levels**2)))

    def _attaining_point(self, d: int, within: float) -> Array:
        k = self.kept(d)
        if self._delta(d) == k / d:
            return np.ones(d)
        return self._point(d, 0.5 / self.levels, 0.0)

    def _point(self, d: int, v: float, a: float) -> Array:
        """(1, v, .., v, a, .., a), v k - 2 times."""
        x = np.full(d, a)
        x[0], x[1 : self.kept(d) - 1] = 1.0, v
        return x

    def _scaled_attained(self, a: float) -> bool:
        """Only unscaled: else the worst entry lies just beside a midpoint, on its worse side."""
        return a == 1

    def _scaled_delta(self, d: int, a: float) -> float:
        """delta of x -> t C(x), t = a: exact, an infimum for t != 1; see ``_scaled_worst``."""
        return self._delta(d) if a == 1 else 1.0 - self._scaled_worst(d, a)[0]

    def _scaled_point(self, d: int, within: float, a: float) -> Array:
        if a == 1:
            return self._attaining_point(d, within)
        _, least, at = self._scaled_worst(d, a)
        beside = max(within / 16, 16 * EPS * self.levels) / self.levels
        at += beside if a > 1 else -beside
        return self._point(d, least + at * (1 - least), least)

    def _scaled_worst(self, d: int, t: float) -> tuple[float, float, float]:
        """The greatest |t C(x) - x|^2/|x|^2, and a and c of (1, v, .., v, a, .., a) where it is.

        v = a + c(1-a) is one of the midpoints c = h, 3h, ..., and its error |1-t| v + t h(1-a) on
        its worse side (derived here, as in the docstring of the class: at the ends the error is
        |1-t| times the entry). For each c the ratio is one of quadratics N and D in a, greatest at
        a = 0, at a = 1 or where N'D = ND'.
        """
        k, s = self.kept(d), self.levels
        n, dropped, h, rest = max(k - 2, 0), d - k, 0.5 / s, abs(1.0 - t)
        ends = min(k, 2) - 1  # of the kept entries, those at m: with k = 1 there is only M
        c = np.arange(1, 2 * s, 2) * h
        at_0, slope = rest * c + t * h, rest * (1 - c) - t * h
        N = [n * at_0**2 + rest**2, 2 * n * at_0 * slope, n * slope**2 + ends * rest**2 + dropped]
        D = [1 + n * c**2, 2 * n * c * (1 - c), n * (1 - c) ** 2 + ends + dropped]
        a = np.stack([np.zeros(s), np.ones(s), *_stationary(N, D)])
        ratio = (N[0] + a * (N[1] + a * N[2])) / (D[0] + a * (D[1] + a * D[2]))
        worst = np.unravel_index(int(np.argmax(ratio)), ratio.shape)
        return float(ratio[worst]), float(a[worst]), float(c[worst[1]])

    def _bits(self, d: int, width: int) -> int:
        k = self.kept(d)
        return 2 * width + subset_bits(k, d) + k * self.per_entry

    def _write(self, out: Writer, x: Array, drawn: Any) -> None:
        indices, ends, codes = self._parts(x)
        out.floats(ends)
        out.subset(indices, x.shape[-1])
        out.codes(codes, self.per_entry)

    def _read(self, fields: Reader, shape: Shape) -> Any:
        *lead, d = shape
        k = self.kept(d)
        ends = fields.floats((*lead, 2))
        if (ends[..., 0] < 0).any() or (ends[..., 0] > ends[..., 1]).any():
            raise ValueError("the message's least magnitude is negative or above its greatest")
        return ends, fields.subset(tuple(lead), k, d), fields.codes((*lead, k), self.per_entry)

    def _fill(self, out: Array, message: Any) -> None:
        ends, positions, codes = message
        place(out, positions, self._values(ends, codes))


def _stationary(N: list[Any], D: list[Any]) -> list[Array]:
    """Both roots of N'D = ND' for quadratics N[0] + N[1] a + N[2] a^2, brought into [0, 1]."""
    square = np.asarray(N[2] * D[1] - N[1] * D[2], np.float64)
    half = np.asarray(N[2] * D[0] - N[0] * D[2], np.float64)
    constant = np.asarray(N[1] * D[0] - N[0] * D[1], np.float64)
    root = np.sqrt(np.maximum(half**2 - square * constant, 0.0))
    stable = -(half + np.copysign(root, half))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        roots = [stable / square, constant / stable]
    return [np.clip(np.nan_to_num(r, nan=0.0), 0.0, 1.0) for r in roots]
