"""The methods that compress how the gradient changes: EF21 and its kin, and EControl.

Sender and receiver both keep h, the gradient as the receiver knows it, and the message says how to
change it. Arrays are (R, d): x iterate, g gradient, h estimate, e memory. All start from h = 0, so
that the first message is C(g_0), as in EF21; the EControl paper starts from h = g_0 instead.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from efsgd.arrays import Array, Generator
from efsgd.methods.base import Memory, StepSize, Update
from efsgd.methods.feedback import Feedback


class Estimates(Feedback):
    """Base of the methods whose sender and receiver keep an estimate h, along which x moves."""

    @property
    def keeps_estimates(self) -> bool:
        """True."""
        return True

    def start(self, x: Array) -> Memory:
        """h_0 = 0 and e_0 = 0."""
        return Memory(e=np.zeros_like(x), h=np.zeros_like(x))


@dataclass(frozen=True)
class EF21(Estimates):
    """h <- h + C(g - h), x <- x - lr h (Richtarik, Sokolov, Fatkhullin, arXiv 2106.05203).

    The memory e = g - h, in units of g, is what the estimate lacks: |e| <= sqrt(1-delta) |g - h|
    with the h before the step. It is only watched, and there is no virtual iterate. For a linear
    compressor and a constant step size this is EFSGD. Momentum, if any, comes before compression.
    Several workers with ``downlink=EF21(c)`` are EF21-BC (Fatkhullin, Sokolov, Gorbunov, Li,
    Richtarik, arXiv 2110.03294): the server keeps an estimate of the mean of their h.
    """

    @property
    def has_virtual(self) -> bool:
        """False: what is not sent is not added up."""
        return False

    def undelivered(self, before: Memory, update: Update) -> Memory:
        """h as it was; e = g - h, which is only watched."""
        e = update.memory.e + update.memory.h - before.h  # type: ignore[operator]
        return update.memory._replace(e=e, h=before.h)

    def step(self, x: Array, g: Array, memory: Memory, lr: StepSize, rng: Generator) -> Update:
        """One step along the new estimate."""
        g, m = self.direction(x, g, memory.m)
        assert memory.h is not None  # made by start
        difference = g - memory.h
        change, drawn, warm = self.compress(difference, memory, rng)
        h = memory.h + change
        after = Memory(difference - change, m, warm, h)
        return Update(x - lr * h, after, g, lr * difference, lr * change, difference, drawn)


@dataclass(frozen=True)
class EF21SGDM(EF21):
    """EF21 of v <- mu v + (1-mu) g, v_0 = g_0 (Fatkhullin, Tyurin, Richtarik, arXiv 2305.15155).

    ``momentum`` is mu = 1 - eta in the paper's letters. Unlike heavy-ball momentum the new gradient
    is weighted by 1 - mu, so that v is a mean of gradients and tames their noise. It is the same as
    EF21 with ``dampening`` equal to ``momentum``. Of several workers one that is absent at the very
    first step starts from v = 0 instead.
    """

    momentum: float = field(default=0.9, kw_only=True)

    def __post_init__(self) -> None:
        """Refuse other forms of momentum."""
        super().__post_init__()
        if self.nesterov or self.form != "heavy-ball" or self.dampening:
            raise ValueError(
                f"EF21SGDM has its own momentum: use EF21 for nesterov={self.nesterov}, "
                f"form={self.form!r} and dampening={self.dampening}"
            )

    def averaged(self, g: Array, m: Array | None) -> tuple[Array, Array | None]:
        """The mean v of the gradients so far, twice."""
        if not self.momentum:
            return g, m
        v = g.copy() if m is None else self.momentum * m + (1 - self.momentum) * g
        return v, v


@dataclass(frozen=True)
class EF21Plus(EF21):
    """EF21+ (arXiv 2106.05203): h becomes C(g) or h + C(g - h), whichever is closer to g.

    Each replicate chooses for itself at each step; on a tie it takes the change. So |g - h| after a
    step is at most sqrt(1-delta) min(|g|, |g - h|). The bit that says which of the two was sent is
    not among the bytes counted. Refuses random compressors, whose two messages would share a draw.
    """

    def __post_init__(self) -> None:
        """Refuse a compressor whose two messages cannot be compared."""
        super().__post_init__()
        if self.compressor.random:
            raise ValueError(
                f"EF21Plus compares two messages, and {self.compressor} is random: use EF21"
            )

    def step(self, x: Array, g: Array, memory: Memory, lr: StepSize, rng: Generator) -> Update:
        """One step along the better estimate."""
        g, m = self.direction(x, g, memory.m)
        assert memory.h is not None  # made by start
        drawn = self.compressor.draw(g.shape, rng, memory.warm)
        fresh, change = (self.compressor.apply(v, drawn) for v in (g, g - memory.h))
        fresh_error, change_error = g - fresh, g - memory.h - change
        closer = np.vecdot(fresh_error, fresh_error) < np.vecdot(change_error, change_error)
        use_fresh = closer[..., None]
        compressed = np.where(use_fresh, g, g - memory.h)
        h = np.where(use_fresh, fresh, memory.h + change)
        message = np.where(use_fresh, fresh, change)
        warm = self.compressor.next_state(compressed, drawn)
        after = Memory(compressed - message, m, warm, h)
        return Update(x - lr * h, after, g, lr * compressed, lr * message, compressed, drawn)


@dataclass(frozen=True)
class EControl(Estimates):
    """h <- h + C(eta e + g - h), x <- x - lr h, e <- e + g - h (Gao, Islamov, Stich, 2311.05645).

    The memory is kept in units of x, e <- e + lr (g - h), so that the virtual iterate x - e is that
    of SGD for any step sizes; at a constant one it is lr times the paper's. ``eta`` in [0, 1] is
    the share of it that is asked for at once: 0 is EF21 with a memory that is only watched, 1 is
    error feedback that sends how p = g + e differs from what it last stood at, h + C(p - h). Some
    compressors of a given delta make it diverge at any step size from eta = 2(1-q)/(1+q) on,
    q = sqrt(1-delta), which is about delta/2 (derived here).
    """

    eta: float = field(kw_only=True)

    def __post_init__(self) -> None:
        """Refuse impossible numbers."""
        super().__post_init__()
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta must lie in [0, 1], not {self.eta}")

    def undelivered(self, before: Memory, update: Update) -> Memory:
        """h as it was, and what it lacks is added to e."""
        assert update.memory.e is not None
        return update.memory._replace(e=update.memory.e + update.sent, h=before.h)

    def step(self, x: Array, g: Array, memory: Memory, lr: StepSize, rng: Generator) -> Update:
        """One step along the new estimate."""
        g, m = self.direction(x, g, memory.m)
        assert memory.e is not None  # made by start
        assert memory.h is not None  # made by start
        corrected = g - memory.h
        if self.eta:
            corrected = corrected + self.eta * memory.e / lr
        change, drawn, warm = self.compress(corrected, memory, rng)
        h = memory.h + change
        after = Memory(memory.e + lr * (g - h), m, warm, h)
        return Update(x - lr * h, after, g, lr * corrected, lr * change, corrected, drawn)
