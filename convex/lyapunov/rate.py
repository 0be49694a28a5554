"""The best contraction rate that a quadratic Lyapunov function proves, by semidefinite programming.

V is a quadratic form in the state of a method, plus a multiple of f - f* where that helps. In one
step f enters through its interpolation conditions at two or three points and the compressor through
delta, so that V_+ <= rho V follows from a linear matrix inequality with a multiplier >= 0 for each
of these conditions (Lessard, Recht, Packard, arXiv 1408.3595; Taylor, Van Scoy, Lessard, arXiv
1803.06073). It is linear in V and the multipliers for a given rho, and rho is found by bisection.
At the optimal step size this gives the tight rates of arXiv 2506.05271, at every other one the rate
on a quadratic f (:func:`quadratic_rate`), so that no other V could prove more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, get_args

import numpy as np

from efsgd.arrays import Array
from efsgd.checks import positive, scalar
from efsgd.convex import sdp
from efsgd.convex.lyapunov.one_step import STATE, Name, Step, one_step

TOLERANCE = 1e-10  # of Clarabel
SLACK = 1e-10  # the largest residual of a solution, with trace P + f = 1
PRECISION = 1e-9  # of rho
NUDGES = (0.0, 1e-8, -1e-8, 3e-8)  # relative changes of rho, where the solver makes no progress
LARGEST = 1e6  # rho at which the search gives up
ACCURACY = 1e-5  # a rate below quadratic_rate by more than this, relatively, is refused
STEPS = (1e-9, 1e4)  # lr L: outside the rate is rounding
NEAREST = 1 - 1e-6  # mu/L: above the rate is rounding


@dataclass(frozen=True, eq=False)
class LyapunovRate:
    """The least rho found, and its proof: V_+ <= rho V where L = 1, V = s'Ps + f (f(x_t) - f*).

    ``multipliers`` has the multiplier of each condition by its name: "f(a,b)", the interpolation
    condition f_a >= f_b + <g_b, x_a - x_b> + ... for a and b among x_t ("0"), x_{t+1} ("1") and the
    minimiser ("*"); "f(a,b)+f(b,a)", the sum of two; "C", the compressor.
    """

    method: Name
    value: float  # rho
    state: tuple[str, ...]  # the n vectors s; "x" is x - x*
    P: Array  # (n, n), positive semidefinite; trace P + f = 1
    f: float
    multipliers: dict[str, float]
    residual: float  # the largest violation of V_+ <= rho V, P >= 0 and f >= 0

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
    server's gradient after the message. ``value`` has a relative error up to 1e-5 (for delta above
    1 - 1e-5 it may be 1e-3 too large); if it is 1 or more, no V contracts.

    Raises ValueError for arguments out of range, RuntimeError where the solver fails or rounding
    decides, as with step sizes so small that rho is 1 up to rounding.
    """
    method, lr, delta, L, mu = _checked(method, lr, delta, L, mu)
    step = one_step(method, lr * L, delta, mu / L)
    proof = _bisect(_Programme(step), lr)
    least = quadratic_rate(method, lr=lr, delta=delta, L=L, mu=mu)
    if proof.rho < (1 - ACCURACY) * least:
        raise RuntimeError(
            f"the search ended at {proof.rho:g} by rounding, where no rate is below {least:g}: "
            f"take a step size nearer to 1/L, or a delta or mu/L that is less extreme"
        )
    return LyapunovRate(
        method=method,
        value=proof.rho,
        state=STATE[method],
        P=proof.P,
        f=proof.f,
        multipliers=dict(zip(step.names, proof.y.tolist(), strict=True)),
        residual=proof.residual,
    )


