"""Powers that are read off numbers, for claims that one quantity grows as a power of another."""

from __future__ import annotations

import numpy as np

from efsgd.arrays import Array


def log_slope(x: Array, y: Array) -> Array:
    """The slope of log y over log x by least squares: y (N,) -> (), or (N, R) -> (R,)."""
    slope: Array = np.polynomial.polynomial.polyfit(np.log(x), np.log(y), 1)[1]
    return slope
