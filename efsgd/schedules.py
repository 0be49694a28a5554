"""Step sizes: numbers that depend on the step, and one that depends on the gradients seen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from efsgd.arrays import Array
from efsgd.base import positive


@dataclass(frozen=True)
class Schedule:
    """Base of all step sizes; a subclass defines ``__call__(t)``, or ``adapt`` if it looks at g."""

    def __call__(self, t: int) -> float:
        """The step size lr_t of step t = 0, 1, ..."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(t)")

    def adapt(self, t: int, g: Array, state: Any) -> tuple[float | Array, Any]:
        """The step size for the gradient g (R, d), a number or (R, 1), and the state to keep."""
        return self(t), state


@dataclass(frozen=True)
class Constant(Schedule):
    """lr at every step."""

    lr: float

    def __post_init__(self) -> None:
        """Refuse a step size that is not positive."""
        positive("lr", self.lr)

    def __call__(self, t: int) -> float:
        """Return lr."""
        return self.lr

    def adapt(self, t: int, g: Array, state: Any) -> tuple[float, Any]:
        """Return lr."""
        return self.lr, state


@dataclass(frozen=True)
class InverseSqrt(Schedule):
    """lr/sqrt(t + 1)."""

    lr: float

    def __post_init__(self) -> None:
        """Refuse a step size that is not positive."""
        positive("lr", self.lr)

    def __call__(self, t: int) -> float:
        """Return lr/sqrt(t + 1)."""
        return self.lr / math.sqrt(t + 1)


@dataclass(frozen=True)
class StepDecay(Schedule):
    """lr, multiplied by ``factor`` at each of the steps ``at``."""

    lr: float
    at: tuple[int, ...]
    factor: float = 0.1

    def __post_init__(self) -> None:
        """Refuse step sizes that are not positive and steps that do not increase."""
        positive("lr", self.lr)
        positive("factor", self.factor)
        if any(a >= b for a, b in zip((0, *self.at), self.at, strict=False)):
            raise ValueError(f"at must be increasing positive steps, not {self.at}")

    def __call__(self, t: int) -> float:
        """Return lr times factor to the number of drops so far."""
        return self.lr * self.factor ** sum(t >= drop for drop in self.at)


@dataclass(frozen=True)
class AdaGradNorm(Schedule):
    """lr/sqrt(b0^2 + sum_{s<=t} |g_s|^2), for each replicate its own (Ward, Wu, Bottou, 2019)."""

    lr: float
    b0: float = 1e-8

    def __post_init__(self) -> None:
        """Refuse numbers that are not positive."""
        positive("lr", self.lr)
        positive("b0", self.b0)

    def adapt(self, t: int, g: Array, state: Any) -> tuple[Array, Any]:
        """Return the step sizes (R, 1) and the sums of squares so far."""
        total = (self.b0**2 if state is None else state) + np.vecdot(g, g)[:, None]
        return self.lr / np.sqrt(total), total