def quadratic_rate(
    method: Name, *, lr: float, delta: float = 1.0, L: float = 1.0, mu: float
) -> float:
    """The worst rate on f = h |x|^2/2 with C(p) = (1-s)p, over h in {mu, L}, s in {-q, q}.

    q = sqrt(1-delta). It is the square of the largest eigenvalue of one step, and a lower bound on
    every rate, since f and C are admissible (derived here). Raises ValueError as
    :func:`lyapunov_rate` does. For "ef" and "ef21" the eigenvalues
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
    """The arguments, checked, as floats, and "gd" for every method without compression."""
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


def _bisect(programme: _Programme, lr: float) -> _Solution:
    """The proof of the least rho; RuntimeError, naming lr, where it is above LARGEST."""
    low, high = 0.0, 1.0
    while not (proof := programme.solve(high)).holds:
        low, high = high, 2 * high
        if high > LARGEST:
            raise RuntimeError(f"no rate below {LARGEST:g} at lr = {lr}: take a smaller step size")
    while high - low > PRECISION:
        middle = (low + high) / 2
        if (candidate := programme.solve(middle)).holds:
            high, proof = middle, candidate
        else:
            low = middle
    return proof


class _Solution(NamedTuple):
    """A V with trace P + f = 1, multipliers, and by how much V_+ <= rho V is violated."""

    rho: float
    P: Array  # (n, n)
    f: float
    y: Array  # (m,) >= 0
    residual: float

    @property
    def holds(self) -> bool:
        """Whether V_+ <= rho V is proved, up to rounding."""
        return self.residual <= SLACK


class _Programme:
    """The least violation of V_+ <= rho V over all V with trace P + f = 1, for any rho.

    Its unknowns are the entries of P on and above the diagonal, f, the multipliers y, and the
    violation.
    """

    def __init__(self, step: Step) -> None:
        self.step, self.units = step, _units(len(step.now))
        # All conditions are scaled to size 1; the multipliers are scaled back.
        self.scale = np.abs(step.forms).max((1, 2))
        self.forms = step.forms / self.scale[:, None, None]
        self.values = step.values / self.scale[:, None]
        self.after = step.after.T @ self.units @ step.after
        self.now = step.now.T @ self.units @ step.now

    def solve(self, rho: float) -> _Solution:
        """The V of least violation at rho or very near it; RuntimeError where the solver fails."""
        p, status = len(self.units), ""
        for nudge in NUDGES:
            nudged = rho * (1 + nudge)
            x, status = self._clarabel(nudged)
            if status in ("Solved", "AlmostSolved"):  # the residual decides
                P = np.tensordot(x[:p], self.units, 1)
                f = float(x[p]) if self.step.uses_f else 0.0
                y = np.maximum(x[p + 1 : -1], 0.0) / self.scale
                return _Solution(nudged, P, f, y, self._residual(nudged, P, f, y))
        raise RuntimeError(
            f"Clarabel ended with status {status} at rho = {rho}: take a delta or mu/L that is "
            f"less extreme"
        )

    def _clarabel(self, rho: float) -> tuple[Array, str]:
        """Clarabel's solution and status. The cones: equalities, signs, P >= 0, V_+ <= rho V."""
        p, m, k = len(self.units), len(self.forms), self.forms.shape[1]
        n, unknowns = self.units.shape[1], p + 1 + m + 1
        trace = np.concatenate([np.trace(self.units, axis1=1, axis2=2), [1.0], np.zeros(m + 1)])
        balance = np.zeros((2, unknowns))  # of f_0 and f_1
        balance[:, p], balance[:, p + 1 : -1] = (rho, -1.0), self.values.T
        f_alone = np.eye(unknowns)[p]  # f = 0
        equalities = np.vstack([trace, balance] if self.step.uses_f else [trace, f_alone])
        signs = -np.eye(unknowns)[p : p + 1 + m]
        psd = np.hstack([-sdp.vector(self.units).T, np.zeros((n * (n + 1) // 2, m + 2))])
        growth = [self.after - rho * self.now, np.zeros((1, k, k)), -self.forms, -np.eye(k)[None]]
        A = np.vstack([equalities, signs, psd, sdp.vector(np.concatenate(growth)).T])
        b, cost = np.zeros(len(A)), np.zeros(unknowns)
        b[0] = cost[-1] = 1.0  # trace P + f = 1, and the violation is minimised
        raw = sdp.solve(
            cost,
            A,
            b,
            equalities=len(equalities),
            inequalities=len(signs),
            psd_sizes=(n, k),
            gap=TOLERANCE,
            feasibility=TOLERANCE,
        )
        return np.array(raw.x), str(raw.status)

    def _residual(self, rho: float, P: Array, f: float, y: Array) -> float:
        """The largest violation: of V_+ <= rho V in the vectors and in f, of P >= 0 and f >= 0."""
        step = self.step
        growth = step.after.T @ P @ step.after - rho * step.now.T @ P @ step.now
        growth = growth - np.einsum("i,ijk->jk", y, step.forms)
        imbalance = np.abs(y @ step.values - [-rho * f, f])
        return float(max(np.linalg.eigvalsh(growth)[-1], -np.linalg.eigvalsh(P)[0], -f, *imbalance))


def _units(n: int) -> Array:
    """The symmetric matrices with one entry 1 on or above the diagonal, (n(n+1)/2, n, n)."""
    row, column = np.triu_indices(n)
    units = np.zeros((len(row), n, n))
    units[np.arange(len(row)), row, column] = units[np.arange(len(row)), column, row] = 1.0
    return units
