"""The dual linear matrix inequality of a worst case, by Clarabel, with all that is checked of it.

The worst case is max <A0, G> + b0 . F over G >= 0 and <A_k, G> + b_k . F <= c_k; its dual is

    min c . y   subject to   sum y_k A_k - A0 >= 0,   sum y_k b_k = b0,   y >= 0.

The dual is what is solved, because interior-point methods are far more accurate on it; G and F come
back as its own dual variables. Clarabel is called without cvxpy in between, which would take longer
than the solver.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from efsgd.arrays import Array
from efsgd.convex import sdp
from efsgd.convex.pep.conditions import Conditions

# Clarabel's tolerances on the gap and on feasibility, and whether it scales the data. All but the
# first are for problems, about one in thirty, that rounding stops short of it: a solution of theirs
# is as good if its residuals are.
ATTEMPTS = (
    (1e-9, 1e-9, False),
    (1e-9, 1e-8, False),
    (1e-9, 1e-8, True),
    (1e-8, 1e-7, False),
    (1e-7, 1e-6, False),
)
ACCURACY = 1e-5  # allowed of the value, or of 1/10 unit where the value is smaller
UNBOUNDED = "PrimalInfeasible"  # in Clarabel's words, of the dual


@dataclass(frozen=True)
class Residuals:
    """How far a solution is from satisfying its conditions exactly, recomputed from its numbers.

    In the units of :class:`efsgd.convex.pep.setting.Units`; 0 is best, but for the eigenvalues,
    which must not be negative.
    """

    gap: float  # dual value minus what the worst instance reaches
    lmi: float  # least eigenvalue of sum y_k A_k - A0
    equality: float  # largest |sum y_k b_k - b0|
    gram: float  # least eigenvalue of the Gram matrix
    violation: float  # of the conditions by the worst instance: the largest
    error: float  # what all of this can change in the value, to first order
    tolerance: float  # the tolerance on feasibility with which Clarabel ended as optimal


@dataclass(frozen=True, eq=False)
class Solution:
    """Multipliers y (m,) >= 0, Gram matrix G (n, n), function values F (v,)."""

    value: float
    y: Array
    G: Array
    F: Array
    residuals: Residuals


def solve(k: Conditions) -> Solution:
    """Solve the dual; RuntimeError where no attempt ends with an optimum that holds."""
    failures = []
    for gap, feasibility, scaled in ATTEMPTS:
        raw = _clarabel(k, gap, feasibility, scaled)
        status = str(raw.status)
        if status == UNBOUNDED:
            raise RuntimeError(
                "the worst case is unbounded, or so large that it cannot be told from it: use "
                "another criterion or initial condition, or a smaller step size"
            )
        if status != "Solved":
            failures.append(f"with status {status}, not optimal")
            continue
        found = _read(k, raw, feasibility)
        allowed = ACCURACY * max(abs(found.value), 0.1)
        if found.residuals.error <= allowed:
            return found
        failures.append(f"{found.residuals.error:.1e} from exact, and {allowed:.1e} is allowed")
    raise RuntimeError(
        f"Clarabel ended {failures[-1]}: use fewer steps, a smaller step size or zeta, a mu "
        f"further from L, or another initial condition if the worst case is not attained"
    )


def _read(k: Conditions, raw: Any, tolerance: float) -> Solution:
    """The solution in Clarabel's answer, and its residuals."""
    n, y, z = len(k.A0), np.maximum(raw.x, 0.0), np.array(raw.z)
    G, F = sdp.matrix(z[-n * (n + 1) // 2 :], n), -z[: len(k.b0)]
    return Solution(float(k.c @ y), y, G, F, residuals(k, y, G, F, tolerance))


def residuals(k: Conditions, y: Array, G: Array, F: Array, tolerance: float) -> Residuals:
    """Recompute every residual from the multipliers, the Gram matrix and the function values."""
    gap = float(k.c @ y - np.sum(k.A0 * G) - k.b0 @ F)
    over = np.tensordot(k.A, G, 2) + k.b @ F - k.c
    lmi = float(np.linalg.eigvalsh(np.tensordot(y, k.A, 1) - k.A0)[0])
    off, gram = np.abs(y @ k.b - k.b0), float(np.linalg.eigvalsh(G)[0])
    error = (
        abs(gap)
        + max(0.0, -lmi) * float(np.trace(G))
        + float(off @ np.abs(F))
        + float(y @ np.maximum(over, 0.0))
        + max(0.0, -gram)
    )
    return Residuals(gap, lmi, float(off.max()), gram, float(over.max()), error, tolerance)


def _clarabel(k: Conditions, gap: float, feasibility: float, scaled: bool) -> Any:
    """Clarabel's solution; its constraints are b . y = b0, y >= 0, and the LMI, in this order."""
    from scipy import sparse

    m, n = k.b.shape[0], len(k.A0)
    psd, b = -sdp.vector(k.A).T, -sdp.vector(k.A0)
    rows = [sparse.csc_matrix(k.b.T), -sparse.eye(m, format="csc"), sparse.csc_matrix(psd)]
    return sdp.solved(
        k.c,
        sparse.vstack(rows, format="csc"),
        np.concatenate([k.b0, np.zeros(m), b]),
        zeros=len(k.b0),
        signs=m,
        sides=(n,),
        gap=gap,
        feasibility=feasibility,
        equilibrate_enable=scaled,
        chordal_decomposition_enable=False,  # it saves nothing here and costs digits
    )
