"""Logistic regression with an l2 penalty, and its optimum with a certificate in closed form.

f(w) = (1/n) sum_i log(1 + exp(-y_i <a_i, w>)) + (l2/2) |w|^2 with labels y_i in {-1, +1}.

The dual variables alpha_i = sigma(-y_i <a_i, w>) give the lower bound f(w) - gap on the minimum
with gap = |grad f(w)|^2 / (2 l2) exactly, as the entropies cancel (derived here; compared with the
dual function in tests/convex/problems/test_logistic.py). It costs one gradient, at any size.

A certificate also counts what rounding may hide. A large column hides most: its entry of the
gradient is exact to its own size only. So margins and gradients have twice the working precision
there, and the rounding of the slopes is bounded.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from efsgd.arrays import Array
from efsgd.convex.problems.linear_map import Matrix
from efsgd.convex.problems.linear_model import LinearModel, Samples
from efsgd.convex.problems.optima import Certificate
from efsgd.convex.problems.twofold import magnitude, product
from efsgd.engine.problem import Optimum

NEWTON_STEPS = 100
CG_STEPS = 1000  # for one Newton step
GAP = 1e-15  # relative to f: where Newton's method ends
TOLERANCE = 1e-10  # on the certified gap, relative to f
EPS = float(np.finfo(float).eps)


class Logistic(LinearModel):
    """The objective of this module; a subclass says what its ``data`` and ``l2`` are."""

    curvature = 0.25

    @property
    @abstractmethod
    def data(self) -> LogisticRegression:
        """Training rows and, perhaps, test rows."""

    def values(self, z: Array, y: Array) -> Array:
        """log(1 + exp(-y z)), which never overflows."""
        losses: Array = np.logaddexp(0.0, -y * z)
        return losses

    def slopes(self, z: Array, y: Array) -> Array:
        """-y sigma(-y z), written into z."""
        z *= y
        with np.errstate(over="ignore"):  # 1/(1 + inf) is 0, as it should be
            np.exp(z, out=z)
        z += 1
        return np.divide(-y, z, out=z)

    def measure(self, x: Array) -> dict[str, Array]:
        """train_loss and train_accuracy, and with test rows test_loss and test_accuracy.

        The losses are without the penalty. A prediction <a_i, w> of exactly 0 is wrong.
        """
        data = self.data
        series = self._loss_and_accuracy("train", data.train.apply(x), data.y)
        if data.test is not None and data.y_test is not None:
            series |= self._loss_and_accuracy("test", data.test.apply(x), data.y_test)
        return series

    @cached_property
    def optimum(self) -> Optimum | None:
        """The minimiser and its value; None for l2 = 0, where there may be none.

        Raises ArithmeticError where the certified gap at the end of Newton's method is above
        1e-10 relative to f, with scaled columns too.
        """
        if not self.l2:
            return None
        w = minimise(self)
        f = float(self.loss(w[None])[0])
        if not self.certified_gap(w) <= TOLERANCE * f:
            w = minimise(self, w, scaled=True)
            f = float(self.loss(w[None])[0])
        gap = self.certified_gap(w)
        if not gap <= TOLERANCE * f:
            raise ArithmeticError(
                f"Newton's method stopped with a duality gap of {gap:.1e} at f = {f:.6g}: "
                "scale the columns of X or use a larger l2"
            )
        return Optimum(w, f)

    def _on(self, X: Matrix, y: Array) -> LogisticRegression:
        return LogisticRegression(X, y, l2=self.l2)

    def gap(self, w: Array) -> float:
        """The duality gap |grad f(w)|^2 / (2 l2) at w (d,): f(w) exceeds min f by no more."""
        g = self.full_gradient(w[None])[0]
        return float(g @ g) / (2 * self.l2)

    def certified_gap(self, w: Array) -> float:
        """:meth:`gap` at w (d,) with all that rounding may add to it and to the loss at w."""
        rows, y = self.data.train.matrix, self.data.y
        z = product(rows, w)
        slopes = self.slopes(z.copy(), y) / self.n
        g = product(rows, slopes, transposed=True) + self.l2 * w
        hidden = magnitude(rows, EPS * (8 + np.abs(z)) * slopes, transposed=True)
        hidden += EPS * (np.abs(g) + 2 * self.l2 * np.abs(w))
        largest = np.abs(g) + hidden
        f = float(self.values(z, y).mean() + 0.5 * self.l2 * (w @ w))
        return float(largest @ largest) / (2 * self.l2) + abs(f - float(self.loss(w[None])[0]))

    def certificate(self) -> Certificate:
        """The optimum with its lower bound; |w - w*| is at most sqrt(2 gap / l2)."""
        best = self.optimum
        if best is None:
            raise ValueError("l2 = 0 has no certified optimum: use l2 > 0")
        gap = self.certified_gap(best.x)
        return Certificate(
            x=best.x,
            f=best.f,
            dual=best.f - gap,
            gap=gap,
            status="optimal",
            solver="Newton-CG, duality gap",
        )

    def expression(self, x: Any) -> Any:
        """f as a cvxpy expression of the variable x, (d,)."""
        import cvxpy as cp

        data = self.data
        margins = cp.multiply(data.y, data.train.matrix @ x)
        return cp.sum(cp.logistic(-margins)) / self.n + (self.l2 / 2) * cp.sum_squares(x)

    def _loss_and_accuracy(self, prefix: str, z: Array, y: Array) -> dict[str, Array]:
        """Of predictions z (n, R) and labels y (n,), for each replicate: (R,) each."""
        labels = y[:, None]
        accuracy = np.mean(labels * z > 0, axis=0)
        return {f"{prefix}_accuracy": accuracy, f"{prefix}_loss": self.values(z, labels).mean(0)}


@dataclass(frozen=True, eq=False)
class LogisticRegression(Samples, Logistic):
    """Logistic regression on X (n, d), an array or a scipy.sparse matrix, with y (n,) of -1 and +1.

    ``l2`` is the weight of the penalty (l2/2)|w|^2, at least 0. ``X_test``, ``y_test`` only add
    series to the history. Do not change the arrays afterwards.
    """

    l2: float = field(kw_only=True)

    def __post_init__(self) -> None:
        """Refuse shapes that do not fit, labels other than -1 and +1, and a negative l2."""
        super().__post_init__()
        if isinstance(self.l2, bool) or not 0 <= self.l2 < np.inf:
            raise ValueError(f"l2 must be at least 0 and finite, not {self.l2}: try 1/n")
        for name, y in (("y", self.y), ("y_test", self.y_test)):
            if y is None or np.isin(y, (-1, 1)).all():
                continue
            other = np.asarray(y)[~np.isin(y, (-1, 1))][0]
            raise ValueError(f"{name} holds the label {other:.15g}: map the classes to -1, +1")

    @cached_property
    def data(self) -> LogisticRegression:
        """Itself."""
        return self


def minimise(problem: Logistic, start: Array | None = None, *, scaled: bool = False) -> Array:
    """The minimiser w (d,) by Newton's method; each step by conjugate gradients, no d x d matrix.

    With ``scaled`` they work as if the Hessian's diagonal were 1, for columns of different scales.
    Ends at a relative gap of GAP, or where rounding stops all progress.
    """
    w = np.zeros(problem.d) if start is None else start
    f, g = float(problem.loss(w[None])[0]), problem.full_gradient(w[None])[0]
    for _ in range(NEWTON_STEPS):
        if g @ g <= 2 * problem.l2 * GAP * f:
            break
        p = _newton_step(problem, w, g, scaled)
        t, slope = 1.0, float(g @ p)
        while (f_next := float(problem.loss((w + t * p)[None])[0])) > f + 1e-4 * t * slope:
            t /= 2
            if t < 1e-3:
                break
        w_next = w + t * p
        g_next = problem.full_gradient(w_next[None])[0]
        if t < 1e-3 and g_next @ g_next >= 0.25 * (g @ g):  # differences of f are rounding by now
            break
        w, f, g = w_next, f_next, g_next
    return w


def _newton_step(problem: Logistic, w: Array, g: Array, scaled: bool) -> Array:
    """p with H p = -g to a residual that shrinks with |g|, H the Hessian at w."""
    from scipy.sparse.linalg import LinearOperator, cg

    train = problem.data.train
    z = train.apply(w[None])
    curvature = np.exp(-np.logaddexp(0, z) - np.logaddexp(0, -z)) / problem.n  # sigma' / n

    def hessian(v: Array) -> Array:  # its product with v
        product = train.apply(v.reshape(1, -1))
        product *= curvature
        Hv: Array = train.adjoint(product)[0] + problem.l2 * v.ravel()
        return Hv

    def operator(matvec: Callable[[Array], Array]) -> Any:
        return LinearOperator((problem.d, problem.d), matvec=matvec, dtype=np.float64)

    preconditioner = None
    if scaled:
        diagonal = (abs(train.matrix) ** 2).T @ curvature[:, 0] + problem.l2
        preconditioner = operator(lambda v: v.ravel() / diagonal)
    norm = float(np.linalg.norm(g))
    tolerance = min(0.1, np.sqrt(norm))
    p: Array = cg(operator(hessian), -g, rtol=tolerance, maxiter=CG_STEPS, M=preconditioner)[0]
    return p
