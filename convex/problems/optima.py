"""Certified optima: a claimed minimum has to equal Clarabel's dual value, a lower bound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from efsgd.arrays import Array
from efsgd.engine.problem import Optimum, Problem

TOLERANCE = 1e-9  # of Clarabel, on the gap and on feasibility


class Certifiable(Problem, Protocol):
    """A problem that can be written in cvxpy; ``constraints(x)`` is optional."""

    @property
    def optimum(self) -> Optimum | None: ...

    def expression(self, x: Any) -> Any:
        """f as a convex cvxpy expression of the variable x, (d,)."""


@dataclass(frozen=True, eq=False)
class Certificate:
    """A solver's minimum, and the gap of a claimed optimum to its lower bound."""

    x: Array  # (d,) the solver's minimiser; not the claimed one where there are several
    f: float  # the solver's primal objective
    dual: float  # the solver's dual objective: f(x) >= dual for every feasible x
    gap: float  # f(claimed optimum) - dual
    status: str
    solver: str

    def holds(self, tolerance: float = 1e-7) -> bool:
        """Whether |gap| <= tolerance * max(1, |f|)."""
        return abs(self.gap) <= tolerance * max(1.0, abs(self.f))


def certify(problem: Certifiable) -> Certificate:
    """Solve ``problem`` with Clarabel and compare with the ``problem.optimum`` it claims.

    Raises RuntimeError for every solver status but "optimal", ValueError where none is claimed.
    """
    import cvxpy as cp

    optimum = problem.optimum
    if optimum is None:
        raise ValueError("a problem without an optimum has nothing to certify: give it one")
    x = cp.Variable(problem.d, name="x")
    constraints = problem.constraints(x) if hasattr(problem, "constraints") else []
    programme = cp.Problem(cp.Minimize(problem.expression(x)), constraints)
    claimed = float(problem.loss(optimum.x[None])[0])
    return solve(programme, x, claimed)


def certify_minimum_norm(matrix: Any, y: Array, w: Array) -> Certificate:
    """Certify |w|^2 against min |v|^2 subject to A'Av = A'y; for small A (the rows are dense).

    Raises RuntimeError for every solver status but "optimal".
    """
    import cvxpy as cp

    v = cp.Variable(matrix.shape[1], name="v")
    normal = matrix.T @ matrix
    programme = cp.Problem(cp.Minimize(cp.sum_squares(v)), [normal @ v == matrix.T @ y])
    return solve(programme, v, float(w @ w))


def solve(programme: Any, x: Any, claimed: float) -> Certificate:
    """Minimise a cvxpy problem over ``x`` with Clarabel; the gap is ``claimed`` less the dual.

    Raises RuntimeError for every solver status but "optimal".
    """
    import clarabel
    import cvxpy as cp

    options = {"tol_gap_abs": TOLERANCE, "tol_gap_rel": TOLERANCE, "tol_feas": TOLERANCE}
    data, chain, inverse = programme.get_problem_data(cp.CLARABEL, solver_opts=options)
    raw = chain.solve_via_data(programme, data, solver_opts=options)
    programme.unpack_results(raw, chain, inverse)
    if programme.status != cp.OPTIMAL:
        raise RuntimeError(
            f"Clarabel ended with status {programme.status}, not optimal: rescale the problem"
        )
    # cvxpy drops constants from the solver's objective and adds them back to the value.
    offset = float(programme.value) - raw.obj_val
    dual = raw.obj_val_dual + offset
    return Certificate(
        x=np.array(x.value, dtype=np.float64),
        f=float(programme.value),
        dual=float(dual),
        gap=claimed - float(dual),
        status=str(programme.status),
        solver=f"Clarabel {clarabel.__version__}",
    )
