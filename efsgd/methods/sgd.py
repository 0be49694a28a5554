"""Methods without a memory: SGD, and SGD that sends C(g) instead of g (signSGD and Signum)."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from efsgd.arrays import Array, Generator
from efsgd.compressors.base import Compressor, instance
from efsgd.compressors.signs import Sign
from efsgd.methods.base import Mean, Memory, Method, StepSize, Update


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

    @property
    def moves_by_sent(self) -> bool:
        """True."""
        return True


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

    @property
    def moves_by_sent(self) -> bool:
        """True."""
        return True


@dataclass(frozen=True)
class SignSGD(CompressedSGD):
    """x <- x - lr sign(g), unscaled (Bernstein et al., 2018); ``SignSGD(Sign(zero=0))`` ternary."""

    compressor: Compressor = Sign()


@dataclass(frozen=True)
class Signum(CompressedSGD):
    """x <- x - lr sign(m), signSGD with momentum: the paper's signSGDm."""

    compressor: Compressor = Sign()
    momentum: float = field(default=0.9, kw_only=True)


@dataclass(frozen=True)
class MajorityVote(SignSGD):
    """x <- x - lr sign(sum_i sign(g_i)): workers send signs, the server the sign of their sum.

    A tie gives 0, so that the server's message is ternary (Bernstein et al., arXiv 1802.04434 and
    1810.05291; with ``momentum`` it is Signum with majority vote). A vote needs at least the
    direction of most workers to be right: where few large gradients oppose many small ones it goes
    to the median, not to the mean. With one worker it is SignSGD.
    """

    @property
    def worker(self) -> Method:
        """SignSGD, whose signs are counted."""
        return _Voter(self.compressor, **_common(self))

    @property
    def server(self) -> Method:
        """SignSGD with sign(0) = 0 on the mean of the signs."""
        return SignSGD(Sign(zero=0))

    def __post_init__(self) -> None:
        """Refuse what does not send signs."""
        super().__post_init__()
        if not isinstance(self.compressor, Sign):
            raise ValueError(f"a vote is of signs, not of {self.compressor}: use CompressedSGD")


class _Voter(SignSGD):
    """SignSGD of a worker that votes."""

    def mean_move(
        self, x: Array, before: Memory, update: Update, after: Memory, lr: StepSize, mean: Mean
    ) -> Array:
        """lr times the sum of the signs: whole numbers, so a tie is 0; each worker has one vote."""
        votes = np.sign(update.sent)
        if mean.arrived is not None:
            votes = votes * mean.arrived[..., None]
        return np.asarray(lr * votes.sum(1))


def _common(method: Method) -> dict[str, Any]:
    """The options that every method has."""
    return {field.name: getattr(method, field.name) for field in fields(Method)}
