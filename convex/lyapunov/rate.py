"""The best contraction rate that a quadratic Lyapunov function proves, by semidefinite programming.

V is a quadratic form in the state of a method, plus a multiple of f - f* where that helps. Over one
step every f is what interpolation says of two or three points, and every compressor what its delta
says, so that V_+ <= rho V follows from a linear matrix inequality with a multiplier >= 0 for each
of these facts (Lessard, Recht, Packard, arXiv 1408.3595; Taylor, Van Scoy, Lessard, arXiv
1803.06073). It is linear in V for a given rho, and rho is found by bisection. At the optimal step
size this gives the tight rates of arXiv 2506.05271, at every other one the rate of a quadratic
(:func:`quadratic_rate`), so that no other V could prove more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import get_args

import numpy as np

from efsgd.arrays import Array
from efsgd.checks import positive, scalar
from efsgd.convex import sdp
from efsgd.convex.lyapunov.one_step import STATE, Name, Step, one_step

TOLERANCE = 1e-10  # of Clarabel
SLACK = 1e-10  # by how much a solution may violate an inequality, V having trace 1
PRECISION = 1e-9  # of rho
NUDGES = (0.0, 1e-8, -1e-8, 3e-8)  # of rho, where the solver makes no progress
LARGEST = 1e6  # the search for a rate stops there
ACCURACY = 1e-5  # by how much rounding may put a rate below what no rate can beat
STEPS = (1e-9, 1e4)  # lr L: beyond them the rate is rounding
NEAREST = 1 - 1e-6  # mu/L, as above


@dataclass(frozen=True, eq=False)
class LyapunovRate:
    """The least rho found, and its proof: V_+ <= rho V where L = 1, V = s'Ps + f (f(x_t) - f*).

    ``multipliers`` name the facts: "f(a,b)" that f_a >= f_b + <g_b, x_a - x_b> + ..., for a and b
    among t ("0"), t+1 ("1") and the minimiser ("*"), and "C" of the compressor.
    """

    method: Name
    value: float  # rho
    state: tuple[str, ...]  # the n vectors s; "x" is x - x*
    P: Array  # (n, n), positive semidefinite; trace P + f = 1
    f: float
    multipliers: dict[str, float]
    residual: float  # the largest violation of an inequality or of the weights of f

    @property
    def coefficients(self) -> dict[str, float]:
        """V by its terms: "<x,x>", "<x,e>" (both halves together), ..., and "f"."""
        terms = {}
        for i, a in enumerate(self.state):
            for j, b in enumerate(self.state[i:], i):
                terms[f"<{a},{b}>"] = float(self.P[i, j] + self.P[j, i]) / (1 + (i == j))
        return terms | {"f": self.f}


def lyapunov_rate(
    method: Name, *, lr: float, delta: float = 1.0, L: float = 1.0, mu: float
) -> LyapunovRate:
    """The least rho with V_+ <= rho V for all f of the class and all compressors.

    f is L-smooth and mu-strongly convex, 0 < mu < L, gradients are full, compressors have ``delta``
    (arXiv 1901.09847, Assumption A). Methods: "gd"; "cgd", x - lr C(g); "ef"; "ef21" with d the
    server's gradient after its message. ``value`` is right to 1e-5 of itself (for delta above
    1 - 1e-5 it may be 1e-3 too large); if it is 1 or more, no V contracts.

    Raises ValueError for what cannot be asked, RuntimeError where the solver fails or rounding
    decides, as with steps so small that a rate differs from 1 by as little.
    """
    method, lr, delta, L, mu = _checked(method, lr, delta, L, mu)
    programme = _Programme(one_step(method, lr * L, delta, mu / L))
    low, high = 0.0, 1.0
    while not programme.contracts(high):
        low, high = high, 2 * high
        if high > LARGEST:
            raise RuntimeError(f"no rate below {LARGEST:g} at lr = {lr}: take a smaller step size")
    while high - low > PRECISION:
        middle = (low + high) / 2
        low, high = (low, middle) if programme.contracts(middle) else (middle, high)
    programme.contracts(high)
    found = programme.read(method)
    least = quadratic_rate(method, lr=lr, delta=delta, L=L, mu=mu)
    if found.value < (1 - ACCURACY) * least:
        raise RuntimeError(
            f"the search ended at {found.value:g} by rounding, where no rate is below {least:g}: "
            f"take a step size nearer to 1/L, or a delta or mu/L that is less extreme"
        )
    return found


def quadratic_rate(
    method: Name, *, lr: float, delta: float = 1.0, L: float = 1.0, mu: float
) -> float:
    """The worst rate on f = h |x|^2/2 with C(p) = (1-s)p, over h in {mu, L}, s in {-q, q}.

    q = sqrt(1-delta). It is the square of the largest eigenvalue of one step, and a lower bound on
    every rate, since these are in the class (derived here). For "ef" and "ef21" the eigenvalues
    solve z^2 - (1 + s - (1-s) lr h) z + s = 0; z = -1 is one where lr = 2(1-q)/((1+q) L).
    """
    method, lr, delta, L, mu = _checked(method, lr, delta, L, mu)
    q = math.sqrt(1 - delta)
    cases = [(s, lr * h) for s in (-q, q) for h in (mu, L)]
    if method in ("gd", "cgd"):
        return max(abs(1 - (1 - s) * step) for s, step in cases) ** 2
    roots = [np.roots([1, -(1 + s - (1 - s) * step), s]) for s, step in cases]
    return float(np.abs(np.concatenate(roots)).max() ** 2)


def _checked(
    method: Name, lr: float, delta: float, L: float, mu: float
) -> tuple[Name, float, float, float, float]:
    """All as floats, and "gd" in the place of those that are it where delta = 1."""
    if not isinstance(method, str) or method not in get_args(Name):
        raise ValueError(f"method must be one of {', '.join(get_args(Name))}, not {method!r}")
    lr, L = positive("lr", scalar("lr", lr)), positive("L", scalar("L", L))
    delta, mu = positive("delta", scalar("delta", delta), 1.0), scalar("mu", mu)
    if method == "gd" and delta != 1:
        raise ValueError(f"'gd' sends the gradient as it is: leave delta={delta} out")
    if not 0 < mu < L:
        raise ValueError(f"mu must lie in (0, L = {L:g}), not {mu}: a rate needs strong convexity")
    if not STEPS[0] <= lr * L <= STEPS[1] or mu / L > NEAREST:
        raise ValueError(
            f"lr L must lie in [{STEPS[0]:g}, {STEPS[1]:g}] and mu/L must be at most 1 - "
            f"{1 - NEAREST:.0e}, not {lr * L:g} and {mu / L:.9g}: beyond is rounding"
        )
    return "gd" if delta == 1 else method, lr, delta, L, mu


class _Programme:
    """The least violation of V_+ <= rho V over all V with trace 1, for one rho after the other.

    Its unknowns are the entries of P on and above the diagonal, f, the multipliers y, and the
    violation.
    """

    def __init__(self, step: Step) -> None:
        self.step, self.units = step, _units(len(step.now))
        # Facts of one size: the multipliers found are those of the facts over their scale.
        self.scale = np.abs(step.forms).max((1, 2))
        self.forms = step.forms / self.scale[:, None, None]
        self.values = step.values / self.scale[:, None]
        self.after = step.after.T @ self.units @ step.after
        self.now = step.now.T @ self.units @ step.now

    def contracts(self, rho: float) -> bool:
        """Whether there is a V with V_+ <= rho V; RuntimeError where the solver gives up."""
        p, status = len(self.units), ""
        for nudge in NUDGES:
            self.at = rho * (1 + nudge)
            x, status = self._solved(self.at)
            if status in ("Solved", "AlmostSolved"):  # the residual is the judge
                P = np.tensordot(x[:p], self.units, 1)
                f = float(x[p]) if self.step.uses_f else 0.0
                self.solution = P, f, np.maximum(x[p + 1 : -1], 0.0) / self.scale
                return self.residual() <= SLACK
        raise RuntimeError(
            f"Clarabel ended with status {status} at rho = {rho}: take a delta or mu/L that is "
            f"less extreme"
        )

    def _solved(self, rho: float) -> tuple[Array, str]:
        """Clarabel's solution and status: rows of equalities, signs, P >= 0 and the inequality."""
        p, m, k = len(self.units), len(self.forms), self.forms.shape[1]
        n, count = self.units.shape[1], p + 1 + m + 1
        trace = np.concatenate([np.trace(self.units, axis1=1, axis2=2), [1.0], np.zeros(m + 1)])
        balance = np.zeros((2, count))  # of f_0 and f_1
        balance[:, p], balance[:, p + 1 : -1] = (rho, -1.0), self.values.T
        equal = np.vstack([trace, balance] if self.step.uses_f else [trace, np.eye(count)[p]])
        signs = -np.eye(count)[p : p + 1 + m]
        psd = np.hstack([-sdp.vector(self.units).T, np.zeros((n * (n + 1) // 2, m + 2))])
        growth = [self.after - rho * self.now, np.zeros((1, k, k)), -self.forms, -np.eye(k)[None]]
        A = np.vstack([equal, signs, psd, sdp.vector(np.concatenate(growth)).T])
        b, cost = np.zeros(len(A)), np.zeros(count)
        b[0] = cost[-1] = 1.0  # trace P + f = 1, and the violation is minimised
        found = sdp.solved(
            cost,
            A,
            b,
            zeros=len(equal),
            signs=len(signs),
            sides=(n, k),
            gap=TOLERANCE,
            feasibility=TOLERANCE,
        )
        return np.array(found.x), str(found.status)

    def residual(self) -> float:
        """The largest violation of the solution, its multipliers cut off at 0."""
        (P, f, y), step, rho = self.solution, self.step, self.at
        growth = step.after.T @ P @ step.after - rho * step.now.T @ P @ step.now
        growth = growth - np.einsum("i,ijk->jk", y, step.forms)
        off = np.abs(y @ step.values - [-rho * f, f])
        return float(max(np.linalg.eigvalsh(growth)[-1], -np.linalg.eigvalsh(P)[0], -f, *off))

    def read(self, method: Name) -> LyapunovRate:
        """The last solution as a value."""
        P, f, y = self.solution
        multipliers = dict(zip(self.step.facts, y.tolist(), strict=True))
        return LyapunovRate(method, self.at, STATE[method], P, f, multipliers, self.residual())


def _units(n: int) -> Array:
    """The symmetric matrices with a 1 at one place on or above the diagonal, (n(n+1)/2, n, n)."""
    row, column = np.triu_indices(n)
    units = np.zeros((len(row), n, n))
    units[np.arange(len(row)), row, column] = units[np.arange(len(row)), column, row] = 1.0
    return units
