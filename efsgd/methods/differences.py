"""Methods that compress differences of gradients without bias: DIANA, MARINA, DASHA.

They have no memory e: what they send is right on average, and its variance vanishes as the
differences do, also where workers disagree. Arrays are (R, d), or (R, n, d) with n workers: x
iterate, g gradient, h estimate of it that the server knows.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from efsgd.arrays import Array, Generator
from efsgd.checks import positive
from efsgd.compressors.base import Compressor, instance
from efsgd.compressors.wrappers import Identity
from efsgd.methods.base import Mean, Memory, Method, StepSize, Update


@dataclass(frozen=True)
class Differences(Method):
    """Base of these methods: the compressor is unbiased, x moves along the workers' estimates."""

    compressor: Compressor

    def __post_init__(self) -> None:
        """Refuse what is no unbiased compressor."""
        super().__post_init__()
        c = instance(self.compressor)
        if c.guarantee != "unbiased" and not isinstance(c, Identity):
            raise ValueError(
                f"{type(self).__name__} needs an unbiased compressor such as qsgd:7, not {c}: "
                "use EF21 for a biased one"
            )

    @property
    def compresses(self) -> Compressor:
        """The compressor."""
        return self.compressor

    @property
    def keeps_estimates(self) -> bool:
        """True."""
        return True

    @property
    def needs_full_gradients(self) -> bool:
        """True but for DIANA: what is sent is the difference of two gradients, noise and all."""
        return True

    def omega(self, d: int) -> float:
        """omega of the compressor; 0 for the identity."""
        return 0.0 if isinstance(self.compressor, Identity) else self.compressor.omega(d)

    def start(self, x: Array) -> Memory:
        """h_0 = 0."""
        return Memory(h=np.zeros_like(x))

    def undelivered(self, before: Memory, update: Update) -> Memory:
        """As before the step: sender and server go on from what both know."""
        return update.memory._replace(h=before.h, last=before.last)


