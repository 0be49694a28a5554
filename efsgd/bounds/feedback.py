"""Bounds for error feedback: Lemma 3 and Theorems II to IV of the paper, and their sharper forms.

The paper is arXiv 1901.09847. Theorem II is derived anew, with a middle term that holds: as far as
we know the printed one is half of it, which the picture ``theorem-two`` refutes. The letters and
their domains are in :mod:`efsgd.bounds.letters`.
"""

from __future__ import annotations

import numpy as np

from efsgd.arrays import Array
from efsgd.bounds.letters import (
    DERIVED,
    PAPER,
    Value,
    contraction,
    gap,
    lag,
    limit_share,
    mean_share,
    mean_square_share,
    sourced,
)

# -- the memory ------------------------------------------------------------------------------------


@sourced(f"{PAPER}, Lemma 3")
def error_lemma(*, lr: Value, sigma: Value, delta: Value) -> Value:
    """4(1-delta) lr^2 sigma^2/delta^2, which E|e_t|^2 never exceeds."""
    return 4 * (1 - delta) * (lr * sigma / delta) ** 2


@sourced(DERIVED)
def error_sharp(*, lr: Value, sigma: Value, delta: Value, t: Value) -> Value:
    """(lr sigma q(1-q^t)/(1-q))^2, the least bound on E|e_t|^2 at the step t.

    C(x) = (1-q)x attains it on a constant gradient. For t -> oo it is (1+q)^2/4 of the lemma.
    """
    return (lr * sigma * lag(delta) * limit_share(delta, t)) ** 2


@sourced(DERIVED)
def error_varying(*, lrs: Array, sigmas: Value, delta: float) -> Array:
    """(sum_{s<t} q^(t-s) lr_s sigma_s)^2, bounds on E|e_t|^2 for t = 0, ..., len(lrs).

    ``lrs`` (T,) are the step sizes, ``sigmas`` one number or (T,), ``delta`` a number. The lemma
    with lr_t in the place of lr is false. Attained as :func:`error_sharp` is.
    """
    if np.ndim(lrs) != 1 or np.ndim(delta) or np.shape(sigmas) not in ((), np.shape(lrs)):
        shapes = f"{np.shape(lrs)}, {np.shape(sigmas)} and {np.shape(delta)}"
        raise ValueError(f"lrs must be (T,), sigmas () or (T,) and delta a number, not {shapes}")
    roots = [0.0]
    for step in lrs * sigmas:
        roots.append(contraction(delta) * (roots[-1] + step))
    return np.array(roots) ** 2


# -- smooth f --------------------------------------------------------------------------------------


@sourced(f"{DERIVED}, after Theorem II of {PAPER}")
def theorem_two(
    *, f0: Value, lr: Value, L: Value, sigma: Value, delta: Value, T: Value, rho: Value = 1.0
) -> Value:
    """A bound on the mean over t = 0, ..., T of E|grad f(x_t)|^2, for f L-smooth.

    f0/(lr(1-rho/2)(T+1)) + L lr sigma^2/(2-rho) + 4 lr^2 L^2 sigma^2 (1-delta)/(rho(2-rho)delta^2)

    The mean is at most sigma^2 in any case, so the bound says something where it is less.
    """
    memory = error_lemma(lr=lr, sigma=sigma, delta=delta)
    return (2 * _descent(f0, lr, L, sigma, T) + L**2 * memory / rho) / (2 - rho)


@sourced(f"{DERIVED}: Theorem II at the best rho")
def theorem_two_best_rho(
    *, f0: Value, lr: Value, L: Value, sigma: Value, delta: Value, T: Value
) -> Value:
    """The infimum of :func:`theorem_two` over rho, which lies at 2c/(c + (c^2 + 4Bc)^(1/2)) < 1.

    B = f0/(lr(T+1)) + L lr sigma^2/2 and c = 4 lr^2 L^2 sigma^2 (1-delta)/delta^2; there it is
    B + c/2 + (c^2 + 4Bc)^(1/2)/2.
    """
    c = L**2 * error_lemma(lr=lr, sigma=sigma, delta=delta)
    return _solved(_descent(f0, lr, L, sigma, T), c)


