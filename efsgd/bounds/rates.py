"""Exact rates, best steps and worst cases with full gradients, of GD, CGD, EF and EF21.

CGD is compressed GD without feedback. The letters and their domains are in
:mod:`efsgd.bounds.letters`.
"""

from __future__ import annotations

import numpy as np

from efsgd.bounds.letters import (
    DERIVED,
    INEXACT,
    TIGHT,
    Value,
    contraction,
    gap,
    mean_share,
    sourced,
)

# -- mu-strongly convex and L-smooth f: the best constant step, and its exact rate -----------------


@sourced("Nesterov 2018, Theorem 2.1.15")
def gd_step(*, L: Value, mu: Value) -> Value:
    """2/(L+mu)."""
    return 2 / (L + mu)


@sourced("Taylor, Hendrickx, Glineur, arXiv 1705.04398")
def gd_rate(*, L: Value, mu: Value) -> Value:
    """((L-mu)/(L+mu))^2, by which f - f* falls at each step of GD at gd_step."""
    return ((L - mu) / (L + mu)) ** 2


@sourced(INEXACT)
def cgd_step(*, L: Value, mu: Value, delta: Value) -> Value:
    """2/((1-q)mu + (1+q)L)."""
    return 2 / ((1 - contraction(delta)) * mu + (1 + contraction(delta)) * L)


@sourced(INEXACT)
def cgd_rate(*, L: Value, mu: Value, delta: Value) -> Value:
    """((k-1)/(k+1))^2 with k = K L/mu, by which f - f* falls: compressed GD without feedback."""
    least = gap(delta) * mu
    return ((L - least) / (L + least)) ** 2


@sourced(TIGHT)
def ef_step(*, L: Value, mu: Value, delta: Value) -> Value:
    """2/(K(L+mu))."""
    return 2 * gap(delta) / (L + mu)


@sourced(TIGHT)
def ef_rate(*, L: Value, mu: Value, delta: Value) -> Value:
    """The rate of |x - x* - e|^2 + |e|^2/q under EF at ef_step (for delta = 1, of |x - x*|^2).

    q + (1-q)/2 r^2 [1-q + ((1+q)^2 + 16 q L mu/(L-mu)^2)^(1/2)] with r = (L-mu)/(L+mu)
    """
    q, r = contraction(delta), (L - mu) / (L + mu)
    root = np.sqrt((r * (1 + q)) ** 2 + 16 * q * L * mu / (L + mu) ** 2)  # r times the above
    return q + (1 - q) / 2 * r * (r * (1 - q) + root)


@sourced(TIGHT)
def ef21_step(*, L: Value, mu: Value, delta: Value) -> Value:
    """2/(K(L+mu)), that of EF."""
    return ef_step(L=L, mu=mu, delta=delta)


@sourced(TIGHT)
def ef21_rate(*, L: Value, mu: Value, delta: Value) -> Value:
    """The rate of |g - h|^2 + q|g|^2 under EF21 at ef21_step, h being the estimate: that of EF."""
    return ef_rate(L=L, mu=mu, delta=delta)


@sourced(DERIVED)
def cgd_cliff(*, L: Value, delta: Value) -> Value:
    """2/((1+q)L): from this step size on f(x) = L x^2/2 with C(x) = (1+q)x defeats CGD."""
    return 2 / ((1 + contraction(delta)) * L)


@sourced(DERIVED)
def ef_cliff(*, L: Value, delta: Value) -> Value:
    """2/(K L): from this step size on f(x) = L x^2/2 with C(x) = (1+q)x defeats EF and EF21.

    There z^2 - (1 - q - (1+q) lr L)z - q, whose roots move (x, e), has the root -1. With mu small
    it lies just above :func:`ef_step`, at (1 + mu/L) times it.
    """
    return 2 * gap(delta) / L


# -- without strong convexity ----------------------------------------------------------------------


@sourced("Drori and Teboulle 2014, Theorem 3.1")
def gd_convex(*, L: Value, R: Value, N: Value) -> Value:
    """L R^2/(4N+2): the largest f(x_N) - f* of GD with step 1/L, f convex and L-smooth; tight."""
    return L * R**2 / (4 * N + 2)


@sourced(DERIVED)
def cgd_convex(*, L: Value, R: Value, lr: Value, delta: Value, N: Value) -> Value:
    """L R^2/(2 + 4 (1-q) L lr N): f(x_N) - f* of CGD, f convex and L-smooth.

    Attained by a Huber function and C(x) = (1-q)x at every step size, so the worst case is never
    less. It is no more either, by performance estimation at lr = 1/((1+q)L), for delta = .5 or .9
    and N <= 2, and at half that step for delta = .5 and N <= 3; for N = 3 to 10 it is more at the
    former.
    """
    return L * R**2 / (2 + 4 * L * lr * N * delta / (1 + contraction(delta)))


@sourced(DERIVED)
def ef_convex(*, L: Value, R: Value, lr: Value, delta: Value, N: Value) -> Value:
    """L R^2/(2 + 4 L lr sum_{t=1..N}(1-q^t)): f(x_N) - f* of EF and EF21, f convex, L-smooth.

    Attained by a Huber function and C(x) = (1-q)x at every step size, so the worst case is never
    less. It is no more either, by performance estimation at lr = 1/(K L), for EF with delta <= .5
    and N <= 10 or delta = .9 and N <= 2, and for EF21 with delta = .1 and N <= 10, .25 and N <= 5,
    .5 and N <= 2, .9 and N = 1. Beyond that it is a lower bound only: exact for some N more (EF,
    delta = .9, N = 3), but not for all (EF, .9, N = 5, and EF21, .9, N = 2).
    """
    moved = (N + 1) * mean_share(delta, N + 1)  # the sum of 1 - q^t
    return L * R**2 / (2 + 4 * L * lr * moved)


@sourced("Abbaszadehpeivasti, de Klerk, Zamani, arXiv 2104.05468")
def gd_nonconvex(*, L: Value, f0: Value, N: Value) -> Value:
    """4 L f0/(3N+2): the largest min over t <= N of |grad f(x_t)|^2 of GD with step 1/L; tight."""
    return 4 * L * f0 / (3 * N + 2)


@sourced(DERIVED)
def cgd_nonconvex(*, L: Value, f0: Value, delta: Value, N: Value) -> Value:
    """4 L f0/(2 + (4 - 1/K) N/K), the largest min over t <= N of |grad f(x_t)|^2 of CGD.

    With the step 1/((1+q)L), half of :func:`cgd_cliff`, for which C(x) = (1-q)x makes it GD with
    the step 1/(K L). That no compressor is worse is by performance estimation, for delta = .5 and
    .9 and N <= 10.
    """
    step = gap(delta)
    return 4 * L * f0 / (2 + (4 - step) * step * N)