@dataclass(frozen=True)
class DIANA(Differences):
    """x <- x - lr (h + C(g - h)), h <- h + alpha C(g - h) (Mishchenko et al., arXiv 1901.09269).

    ``alpha`` is at most 1/(1 + omega), which None stands for. At x* the differences vanish, so that
    disagreeing workers end at the optimum. A strongly convex f takes the step
    1/(L (1 + 6 omega/n)): ``efsgd.schedules.Theorem("diana", ...)``. Of absent workers the server
    uses h, and it weights the messages of the others by n/|S| (Philippenko, Dieuleveut, arXiv
    2006.14591, "PP2").
    """

    alpha: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Refuse an impossible alpha."""
        super().__post_init__()
        if self.alpha is not None:
            positive("alpha", self.alpha, 1.0)

    @property
    def needs_full_gradients(self) -> bool:
        """False: h follows the gradient, and is no sum of differences."""
        return False

    def check(self, d: int) -> None:
        """Refuse an alpha beyond 1/(1 + omega), where h need not follow g."""
        most = 1 / (1 + self.omega(d))
        if self.alpha is not None and self.alpha > most * (1 + 1e-12):
            raise ValueError(f"alpha must be at most 1/(1 + omega) = {most:.4g}, not {self.alpha}")

    def learning(self, d: int) -> float:
        """The alpha in use at dimension d."""
        return self.alpha or 1 / (1 + self.omega(d))

    def step(self, x: Array, g: Array, memory: Memory, lr: StepSize, rng: Generator) -> Update:
        """One step along h and the compressed difference."""
        g, m = self.direction(x, g, memory.m)
        assert memory.h is not None  # made by start
        difference = g - memory.h
        change, drawn, warm = self.compress(difference, memory, rng)
        learnt = self.learning(g.shape[-1]) * change
        after = Memory(m=m, warm=warm, h=memory.h + learnt)
        sent = lr * change
        x = x - (lr * memory.h + sent)
        return Update(x, after, g, lr * difference, sent, difference, drawn)

    def mean_move(
        self, x: Array, before: Memory, update: Update, after: Memory, lr: StepSize, mean: Mean
    ) -> Array:
        """lr times the mean of the h before the step, and the mean of the messages."""
        assert before.h is not None
        return lr * mean.of_all(before.h) + mean.of_arrived(update.sent)


@dataclass(frozen=True)
class MARINA(Differences):
    """h <- g with probability p, else h + C(g - g_last); x <- x - lr h (arXiv 2102.07845).

    One coin for all workers decides whether they send their gradients whole, which the first step
    always does (Gorbunov, Burlachenko, Li, Richtarik, Algorithm 1, with full gradients). The mean
    of the h is unbiased around the gradient only from the last whole message on. Noise of gradients
    adds up in h until then: batches are refused. For an L-smooth f
    it takes the step 1/(L (1 + sqrt((1-p) omega/(p n)))): ``efsgd.schedules.Theorem("marina")``.
    """

    probability: float = field(kw_only=True)

    def __post_init__(self) -> None:
        """Refuse an impossible probability."""
        super().__post_init__()
        positive("probability", self.probability, 1.0)

    def check_absence(self) -> None:
        """Refuse: the coin asks every worker for its whole gradient."""
        raise ValueError(
            "MARINA asks all workers for their whole gradients at once: use participation=1 and no "
            "faults, or DASHA or DIANA"
        )

    def step(self, x: Array, g: Array, memory: Memory, lr: StepSize, rng: Generator) -> Update:
        """One step along the new estimate."""
        g, m = self.direction(x, g, memory.m)
        assert memory.h is not None  # made by start
        coins = rng.random((len(g), *[1] * (g.ndim - 1))) < self.probability
        whole = coins | (memory.last is None)
        difference = g - (0.0 if memory.last is None else memory.last)
        change, drawn, warm = self.compress(difference, memory, rng)
        given, message = np.where(whole, g, difference), np.where(whole, g, change)
        h = np.where(whole, g, memory.h + change)
        # A copy: who gave g may return it again, with other numbers.
        after = Memory(m=m, warm=warm, h=h, last=g.copy())
        dense = np.broadcast_to(whole[..., 0], g.shape[:-1])
        return Update(x - lr * h, after, g, lr * given, lr * message, given, drawn, dense)


@dataclass(frozen=True)
class DASHA(Differences):
    """h <- h + C(g - g_last - a (h - g_last)), x <- x - lr h (Tyurin, Richtarik, arXiv 2202.01268).

    Algorithm 1 with full gradients (no PAGE, no MVR): no message is ever whole, and a = 1/(1 + 2
    omega), which None stands for, pulls h to the gradient; that of noise it lets pass, so that
    batches are refused. Starts from h = g_last = 0, as if the
    gradient had been 0 before. For an L-smooth f it takes the step
    1/(L (1 + sqrt(16 omega (1 + 2 omega)/n))): ``efsgd.schedules.Theorem("dasha")``. A worker that
    is absent, or whose message was lost, goes on from what it last sent; the method with a theorem
    for that, DASHA-PP, is another one.
    """

    a: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Refuse an impossible a."""
        super().__post_init__()
        if self.a is not None:
            positive("a", self.a, 1.0)

    def pull(self, d: int) -> float:
        """The a in use at dimension d."""
        return self.a or 1 / (1 + 2 * self.omega(d))

    def start(self, x: Array) -> Memory:
        """h_0 = 0 and g_last = 0."""
        return Memory(h=np.zeros_like(x), last=np.zeros_like(x))

    def step(self, x: Array, g: Array, memory: Memory, lr: StepSize, rng: Generator) -> Update:
        """One step along the new estimate."""
        g, m = self.direction(x, g, memory.m)
        assert memory.h is not None  # made by start
        assert memory.last is not None  # made by start
        a = self.pull(g.shape[-1])
        difference = g - memory.last - a * (memory.h - memory.last)
        change, drawn, warm = self.compress(difference, memory, rng)
        h = memory.h + change
        after = Memory(m=m, warm=warm, h=h, last=g.copy())  # a copy, as in MARINA
        return Update(x - lr * h, after, g, lr * difference, lr * change, difference, drawn)
