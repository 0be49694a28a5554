"""Expected squares of error feedback with rand-k on a quadratic, exactly (derived here).

f(x) = L|x|^2/2 with g = L x + n, E n = 0 and E|n|^2 = noise^2. Rand-k that keeps d/k of d entries,
times k, is an unbiased U with E|U(y)|^2 = k|y|^2 at every y, and U/k is plain rand-k. With
h = lr L, the virtual iterate v = x - e and S y = y - C(y),

    v+ = (1-h) v - h e - lr n        e+ = S(h v + (1+h) e + lr n)

E S y = alpha y and E|S y|^2 = beta |y|^2: for C = U/k both are 1 - 1/k, for C = U they are 0 and
k - 1. So E|v|^2, E<v,e> and E|e|^2 follow a linear recursion, and with them E|x|^2. Without
feedback E|x+|^2 = (1 - 2h + k h^2) E|x|^2 + k lr^2 noise^2.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Literal, TypeAlias

import numpy as np

from efsgd.arrays import Array
from efsgd.compressors.sparse import RandK
from efsgd.convex.studies.unbiased_moments import subsets

Form: TypeAlias = Literal["U/k with feedback", "U with feedback", "U without feedback"]
NORM = np.array([1.0, 2.0, 1.0])  # of E|v|^2, E<v,e>, E|e|^2 in E|x|^2
DENSE = 1000  # steps at each of which E|x_t|^2 is looked at, and then at powers of 2


@dataclass(frozen=True)
class ExpectedSquares:
    """E|grad f(x_t)|^2 from |x_0| = ``far``, for each row of ``settings`` (k, lr, T).

    Arrays (V,): "k", "lr" and "T"; "mean" over t = 0, ..., T and "last", at T, of
    E|grad f(x_t)|^2; "most", the largest E|grad f(x_t)|^2 of those sampled, at t <= 1000 and at
    powers of 2; numbers "L", "f0", "noise".
    """

    form: Form
    settings: tuple[tuple[float, float, int], ...]
    L: float = 1.0
    far: float = 1.0
    noise: float = 1.0

    def compute(self) -> dict[str, Array]:
        """The recursion, T steps of it by powers of its matrix."""
        k, lr, T = map(np.array, zip(*self.settings, strict=True))
        rows = [self._squares(*setting) for setting in self.settings]
        mean, last, most = np.array(rows).T
        numbers = {"L": self.L, "f0": self.L / 2 * self.far**2, "noise": self.noise}
        arrays = {"k": k, "lr": lr, "T": T, "mean": mean, "last": last, "most": most}
        return arrays | {name: np.array(value) for name, value in numbers.items()}

    def _squares(self, k: float, lr: float, T: int) -> tuple[float, float, float]:
        """The mean, the last and the largest sampled E|grad f(x_t)|^2."""
        step = self._with_sums(k, lr)
        start = np.array([self.far**2, 0, 0, 0, 0, 0, 1.0])
        last, sums = np.split((np.linalg.matrix_power(step, T) @ start)[:6], 2)
        most, state = self.far**2, start
        for _ in range(min(T, DENSE)):
            state = step @ state
            most = max(most, NORM @ state[:3])
        power, t = step, 1
        while 2 * t <= T:
            power, t = power @ power, 2 * t
            most = max(most, NORM @ (power @ start)[:3])
        mean = NORM @ (sums + last) / (T + 1)
        return self.L**2 * mean, self.L**2 * (NORM @ last), self.L**2 * most

    def _with_sums(self, k: float, lr: float) -> Array:
        """The step of (moments, sum of the moments before, 1) as a matrix, (7, 7)."""
        step = np.zeros((7, 7))
        step[:3, :3], step[:3, 6] = self._recursion(k, lr)
        step[3:6, :3] = step[3:6, 3:6] = np.eye(3)
        step[6, 6] = 1
        return step

    def _recursion(self, k: float, lr: float) -> tuple[Array, Array]:
        """The matrix and the constant term of the step of E|v|^2, E<v,e>, E|e|^2."""
        h, noise = lr * self.L, (lr * self.noise) ** 2
        if self.form == "U without feedback":
            return np.diag([1 - 2 * h + k * h**2, 0, 0]), np.array([k * noise, 0, 0])
        alpha, beta = (0, k - 1) if self.form == "U with feedback" else (1 - 1 / k, 1 - 1 / k)
        matrix = [
            [(1 - h) ** 2, -2 * h * (1 - h), h**2],
            [alpha * h * (1 - h), alpha * (1 - 2 * h**2), -alpha * h * (1 + h)],
            [beta * h**2, 2 * beta * h * (1 + h), beta * (1 + h) ** 2],
        ]
        return np.array(matrix), noise * np.array([1, -alpha, beta])


@dataclass(frozen=True)
class AllPaths:
    """E|x_t|^2 and E|e_t|^2 for t = 0, ..., ``steps``, over all that rand-k and the noise may draw.

    The gradient is L x + (``slope`` +- ``noise``) u with a unit vector u, the sign a fair coin. The
    compressor is that of the package, k = d/``kept``. Arrays (T+1,): "x_squared", "e_squared".
    """

    form: Form
    d: int
    kept: int
    lr: float
    steps: int
    L: float = 0.0
    far: float = 0.0
    slope: float = 0.0
    noise: float = 0.0

    def compute(self) -> dict[str, Array]:
        """Step all paths at once; each step splits every path into as many as there are draws."""
        U = RandK(self.kept, unbiased=True)
        c = U.contractive(self.d) if self.form == "U/k with feedback" else U
        signs = (-1.0, 1.0) if self.noise else (0.0,)
        draws = list(product(subsets(U, self.d), signs))
        u = np.full(self.d, self.d**-0.5)
        x = np.zeros((1, self.d))
        x[:, 0] = self.far
        e = np.zeros((1, self.d))
        squares = [(self.far**2, 0.0)]
        for _ in range(self.steps):
            kept = np.tile(np.array([subset for subset, _ in draws]), (len(x), 1))
            sign = np.tile([sign for _, sign in draws], len(x))[:, None]
            x, e = np.repeat(x, len(draws), axis=0), np.repeat(e, len(draws), axis=0)
            p = self.lr * (self.L * x + (self.slope + self.noise * sign) * u) + e
            sent = c.apply(p, kept)
            x = x - sent
            if self.form != "U without feedback":
                e = p - sent
            squares.append((np.vecdot(x, x).mean(), np.vecdot(e, e).mean()))
        x_squared, e_squared = np.array(squares).T
        return {"x_squared": x_squared, "e_squared": e_squared}
