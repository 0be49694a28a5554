"""The one-step certificates of EF and EF21 as identities, checked without a rounding error.

At the optimal step size eta the contraction V_+ <= rho V of either method follows from an identity:
V_+ = rho V + lam I + kappa Ic - a |w|^2, where I <= 0 is an interpolation condition, Ic <= 0 the
condition on the compressor, and lam, kappa and a are >= 0. All coefficients lie in Q(sqrt D),
D = (1-m)^2 + 16 m q/(1+q)^2, so that at rational q and m both sides are compared entry by entry, in
fractions. L = 1, m = mu/L and q = sqrt(1-delta). Step size, rate and V are those of arXiv
2506.05271; the coefficients of the certificates are derived here.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from surds import (
    Form,
    Rational,
    Surd,
    Vector,
    basis,
    combine,
    inner,
    surd,
    total,
)

BASIS = {"ef": ("x", "e", "g", "c"), "ef21": ("g", "d", "g+", "c")}  # x is x - x*


@dataclass(frozen=True)
class Coefficients:
    """A certificate: V_+ = rho V + lam I + kappa Ic - a |w|^2 at step size eta."""

    eta: Surd
    rho: Surd
    lam: Surd
    kappa: Surd
    a: Surd
    w: Vector  # in the coordinates of BASIS


@dataclass(frozen=True)
class ExactCertificate:
    """A certificate that was checked; ``faults`` says in words what is wrong with it."""

    method: str
    q: Fraction
    m: Fraction
    coefficients: Coefficients
    faults: tuple[str, ...]

    @property
    def valid(self) -> bool:
        """Whether the identity, every sign and the closed form of rho hold exactly."""
        return not self.faults


def closed_rate(q: Rational, m: Rational) -> Surd:
    """rho* = q + (1-q)/2 ((1-m)/(1+m))^2 (1-q + S), S = sqrt((1+q)^2 + 16 q m/(1-m)^2).

    Source: arXiv 2506.05271. Raises as :func:`check_ef` does.
    """
    q, m = _parameters(q, m)
    S = _root(q, m) * ((1 + q) / (1 - m))
    square = surd((1 + q) ** 2 + 16 * q * m / (1 - m) ** 2)
    if square != S * S:
        raise ArithmeticError(f"S is no square root at q = {q}, m = {m}: the closed form is wrong")
    return q + (1 - q) / 2 * ((1 - m) / (1 + m)) ** 2 * (1 - q + S)


def ef_coefficients(q: Rational, m: Rational) -> Coefficients:
    """The certificate of EF, in the basis x - x*, e, g, c with c = C(eta g + e)."""
    q, m = _parameters(q, m)
    eta = _step(q, m)
    lam = eta / (1 + m) * ((1 - q) * (1 - m) + (1 + q) * _root(q, m))
    rho = q + (1 + q) * (1 - m) / 4 * lam
    a = (rho - q) * (1 + q) / q
    x, e, g, _ = basis(4)
    w = combine((1, e), ((1 - rho) / a, x), (surd(2 * (q - 1) / (1 + m)) / a, g))
    return Coefficients(surd(eta), rho, lam, surd(1 / q), a, w)


def ef21_coefficients(q: Rational, m: Rational) -> Coefficients:
    """The certificate of EF21, in the basis g, d, g_+, c with c = C(g_+ - d)."""
    q, m = _parameters(q, m)
    eta, rho = _step(q, m), closed_rate(q, m)
    lam = q / (eta * (1 + m)) * ((1 - q) * (1 - m) + (1 + q) * _root(q, m))
    a = rho - q**2 + lam * (eta**2 * m / (1 - m))
    b = lam * (eta * (1 + m) / (2 * (1 - m)))
    g, d, g_next, _ = basis(4)
    w = combine((1, d), ((b + q**2) / a, g_next), (-(rho + b) / a, g))
    return Coefficients(surd(eta), rho, lam, surd(1), a, w)


def check_ef(
    q: Rational, m: Rational, coefficients: Coefficients | None = None
) -> ExactCertificate:
    """Check the certificate of EF with V = |x-x*-e|^2 + |e|^2/q, or the one given.

    q is sqrt(1-delta) and m is mu/L, both rational and in (0, 1). TypeError for floats, ValueError
    outside.
    """
    q, m = _parameters(q, m)
    k = _checked(coefficients) or ef_coefficients(q, m)
    x, e, g, c = basis(4)
    p = combine((k.eta, g), (1, e))
    before = total((1, _square(combine((1, x), (-1, e)))), (1 / q, _square(e)))
    error = _square(combine((1, p), (-1, c)))  # |e_+|^2
    after = total((1, _square(combine((1, x), (-1, p)))), (1 / q, error))
    contraction = total((1, error), (-(q**2), _square(p)))
    return _judge("ef", q, m, k, (after, before, _interpolation(x, g, m), contraction))


def check_ef21(
    q: Rational, m: Rational, coefficients: Coefficients | None = None
) -> ExactCertificate:
    """Check the certificate of EF21 with V = |g-d|^2 + q |g|^2; otherwise as :func:`check_ef`."""
    q, m = _parameters(q, m)
    k = _checked(coefficients) or ef21_coefficients(q, m)
    g, d, g_next, c = basis(4)
    before = total((1, _square(combine((1, g), (-1, d)))), (q, _square(g)))
    error = _square(combine((1, g_next), (-1, d), (-1, c)))  # |g_+ - d_+|^2
    after = total((1, error), (q, _square(g_next)))
    contraction = total((1, error), (-(q**2), _square(combine((1, g_next), (-1, d)))))
    dx, dg = combine((-k.eta, d)), combine((1, g_next), (-1, g))
    return _judge("ef21", q, m, k, (after, before, _interpolation(dx, dg, m), contraction))


def _checked(coefficients: Coefficients | None) -> Coefficients | None:
    """The coefficients; TypeError for another type, and for floats among them."""
    if coefficients is None:
        return None
    if not isinstance(coefficients, Coefficients):
        raise TypeError(f"coefficients must be a Coefficients, not {coefficients!r}: fill one in")
    for name in ("eta", "rho", "lam", "kappa", "a"):
        if not isinstance(getattr(coefficients, name), Surd):
            value = getattr(coefficients, name)
            raise TypeError(f"{name} = {value!r} is not exact: give a Surd")
    return coefficients


def _judge(
    method: str, q: Fraction, m: Fraction, k: Coefficients, forms: tuple[Form, ...]
) -> ExactCertificate:
    """Whether V_+ - rho V - lam I - kappa Ic + a |w|^2 = 0, with the right signs and the best rho.

    ``forms`` are V_+, V, I and Ic.
    """
    weights: tuple[Surd, ...] = (surd(1), -k.rho, -k.lam, -k.kappa, k.a)
    identity = total(*zip(weights, (*forms, _square(k.w)), strict=True))
    names = BASIS[method]
    faults = [
        f"the identity misses by {float(entry):.3g} at <{names[i]}, {names[j]}>"
        for i, row in enumerate(identity)
        for j, entry in enumerate(row)
        if i <= j and entry.sign
    ]
    signed = {"lam": k.lam, "a": k.a, "kappa": k.kappa, "rho": k.rho, "1 - rho": 1 - k.rho}
    faults += [f"{name} = {float(v):.3g} is negative" for name, v in signed.items() if v.sign < 0]
    if k.rho != closed_rate(q, m):
        faults.append(f"rho = {float(k.rho):.6g} is not the closed form")
    return ExactCertificate(method, q, m, k, tuple(faults))


def _interpolation(x: Vector, g: Vector, m: Fraction) -> Form:
    """The sum of the two interpolation conditions between points that differ by x, gradients by g.

    -<g,x> + (|g|^2 + m |x|^2 - 2m <g,x>)/(1-m), <= 0 for every 1-smooth, m-strongly convex f.
    """
    cross = -1 - 2 * m / (1 - m)
    return total((cross, inner(g, x)), (1 / (1 - m), _square(g)), (m / (1 - m), _square(x)))


def _square(v: Vector) -> Form:
    """|v|^2."""
    return inner(v, v)


def _root(q: Fraction, m: Fraction) -> Surd:
    """sqrt(D) of the module docstring."""
    return Surd.root((1 - m) ** 2 + 16 * m * q / (1 + q) ** 2)


def _step(q: Fraction, m: Fraction) -> Fraction:
    """The optimal step size eta."""
    return 2 / (1 + m) * (1 - q) / (1 + q)


def _parameters(q: Rational, m: Rational) -> tuple[Fraction, Fraction]:
    """q and m as fractions; TypeError for floats, ValueError outside (0, 1)."""
    for name, value in (("q", q), ("m", m)):
        if not isinstance(value, Fraction | int):
            raise TypeError(f"{name} = {value!r} is not exact: give a fractions.Fraction")
        if not 0 < value < 1:
            raise ValueError(f"{name} = {value} is outside (0, 1): give a fraction between")
    return Fraction(q), Fraction(m)
