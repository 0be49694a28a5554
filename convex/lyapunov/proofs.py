"""The rates of EF and EF21, and why that of CGD is less, as polynomial identities in q and m.

L = 1, q = sqrt(1-delta) and m = mu/L, both in (0, 1). Each identity is an expression that
:mod:`efsgd.convex.lyapunov.polynomial` rewrites to 0, so that it holds for all q and m at once:
``IDENTITIES`` has them by name. What has to be positive for an identity to say something is proven
in :mod:`efsgd.convex.lyapunov.signs`:

- V_+ = rho V + lam I + kappa Ic - a |w|^2 with I, Ic <= 0 gives V_+ <= rho V if lam, kappa, a >= 0,
  and says that V contracts if rho < 1;
- z is the positive root of g(y) = y^2 - (1-q) r y - q, r = (1-m)/(1+m), and rho = z^2;
- no step size eta gives EF a rate below rho. On f = h x^2/2 with C(p) = (1+q)p a step is a 2x2
  matrix of (x, e) with the determinant -q and a trace b_h, so that its roots solve
  y^2 - b_h y - q = 0; they have opposite signs, and the larger modulus is the positive root of
  y^2 - |b_h| y - q, which grows with |b_h|. As b_m - m b_1 = (1-q)(1-m) for every eta,
  (1+m) max(|b_m|, |b_1|) >= |b_m| + m |b_1| >= (1-q)(1-m): for h = m or h = 1 the modulus is at
  least the positive root of g, z. No eigenvector has x = 0 or e = 0, so that from e_0 = 0 and any
  x_0 other than 0 |x_t|^2 falls in the long run by rho = z^2 at best;
- s = ((1+q) - (1-q)m)/D with D = (1+q) + (1-q)m is positive, and f - f* falls by s^2 under CGD. As
  g(s) = (s-z)(s + q/z) and D^2 (1+m) g(s) = -8 q (1-q) m^2, (z-s)(s z + q) > 0, so that s < z: CGD
  has the smaller asymptotic rate, whatever the step size of EF.

Step size, rate and Lyapunov functions of EF and EF21 are those of arXiv 2506.05271, the rate of CGD
that of arXiv 1709.05191; the certificates, the bound from below and the comparison are derived
here.
"""

from __future__ import annotations

from fractions import Fraction

from efsgd.convex.lyapunov.polynomial import Polynomial, letter

Q, M, R = letter("q"), letter("m"), letter("R")
PER_Q, PER_1Q = letter("1/q"), letter("1/(1+q)")  # 1/q and 1/(1+q)
PER_M, PER_1M = letter("1/(1-m)"), letter("1/(1+m)")  # 1/(1-m) and 1/(1+m)
ONE = Polynomial({(): Fraction(1)})

STEP = 2 * (1 - Q) * PER_1Q * PER_1M  # eta*, of EF and EF21
TRACE = (1 - Q) * (1 - M) * PER_1M  # (1-q) r, the trace at which the larger root is z
Z = ((1 - Q) * (1 - M) + (1 + Q) * R) * PER_1M * Fraction(1, 2)  # sqrt(rho*)
RATE = Q + TRACE * Z  # rho*
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
    x_next, e_next = step_of_ef(x, p, c)
    before = (x - e) ** 2 + e**2 * PER_Q
    after = (x_next - e_next) ** 2 + e_next**2 * PER_Q
    w = a * e + (1 - RATE) * x - 2 * (1 - Q) * PER_1M * g  # a w
    rest = after - RATE * before - lam * _interpolation(x, g) - kappa * _contraction(p, c)
    return a * rest + w**2


def certificate_of_ef21() -> Polynomial:
    """eta (a (V_+ - rho V - lam J - kappa Jc) + |a w|^2), which is 0 at the step size eta = STEP.

    V = |g-d|^2 + q |g|^2, J <= 0 is the interpolation condition between x and x_+ = x - eta d, and
    Jc <= 0 that on the compressor of g_+ - d, whose C(g_+ - d) is c = d_+ - d.
    """
    g, d, g_next, c = (letter(name) for name in ("g", "d", "g+", "c"))
    eta_lam, kappa, a = coefficients_of_ef21()
    b = eta_lam * (1 + M) * PER_M * Fraction(1, 2)
    d_next = d + c
    before, after = (g - d) ** 2 + Q * g**2, (g_next - d_next) ** 2 + Q * g_next**2
    w = a * d + (b + Q**2) * g_next - (RATE + b) * g  # a w
    rest = STEP * (after - RATE * before - kappa * _contraction(g_next - d, c))
    return a * (rest - eta_lam * _interpolation(-STEP * d, g_next - g)) + STEP * w**2


def square_of_root() -> Polynomial:
    """z^2 - rho*, which is 0: z is a root of g."""
    return Z**2 - RATE


def lead_of_cgd() -> Polynomial:
    """D^2 (1+m) g(s) + 8 q (1-q) m^2, which is 0."""
    top, bottom = CGD_NUMERATOR, CGD_DENOMINATOR
    g = (1 + M) * top**2 - (1 - Q) * (1 - M) * top * bottom - (1 + M) * Q * bottom**2
    return g + 8 * Q * (1 - Q) * M**2


def step_of_ef(x: Polynomial, p: Polynomial, c: Polynomial) -> tuple[Polynomial, Polynomial]:
    """x_+ and e_+ where ``p`` is eta g + e and ``c`` is C(p)."""
    return x - c, p - c


def matrix_of_ef(h: Polynomial) -> tuple[tuple[Polynomial, Polynomial], ...]:
    """The rows of EF's step of any size eta from (x, e), on h x^2/2 with C(p) = (1+q)p."""
    eta, zero = letter("eta"), 0 * ONE
    columns = []
    for x, e in ((ONE, zero), (zero, ONE)):
        p = eta * (h * x) + e
        columns.append(step_of_ef(x, p, (1 + Q) * p))
    return tuple(zip(*columns, strict=True))


def determinant_of_ef() -> Polynomial:
    """The determinant of EF's step on h x^2/2, for any h, which is -q."""
    (a, b), (c, d) = matrix_of_ef(letter("h"))
    return a * d - b * c


def trace_of_ef(h: Polynomial) -> Polynomial:
    """b_h, the trace of EF's step on h x^2/2."""
    (a, _), (_, d) = matrix_of_ef(h)
    return a + d


def determinant() -> Polynomial:
    """det + q, which is 0 for every h and eta."""
    return determinant_of_ef() + Q


def traces() -> Polynomial:
    """b_m - m b_1 - (1+m) (1-q) r, which is 0 for every eta."""
    return trace_of_ef(M) - M * trace_of_ef(ONE) - (1 + M) * TRACE


def _contraction(p: Polynomial, c: Polynomial) -> Polynomial:
    """What is <= 0 for ``c`` = C(p), by delta: |p - c|^2 - q^2 |p|^2."""
    return (p - c) ** 2 - Q**2 * p**2


def _interpolation(x: Polynomial, g: Polynomial) -> Polynomial:
    """What is <= 0 between points that differ by x and gradients that differ by g.

    -<g,x> + (|g|^2 + m |x|^2 - 2m <g,x>)/(1-m), for every 1-smooth, m-strongly convex f.
    """
    return (g**2 + M * x**2 - 2 * M * (g * x)) * PER_M - g * x


IDENTITIES = {
    "ef": certificate_of_ef,
    "ef21": certificate_of_ef21,
    "root": square_of_root,
    "determinant": determinant,
    "traces": traces,
    "lead": lead_of_cgd,
}
