"""Least squares and logistic regression on a data file, as values that any process can load."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, cast

import numpy as np

from efsgd.arrays import Array
from efsgd.checks import positive
from efsgd.convex.data.files import DataFile, problem
from efsgd.convex.problems.factors import column_exponents
from efsgd.convex.problems.least_norm import TOLERANCE, accuracy
from efsgd.convex.problems.least_squares import LeastSquares, Regression
from efsgd.convex.problems.logistic import TOLERANCE as GAP
from efsgd.convex.problems.logistic import Logistic, LogisticRegression
from efsgd.convex.problems.optima import certify
from efsgd.engine.problem import Optimum

SOLVER_ACCURACY = 1e-7  # to which Clarabel is trusted, over f(0)
FACTS = ("proven", "dependent", "exact", "interpolates")  # of an Accuracy, which explains them
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

    Logistic regression: the duality gap. Least squares: its :class:`Accuracy`, all of whose numbers
    are 0 at the minimiser of least norm.
    """

    problem: FileSquares | FileLogistic
    cost: ClassVar[float] = 1e6  # starts first: it may take longest

    def compute(self) -> dict[str, Array]:
        """The numbers "f", "error", "tolerance", those of FACTS and "solver_gap".

        "error" is the duality gap over f, or the largest number of the Accuracy. "solver_gap" is
        the gap to Clarabel's dual value over f(0), NaN beyond CVXPY_LIMIT and where Clarabel fails.

        Raises ArithmeticError where no optimum can be certified and standardising may help; all but
        the tolerance are NaN where that has been done.
        """
        tolerance = GAP if isinstance(self.problem, FileLogistic) else TOLERANCE
        numbers = dict.fromkeys(("f", "error", *FACTS, "solver_gap"), np.nan)
        try:
            numbers |= self._certified()
        except ArithmeticError as error:
            if not self.problem.source.standardise:
                raise ArithmeticError(
                    f"no optimum of {self.problem.source.path} can be certified, as {error}; "
                    "try --standardise, which scales X and, unless it is sparse, centres X and y"
                ) from error
        numbers["tolerance"] = tolerance
        return {name: np.array(number) for name, number in numbers.items()}

    def _certified(self) -> dict[str, float]:
        """The numbers of :meth:`compute` but the tolerance; ArithmeticError without an optimum."""
        problem = self.problem
        if isinstance(problem, FileLogistic):
            certificate = problem.data.certificate()
            numbers = {"f": certificate.f, "error": certificate.gap / certificate.f}
            numbers |= {"proven": 1.0, "dependent": 0.0, "exact": 1.0, "interpolates": 0.0}
        else:
            best = problem.optimum
            judged = accuracy(problem.data.train.matrix, problem.data.y, best.x, best.f)
            if not judged.error <= TOLERANCE:
                raise ArithmeticError(judged.refusal)
            numbers = {"f": best.f, "error": judged.error}
            numbers |= {fact: float(getattr(judged, fact)) for fact in FACTS}
        small = problem.n * problem.d <= CVXPY_LIMIT
        return numbers | {"solver_gap": self._solver_gap() if small else np.nan}

    def _solver_gap(self) -> float:
        """The gap to Clarabel's dual value over f(0); NaN where the solver fails.

        A dual value above an f that was attained is false: then it is the solver that failed.
        """
        from cvxpy.error import SolverError

        start = float(self.problem.loss(np.zeros((1, self.problem.d)))[0])
        scales = np.ldexp(1.0, column_exponents(self.problem.data.train.matrix))
        try:
            gap = certify(self.problem, scales).gap / (start or 1.0)
        except (RuntimeError, SolverError):
            return float("nan")
        return abs(gap) if gap >= -SOLVER_ACCURACY else float("nan")
