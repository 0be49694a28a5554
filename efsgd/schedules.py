"""Step sizes: numbers that depend on the step, one that depends on the gradients seen, theorems."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np

from efsgd.arrays import Array
from efsgd.bounds import feedback, letters, rates
from efsgd.checks import positive, whole
from efsgd.provenance import optional


@dataclass(frozen=True)
class Schedule:
    """Base of all step sizes; a subclass defines ``__call__(t)``, or ``adapt`` if it looks at g."""

    adaptive: ClassVar[bool] = False  # whether it looks at g, or the mean of all workers' g

    def __init_subclass__(cls) -> None:
        """A subclass with an ``adapt`` of its own looks at g unless it says otherwise."""
        super().__init_subclass__()
        if "adapt" in vars(cls) and "adaptive" not in vars(cls):
            cls.adaptive = True

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
    adaptive = False

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


@dataclass(frozen=True)
class PerReplicate(Schedule):
    """One constant step size for each replicate; what ``Run(lr=(0.1, 0.2))`` means."""

    lr: tuple[float, ...]
    adaptive = False

    def __post_init__(self) -> None:
        """Refuse step sizes that are not positive."""
        for value in self.lr:
            Constant(value)

    def adapt(self, t: int, g: Array, state: Any) -> tuple[Array, Any]:
        """The step sizes as a column."""
        column = np.array(self.lr)[:, None] if state is None else state
        return column, column


@dataclass(frozen=True)
class Theorem(Schedule):
    """The constant step size that a theorem gives a method: ``Theorem("ef", L=4.0, delta=0.1)``.

    For full gradients of an L-smooth f; a ``mu`` makes f mu-strongly convex, too ("ef21-pl": it has
    |grad f|^2 >= 2 mu (f - f*)). ``delta`` is that of the compressor, ``c.delta(d)``; ``momentum``
    and ``eta`` are those of the method. ``source`` says where the number comes from.

    =================  ================================================================
    "gd", "cgd"        SGD, CompressedSGD
    "ef"               EFSGD; GradientEF and FullyCorrectiveEF, as the step size is constant
    "ef21", "ef21-pl"  EF21, EF21Plus
    "ef21-sgdm"        EF21SGDM with stochastic gradients
    "ef21-sgdm-exact"  EF21SGDM with full gradients: a longer step
    "econtrol"         EControl, eta < 2(1-q)/(1+q) with q = sqrt(1-delta)
    "post-momentum"    PostMomentumEF
    "diana"            DIANA, with mu
    "marina", "dasha"  MARINA, DASHA
    =================  ================================================================

    The last three take ``omega``, that of the unbiased compressor, and the number of ``workers``,
    "marina" its ``probability`` as well. With several workers L is that of each f_i, as it is for
    "ef21", whose theorem has any number of workers. All of them take part in every step and no
    message is lost; a number of workers above 1 is for such as count alike and draw for themselves
    (with weights w it is 1/max w, with ``shared`` draws 1).

    A :class:`efsgd.Run` whose ``lr`` it is must be one that the theorem is about: one of these
    methods, with full gradients (but for "ef21-sgdm"), no weight decay (f with it has L and mu
    greater by it), a compressor, momentum, eta and probability that allow for as long a step.
    Elsewhere its number can be tried as ``lr=theorem.lr``.
    """

    method: str
    L: float
    mu: float | None = None
    delta: float = 1.0
    momentum: float = 0.0
    eta: float = 0.0
    omega: float = optional(0.0)
    workers: int = optional(1)
    probability: float = optional(1.0)

    def __post_init__(self) -> None:
        """Refuse what no theorem here speaks of."""
        options = self.options
        positive("L", self.L)
        positive("delta", self.delta, 1.0)
        if self.mu is not None:
            positive("mu", self.mu, self.L)
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1), not {self.momentum}")
        if self.method == "econtrol" and not 0 <= self.eta < 2 * self.gap:
            raise ValueError(
                f"eta must lie in [0, {2 * self.gap:.4g}) at delta = {self.delta}, not {self.eta}"
            )
        whole("workers", self.workers)
        positive("probability", self.probability, 1.0)
        if not 0 <= self.omega < math.inf:
            raise ValueError(f"omega must be at least 0 and finite, not {self.omega}")
        if self.delta != 1 and "omega" in options:
            raise ValueError(f"{self.method!r} takes omega, not delta: give c.omega(d)")
        for name, absent in _OPTIONS.items():
            if getattr(self, name) != absent and name not in options:
                raise ValueError(f"no theorem here gives {self.method!r} {name}: leave it out")

    @property
    def q(self) -> float:
        """sqrt(1-delta): the largest relative error of a message, in norm."""
        return float(letters.contraction(self.delta))

    @property
    def gap(self) -> float:
        """(1-q)/(1+q), in (0, 1]."""
        return float(letters.gap(self.delta))

    @property
    def lag(self) -> float:
        """q/(1-q): the norm that the memory tends to where each step adds 1."""
        return float(letters.lag(self.delta))

    @property
    def _rule(self) -> _Rule:
        rule = _RULES.get((self.method, self.mu is not None))
        if rule is not None:
            return rule
        if (self.method, self.mu is None) in _RULES:
            cure = "give mu" if self.mu is None else f"leave mu={self.mu} out"
            raise ValueError(f"no theorem here is of that kind for {self.method!r}: {cure}")
        known = " ".join(sorted({name for name, _ in _RULES}))
        raise ValueError(f"no theorem here is about {self.method!r}: known are {known}")

    @property
    def options(self) -> tuple[str, ...]:
        """Which of momentum, eta, omega, workers and probability it allows for."""
        return self._rule.options

    @property
    def source(self) -> str:
        """Where the step size comes from."""
        return self._rule.source

    @cached_property
    def lr(self) -> float:
        """The step size."""
        return float(self._rule.step(self))

    def __call__(self, t: int) -> float:
        """Return lr."""
        return self.lr


_OPTIONS = {"momentum": 0.0, "eta": 0.0, "omega": 0.0, "workers": 1, "probability": 1.0}


class _Rule(NamedTuple):
    step: Callable[[Any], Any]  # of a Theorem
    source: str
    options: tuple[str, ...] = ()  # of the method, that the theorem allows for


def _marina_gain(s: Any) -> float:
    """By how much the differences of gradients lag behind, relative to L lr."""
    return math.sqrt((1 - s.probability) * s.omega / (s.probability * s.workers))


# Small gain: seen as sequences in l2 over the steps, what moves x differs from the gradient by at
# most A times L lr of itself, and the descent lemma holds as long as (A L lr)^2 + L lr <= 1, so at
# L lr (1 + A) = 1. A is q/(1-q) for EF21, whose paper has the same step.
_TIGHT = f"Berg Thomsen, Taylor, Dieuleveut, {letters.TIGHT}"
_GAIN = "derived here: descent lemma and small gain"
_RULES = {
    ("gd", False): _Rule(lambda s: 1 / s.L, "descent lemma"),
    ("gd", True): _Rule(lambda s: rates.gd_step(L=s.L, mu=s.mu), rates.gd_step.source),
    ("cgd", False): _Rule(lambda s: 1 / s.L, "derived here: descent lemma"),
    ("cgd", True): _Rule(lambda s: rates.cgd_step(L=s.L, mu=s.mu, delta=s.delta), letters.INEXACT),
    ("ef", False): _Rule(
        lambda s: feedback.noise_free_step(L=s.L, delta=s.delta),
        "derived here: minimises the bound 2 L (f_0 - f*) / (gap (T + 1))",
    ),
    ("ef", True): _Rule(lambda s: rates.ef_step(L=s.L, mu=s.mu, delta=s.delta), _TIGHT),
    ("ef21", True): _Rule(lambda s: rates.ef21_step(L=s.L, mu=s.mu, delta=s.delta), _TIGHT),
    ("ef21", False): _Rule(
        lambda s: 1 / (s.L * (1 + s.lag)), "arXiv 2106.05203, Theorem 1", ("workers",)
    ),
    ("ef21-pl", True): _Rule(
        lambda s: min(1 / (s.L * (1 + math.sqrt(2) * s.lag)), s.delta / (1 + s.q) / (2 * s.mu)),
        "arXiv 2106.05203, Theorem 2",
    ),
    ("ef21-sgdm", False): _Rule(
        lambda s: min(s.delta / 20, (1 - s.momentum) / 7) / s.L,
        "arXiv 2305.15155, Theorem 3",
        ("momentum",),
    ),
    ("ef21-sgdm-exact", False): _Rule(
        lambda s: 1 / (s.L * (1 / (1 - s.momentum) + s.lag)), _GAIN, ("momentum",)
    ),
    ("econtrol", False): _Rule(
        lambda s: 1 / (s.L * (1 + 2 * s.q / ((1 + s.q) * (2 * s.gap - s.eta)))), _GAIN, ("eta",)
    ),
    ("post-momentum", False): _Rule(
        lambda s: (1 - s.momentum) / (s.L * (1 + s.momentum / (1 - s.momentum) / s.gap + s.lag)),
        _GAIN,
        ("momentum",),
    ),
    ("diana", True): _Rule(
        lambda s: 1 / (s.L * (1 + 6 * s.omega / s.workers)),
        "Gorbunov, Hanzely, Richtarik, arXiv 1905.11261: alpha = 1/(1+omega), convex f_i",
        ("omega", "workers"),
    ),
    ("marina", False): _Rule(
        lambda s: 1 / (s.L * (1 + _marina_gain(s))),
        "Gorbunov, Burlachenko, Li, Richtarik, arXiv 2102.07845, Theorem 2.1",
        ("omega", "workers", "probability"),
    ),
    ("dasha", False): _Rule(
        lambda s: 1 / (s.L * (1 + math.sqrt(16 * s.omega * (1 + 2 * s.omega) / s.workers))),
        "Tyurin, Richtarik, arXiv 2202.01268, Theorem 6.1: a = 1/(1 + 2 omega)",
        ("omega", "workers"),
    ),
}
