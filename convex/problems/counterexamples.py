"""The paper's three counterexamples to signSGD (arXiv 1901.09847, section 3).

Each is a problem of the engine (:class:`efsgd.Problem`): x is (R, d), one row a replicate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from efsgd.arrays import Array, Generator
from efsgd.engine.problem import Optimum


@dataclass(frozen=True)
class CE1:
    """min x/4 on [-1, 1]; the stochastic gradient is 4 with probability 1/4, else -1.

    The sign points the wrong way three times out of four: after one step of size lr, inside the
    box, E f has fallen by lr/16 for SGD and risen by lr/8 for signSGD. In d = 1 EF-signSGD is SGD
    (Counterexample 1). All replicates start at ``start``.
    """

    start: float = 0.0
    d: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not -1 <= self.start <= 1:
            raise ValueError(f"start must lie in the box [-1, 1], not {self.start}: try start=0")

    def x0(self, rng: Generator, replicates: int) -> Array:
        return np.full((replicates, 1), float(self.start))

    def loss(self, x: Array) -> Array:
        return x[:, 0] / 4

    def gradient(self, x: Array, rng: Generator) -> Array:
        return np.where(rng.random((len(x), 1)) < 0.25, 4.0, -1.0)

    def full_gradient(self, x: Array) -> Array:
        return np.full(x.shape, 0.25)

    def project(self, x: Array) -> Array:
        return np.clip(x, -1.0, 1.0)

    @property
    def optimum(self) -> Optimum:
        return Optimum(np.array([-1.0]), -0.25)

    def expression(self, x: Any) -> Any:
        """f as a cvxpy expression of the variable x, (1,)."""
        return x[0] / 4

    def constraints(self, x: Any) -> list[Any]:
        return [x >= -1, x <= 1]


@dataclass(frozen=True)
class CE2:
    """f(x) = eps |x1 + x2| + |x1 - x2| from (1, 1): convex, not smooth, minimised at 0.

    The oracle returns the subgradient eps s1 (1, 1) + s2 (1, -1) with s1 and s2 the signs of the
    two sums, so signSGD never leaves the line x1 + x2 = 2, where f >= 2 eps, for every sequence of
    step sizes (Counterexample 2). The sign of a sum that is exactly 0 is a fair coin in {-1, +1}:
    with sign(0) = 0 signSGD would solve the problem from (1, 1). Two coins are drawn for each
    replicate whether they are needed or not. There is no ``full_gradient``: on its kinks f has
    none.
    """

    eps: float = 0.5
    d: ClassVar[int] = 2

    def __post_init__(self) -> None:
        _check_eps(self.eps)

    def x0(self, rng: Generator, replicates: int) -> Array:
        return np.ones((replicates, 2))

    def loss(self, x: Array) -> Array:
        value: Array = self.eps * np.abs(x[:, 0] + x[:, 1]) + np.abs(x[:, 0] - x[:, 1])
        return value

    def gradient(self, x: Array, rng: Generator) -> Array:
        coins = 2.0 * rng.integers(2, size=(2, len(x))) - 1.0
        sums = np.stack((x[:, 0] + x[:, 1], x[:, 0] - x[:, 1]))
        along, across = np.where(sums == 0, coins, np.sign(sums))
        return np.stack((self.eps * along + across, self.eps * along - across), axis=1)

    @property
    def optimum(self) -> Optimum:
        return Optimum(np.zeros(2), 0.0)

    def expression(self, x: Any) -> Any:
        """f as a cvxpy expression of the variable x, (2,)."""
        import cvxpy as cp

        return self.eps * cp.abs(x[0] + x[1]) + cp.abs(x[0] - x[1])


@dataclass(frozen=True)
class CE3:
    """f(x) = <a1, x>^2 + <a2, x>^2, a1 = (1, -1) + eps (1, 1), a2 = -(1, -1) + eps (1, 1).

    Smooth and strongly convex, minimised at 0. A stochastic gradient sees one row i, chosen at
    random: 4 <a_i, x> a_i, which is twice the gradient of <a_i, x>^2 so that its mean is the
    gradient of f. sign(a_i) = +-(1, -1), so batch-1 signSGD from (1, 1) stays on x1 + x2 = 2,
    where f >= 8 eps^2 = f(x_0) (Counterexample 3). A finite sum of n = 2 rows.
    """

    eps: float = 0.5
    d: ClassVar[int] = 2
    n: ClassVar[int] = 2

    def __post_init__(self) -> None:
        _check_eps(self.eps)

    @property
    def rows(self) -> Array:
        """a1 and a2, (2, 2)."""
        return np.array([[1.0, -1.0], [-1.0, 1.0]]) + self.eps

    def x0(self, rng: Generator, replicates: int) -> Array:
        return np.ones((replicates, 2))

    def loss(self, x: Array) -> Array:
        inner = x @ self.rows.T
        value: Array = np.vecdot(inner, inner)
        return value

    def gradient(self, x: Array, rng: Generator) -> Array:
        return self.batch_gradient(x, rng.integers(2, size=(len(x), 1)))

    def full_gradient(self, x: Array) -> Array:
        a = self.rows
        gradient: Array = 2.0 * (x @ a.T) @ a
        return gradient

    def batch_gradient(self, x: Array, rows: Array) -> Array:
        """The mean of 4 <a_i, x> a_i over rows (R, b) of indices, (R, 2)."""
        a = self.rows[rows]  # (R, b, 2)
        mean: Array = np.mean(4.0 * np.vecdot(a, x[:, None])[..., None] * a, axis=1)
        return mean

    @property
    def optimum(self) -> Optimum:
        return Optimum(np.zeros(2), 0.0)

    def expression(self, x: Any) -> Any:
        """f as a cvxpy expression of the variable x, (2,)."""
        import cvxpy as cp

        return cp.sum_squares(self.rows @ x)


def _check_eps(eps: float) -> None:
    if not 0 < eps < 1:
        raise ValueError(f"eps must lie strictly between 0 and 1, not {eps}: try eps=0.5")
