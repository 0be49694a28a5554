"""Polynomials with rational coefficients in letters, some of which are inverses or a square root.

They are what a computer algebra system would hold for q = sqrt(1-delta), m = mu/L, their inverses
1/q, 1/(1+q), 1/(1-m), 1/(1+m), and R = sqrt((1-m)^2 + 16 m q/(1+q)^2). Every product is rewritten
by ``RULES``, which are true for all q and m in (0, 1), so that an expression which becomes 0 is 0
there: no number is put in, and nothing is rounded.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import TypeAlias

Monomial: TypeAlias = tuple[str, ...]  # the letters of a product, sorted: ("m", "q", "q") is m q^2
Terms: TypeAlias = Mapping[Monomial, Fraction]


@dataclass(frozen=True, eq=False)
class Polynomial:
    """A sum of monomials with coefficients other than 0, in normal form; see :func:`letter`."""

    terms: Terms

    def __add__(self, other: Polynomial | Fraction | int) -> Polynomial:
        """The sum."""
        return _collected([*self.terms.items(), *_polynomial(other).terms.items()])

    def __mul__(self, other: Polynomial | Fraction | int) -> Polynomial:
        """The product, in normal form."""
        return _collected(
            [
                (monomial, a * b * c)
                for left, a in self.terms.items()
                for right, b in _polynomial(other).terms.items()
                for monomial, c in _normal(tuple(sorted(left + right))).items()
            ]
        )

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self) -> Polynomial:
        """The negative."""
        return self * -1

    def __sub__(self, other: Polynomial | Fraction | int) -> Polynomial:
        """The difference."""
        return self + _polynomial(other) * -1

    def __rsub__(self, other: Fraction | int) -> Polynomial:
        """The difference from a number."""
        return -self + other

    def __pow__(self, exponent: int) -> Polynomial:
        """The product of ``exponent`` >= 0 factors."""
        power = _polynomial(1)
        for _ in range(exponent):
            power = power * self
        return power

    @property
    def is_zero(self) -> bool:
        """Whether it is 0 for all q and m in (0, 1) and all values of the other letters."""
        return not self.terms

    def at(self, q: float, m: float) -> float:
        """Its value in floating point, for one without other letters than those above."""
        root = ((1 - m) ** 2 + 16 * m * q / (1 + q) ** 2) ** 0.5
        letters = {"q": q, "m": m, "R": root, "1/q": 1 / q, "1/(1+q)": 1 / (1 + q)}
        letters |= {"1/(1-m)": 1 / (1 - m), "1/(1+m)": 1 / (1 + m)}
        total = 0.0
        for monomial, coefficient in self.terms.items():
            product = float(coefficient)
            for name in monomial:
                product *= letters[name]
            total += product
        return total


def letter(name: str) -> Polynomial:
    """A letter alone: one of those above, or another, such as the vector x, without a rule."""
    return Polynomial({(name,): Fraction(1)})


def _polynomial(value: Polynomial | Fraction | int) -> Polynomial:
    """A number as a polynomial."""
    return value if isinstance(value, Polynomial) else _collected([((), Fraction(value))])


def _collected(terms: list[tuple[Monomial, Fraction]]) -> Polynomial:
    """The sum of terms, with equal monomials put together."""
    total: dict[Monomial, Fraction] = defaultdict(Fraction)
    for monomial, coefficient in terms:
        total[monomial] += coefficient
    return Polynomial({monomial: value for monomial, value in total.items() if value})


# What a product of two letters is, for all q and m in (0, 1).
_ONE, _HALF = Fraction(1), Fraction(1, 2)
RULES: dict[tuple[str, str], Terms] = {
    ("q", "1/q"): {(): _ONE},
    ("q", "1/(1+q)"): {(): _ONE, ("1/(1+q)",): -_ONE},
    ("1/q", "1/(1+q)"): {("1/q",): _ONE, ("1/(1+q)",): -_ONE},
    ("m", "1/(1+m)"): {(): _ONE, ("1/(1+m)",): -_ONE},
    ("m", "1/(1-m)"): {("1/(1-m)",): _ONE, (): -_ONE},
    ("1/(1+m)", "1/(1-m)"): {("1/(1+m)",): _HALF, ("1/(1-m)",): _HALF},
    ("R", "R"): {
        (): _ONE,
        ("m",): -2 * _ONE,
        ("m", "m"): _ONE,
        ("m", "q", "1/(1+q)", "1/(1+q)"): 16 * _ONE,
    },
}


@cache
def _normal(monomial: Monomial) -> Terms:
    """A product of letters with no pair left that RULES rewrites."""
    for pair, value in RULES.items():
        rest = Counter(monomial)
        rest.subtract(pair)
        if min(rest.values()) >= 0:
            left = tuple(rest.elements())
            rewritten = [
                (term, a * b)
                for letters, a in value.items()
                for term, b in _normal(tuple(sorted(left + letters))).items()
            ]
            return _collected(rewritten).terms
    return {monomial: Fraction(1)}
