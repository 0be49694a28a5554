"""Shared: RandK whose positions are the same for all workers of a step, and travel as a seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from efsgd.arrays import Array, Generator
from efsgd.compressors.base import Compressor, instance, need
from efsgd.compressors.packing import Reader, Shape, Writer, place
from efsgd.compressors.selection import count, seeded_subset
from efsgd.compressors.sparse import RandK
from efsgd.compressors.wrappers import Wrapper

SEED = 64  # bits


@dataclass(frozen=True)
class Shared(Wrapper, Compressor, spec="shared"):
    """RandK with one draw for all workers of a step, which then add their values entry by entry.

    The n workers of an input (R, n, d) share the k positions of their replicate; with one or two
    axes each vector draws for itself. A message is the 64-bit seed and the k values: the seed
    determines the positions (:func:`efsgd.compressors.selection.seeded_subset`), and no index
    travels. Each vector by itself is compressed as by the inner one, whose guarantee holds: delta =
    k/d in expectation with equality at every x, or omega = d/k - 1 if that is unbiased.
    """

    compressor: Compressor
    joint = True
    adds = True

    def __post_init__(self) -> None:
        """Refuse anything but a RandK."""
        if type(instance(self.compressor)) is not RandK:
            raise ValueError(
                f"shared shares the positions of a randk such as randk:5, and {self.compressor} "
                f"is none: use it without shared"
            )

    @property
    def inner(self) -> RandK:
        """The RandK inside."""
        assert isinstance(self.compressor, RandK)
        return self.compressor

    def draw(self, shape: Shape, rng: Generator | None = None, state: Any = None) -> list[Array]:
        """Seeds (...), int64, and the positions (..., k) that they determine.

        Those of an input (R, n, d) are drawn for R and broadcast over n.
        """
        *lead, d = shape
        own = (*lead[:-1], 1) if len(lead) > 1 else tuple(lead)
        seeds = np.asarray(need(rng, self).integers(-(2**63), 2**63, own, np.int64))
        k = count(self.inner.k, d)
        positions = seeded_subset(seeds, d, k)
        return [np.broadcast_to(seeds, lead), np.broadcast_to(positions, (*lead, k))]

    def apply(self, x: Array, drawn: Any = None) -> Array:
        """What the inner one sends at these positions."""
        return self.inner.apply(x, drawn[1])

    def _delta(self, d: int) -> float:
        return self.compressor.delta(d)

    def _omega(self, d: int) -> float:
        return self.compressor.omega(d)

    def _attaining_point(self, d: int, within: float) -> Array:
        return self.compressor.attaining_point(d, within)

    def _bits(self, d: int, width: int) -> int:
        return SEED + count(self.inner.k, d) * width

    def _write(self, out: Writer, x: Array, drawn: Any) -> None:
        seeds, positions = drawn
        _, values = self.inner._entries(x, positions)
        out.codes(np.asarray(seeds), SEED)
        out.floats(values)

    def _read(self, fields: Reader, shape: Shape) -> Any:
        *lead, d = shape
        return fields.codes(tuple(lead), SEED), fields.floats((*lead, count(self.inner.k, d)))

    def _fill(self, out: Array, message: Any) -> None:
        seeds, values = message
        place(out, seeded_subset(seeds, out.shape[-1], values.shape[-1]), values)
