"""Numbers a + b sqrt(D) with rational a and b, and vectors and quadratic forms made of them.

Pure fractions: sums, products, quotients and signs are exact.
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
        """Forget D where b = 0, so that equal numbers are equal values."""
        if self.b == 0:
            object.__setattr__(self, "D", Fraction(0))

    @staticmethod
    def root(D: Fraction) -> Surd:
        """The square root of D >= 0, rational where D is a square; ValueError for D < 0."""
        if D < 0:
            raise ValueError(f"D = {D} has no real square root: give a number >= 0")
        over, under = math.isqrt(D.numerator), math.isqrt(D.denominator)
        if over**2 == D.numerator and under**2 == D.denominator:
            return Surd(Fraction(over, under))
        return Surd(Fraction(0), Fraction(1), D)

    def __add__(self, other: Surd | Rational) -> Surd:
        """The sum; ValueError for two different D, here and below."""
        other = surd(other)
        if not (self.b or other.b):  # most entries of a certificate
            return Surd(self.a + other.a)
        return Surd(self.a + other.a, self.b + other.b, _field(self, other))

    def __mul__(self, other: Surd | Rational) -> Surd:
        """The product."""
        other = surd(other)
        if not (self.b or other.b):
            return Surd(self.a * other.a)
        D = _field(self, other)
        crossed = self.a * other.b + self.b * other.a
        return Surd(self.a * other.a + self.b * other.b * D, crossed, D)

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
    half, every = Fraction(1, 2), range(len(u))
    return tuple(tuple((u[i] * v[j] + u[j] * v[i]) * half for j in every) for i in every)


def total(*terms: tuple[Surd | Rational, Form]) -> Form:
    """The combination sum of k Q over the terms (k, Q)."""
    rows = zip(*(form for _, form in terms), strict=True)
    return tuple(
        combine(*((k, row) for (k, _), row in zip(terms, own, strict=True))) for own in rows
    )


def _field(one: Surd, other: Surd) -> Fraction:
    if one.b and other.b and one.D != other.D:
        raise ValueError(f"sqrt({one.D}) and sqrt({other.D}) do not mix: use one D")
    return one.D or other.D


def _sign(value: Fraction) -> int:
    return (value > 0) - (value < 0)
