"""What is positive, for all q and m in (0, 1), in :mod:`efsgd.convex.lyapunov.proofs`, with proofs.

A sum of products of positive letters is positive. The letters are q, m, 1-q, 1-m, the inverses and
R, the positive root. Whether such a sum is the quantity in question, or a positive multiple of it,
is again an identity of polynomials. ``SIGNS`` has the statements by the name of the identity that
needs them. Derived here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from operator import mul

from efsgd.convex.lyapunov import proofs
from efsgd.convex.lyapunov.polynomial import Polynomial, letter
from efsgd.convex.lyapunov.proofs import ONE

NAMES = ("q", "m", "R", "1/q", "1/(1+q)", "1/(1-m)", "1/(1+m)")
# The letters of sums that are positive: no rule rewrites them, so that no sign appears or vanishes.
MEANING = {f"{name} > 0": letter(name) for name in NAMES}
MEANING |= {"1-q > 0": 1 - letter("q"), "1-m > 0": 1 - letter("m")}

q, m, R, per_q, per_1q, per_m, per_1m, p, n = map(letter, MEANING)  # p is 1-q, n is 1-m

STEP = 2 * p * per_1q * per_1m
Z = (p * n + (1 + q) * R) * per_1m * Fraction(1, 2)
ABOVE_Q = p * n * per_1m * Z  # rho - q
NUMERATOR, DENOMINATOR = n + q + q * m, 1 + q + p * m  # of s


@dataclass(frozen=True, eq=False)
class Sign:
    """The statement that ``quantity`` > 0, as ``multiplier`` times it is ``product``.

    Both of these are sums of products of the letters in MEANING.
    """

    quantity: Polynomial
    product: Polynomial
    multiplier: Polynomial = ONE

    @property
    def proven(self) -> bool:
        """Whether both are positive on the face of it, and the identity holds."""
        positive = is_positive(self.product) and is_positive(self.multiplier)
        return positive and (meant(self.multiplier) * self.quantity - meant(self.product)).is_zero


def is_positive(polynomial: Polynomial) -> bool:
    """Whether it is a sum, not 0, of products of positive letters with positive coefficients."""
    letters = {name for monomial in polynomial.terms for name in monomial}
    coefficients = polynomial.terms.values()
    return bool(coefficients) and letters <= MEANING.keys() and min(coefficients) > 0


def meant(polynomial: Polynomial) -> Polynomial:
    """What it is in q and m: each letter of MEANING written out."""
    terms = (
        reduce(mul, (MEANING[name] for name in monomial), ONE * coefficient)
        for monomial, coefficient in polynomial.terms.items()
    )
    return reduce(Polynomial.__add__, terms, ONE * 0)


def of_root() -> dict[str, Sign]:
    """eta* > 0, z > 0, and rho < 1: (1-rho) (1 + z - (1-q) r) = 2 (1+z) (1-q) m/(1+m)."""
    slope = Z + q + 2 * p * m * per_1m  # 1 + z - (1-q) r
    return {
        "eta*": Sign(proofs.STEP, STEP),
        "z": Sign(proofs.Z, Z),
        "1 - rho": Sign(1 - proofs.RATE, 2 * (1 + Z) * p * m * per_1m, slope),
    }


def of_ef() -> dict[str, Sign]:
    """lam, kappa, a > 0."""
    lam, kappa, a = proofs.coefficients_of_ef()
    return {
        "lam": Sign(lam, 2 * STEP * Z),
        "kappa": Sign(kappa, per_q),
        "a": Sign(a, ABOVE_Q * (1 + q) * per_q),
    }


def of_ef21() -> dict[str, Sign]:
    """eta* lam, kappa, a > 0: a = (rho - q) + q (1-q) + eta* lam eta* m/(1-m)."""
    eta_lam, kappa, a = proofs.coefficients_of_ef21()
    return {
        "eta* lam": Sign(eta_lam, 2 * q * Z),
        "kappa": Sign(kappa, ONE),
        "a": Sign(a, ABOVE_Q + q * p + 2 * q * Z * STEP * m * per_m),
    }


def of_determinant() -> dict[str, Sign]:
    """-det > 0, so that the roots of EF on h x^2/2 have opposite signs."""
    return {"-det": Sign(-proofs.determinant_of_ef(), q)}


def of_traces() -> dict[str, Sign]:
    """(1-q) r > 0, so that z is the larger root there."""
    return {"(1-q) r": Sign(proofs.TRACE, p * n * per_1m)}


def of_lead() -> dict[str, Sign]:
    """s > 0 and z > s: (z D - s D) (s D z + q D) = 8 q (1-q) m^2 z/(1+m)."""
    lead = proofs.Z * proofs.CGD_DENOMINATOR - proofs.CGD_NUMERATOR
    return {
        "s D": Sign(proofs.CGD_NUMERATOR, NUMERATOR),
        "D": Sign(proofs.CGD_DENOMINATOR, DENOMINATOR),
        "(z - s) D": Sign(lead, 8 * q * p * m**2 * Z * per_1m, NUMERATOR * Z + q * DENOMINATOR),
    }


SIGNS: dict[str, Callable[[], dict[str, Sign]]] = {
    "ef": of_ef,
    "ef21": of_ef21,
    "root": of_root,
    "determinant": of_determinant,
    "traces": of_traces,
    "lead": of_lead,
}
