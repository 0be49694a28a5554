"""Least squares and logistic regression on a data file, as values that any process can load."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, cast

import numpy as np

from efsgd.arrays import Array
from efsgd.checks import positive
from efsgd.convex.data.files import DataFile, problem
from efsgd.convex.problems.least_squares import LeastSquares, Regression
from efsgd.convex.problems.linear_map import STATIONARY, optimality
from efsgd.convex.problems.logistic import Logistic, LogisticRegression
from efsgd.convex.problems.optima import certify
from efsgd.engine.problem import Optimum

SOLVER_ACCURACY = 1e-7  # to which Clarabel is trusted, over 1 + f
CVXPY_LIMIT = 100_000  # entries n*d; up to here Clarabel gives a second certificate in seconds


@dataclass(frozen=True)
class FileSquares(Regression):
    """:class:`LeastSquares` on ``source``; a process loads it once, when it is first needed."""

    source: DataFile

    @property
    def data(self) -> LeastSquares:
        """The rows, and what is computed from them."""
        return cast(LeastSquares, problem(self.source, "squares", 0.0))

    @cached_property
    def optimum(self) -> Optimum:
        """The minimiser of least norm; found once in a process."""
        return self.data.optimum


@dataclass(frozen=True)
class FileLogistic(Logistic):
    """:class:`LogisticRegression` on ``source`` with a penalty ``l2`` > 0."""

    source: DataFile
    l2: float

    def __post_init__(self) -> None:
        """Refuse an l2 that is not positive: there may be no optimum."""
        positive("l2", self.l2)

    @property
    def data(self) -> LogisticRegression:
        """The rows, and what is computed from them."""
        return cast(LogisticRegression, problem(self.source, "logistic", self.l2))

    @cached_property
    def optimum(self) -> Optimum | None:
        """The minimiser; found once in a process."""
        return self.data.optimum


@dataclass(frozen=True)
class FileCertificate:
    """What certifies the optimum of a problem on a file.

    Logistic regression: the duality gap. Least squares: the residual of the normal equations and
    the share of the optimum outside the span of the rows, both relative (:func:`optimality`): if
    both are 0 it is the minimiser of least norm.
    """

    problem: FileSquares | FileLogistic
    cost: ClassVar[float] = 1e6  # starts first: it may take longest

    def compute(self) -> dict[str, Array]:
        """The numbers "f", "error", "tolerance" and "solver_gap".

        "error" is the duality gap over f, or the larger residual. "solver_gap" is the gap to
        Clarabel's dual value over 1 + f, NaN beyond CVXPY_LIMIT and where badly scaled data makes
        Clarabel fail. All but the tolerance are NaN where no optimum was found.
        """
        tolerance = 1e-10 if isinstance(self.problem, FileLogistic) else STATIONARY
        try:
            f, error = self._optimum_error()
            small = self.problem.n * self.problem.d <= CVXPY_LIMIT
            solver_gap = self._solver_gap(f) if small else np.nan
        except ArithmeticError:
            f = error = solver_gap = np.nan
        numbers = {"f": f, "error": error, "solver_gap": solver_gap, "tolerance": tolerance}
        return {name: np.array(number) for name, number in numbers.items()}

    def _solver_gap(self, f: float) -> float:
        """The gap to Clarabel's dual value over 1 + f; NaN where the solver fails.

        A dual value above an f that was attained is false: then it is the solver that failed.
        """
        from cvxpy.error import SolverError

        try:
            gap = certify(self.problem).gap / (1 + f)
        except (RuntimeError, SolverError):
            return float("nan")
        return abs(gap) if gap >= -SOLVER_ACCURACY else float("nan")

    def _optimum_error(self) -> tuple[float, float]:
        """f at the optimum, and "error" of :meth:`compute`."""
        problem = self.problem
        if isinstance(problem, FileLogistic):
            certificate = problem.data.certificate()
            return certificate.f, certificate.gap / certificate.f
        best = problem.optimum
        return best.f, max(optimality(problem.data.train.matrix, problem.data.y, best.x))
