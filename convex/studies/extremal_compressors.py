"""Compressors with the worst error that delta allows, for which the theorems' bounds are attained.

They are not for training: each is built for one run, see
:mod:`efsgd.convex.studies.theorem_three` and :mod:`efsgd.convex.studies.theorem_two`.
|C(p)-p|^2 = (1-delta)|p|^2 holds for every p, and q = sqrt(1-delta).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from efsgd.arrays import Array, Generator
from efsgd.compressors.base import Compressor
from efsgd.compressors.guarantee import Guarantee
from efsgd.compressors.packing import Shape


@lru_cache(maxsize=8)
def slopes(T: int, c: float) -> Array:
    """Unit vectors u_0, ..., u_T with inner products c in [-1/T, 1], the rows of (T+1, T+1).

    They are those of the symmetric square root of their Gram matrix. Read only.
    """
    n = T + 1
    sum_zero, equal = np.sqrt(1 - c), np.sqrt(max(0.0, 1 + T * c))  # roots of the eigenvalues
    b = (equal - sum_zero) / n
    u: Array = np.full((n, n), b) + sum_zero * np.eye(n)
    u.setflags(write=False)
    return u


@dataclass(frozen=True)
class Onward(Compressor):
    """p - q|p| u_(t+1) where u_t is the slope closest to p: the error points to the next slope."""

    T: int
    c: float
    claimed: float  # delta

    @property
    def guarantee(self) -> Guarantee:
        """Holds for every x, with equality."""
        return "pathwise"

    def apply(self, x: Array, drawn: object = None) -> Array:
        """C of each vector of x (..., T+1)."""
        u = slopes(self.T, self.c)
        after = np.minimum((x @ u.T).argmax(axis=-1) + 1, self.T)
        length = np.sqrt((1 - self.claimed) * np.vecdot(x, x))
        sent: Array = x - length[..., None] * u[after]
        return sent

    def _delta(self, d: int) -> float:
        return self.claimed


@dataclass(frozen=True)
class AlongVirtual(Compressor):
    """p - q|p| v/|v|, v being the new virtual iterate x - e: the error is worst for the next step.

    It knows where the run starts and carries (v, e) as its state: with e the memory before the
    step, p - e = lr g is what v moves by.
    """

    start: float
    claimed: float  # delta

    @property
    def guarantee(self) -> Guarantee:
        """Holds for every x, with equality."""
        return "pathwise"

    def draw(self, shape: Shape, rng: Generator | None = None, state: Any = None) -> Any:
        """(v, e) before the step; no randomness."""
        if state is not None:
            return state
        v, e = np.zeros(shape), np.zeros(shape)
        v[..., 0] = self.start
        return [v, e]

    def apply(self, x: Array, drawn: Any = None) -> Array:
        """C of each vector of x (..., d)."""
        sent: Array = x - self._step(x, drawn)[1]
        return sent

    def next_state(self, x: Array, drawn: Any) -> Any:
        """(v, e) after the step."""
        return self._step(x, drawn)

    def _step(self, p: Array, drawn: Any) -> list[Array]:
        """(v, e) after the step with input p."""
        before, e = drawn
        v = before - (p - e)
        length = np.sqrt((1 - self.claimed) * np.vecdot(p, p)[..., None])
        return [v, length * v / np.sqrt(np.vecdot(v, v))[..., None]]

    def _delta(self, d: int) -> float:
        return self.claimed


@dataclass(frozen=True)
class Turning(Compressor):
    """(1-q)p in the first ``straight`` steps, so that the memory grows, and (1+q)p from then on."""

    straight: int
    claimed: float  # delta

    @property
    def guarantee(self) -> Guarantee:
        """Holds for every x, with equality."""
        return "pathwise"

    def draw(self, shape: Shape, rng: Generator | None = None, state: Any = None) -> Any:
        """The number of the step, from 0 on; no randomness."""
        return 0 if state is None else state

    def apply(self, x: Array, drawn: Any = 0) -> Array:
        """C of each vector of x (..., d)."""
        q = np.sqrt(1 - self.claimed)
        sent: Array = x * (1 + q if drawn >= self.straight else 1 - q)
        return sent

    def next_state(self, x: Array, drawn: Any) -> Any:
        """The number of the next step."""
        return drawn + 1

    def _delta(self, d: int) -> float:
        return self.claimed
