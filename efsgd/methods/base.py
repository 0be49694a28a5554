"""What every method is: an update rule as a pure function of iterate, gradient and memory.

Every method does, in this order: g, + weight_decay*x, momentum, then its own step. Letters as in
the paper (arXiv 1901.09847, Algorithms 1 and 2), all of shape (R, d) with R replicates: x iterate,
g gradient, e memory (what has not been sent yet), p corrected gradient, m momentum buffer. The
same step runs n workers at once, whose arrays are (R, n, d): see :mod:`efsgd.methods.team`. Two
axes are n vectors that know nothing of each other; compressors that draw for all workers of a
replicate need three, (1, n, d) for one, and so does MARINA, whose workers share a coin.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from efsgd.arrays import Array, Generator
from efsgd.compressors.base import Compressor
from efsgd.compressors.wrappers import Identity
from efsgd.provenance import optional

StepSize = float | Array  # a number, or (R, 1)
Form = Literal["heavy-ball", "undecayed"]


class Memory(NamedTuple):
    """What a method carries from step to step."""

    e: Array | None = None  # (R, d)
    m: Array | None = None  # (R, d)
    warm: Any = None  # the compressor's own state
    h: Array | None = None  # (R, d), the gradient as the receiver knows it
    lr: StepSize | None = None  # of the step before
    last: Array | None = None  # (R, d), the gradient of the step before

    def arrays(self) -> list[Array]:
        """What must stay finite, each with the replicates as its first axis."""
        return [part for part in (self.e, self.m, self.h, self.last) if part is not None]

    def map(self, change: Callable[[Array], Array]) -> Memory:
        """The same with every one of these arrays changed."""
        e, m, h, last = (
            None if part is None else change(part) for part in (self.e, self.m, self.h, self.last)
        )
        return self._replace(e=e, m=m, h=h, last=last)

    def where(self, mask: Array, other: Memory) -> Memory:
        """These arrays where ``mask`` (..., 1) is true, those of ``other`` elsewhere.

        A momentum buffer that ``other`` has not begun counts as 0 there.
        """
        m = self.m
        if m is not None:
            m = np.where(mask, m, 0.0 if other.m is None else other.m)
        e, h, last = (
            None if mine is None else np.where(mask, mine, 0.0 if old is None else old)
            for mine, old in ((self.e, other.e), (self.h, other.h), (self.last, other.last))
        )
        return self._replace(e=e, m=m, h=h, last=last)


class Update(NamedTuple):
    """The outcome of one step."""

    x: Array
    memory: Memory
    direction: Array  # g after weight decay and momentum: the virtual iterate moves by -lr times it
    p: Array  # what was to be sent, in units of x
    sent: Array  # what was sent of it; with Algorithm 2, what was subtracted from x
    given: Array  # what the compressor was given
    drawn: Any = None  # what it drew, and found out with the other workers
    dense: Array | None = None  # whose message was ``given`` itself, uncompressed; of x.shape[:-1]


class Mean(NamedTuple):
    """The mean over n workers: over all of them, and over those whose messages arrived."""

    weights: Array | None = None  # (n,), with sum 1; None: 1/n each
    arrived: Array | None = None  # (R, n), whose messages did; None: all
    share: float = 1.0  # |S|/n of the workers that were asked

    def of_all(self, rows: Array) -> Array:
        """The weighted mean of the rows (R, n, d), (R, d)."""
        if self.weights is None:
            mean: Array = rows.sum(1) / rows.shape[1]
            return mean
        return np.asarray(np.matmul(self.weights.astype(rows.dtype), rows))

    def of_arrived(self, rows: Array) -> Array:
        """The sum over those that arrived of weight n/|S|: what is lost counts as 0."""
        if self.arrived is None:
            return self.of_all(rows)
        n = rows.shape[1]
        weights = np.full(n, 1.0 / n) if self.weights is None else self.weights
        each = (self.arrived * (weights / self.share)).astype(rows.dtype)
        return np.asarray(np.matmul(each[:, None], rows)[:, 0])


@dataclass(frozen=True, kw_only=True)
class Method:
    """Base of all methods: weight decay and momentum.

    The ``step`` of a method of one's own treats every vector by itself, along the last axis: with
    several workers its arrays have three, (R, n, d).

    The momentum mu is heavy-ball, m = mu*m + (1-dampening)*g with the direction m, or with
    ``nesterov=True`` the direction g + mu*m; both as in torch, the first m being g. ``form=
    "undecayed"``, m = m + mu*g, is what the paper's convex code has (its buffer never decays); it
    is here to reproduce that figure. (``form="nesterov"``, as it was spelled, still is read.)
    """

    momentum: float = 0.0
    dampening: float = 0.0
    form: Form = "heavy-ball"
    weight_decay: float = 0.0
    nesterov: bool = optional(False)  # results from before it keep their keys

    def __post_init__(self) -> None:
        """Refuse impossible numbers."""
        if str(self.form) == "nesterov":
            object.__setattr__(self, "form", "heavy-ball")
            object.__setattr__(self, "nesterov", True)
        if not 0 <= self.momentum <= 1 or (self.momentum == 1 and self.form != "undecayed"):
            raise ValueError(f"momentum must lie in [0, 1), not {self.momentum}")
        if self.form not in ("heavy-ball", "undecayed"):
            raise ValueError(f"form must be heavy-ball or undecayed, not {self.form!r}")
        if self.nesterov not in (True, False):
            raise ValueError(f"nesterov must be True or False, not {self.nesterov!r}")
        object.__setattr__(self, "nesterov", bool(self.nesterov))
        if not 0 <= self.dampening <= 1:
            raise ValueError(f"dampening must lie in [0, 1], not {self.dampening}")
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise ValueError("Nesterov momentum needs momentum > 0 and dampening = 0")
        if self.nesterov and self.form == "undecayed":
            raise ValueError("Nesterov momentum decays: leave out form='undecayed'")
        if not 0 <= self.weight_decay < float("inf"):
            raise ValueError(f"weight_decay must be at least 0, not {self.weight_decay}")

    @property
    def compresses(self) -> Compressor:
        """The compressor whose messages travel."""
        return Identity()

    @property
    def feeds_back(self) -> bool:
        """Whether the method keeps a memory e."""
        return False

    @property
    def has_virtual(self) -> bool:
        """Whether :meth:`virtual` is an iterate of its own, exact for any step sizes."""
        return self.feeds_back

    def virtual(self, x: Array, memory: Memory) -> Array:
        """The point that moves by -lr*direction whatever the compressor does: x - e."""
        return x if memory.e is None else x - memory.e

    def answer(self, x: Array, memory: Memory) -> Array:
        """The point that the method offers as its solution, where losses are taken: x."""
        return x

    def check(self, d: int) -> None:
        """Raise ValueError where the method cannot work at dimension d."""

    def start(self, x: Array) -> Memory:
        """The memory before the first step."""
        return Memory()

    def step(self, x: Array, g: Array, memory: Memory, lr: StepSize, rng: Generator) -> Update:
        """One step from x with gradient g; changes none of its arguments."""
        raise NotImplementedError(f"{type(self).__name__} must define step")

    def advance(
        self,
        x: Array,
        g: Array,
        memory: Memory,
        lr: StepSize,
        rng: Generator,
        may_overwrite: bool = False,
    ) -> tuple[Array, Memory]:
        """The new x and memory of the same step; for steps whose other outcomes are not needed.

        It may overwrite g if ``may_overwrite`` is true.
        """
        update = self.step(x, g, memory, lr, rng)
        return update.x, update.memory

    # -- with several workers, whose arrays are (R, n, d); see efsgd.methods.team ------------------

    @property
    def worker(self) -> Method:
        """The method that each of several workers runs."""
        return self

    @property
    def server(self) -> Method | None:
        """The method that the server runs on the workers' mean; None: x moves by the mean."""
        return None

    @property
    def server_lr(self) -> float | None:
        """Its step size, where the mean is in units of x; None: that of the run, on mean/lr."""
        return None

    @property
    def keeps_estimates(self) -> bool:
        """Whether x moves along estimates h of all workers, also of those that are absent."""
        return False

    @property
    def moves_by_sent(self) -> bool:
        """Whether ``Update.sent`` is how far x moves; else x - ``Update.x`` is taken."""
        return False

    def at(self, x: Array, memory: Memory) -> Array:
        """Where the next gradients are wanted: x, or (R, n, d) where workers have models."""
        return x

    def mean(self, g: Array) -> Array:
        """The gradient of f that is known, (R, d): g, or with several workers their mean."""
        return g

    @property
    def needs_full_gradients(self) -> bool:
        """Whether noise in the gradients adds up in its estimates without bound."""
        return False

    def check_absence(self) -> None:
        """Raise ValueError where the method cannot do without the messages of some workers."""

    def mean_move(
        self, x: Array, before: Memory, update: Update, after: Memory, lr: StepSize, mean: Mean
    ) -> Array:
        """How far x moves, (R, d), once the server has all messages; SGD's direction is -lr g.

        By lr times the mean of all estimates, where the method keeps such; else by the mean of what
        arrived. ``before`` and ``after`` are the workers' memories, ``update`` what each has done,
        lost messages included; ``x`` is (R, 1, d) and ``lr`` a number or (R, 1).
        """
        if self.keeps_estimates:
            assert after.h is not None
            return lr * mean.of_all(after.h)
        return mean.of_arrived(update.sent if self.moves_by_sent else x - update.x)

    def undelivered(self, before: Memory, update: Update) -> Memory:
        """The memories of workers whose messages were lost, as they learn: as if C(p) were 0."""
        return update.memory

    def idle(self, before: Memory, lr: StepSize) -> Memory:
        """The memories of workers that take no part in a step of this size."""
        return before

    def compress(self, v: Array, memory: Memory, rng: Generator) -> tuple[Array, Any, Any]:
        """C(v), what was drawn for it, and the compressor's own state for the next step."""
        c = self.compresses
        drawn = c.joined(v, c.draw(v.shape, rng, memory.warm))
        return c.apply(v, drawn), drawn, c.next_state(v, drawn)

    def direction(self, x: Array, g: Array, m: Array | None) -> tuple[Array, Array | None]:
        """The gradient after weight decay and momentum, and the new momentum buffer."""
        return self.averaged(self.decayed(x, g), m)

    def decayed(self, x: Array, g: Array) -> Array:
        """g + weight_decay*x."""
        return g + self.weight_decay * x if self.weight_decay else g

    def averaged(self, g: Array, m: Array | None) -> tuple[Array, Array | None]:
        """What momentum makes of g, and the new momentum buffer."""
        if not self.momentum:
            return g, m
        if self.form == "undecayed":
            m = self.momentum * g if m is None else m + self.momentum * g
            return m, m
        # The first m is a copy: who gave g may return it again, with other numbers.
        m = g.copy() if m is None else self.momentum * m + (1 - self.dampening) * g
        return (g + self.momentum * m if self.nesterov else m), m
