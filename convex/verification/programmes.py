"""The small convex programmes that prove a worst-case bound of a compressor.

The solution is made exactly feasible and then evaluated, so that the bound does not rest on the
solver. Its dual value says that nothing better can be proven in this way. All of them are derived
here. Those that are solved need cvxpy, which is imported late.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd.arrays import Array

if TYPE_CHECKING:
    from efsgd.convex.problems.optima import Certificate

SIZE = 2048  # of a programme in d variables
WORK = 2**36  # bit operations that an enumeration may take


@dataclass(frozen=True)
class Proof:
    """A proven bound: delta at least ``value``, or omega at most ``value``."""

    kind: str
    value: float
    text: str  # what proves it, in a line
    dual: float = math.nan  # nothing better can be proven by this programme; NaN if none was solved
    seconds: float = 0.0


def sorted_cone(M: Array) -> Proof:
    """The greatest delta with s'Ms >= delta |s|^2 on the cone s_1 >= ... >= s_d >= 0, M (d, d).

    For a compressor with |x|^2 - |C(x)-x|^2 >= s'Ms, s the sorted magnitudes of x. Every such s is
    a sum of w_j 1_j with w >= 0 and 1_j = (1, .., 1, 0, .., 0), j ones. So delta holds if 1_i'M1_j
    >= delta min(i, j) for all i <= j, of which the least in each row i is enough: an LP in delta
    with d rows, exact where the binding pair has i = j. Raises ValueError for another shape.
    """
    if M.ndim != 2 or M.shape[0] != M.shape[1] or not 1 <= len(M) <= SIZE:
        raise ValueError(f"M must be a matrix (d, d) with d from 1 to {SIZE}, not {M.shape}")
    return on_generators(M.cumsum(0).cumsum(1))


def on_generators(pairs: Array) -> Proof:
    """:func:`sorted_cone` of the matrix M with these 1_i'M1_j, (d, d)."""
    import cvxpy as cp

    pairs = np.minimum(pairs, pairs.T)
    least = np.array([row[i:].min() for i, row in enumerate(pairs)])
    ones = np.arange(1.0, len(pairs) + 1)
    delta = cp.Variable()
    solution, seconds = minimised(-delta, [ones * delta <= least], delta)
    binding = int(np.argmin(least / ones))
    at = binding + int(np.argmin(pairs[binding, binding:]))
    text = f"1_i'M1_j >= delta min(i, j) for all i <= j, binding at ({binding + 1}, {at + 1})"
    return Proof(
        "sorted-cone LP", float((least / ones).min()), text, dual=-solution.dual, seconds=seconds
    )


def largest_shares(k: int, d: int) -> Proof:
    """The least share of |x|^2 that the k largest of the d entries of u = x^2 hold.

    For any p with 0 <= p_i <= 1 and sum p = k these k are at least <p, u> >= min(p) sum u, so
    min(p) is proven; the LP finds the best p. Also of k out of d squared singular values.
    """
    if d > SIZE:
        raise ValueError(f"d = {d} is too large for this programme: take {SIZE} at most")
    import cvxpy as cp

    p, delta = cp.Variable(d), cp.Variable()
    conditions = [p >= delta, p >= 0, p <= 1, cp.sum(p) <= k]
    solution, seconds = minimised(-delta, conditions, p)
    feasible = np.clip(solution.x, 0.0, 1.0)
    feasible *= min(1.0, k / float(feasible.sum()))
    text = f"the {k} largest of u = x^2 hold at least <p, u>, and min(p) is this"
    return Proof("LP in u = x^2", float(feasible.min()), text, dual=-solution.dual, seconds=seconds)


def largest_and_sum(d: int) -> Proof:
    """The least omega with max|x| |x|_1 <= (1 + omega)|x|^2, for TernGrad.

    Scaled to max|x| = x_1 = 1, with b the norm of the other entries, their sum is at most
    sqrt(d-1) b; k(1 + b^2) - 1 - sqrt(d-1) b >= 0 for all b is a linear matrix inequality in k.
    """
    import cvxpy as cp

    k, side = cp.Variable(), math.sqrt(d - 1)
    fixed = np.array([[-1.0, -side / 2], [-side / 2, 0.0]])
    solution, seconds = minimised(k, [k * np.eye(2) + fixed >> 0], k)
    least = float(solution.x) + float(np.linalg.eigvalsh(float(solution.x) * np.eye(2) + fixed)[0])
    lifted = float(solution.x) + max(0.0, float(solution.x) - least)
    text = "k(1 + b^2) - 1 - sqrt(d-1) b >= 0 for all b, a matrix [[k-1, .], [., k]] >= 0"
    return Proof("LMI", lifted - 1.0, text, dual=solution.dual - 1.0, seconds=seconds)


