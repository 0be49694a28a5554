"""Variants of Algorithm 2: in the units of its memory, in the place of its momentum, in its answer.

Arrays are (R, d): x iterate, g gradient, e memory, p corrected gradient, m momentum buffer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from efsgd.arrays import Array, Generator
from efsgd.methods.base import Memory, Method, StepSize, Update
from efsgd.methods.feedback import EFSGD, Feedback
from efsgd.methods.sgd import SGD


@dataclass(frozen=True)
class GradientEF(Feedback):
    """Error feedback on gradients, before a step size is known: x <- x - lr C(g + e).

    The memory is in units of g. With ``rescaled`` it counts lr_(t-1)/lr_t of itself, as in Zheng,
    Huang, Kwok (arXiv 1905.10936) and BytePS: then lr e is the memory of EFSGD, and the method is
    EFSGD if C(a p) = a C(p) for a > 0. Without it, as in hooks that never see the step size, a drop
    of it shrinks what was not sent: x - lr e, with the lr of the last step, gains
    (lr_(t-1) - lr_t) e_t at step t (derived here), and there is no virtual iterate. The two differ
    only where the step size changes.
    """

    rescaled: bool = True

    @property
    def has_virtual(self) -> bool:
        """Whether x - lr e is the iterate of SGD for any step sizes."""
        return self.rescaled

    def virtual(self, x: Array, memory: Memory) -> Array:
        """x - lr e, with the step size of the last step."""
        if memory.lr is None or memory.e is None:  # before the first step, where e is 0
            return x
        return x - memory.lr * memory.e

    def start(self, x: Array) -> Memory:
        """e_0 = 0."""
        return Memory(e=np.zeros_like(x))

    def step(self, x: Array, g: Array, memory: Memory, lr: StepSize, rng: Generator) -> Update:
        """One step; what is not sent stays in the memory, divided by lr."""
        g, m = self.direction(x, g, memory.m)
        assert memory.e is not None  # made by start
        e = memory.e
        if self.rescaled and memory.lr is not None:
            e = memory.lr / lr * e
        corrected = g + e
        compressed, drawn, warm = self.compress(corrected, memory, rng)
        after = Memory(corrected - compressed, m, warm, lr=lr)
        sent = lr * compressed
        return Update(x - sent, after, g, lr * corrected, sent, corrected, drawn)

    @property
    def moves_by_sent(self) -> bool:
        """True."""
        return True

    def undelivered(self, before: Memory, update: Update) -> Memory:
        """e = g + e: all of it is still to be sent."""
        return update.memory._replace(e=update.given)

    def idle(self, before: Memory, lr: StepSize) -> Memory:
        """lr e stays as it is."""
        if not self.rescaled or before.lr is None or before.e is None:
            return before
        return before._replace(e=before.lr / lr * before.e)


@dataclass(frozen=True)
class PostMomentumEF(Feedback):
    """EF-SGD with momentum after compression: p = lr g + e, e <- p - C(p), m <- mu m + C(p).

    Then x <- x - m, or x - (C(p) + mu m) with ``nesterov=True``. The receiver averages what
    arrives, as in PowerSGD (Vogels, Karimireddy, Jaggi, arXiv 1905.13727), whose letters are in
    units of g; the memory e and m are in units of x here. With c = mu/(1-mu), Nesterov mu^2/(1-mu),
    the virtual iterate x - c m - e/(1-mu) moves by -lr g/(1-mu) (derived here).
    """

    def __post_init__(self) -> None:
        """Refuse momentum without that virtual iterate."""
        super().__post_init__()
        if self.dampening or self.form == "undecayed":
            raise ValueError(
                f"momentum after compression is heavy-ball, or nesterov=True, without dampening, "
                f"not {self.form!r} with dampening={self.dampening}"
            )

    @property
    def worker(self) -> Method:
        """EFSGD without momentum."""
        return EFSGD(self.compressor, weight_decay=self.weight_decay)

    @property
    def server(self) -> Method:
        """SGD with the momentum."""
        return SGD(momentum=self.momentum, nesterov=self.nesterov)

    @property
    def server_lr(self) -> float:
        """1: what is sent is in units of x."""
        return 1.0

    def virtual(self, x: Array, memory: Memory) -> Array:
        """x - c m - e/(1-mu)."""
        assert memory.e is not None  # made by start
        mu = self.momentum
        point = x - memory.e / (1 - mu)
        if memory.m is None:
            return point
        return point - (mu * mu if self.nesterov else mu) / (1 - mu) * memory.m

    def start(self, x: Array) -> Memory:
        """e_0 = 0."""
        return Memory(e=np.zeros_like(x))

    def step(self, x: Array, g: Array, memory: Memory, lr: StepSize, rng: Generator) -> Update:
        """One step; what is not sent stays in the memory."""
        g = self.decayed(x, g)
        assert memory.e is not None  # made by start
        p = lr * g + memory.e
        sent, drawn, warm = self.compress(p, memory, rng)
        move, m = self.averaged(sent, memory.m)
        after = Memory(p - sent, m, warm)
        return Update(x - move, after, g / (1 - self.momentum), p, sent, p, drawn)


@dataclass(frozen=True)
class FullyCorrectiveEF(EFSGD):
    """EFSGD that answers with x - e: at the end the whole memory is delivered, uncompressed.

    The steps are those of EFSGD, with gradients at x; losses, distances and x_final are taken at
    x - e, which may lie outside a constraint set. It is the ``fully_corrective`` of the convex code
    published with arXiv 1901.09847, which takes its test loss there but its train loss and its list
    of iterates at x + e: a mistake, only x - e is x_0 - sum lr g. The one message with e at the end
    is not among the bytes.
    """

    def answer(self, x: Array, memory: Memory) -> Array:
        """x - e."""
        return self.virtual(x, memory)

    def step(self, x: Array, g: Array, memory: Memory, lr: StepSize, rng: Generator) -> Update:
        """The step of EFSGD."""
        # Defined here because the torch optimiser knows methods by their step and answers x itself.
        return super().step(x, g, memory, lr, rng)
