"""A compressor that is known at a few points only: what a performance estimation problem finds."""

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
    """C(p) known at the stored inputs (N, d) only, with the delta that is claimed of it."""

    inputs: Array
    answers: Array
    claim: float

    @property
    def guarantee(self) -> Guarantee:
        """Pathwise."""
        return "pathwise"

    def apply(self, x: Array, drawn: Any = None) -> Array:
        """The stored answers."""
        return self.answers[nearest(x, self.inputs, "the compressor")]

    def _delta(self, d: int) -> float:
        return self.claim

    def __str__(self) -> str:
        """What it is."""
        return "the stored compressor"


def nearest(queries: Array, stored: Array, who: str) -> Array:
    """The index of the stored vector at each query (R, d); ValueError where there is none."""
    scale = float(np.linalg.norm(stored, axis=1).max())
    distance = np.linalg.norm(queries[:, None] - stored, axis=2)
    index: Array = distance.argmin(axis=1)
    off = float(distance.min(axis=1).max())
    if not off <= NEAR * scale:
        raise ValueError(
            f"{who} is asked {off:.2g} from the nearest of its points, and answers at these only: "
            f"the run is not the one that was stored"
        )
    return index