@sourced(DERIVED)
def theorem_two_sharp(
    *, f0: Value, lr: Value, L: Value, sigma: Value, delta: Value, T: Value
) -> Value:
    """A smaller bound on the same mean, B + A/2 + (A^2 + 4AB)^(1/2)/2, or sigma^2 if that is less.

    B = f0/(lr(T+1)) + L lr sigma^2/2, and A is the mean over t = 0, ..., T of
    (lr L sigma q(1-q^t)/(1-q))^2. By Cauchy-Schwarz over the steps, with the sharp memory; and
    E|grad f|^2 <= E|g|^2.
    """
    A = (lr * L * sigma * lag(delta)) ** 2 * mean_square_share(delta, T + 1)
    bound: Value = np.minimum(_solved(_descent(f0, lr, L, sigma, T), A), sigma**2)[()]
    return bound


def _descent(f0: Value, lr: Value, L: Value, sigma: Value, T: Value) -> Value:
    """B: what the virtual iterate, that of SGD, contributes."""
    return f0 / (lr * (T + 1)) + L * lr * sigma**2 / 2


def _solved(B: Value, A: Value) -> Value:
    """The largest G with G <= B + (A G)^(1/2)."""
    return B + A / 2 + np.sqrt(A**2 + 4 * A * B) / 2


@sourced(DERIVED)
def noise_free(*, f0: Value, L: Value, delta: Value, T: Value) -> Value:
    """2 L f0 K/(T+1): min over t <= T of |grad f(x_t)|^2 with full gradients, f L-smooth.

    At the step size :func:`noise_free_step`, for EF. EF21 at the same step stays below it wherever
    a worst case was computed, which is no proof. Along a slope with C(p) = (1-q)p EF uses half of
    it for T -> oo.
    """
    return 2 * L * f0 / (gap(delta) * (T + 1))


@sourced(DERIVED)
def noise_free_step(*, L: Value, delta: Value) -> Value:
    """1/(K L), half of the step size from which on EF diverges on quadratics."""
    return gap(delta) / L


# -- convex f --------------------------------------------------------------------------------------


@sourced(f"{PAPER}, Theorem III")
def theorem_three(*, R: Value, lr: Value, sigma: Value, delta: Value, T: Value) -> Value:
    """A bound on E f(mean of x_0, ..., x_T) - f*, for f convex.

    R^2/(2 lr (T+1)) + lr sigma^2 (1/2 + 2(1-delta)^(1/2)/delta)
    """
    of_sgd = R**2 / (2 * lr * (T + 1))
    return of_sgd + lr * sigma**2 * (0.5 + 2 * contraction(delta) / delta)


@sourced(DERIVED)
def theorem_three_exact(*, R: Value, lr: Value, sigma: Value, delta: Value, T: Value) -> Value:
    """m (2R-m)/(2 lr (T+1)) + lr sigma^2 (1/2 + S_T), the mean over t <= T of E f(x_t) - f*.

    m = min(lr sigma (T+1), R), and S_T is the mean of q(1-q^t)/(1-q), the sharp bound on the
    memory; for T = 0 it is sigma R, which f(x_0) - f* attains at every lr. No less is true at any
    R, lr, sigma, delta and T: runs attain it where lr sigma (T+1) >= R, with R^2 in the place of
    m (2R-m), and f = sigma |x| elsewhere.

    By Jensen it bounds E f(mean x) - f* too, and the proof takes |g_t| <= sigma along the run only:
    there it is attained at the mean iterate as well, by an f that is steeper than sigma elsewhere.
    If f is sigma-Lipschitz f(mean x) is less, by performance estimation at some delta < 1, T up to
    10 and lr = R/(sigma (T+1)^(1/2)): by up to 1 % from T = 3 on. For delta = 1, for T = 1 and
    where lr sigma (T+1) <= R it is attained there too.
    """
    moved = np.minimum(lr * sigma * (T + 1), R)
    of_sgd = moved * (2 * R - moved) / (2 * lr * (T + 1))
    bound = of_sgd + lr * sigma**2 * (0.5 + lag(delta) * mean_share(delta, T + 1))
    value: Value = np.where(np.equal(T, 0), sigma * R, bound)[()]
    return value


@sourced(f"{PAPER}, Theorem IV")
def theorem_four(*, k: Value) -> Value:
    """1/k, the delta in expectation of U/k, when U is unbiased and E|U(x)|^2 <= k|x|^2."""
    return 1 / k
