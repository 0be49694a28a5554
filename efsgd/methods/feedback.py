"""Error feedback (arXiv 1901.09847): what was not sent is kept, and added to the next message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import numpy as np

from efsgd.arrays import Array, Generator
from efsgd.compressors.base import Compressor, instance
from efsgd.compressors.blockwise import Blockwise
from efsgd.compressors.guarantee import Guarantee
from efsgd.compressors.signs import ScaledSign
from efsgd.compressors.wrappers import Contractive, Scaled
from efsgd.methods.base import Memory, Method, StepSize, Update
from efsgd.provenance import optional


@dataclass(frozen=True)
class Feedback(Method):
    """Base of the methods with a memory of what was not sent.

    An unbiased compressor with delta(d) <= 0 is refused: behind feedback it can diverge.
    """

    compressor: Compressor = ScaledSign()

    def __post_init__(self) -> None:
        """Refuse what is no compressor."""
        super().__post_init__()
        instance(self.compressor)

    @property
    def compresses(self) -> Compressor:
        """The compressor."""
        return self.compressor

    @property
    def feeds_back(self) -> bool:
        """True."""
        return True

    def check(self, d: int) -> None:
        """Refuse a compressor without delta > 0, unless it claims no relative bound at all."""
        check_feedback(self.compressor, d)


@dataclass(frozen=True)
class EFSGD(Feedback):
    """Error feedback (arXiv 1901.09847, Algorithm 2): p = lr g + e, x <- x - C(p), e <- p - C(p).

    With ScaledSign this is EF-signSGD (Algorithm 1). Momentum, if any, comes before compression.
    With ``decay`` below 1, p = lr g + decay e forgets: then there is no virtual iterate. n workers
    with a memory each are EF14 (Seide et al., 2014); with ``downlink=EFSGD(...)`` the server has
    one, too: DoubleSqueeze (arXiv 1905.05957).
    """

    decay: float = optional(1.0, kw_only=True)

    def __post_init__(self) -> None:
        """Refuse an impossible decay."""
        super().__post_init__()
        if not 0 <= self.decay <= 1:
            raise ValueError(f"decay must lie in [0, 1], not {self.decay}: 1 keeps the memory")

    @property
    def has_virtual(self) -> bool:
        """Whether nothing is forgotten."""
        return self.decay == 1

    @property
    def server_lr(self) -> float:
        """1: what is sent is in units of x."""
        return 1.0

    def start(self, x: Array) -> Memory:
        """e_0 = 0."""
        return Memory(e=np.zeros_like(x))

    def step(self, x: Array, g: Array, memory: Memory, lr: StepSize, rng: Generator) -> Update:
        """One step; what is not sent stays in the memory."""
        g, m = self.direction(x, g, memory.m)
        assert memory.e is not None  # made by start
        p = lr * g + (memory.e if self.decay == 1 else self.decay * memory.e)
        sent, drawn, warm = self.compress(p, memory, rng)
        return Update(x - sent, Memory(p - sent, m, warm), g, p, sent, p, drawn)

    def advance(
        self,
        x: Array,
        g: Array,
        memory: Memory,
        lr: StepSize,
        rng: Generator,
        may_overwrite: bool = False,
    ) -> tuple[Array, Memory]:
        """The same step; if ``may_overwrite`` is true, p and then the new e take the place of g."""
        if not may_overwrite or self.momentum or self.weight_decay or self.decay != 1:
            return super().advance(x, g, memory, lr, rng)
        p = np.multiply(lr, g, out=g)
        p += memory.e
        sent, _, warm = self.compress(p, memory, rng)
        x = x - sent  # before p changes: a compressor may send p itself, or keep it
        e = np.subtract(p, sent, out=p if warm is None else None)
        return x, Memory(e, warm=warm)

    @property
    def moves_by_sent(self) -> bool:
        """True."""
        return True

    def undelivered(self, before: Memory, update: Update) -> Memory:
        """e = p: all of it is still to be sent."""
        return update.memory._replace(e=update.p)


def check_feedback(c: Compressor, d: int, name: str = "") -> None:
    """Raise ValueError for a compressor that error feedback must not use at dimension d.

    ``name`` says which of several tensors has this dimension.
    """
    if c.guarantee not in get_args(Guarantee):
        raise ValueError(f"{c} has the guarantee {c.guarantee!r}: use one of {get_args(Guarantee)}")
    if isinstance(c, Scaled) and c.factor >= 2 and c.compressor.guarantee == "absolute":
        raise ValueError(
            f"{c} overshoots, so error feedback with it diverges: use a factor below 2"
        )
    if c.guarantee in ("absolute", "none") or c.delta(d) > 0:
        return
    fault = "has delta = 0"
    if c.guarantee == "unbiased":
        fault = f"is unbiased with omega = {c.omega(d):.4g} >= 1"
    remedy = _remedy(c, d)
    cure = f": use {remedy}, whose delta there is {remedy.delta(d):.3g}" if remedy else ""
    where = f"d = {d}" + (f" ({name})" if name else "")
    raise ValueError(f"{c} {fault} at {where}, so error feedback with it can diverge{cure}")


def _remedy(c: Compressor, d: int) -> Compressor | None:
    """The compressor nearest to c with delta > 0 at d and, if it scales, at any other d."""
    if c.guarantee == "unbiased":
        return Contractive(c)
    if c.delta(d) > 0:
        return c
    if isinstance(c, Scaled):
        return _remedy(c.compressor, d)
    if isinstance(c, Blockwise) and (inner := _remedy(c.compressor, min(c.size, d))) is not None:
        return Blockwise(inner, c.size)
    return None
