"""Local steps: workers step alone, and exchange what they have moved (DiLoCo, SparseLoCo)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from efsgd.arrays import Array, Generator
from efsgd.checks import positive, whole
from efsgd.compressors.base import Compressor
from efsgd.methods.base import Memory, Method, StepSize, Update
from efsgd.methods.sgd import SGD


@dataclass(frozen=True)
class LocalSteps(Method):
    """Every worker takes H steps of ``inner`` alone; then the differences are exchanged.

    H is ``Run(local_steps=H)``, and the steps of a run are the inner ones. After H steps each
    worker has the difference Delta_i = x - x_i between the common x and its own model.
    ``exchange`` compresses it, as if it were a gradient with step size 1: SGD() sends it whole,
    EFSGD(c) with error feedback, CompressedSGD(c) without. The server takes a step of ``outer``, of
    size ``outer_lr``, with their mean as the gradient, and all go on from the new x. What ``inner``
    remembers stays with its worker and survives.

    DiLoCo (Douillard et al., arXiv 2311.08105) has outer=SGD(momentum=0.9, nesterov=True) and
    outer_lr=0.7. SparseLoCo (Sarfi et al., arXiv 2508.15706) has exchange=EFSGD(c, decay=beta) with
    c = ``blockwise:4096,quantised:2,topk:64``. With ``fragments`` F > 1 (Streaming DiLoCo, arXiv
    2501.18512) the entries of x are cut into F equal parts; part f is exchanged after steps t with
    t = f H/F modulo H, with memories of its own.
    """

    exchange: Method = SGD()
    inner: Method = SGD()
    outer: Method = SGD()
    outer_lr: float = 1.0
    fragments: int = 1

    def __post_init__(self) -> None:
        """Refuse what does not fit."""
        super().__post_init__()
        for name in ("exchange", "inner", "outer"):
            part = getattr(self, name)
            if not isinstance(part, Method) or isinstance(part, LocalSteps):
                raise ValueError(f"{name} must be a method such as efsgd.SGD(), not {part!r}")
            if type(part).answer is not Method.answer:
                raise ValueError(
                    f"{type(part).__name__} answers with another x: use EFSGD in {name}"
                )
        for name in ("exchange", "outer"):
            if getattr(self, name).weight_decay:
                raise ValueError(f"{name} sees no x to decay: give weight_decay to inner")
        if self.inner.compresses.joint:
            raise ValueError(
                f"inner steps are taken alone, and {self.inner.compresses} couples the workers: "
                "give it to exchange"
            )
        if self.momentum or self.weight_decay:
            raise ValueError("LocalSteps has no momentum or weight_decay: give them to inner")
        if self.exchange.server is not None:
            name = type(self.exchange).__name__
            raise ValueError(f"the server of {name} takes steps of its own: use outer for that")
        positive("outer_lr", self.outer_lr)
        whole("fragments", self.fragments)

    @property
    def compresses(self) -> Compressor:
        """The compressor of the exchange."""
        return self.exchange.compresses

    @property
    def feeds_back(self) -> bool:
        """Whether the exchange does."""
        return self.exchange.feeds_back

    @property
    def has_virtual(self) -> bool:
        """False."""
        return False

    @property
    def worker(self) -> Method:
        """The method of the exchange."""
        return self.exchange

    @property
    def server(self) -> Method:
        """The outer optimiser."""
        return self.outer

    @property
    def server_lr(self) -> float:
        """The outer step size."""
        return self.outer_lr

    def check(self, d: int) -> None:
        """Check the three methods at the dimensions at which they work."""
        if self.fragments > d:
            raise ValueError(f"fragments={self.fragments} are more than the {d} entries of x")
        self.inner.check(d)
        for method in (self.exchange, self.outer):
            for part in {part.stop - part.start for part in self.parts(d)}:
                method.check(part)

    def parts(self, d: int) -> list[slice]:
        """The entries of each fragment, as equal as F allows."""
        bounds = [f * d // self.fragments for f in range(self.fragments + 1)]
        return [slice(start, stop) for start, stop in pairwise(bounds)]

    def step(self, x: Array, g: Array, memory: Memory, lr: StepSize, rng: Generator) -> Update:
        """Not for one worker alone: ``Run(local_steps=H)`` runs it."""
        raise NotImplementedError("LocalSteps works in a Run, which counts its steps")
