"""The dual semidefinite programme of a worst case, solved by Clarabel, and its residuals.

The worst case is max <A0, G> + b0 . F over G >= 0 and <A_k, G> + b_k . F <= c_k; its dual is

    min c . y   subject to   sum y_k A_k - A0 >= 0,   sum y_k b_k = b0,   y >= 0.

The dual is what is solved, because interior-point methods are far more accurate on it; G and F come
back as its own dual variables. A solution counts only if its residuals, recomputed here, are small.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from efsgd.arrays import Array
from efsgd.convex import sdp
from efsgd.convex.pep.conditions import Conditions

# Clarabel's tolerances on the gap and on feasibility, and whether it scales the data, in the order
# of trying. About one problem in thirty, stopped by rounding, needs more than the first; looser
# tolerances do no harm, as the residuals decide.
ATTEMPTS = (
    (1e-9, 1e-9, False),
    (1e-9, 1e-8, False),
    (1e-9, 1e-8, True),
    (1e-8, 1e-7, False),
    (1e-7, 1e-6, False),
)
ACCURACY = 1e-5  # allowed error, relative to the value, or to 0.1 where the value is smaller
UNBOUNDED = "PrimalInfeasible"  # Clarabel's status where the dual has no solution


@dataclass(frozen=True)
class Residuals:
    """How far a solution is from optimal and feasible, recomputed from its multipliers, G and F.

    In the units of :class:`efsgd.convex.pep.setting.Units`. At an exact solution they are 0,
    but for the eigenvalues, which are at least 0, and ``violation``, which is at most 0.
    """

    gap: float  # dual value minus the criterion of the worst instance
    lmi: float  # least eigenvalue of sum y_k A_k - A0
    equality: float  # largest |sum y_k b_k - b0|
    gram: float  # least eigenvalue of the Gram matrix
    violation: float  # the largest by which the worst instance exceeds a condition
    error: float  # a bound on the error of the value, to first order, from all of the above
    tolerance: float  # Clarabel's tolerance on feasibility for this solution


@dataclass(frozen=True, eq=False)
class Solution:
    """A solution of the dual, and the primal one that comes with it."""

    value: float  # c . y
    y: Array  # (m,) dual multipliers, >= 0
    G: Array  # (n, n) Gram matrix
    F: Array  # (v,) function values
    residuals: Residuals


def solve(conditions: Conditions) -> Solution:
    """Solve the dual; RuntimeError where no attempt has residuals that are small enough."""
    failures = []
    for gap, feasibility, scaled in ATTEMPTS:
        raw = _clarabel(conditions, gap, feasibility, scaled)
        status = str(raw.status)
        if status == UNBOUNDED:
            raise RuntimeError(
                "the worst case is unbounded, or so large that it cannot be told from it: use "
                "another criterion or initial condition, or a smaller step size"
            )
        if status != "Solved":
            failures.append(f"with status {status}, not optimal")
            continue
        solution = _read(conditions, raw, feasibility)
        error, allowed = solution.residuals.error, ACCURACY * max(abs(solution.value), 0.1)
        if error <= allowed:
            return solution
        failures.append(f"{error:.1e} from exact, and {allowed:.1e} is allowed")
    raise RuntimeError(
        f"Clarabel ended {failures[-1]}: use fewer steps, a smaller step size or zeta, a mu "
        f"further from L, or another initial condition if the worst case is not attained"
    )


def _read(conditions: Conditions, raw: Any, tolerance: float) -> Solution:
    """The solution that Clarabel returned, with its residuals."""
    n, y, z = len(conditions.A0), np.maximum(raw.x, 0.0), np.array(raw.z)
    G, F = sdp.matrix(z[-n * (n + 1) // 2 :], n), -z[: len(conditions.b0)]
    return Solution(
        value=float(conditions.c @ y),
        y=y,
        G=G,
        F=F,
        residuals=residuals(conditions, y, G, F, tolerance),
    )


def residuals(conditions: Conditions, y: Array, G: Array, F: Array, tolerance: float) -> Residuals:
    """Recompute every residual from the multipliers, the Gram matrix and the function values."""
    A, b, c, A0, b0 = conditions.A, conditions.b, conditions.c, conditions.A0, conditions.b0
    gap = float(c @ y - np.sum(A0 * G) - b0 @ F)
    excess = np.tensordot(A, G, 2) + b @ F - c
    lmi = float(np.linalg.eigvalsh(np.tensordot(y, A, 1) - A0)[0])
    imbalance, gram = np.abs(y @ b - b0), float(np.linalg.eigvalsh(G)[0])
    error = (
        abs(gap)
        + max(0.0, -lmi) * float(np.trace(G))
        + float(imbalance @ np.abs(F))
        + float(y @ np.maximum(excess, 0.0))
        + max(0.0, -gram)
    )
    return Residuals(
        gap=gap,
        lmi=lmi,
        equality=float(imbalance.max()),
        gram=gram,
        violation=float(excess.max()),
        error=error,
        tolerance=tolerance,
    )


def _clarabel(conditions: Conditions, gap: float, feasibility: float, scaled: bool) -> Any:
    """Clarabel's solution; the cones are sum y_k b_k = b0, then y >= 0, then the LMI."""
    from scipy import sparse

    m, n = conditions.b.shape[0], len(conditions.A0)
    lmi = sparse.csc_matrix(-sdp.vector(conditions.A).T)
    rows = [sparse.csc_matrix(conditions.b.T), -sparse.eye(m, format="csc"), lmi]
    return sdp.solve(
        conditions.c,
        sparse.vstack(rows, format="csc"),
        np.concatenate([conditions.b0, np.zeros(m), -sdp.vector(conditions.A0)]),
        equalities=len(conditions.b0),
        inequalities=m,
        psd_sizes=(n,),
        gap=gap,
        feasibility=feasibility,
        equilibrate_enable=scaled,
        chordal_decomposition_enable=False,  # it saves nothing here and costs digits
    )
