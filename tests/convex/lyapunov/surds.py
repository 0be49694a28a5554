"""Numbers a + b sqrt(D) with rational a and b, and vectors and quadratic forms of such numbers.

Sums, products, quotients and signs are exact: all is done in fractions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

Rational: TypeAlias = Fraction | int


@dataclass(frozen=True)
class Surd:
    """a + b sqrt(D) with rational a, b and D >= 0, D no square of a rational unless b = 0."""

    a: Fraction
    b: Fraction = Fraction(0)
    D: Fraction = Fraction(0)

    def __post_init__(self) -> None:
        """Set D to 0 where b = 0, so that equal numbers compare equal."""
        if self.b == 0:
            object.__setattr__(self, "D", Fraction(0))

    @staticmethod
    def root(D: Fraction) -> Surd:
        """The square root of D >= 0, rational where D is a square; ValueError for D < 0."""
        if D < 0:
            raise ValueError(f"D = {D} has no real square root: give a number >= 0")
        numerator, denominator = math.isqrt(D.numerator), math.isqrt(D.denominator)
        if numerator**2 == D.numerator and denominator**2 == D.denominator:
            return Surd(Fraction(numerator, denominator))
        return Surd(Fraction(0), Fraction(1), D)

    def __add__(self, other: Surd | Rational) -> Surd:
        """The sum; this and the other operations raise ValueError for two different D."""
        other = surd(other)
        if not (self.b or other.b):  # most entries of a certificate
            return Surd(self.a + other.a)
        return Surd(self.a + other.a, self.b + other.b, _common_D(self, other))

    def __mul__(self, other: Surd | Rational) -> Surd:
        """The product."""
        other = surd(other)
        if not (self.b or other.b):
            return Surd(self.a * other.a)
        D = _common_D(self, other)
        b = self.a * other.b + self.b * other.a
        return Surd(self.a * other.a + self.b * other.b * D, b, D)

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self) -> Surd:
        """The negative."""
        return Surd(-self.a, -self.b, self.D)

    def __sub__(self, other: Surd | Rational) -> Surd:
        """The difference."""
        return self + -surd(other)

    def __rsub__(self, other: Rational) -> Surd:
        """The difference from a rational number."""
        return -self + other

    def __truediv__(self, other: Surd | Rational) -> Surd:
        """The quotient; ZeroDivisionError for 0."""
        other = surd(other)
        norm = other.a**2 - other.b**2 * other.D
        return self * Surd(other.a / norm, -other.b / norm, other.D)

    @property
    def sign(self) -> int:
        """-1, 0 or 1."""
        a, b = _sign(self.a), _sign(self.b)
        if a * b >= 0:
            return a or b
        return a if self.a**2 > self.b**2 * self.D else b

    def __float__(self) -> float:
        """The number in floating point, to a few units in the last place of a and b sqrt(D)."""
        return float(self.a) + float(self.b) * math.sqrt(self.D)


Vector: TypeAlias = tuple[Surd, ...]  # coordinates of a vector in a basis
Form: TypeAlias = tuple[Vector, ...]  # a quadratic form in these coordinates: a symmetric matrix


def surd(value: Surd | Rational) -> Surd:
    """A rational number as a :class:`Surd`."""
    return value if isinstance(value, Surd) else Surd(Fraction(value))


def basis(n: int) -> tuple[Vector, ...]:
    """The n unit vectors."""
    return tuple(tuple(surd(int(i == j)) for j in range(n)) for i in range(n))


def combine(*terms: tuple[Surd | Rational, Vector]) -> Vector:
    """The linear combination sum of k v over the terms (k, v)."""
    return tuple(
        sum((k * column for (k, _), column in zip(terms, columns, strict=True)), surd(0))
        for columns in zip(*(v for _, v in terms), strict=True)
    )


def inner(u: Vector, v: Vector) -> Form:
    """<u, v> as a symmetric form: (u v' + v u')/2."""
    half, indices = Fraction(1, 2), range(len(u))
    return tuple(tuple((u[i] * v[j] + u[j] * v[i]) * half for j in indices) for i in indices)


def total(*terms: tuple[Surd | Rational, Form]) -> Form:
    """The linear combination sum of k Q over the terms (k, Q)."""
    return tuple(
        combine(*((k, row) for (k, _), row in zip(terms, rows, strict=True)))
        for rows in zip(*(form for _, form in terms), strict=True)
    )


def _common_D(u: Surd, v: Surd) -> Fraction:
    if u.b and v.b and u.D != v.D:
        raise ValueError(f"sqrt({u.D}) and sqrt({v.D}) do not mix: use one D")
    return u.D or v.D


def _sign(value: Fraction) -> int:
    return (value > 0) - (value < 0)
