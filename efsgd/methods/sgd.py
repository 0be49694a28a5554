"""Methods without a memory: SGD, and SGD that sends C(g) instead of g (signSGD and Signum)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from efsgd.arrays import Array, Generator
from efsgd.compressors.base import Compressor, instance
from efsgd.compressors.signs import Sign
from efsgd.methods.base import Memory, Method, StepSize, Update


@dataclass(frozen=True)
class SGD(Method):
    """x <- x - lr g, with momentum and weight decay if wanted."""

    def step(self, x: Array, g: Array, memory: Memory, lr: StepSize, rng: Generator) -> Update:
        """One step; everything is sent."""
        g, m = self.direction(x, g, memory.m)
        p = lr * g
        return Update(x - p, Memory(m=m), g, p, p, p)

    def advance(
        self,
        x: Array,
        g: Array,
        memory: Memory,
        lr: StepSize,
        rng: Generator,
        may_overwrite: bool = False,
    ) -> tuple[Array, Memory]:
        """The same step; the new x takes the place of p, which may be overwritten."""
        if self.momentum or self.weight_decay:
            g, m = self.direction(x, g, memory.m)
            memory, may_overwrite = Memory(m=m), False
        p = np.multiply(lr, g, out=g if may_overwrite else None)
        return np.subtract(x, p, out=p), memory


@dataclass(frozen=True)
class CompressedSGD(Method):
    """x <- x - lr C(g): compression without feedback. With ScaledSign this is scaled signSGD."""

    compressor: Compressor

    def __post_init__(self) -> None:
        """Refuse what is no compressor."""
        super().__post_init__()
        instance(self.compressor)

    @property
    def compresses(self) -> Compressor:
        """The compressor."""
        return self.compressor

    def step(self, x: Array, g: Array, memory: Memory, lr: StepSize, rng: Generator) -> Update:
        """One step; what is not sent is lost."""
        g, m = self.direction(x, g, memory.m)
        compressed, drawn, warm = self.compress(g, memory, rng)
        sent = lr * compressed
        return Update(x - sent, Memory(m=m, warm=warm), g, lr * g, sent, g, drawn)


@dataclass(frozen=True)
class SignSGD(CompressedSGD):
    """x <- x - lr sign(g), unscaled (Bernstein et al., 2018); ``SignSGD(Sign(zero=0))`` ternary."""

    compressor: Compressor = Sign()


@dataclass(frozen=True)
class Signum(CompressedSGD):
    """x <- x - lr sign(m), signSGD with momentum: the paper's signSGDm."""

    compressor: Compressor = Sign()
    momentum: float = field(default=0.9, kw_only=True)
