"""What the numbers of a cost may be, and the sentences that refuse others."""

from __future__ import annotations

from reprlib import repr as shortened
from typing import Any, TypeAlias

import numpy as np

from efsgd.arrays import Array

Value: TypeAlias = float | Array


def positive(name: str, value: Any) -> Value:
    """The value in float64, a number or an array; ValueError if any is not in (0, inf)."""
    number = _number(name, value)
    return _within(name, number, number > 0, "positive and finite")


def from_zero(name: str, value: Any) -> Value:
    """The same for [0, inf)."""
    number = _number(name, value)
    return _within(name, number, number >= 0, "finite and at least 0")


def share(name: str, value: Any, *, with_0: bool = False) -> Value:
    """The same for (0, 1], or [0, 1] ``with_0``."""
    number = _number(name, value)
    inside = (number <= 1) & ((number >= 0) if with_0 else (number > 0))
    return _within(name, number, inside, f"in {'[' if with_0 else '('}0, 1]")


def count(name: str, value: Any) -> Value:
    """The same for 1, 2, 3, ..."""
    number = _number(name, value)
    return _within(name, number, (number >= 1) & (number == np.floor(number)), "1, 2, 3, ...")


def _number(name: str, value: Any) -> Array:
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        array = np.array(None)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} must be a number or an array of numbers, not {shortened(value)}")
    return array.astype(np.float64)


def _within(name: str, number: Array, inside: Array, domain: str) -> Value:
    outside = ~(np.isfinite(number) & inside)
    if outside.any():
        raise ValueError(f"{name} must be {domain}, not {number[outside].ravel()[0]:g}")
    return number if number.ndim else float(number)
