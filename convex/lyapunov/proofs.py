"""The rates of EF and EF21, and why that of CGD is less, as polynomial identities in q and m.

L = 1, q = sqrt(1-delta) and m = mu/L, both in (0, 1). Each identity is an expression that
:mod:`efsgd.convex.lyapunov.polynomial` rewrites to 0, so that it holds for all q and m at once:
``IDENTITIES`` has them by name. What has to be positive for an identity to say something is proven
in :mod:`efsgd.convex.lyapunov.signs`:

- V_+ = rho V + lam I + kappa Ic - a |w|^2 with I, Ic <= 0 gives V_+ <= rho V if lam, kappa, a >= 0,
  and says that V contracts if rho < 1;
- z is the positive root of g(y) = y^2 - (1-q) r y - q, r = (1-m)/(1+m), and rho = z^2;
- s = ((1+q) - (1-q)m)/D with D = (1+q) + (1-q)m is positive, and s^2 is the rate of CGD. As
  g(s) = (s-z)(s + q/z) and D^2 (1+m) g(s) = -8 q (1-q) m^2, (z-s)(s z + q) > 0, so that s < z: CGD
  has the smaller asymptotic rate.

Step size, rate and Lyapunov functions of EF and EF21 are those of arXiv 2506.05271, the rate of CGD
that of arXiv 1709.05191; the certificates and the comparison are derived here.
"""

from __future__ import annotations

from fractions import Fraction

from efsgd.convex.lyapunov.polynomial import Polynomial, letter

Q, M, R = letter("q"), letter("m"), letter("R")
PER_Q, PER_1Q = letter("1/q"), letter("1/(1+q)")  # 1/q and 1/(1+q)
PER_M, PER_1M = letter("1/(1-m)"), letter("1/(1+m)")  # 1/(1-m) and 1/(1+m)
ONE = Polynomial({(): Fraction(1)})

STEP = 2 * (1 - Q) * PER_1Q * PER_1M  # eta*, of EF and EF21
Z = ((1 - Q) * (1 - M) + (1 + Q) * R) * PER_1M * Fraction(1, 2)  # sqrt(rho*)
RATE = Q + (1 - Q) * (1 - M) * PER_1M * Z  # rho*
CGD_NUMERATOR, CGD_DENOMINATOR = (1 + Q) - (1 - Q) * M, (1 + Q) + (1 - Q) * M  # of s


def coefficients_of_ef() -> tuple[Polynomial, Polynomial, Polynomial]:
    """lam, kappa and a of the certificate of EF."""
    return 2 * STEP * Z, PER_Q, (RATE - Q) * (1 + Q) * PER_Q


def coefficients_of_ef21() -> tuple[Polynomial, Polynomial, Polynomial]:
    """eta lam, kappa and a of the certificate of EF21. The factor eta > 0 keeps 1/eta out."""
    eta_lam = 2 * Q * Z
    return eta_lam, ONE, RATE - Q**2 + eta_lam * STEP * M * PER_M


def certificate_of_ef() -> Polynomial:
    """a (V_+ - rho V - lam I - kappa Ic) + |a w|^2, which is 0 at the step size STEP.

    V = |x-x*-e|^2 + |e|^2/q, I <= 0 is the interpolation condition between x and x*, and
    Ic = |p - C(p)|^2 - q^2 |p|^2 <= 0 the condition on the compressor. A quadratic form in vectors
    is written as that in numbers, since both have the same coefficients.
    """
    x, e, g, c = (letter(name) for name in ("x", "e", "g", "c"))  # x is x - x*, c is C(p)
    p, (lam, kappa, a) = STEP * g + e, coefficients_of_ef()
    before = (x - e) ** 2 + e**2 * PER_Q
    after = (x - p) ** 2 + (p - c) ** 2 * PER_Q
    contraction = (p - c) ** 2 - Q**2 * p**2
    w = a * e + (1 - RATE) * x - 2 * (1 - Q) * PER_1M * g  # a w
    rest = after - RATE * before - lam * _interpolation(x, g) - kappa * contraction
    return a * rest + w**2


def certificate_of_ef21() -> Polynomial:
    """eta (a (V_+ - rho V - lam J - kappa Jc) + |a w|^2), which is 0 at the step size eta = STEP.

    V = |g-d|^2 + q |g|^2, J <= 0 is the interpolation condition between x and x_+ = x - eta d, and
    Jc <= 0 that on the compressor of g_+ - d.
    """
    g, d, g_next, c = (letter(name) for name in ("g", "d", "g+", "c"))
    eta_lam, kappa, a = coefficients_of_ef21()
    b = eta_lam * (1 + M) * PER_M * Fraction(1, 2)
    error = (g_next - d - c) ** 2
    before, after = (g - d) ** 2 + Q * g**2, error + Q * g_next**2
    contraction = error - Q**2 * (g_next - d) ** 2
    w = a * d + (b + Q**2) * g_next - (RATE + b) * g  # a w
    rest = STEP * (after - RATE * before - kappa * contraction)
    return a * (rest - eta_lam * _interpolation(-STEP * d, g_next - g)) + STEP * w**2


def square_of_root() -> Polynomial:
    """z^2 - rho*, which is 0: z is a root of g."""
    return Z**2 - RATE


def lead_of_cgd() -> Polynomial:
    """D^2 (1+m) g(s) + 8 q (1-q) m^2, which is 0."""
    top, bottom = CGD_NUMERATOR, CGD_DENOMINATOR
    g = (1 + M) * top**2 - (1 - Q) * (1 - M) * top * bottom - (1 + M) * Q * bottom**2
    return g + 8 * Q * (1 - Q) * M**2


def _interpolation(x: Polynomial, g: Polynomial) -> Polynomial:
    """What is <= 0 between points that differ by x and gradients that differ by g.

    -<g,x> + (|g|^2 + m |x|^2 - 2m <g,x>)/(1-m), for every 1-smooth, m-strongly convex f.
    """
    return (g**2 + M * x**2 - 2 * M * (g * x)) * PER_M - g * x


IDENTITIES = {
    "ef": certificate_of_ef,
    "ef21": certificate_of_ef21,
    "root": square_of_root,
    "lead": lead_of_cgd,
}
