"""The worst of many values, which no NaN can hide."""

from __future__ import annotations

import numpy as np

from efsgd.arrays import Array


def worse(so_far: float, values: Array) -> float:
    """The largest of all; NaN if one is, so that no claim passes on it."""
    return float(np.max([so_far, *np.ravel(values)]))


def lowest(so_far: float, values: Array) -> float:
    """The smallest of all; NaN if one is, so that no claim passes on it."""
    return float(np.min([so_far, *np.ravel(values)]))
