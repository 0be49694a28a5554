"""The worst compressor of a performance estimation problem, which is known at a few inputs only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from efsgd.arrays import Array
from efsgd.compressors.base import Compressor
from efsgd.compressors.guarantee import Guarantee

NEAR = 1e-6  # of the longest stored vector: how far a query may be from a stored point


@dataclass(frozen=True, eq=False)
class StoredCompressor(Compressor):
    """A compressor defined at the stored inputs only; ValueError anywhere else."""

    inputs: Array  # (N, d)
    answers: Array  # (N, d) the messages C(p)
    claim: float  # delta

    @property
    def guarantee(self) -> Guarantee:
        """Holds for every stored input, without randomness."""
        return "pathwise"

    def apply(self, x: Array, drawn: Any = None) -> Array:
        """The stored message of each row of x (R, d)."""
        return self.answers[nearest(x, self.inputs, "the compressor")]

    def _delta(self, d: int) -> float:
        return self.claim

    def __str__(self) -> str:
        """What it is."""
        return "the stored compressor"


def nearest(queries: Array, stored: Array, owner: str) -> Array:
    """The index (R,) of the stored vector (P, d) at each query (R, d).

    ValueError, with ``owner`` as its subject, where a query is no stored vector up to rounding.
    """
    scale = float(np.linalg.norm(stored, axis=1).max())
    distance = np.linalg.norm(queries[:, None] - stored, axis=2)
    index: Array = distance.argmin(axis=1)
    farthest = float(distance.min(axis=1).max())
    if not farthest <= NEAR * scale:
        raise ValueError(
            f"{owner} is asked {farthest:.2g} from the nearest of its points, and answers at these "
            f"only: the run is not the one that was stored"
        )
    return index