def stochastic_powers() -> Proof:
    """The least omega with (t-1)(2-t) <= omega t^2 for all t: an entry between two powers of two.

    (1 + omega) t^2 - 3t + 2 is a sum of squares when [[2, -3/2], [-3/2, 1 + omega]] >= 0. The
    determinant is made non-negative in rational numbers.
    """
    import cvxpy as cp

    omega, unit = cp.Variable(), np.array([[0.0, 0.0], [0.0, 1.0]])
    fixed = np.array([[2.0, -1.5], [-1.5, 1.0]])
    solution, seconds = minimised(omega, [omega * unit + fixed >> 0], omega)
    value = Fraction(float(solution.x))
    value += max(Fraction(0), (Fraction(9, 4) - 2 * (1 + value)) / 2)
    proven = float(value)
    proven = proven if Fraction(proven) >= value else math.nextafter(proven, math.inf)
    text = "(1 + omega) t^2 - 3t + 2 is a sum of squares: variance (t-1)(2-t) on [1, 2]"
    return Proof("2x2 SOS", proven, text, dual=solution.dual, seconds=seconds)


def stochastic_levels(d: int, s: int) -> Proof:
    """A bound on omega of QSGD with s levels: the Lagrange dual in one variable.

    With y = s|x|/|x|_2 the error is sum f(y_i) over s^2, f(y) = max_l (y-l)(l+1-y) over integers.
    For any mu > 0: sum f(y_i) <= (mu-1)s^2 + d max_l ((2l+1)^2/(4 mu) - l(l+1)). Tight for
    d >= 4s^2, and where 4s^2 is a sum of d odd squares.
    """
    import cvxpy as cp

    inverse: Any = cp.inv_pos
    odd = 2.0 * np.arange(s + 1) + 1
    mu, g = cp.Variable(pos=True), cp.Variable()
    conditions = [g >= odd**2 / 4 * inverse(mu) - (odd**2 - 1) / 4]
    solution, seconds = minimised(mu - 1 + d / s**2 * g, conditions, mu)
    best = max(float(solution.x), 1e-12)  # any mu > 0 proves a bound
    value = best - 1 + d / s**2 * float((odd**2 / (4 * best) - (odd**2 - 1) / 4).max())
    text = "omega s^2 <= (mu-1)s^2 + d max_l ((2l+1)^2/(4 mu) - l(l+1)), mu > 0"
    return Proof("one-variable dual", value, text, dual=solution.dual, seconds=seconds)


def odd_squares(d: int, s: int) -> Proof:
    """omega of QSGD, exactly: the greatest (d/4 - (s - sqrt(S)/2)^2)/s^2 over sums S of d odd
    squares, all enumerated.

    f of :func:`stochastic_levels` is a maximum over integers l, and for fixed l the sum of its
    terms is linear on the sphere, with the maximum d/4 - (s - sqrt(S)/2)^2, S = sum (2l_i+1)^2.
    """
    largest = (2 * s + 1) ** 2 + d - 1  # a sum above 4s^2: larger ones give less
    if d * s * largest > WORK:
        raise ValueError(f"d = {d} with s = {s} has too many sums of odd squares to enumerate")
    squares = [i * i for i in range(1, 2 * s + 2, 2)]
    start, sums, mask = time.perf_counter(), 1, (1 << (largest + 1)) - 1  # bit S: S is a sum
    for _ in range(d):
        sums = reduce(or_, (sums << square for square in squares)) & mask
    S = np.array([i for i, bit in enumerate(reversed(f"{sums:b}")) if bit == "1"], float)
    value = (d / 4 - float(((s - np.sqrt(S) / 2) ** 2).min())) / s**2
    text = f"all {len(S)} sums of {d} odd squares up to {largest}"
    return Proof("enumeration", value, text, seconds=time.perf_counter() - start)


def minimised(objective: Any, conditions: Sequence[Any], x: Any) -> tuple[Certificate, float]:
    """The minimum by Clarabel, with the value of x there, and the seconds that it took."""
    import cvxpy as cp

    from efsgd.convex.problems.optima import solve

    start = time.perf_counter()
    solution = solve(cp.Problem(cp.Minimize(objective), list(conditions)), x, math.nan)
    return solution, time.perf_counter() - start
