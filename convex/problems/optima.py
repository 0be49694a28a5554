"""Certified optima: a claimed minimum has to equal Clarabel's dual value, a lower bound."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
    unit: float = 1.0  # of values of f, if they are very large or small

    def holds(self, tolerance: float = 1e-7) -> bool:
        """Whether |gap| <= tolerance * max(unit, |f|)."""
        return abs(self.gap) <= tolerance * max(self.unit, abs(self.f))


def certify(problem: Certifiable, scales: Array | None = None) -> Certificate:
    """Solve ``problem`` with Clarabel and compare with the ``problem.optimum`` it claims.

    The solver's tolerances are absolute. So it works on x times ``scales`` (d,), positive, where
    they are given, and on x and f in units near their sizes, where these are below 1e-3 or above
    1e3.

    Raises RuntimeError for every solver status but "optimal", ValueError where none is claimed.
    """
    import cvxpy as cp

    optimum = problem.optimum
    if optimum is None:
        raise ValueError("a problem without an optimum has nothing to certify: give it one")
    x = _scaled_variable(optimum.x, scales)
    constraints = problem.constraints(x) if hasattr(problem, "constraints") else []
    claimed = float(problem.loss(optimum.x[None])[0])
    size = unit(_size(problem, claimed))
    programme = cp.Problem(cp.Minimize(problem.expression(x) / size), constraints)
    found = solve(programme, x, claimed / size)
    return replace(found, f=size * found.f, dual=size * found.dual, gap=size * found.gap, unit=size)


def unit(size: float) -> float:
    """A power of two near ``size``, for values of that size; 1 for sizes from 1e-3 to 1e3."""
    return 1.0 if not 0 < size < np.inf or 1e-3 <= size <= 1e3 else float(2.0 ** np.frexp(size)[1])


def _scaled_variable(claimed: Array, scales: Array | None) -> Any:
    """x as a cvxpy expression of a variable of size 1 near the claimed minimiser."""
    import cvxpy as cp

    variable = cp.Variable(len(claimed), name="x")
    scales = np.ones(len(claimed)) if scales is None else scales
    factors = unit(float(np.abs(scales * claimed).max())) / scales
    return variable if (factors == 1).all() else cp.multiply(factors, variable)


def _size(problem: Certifiable, claimed: float) -> float:
    """The larger of |f| at the start and at the optimum."""
    rng = np.random.default_rng(0)
    start = problem.x0(rng, 1) if hasattr(problem, "x0") else np.zeros((1, problem.d))
    return max(abs(float(problem.loss(start)[0])), abs(claimed))


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
