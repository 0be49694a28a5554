"""Bounds of compressors whose error is a quadratic between the levels that they round to.

No solver is needed: a quadratic is non-negative where its ends and its vertex are. All of them are
derived here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise

import numpy as np

from efsgd.arrays import Array
from efsgd.convex.verification.programmes import Proof

KIND = "piecewise quadratic"


def nearest_power(factor: float = 1.0) -> Proof:
    """delta of ``factor`` times the nearest power of two, in rational numbers.

    An entry t in [1, 3/2] becomes 1 and one in [3/2, 2] becomes 2; (factor c/t - 1)^2 is convex in
    1/t, so its greatest value on each piece is at an end.
    """
    a = Fraction(factor)
    pieces = ((1, Fraction(1)), (1, Fraction(3, 2)), (2, Fraction(3, 2)), (2, Fraction(2)))
    worst = max((a * c / t - 1) ** 2 for c, t in pieces)
    text = "(c/t - 1)^2 is convex in 1/t on each piece: its ends, in rational numbers"
    return Proof("piecewise quadratic", float(1 - worst), text)


def dithered(s: int, d: int) -> Proof:
    """omega of the levels 0, 2^(1-s), ..., 1/2, 1 beside a largest entry 1, in rational numbers.

    With w for omega, (d-1)(h-u)(u-l) <= w (1 + (d-1) u^2) for all u in the segment [l, h] follows
    where n (1+w) u^2 - n (l+h) u + n l h + w >= 0 for all u, n = d-1: where its discriminant n^2
    (l+h)^2 - 4 n (1+w)(n l h + w) is at most 0.
    """
    n, levels = d - 1, [Fraction(0), *(Fraction(1, 2**j) for j in range(s - 1, -1, -1))]

    def holds(omega: float) -> bool:
        w = Fraction(omega)
        return all(
            n * (low + high) ** 2 <= 4 * (1 + w) * (n * low * high + w)
            for low, high in pairwise(levels)
        )

    text = f"(h-u)(u-l)(d-1) <= omega(1 + (d-1)u^2): {s} discriminants, in rational numbers"
    return Proof(KIND, _least(holds, 0.0, math.sqrt(d)), text)


def kept_levels(k: int, d: int, s: int, factor: float = 1.0) -> Proof:
    """delta of ``factor`` = t times the k largest of d entries rounded to s + 1 levels.

    With the greatest entry 1, the least kept one a and z < 1 what must not be positive, |tC(x)-x|^2
    - z|x|^2, is convex in each other entry between the midpoints of the levels: these lie at one of
    them, v = a + c(1-a), with the error |1-t| v + t(1-a)/(2s), and the dropped ones at a. For each
    of the s values of c it is a quadratic in a.
    """
    c, n, two = (np.arange(s) + 0.5) / s, max(k - 2, 0), float(k > 1)

    def parts(a: float) -> tuple[Array, Array]:
        """|tC(x)-x|^2 and |x|^2 for every c."""
        v = a + c * (1 - a)
        ends = 1 + two * a**2
        error = n * (abs(1 - factor) * v + factor * (1 - a) / (2 * s)) ** 2
        return error + (1 - factor) ** 2 * ends + (d - k) * a**2, ends + n * v**2 + (d - k) * a**2

    three = [parts(a) for a in (0.0, 0.5, 1.0)]
    errors, squares = (np.stack(values) for values in zip(*three, strict=True))
    found = _least(lambda z: bool((_lowest(z * squares - errors) >= 0).all()), 0.0, 1.0)
    text = "z|x|^2 - |C(x)-x|^2 >= 0 where all lie at midpoints: quadratics in a = min/max kept"
    return Proof(KIND, 1.0 - found, text)


def _lowest(values: Array) -> Array:
    """The least value on [0, 1] of quadratics with these values at 0, 1/2, 1: (3, ...) -> (...)."""
    first, middle, last = values
    curve = 2 * (first - 2 * middle + last)
    slope = last - first - curve
    vertex = np.clip(-slope / np.where(curve > 0, 2 * curve, 1.0), 0.0, 1.0)
    lowest: Array = np.minimum(np.minimum(first, last), first + vertex * (slope + vertex * curve))
    return lowest


def _least(holds: Callable[[float], bool], low: float, high: float) -> float:
    """The least number in [low, high] where ``holds``, which stays true from there; else high."""
    if holds(low):
        return low
    while low < (middle := (low + high) / 2) < high:
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
