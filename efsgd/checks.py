"""Checks of single numbers, with the sentences that refuse them."""

from __future__ import annotations

import math
from numbers import Real
from reprlib import repr as shortened
from typing import Any

import numpy as np


def positive(name: str, value: float, most: float = math.inf) -> float:
    """Return ``value`` as a float in (0, most], or raise ValueError."""
    if isinstance(value, bool) or not 0 < value <= most or math.isinf(value):
        span = "positive and finite" if math.isinf(most) else f"in (0, {most:g}]"
        raise ValueError(f"{name} must be {span}, not {value}")
    return float(value)


def whole(name: str, value: Any, most: float = math.inf, *, least: int = 1) -> int:
    """Return ``value`` as an int in least, least + 1, ..., most, or raise ValueError."""
    is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not is_whole or not least <= value <= most:
        last = "" if math.isinf(most) else f", {most}"
        integral = isinstance(value, float | np.floating) and float(value).is_integer()
        cure = f": write the integer {int(value)}" if integral else ""
        raise ValueError(
            f"{name} must be a whole number {least}, {least + 1}, ...{last}, not {value}{cure}"
        )
    return int(value)


def dimension(d: int) -> int:
    """Return ``d`` as an int in 0, 1, 2, ..., or raise ValueError."""
    if isinstance(d, bool) or int(d) != d or d < 0:
        raise ValueError(f"d must be a dimension (0, 1, 2, ...), not {d}")
    return int(d)


def scalar(name: str, value: Any) -> float:
    """Return ``value`` as a float, or raise ValueError for what is not a single number."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"{name} must be a single number, not {shortened(value)}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name} must be finite in float64, not {shortened(value)}") from None
