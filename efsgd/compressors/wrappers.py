"""Identity, Scaled, Contractive, and the base of the compressors that are made of another one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from efsgd.arrays import Array, Generator, all_finite
from efsgd.checks import positive
from efsgd.compressors.base import Compressor, instance
from efsgd.compressors.guarantee import Guarantee
from efsgd.compressors.packing import Reader, Shape, Writer


@dataclass(frozen=True)
class Identity(Compressor, spec="identity"):
    """x itself: delta = 1."""

    fixed_size = True
    projection = True

    @property
    def guarantee(self) -> Guarantee:
        """Holds for every x."""
        return "pathwise"

    def apply(self, x: Array, drawn: Any = None) -> Array:
        """A copy of x."""
        return x.copy()

    def _delta(self, d: int) -> float:
        return 1.0

    def _attaining_point(self, d: int, within: float) -> Array:
        return np.ones(d)


class Wrapper:
    """Base of the compressors that are made of another one, ``compressor``."""

    compressor: Compressor

    @property
    def guarantee(self) -> Guarantee:
        """As the inner one."""
        return self.compressor.guarantee

    @property
    def attained(self) -> bool:
        """As the inner one."""
        return self.compressor.attained

    @property
    def projection(self) -> bool:
        """As the inner one."""
        return self.compressor.projection

    @property
    def random(self) -> bool:
        """As the inner one."""
        return self.compressor.random

    @property
    def draws_in_order(self) -> bool:
        """As the inner one."""
        return self.compressor.draws_in_order

    @property
    def warm(self) -> bool:
        """As the inner one."""
        return self.compressor.warm

    @property
    def joint(self) -> bool:
        """As the inner one."""
        return self.compressor.joint

    @property
    def adds(self) -> bool:
        """As the inner one."""
        return self.compressor.adds

    @property
    def fixed_size(self) -> bool:
        """As the inner one."""
        return self.compressor.fixed_size

    @property
    def _may_overflow(self) -> bool:
        """As the inner one."""
        return self.compressor._may_overflow

    def draw(self, shape: Shape, rng: Generator | None = None, state: Any = None) -> Any:
        """What the inner one draws."""
        return self.compressor.draw(shape, rng, state)

    def next_state(self, x: Array, drawn: Any) -> Any:
        """The inner one's state."""
        return self.compressor.next_state(x, drawn)

    def first_state(self, weights: Array) -> Any:
        """The inner one's state."""
        return self.compressor.first_state(weights)

    def joined(self, x: Array, drawn: Any) -> Any:
        """What the workers find out together for the inner one."""
        return self.compressor.joined(x, drawn)


@dataclass(frozen=True)
class Scaled(Wrapper, Compressor, spec="scaled"):
    """factor * C(x).

    Around an unbiased C: delta = 2a - a^2 (1 + omega) in expectation, greatest, 1/(1+omega), at
    a = 1/(1+omega) (arXiv 1901.09847, Theorem IV). Around a projection (<C(x), x> = |C(x)|^2):
    a(2-a) delta. Else 1 - (a sqrt(1-delta) + |1-a|)^2, which holds but need not be attained.
    """

    compressor: Compressor
    factor: float

    def __post_init__(self) -> None:
        """Refuse a factor that is not positive."""
        instance(self.compressor)
        object.__setattr__(self, "factor", positive("factor", self.factor))

    def contractive(self, d: int) -> Compressor:
        """Itself where delta(d) > 0, else what the inner one gives."""
        if self.guarantee == "unbiased" or self.delta(d) > 0:
            return super().contractive(d)
        return self.compressor.contractive(d)

    @property
    def attained(self) -> bool:
        """As the inner one, where the bound is exact."""
        return self.compressor._scaled_attained(self.factor)

    @property
    def guarantee(self) -> Guarantee:
        """In expectation around an unbiased one, else as the inner one."""
        inner = self.compressor.guarantee
        if self.factor == 1:
            return inner
        if inner == "unbiased":
            return "expectation"
        return "none" if inner == "absolute" else inner

    @property
    def projection(self) -> bool:
        """Only if nothing is scaled."""
        return self.factor == 1 and self.compressor.projection

    @property
    def _may_overflow(self) -> bool:
        """As the inner one, and with a factor above 1."""
        return self.factor > 1 or self.compressor._may_overflow

    def apply(self, x: Array, drawn: Any = None) -> Array:
        """The factor times what the inner one sends."""
        sent: Array = self.compressor.apply(x, drawn) * np.asarray(self.factor, x.dtype)
        return sent

    def _delta(self, d: int) -> float:
        return max(0.0, self.compressor._scaled_delta(d, self.factor))

    def _scaled_delta(self, d: int, a: float) -> float:
        return self.compressor._scaled_delta(d, a * self.factor)

    def _scaled_attained(self, a: float) -> bool:
        return self.compressor._scaled_attained(a * self.factor)

    def _scaled_point(self, d: int, within: float, a: float) -> Array:
        return self.compressor._scaled_point(d, within, a * self.factor)

    def _omega(self, d: int) -> float:
        return self.compressor.omega(d)

    def _attaining_point(self, d: int, within: float) -> Array:
        return self.compressor._scaled_point(d, within, self.factor)

    def _bits(self, d: int, width: int) -> int:
        return self.compressor._bits(d, width)

    def _write(self, out: Writer, x: Array, drawn: Any) -> None:
        if self.factor > 1:
            self.apply_checked(x, drawn)
        self.compressor._write(out, x, drawn)

    def _read(self, fields: Reader, shape: Shape) -> Any:
        return self.compressor._read(fields, shape)

    def _fill(self, out: Array, message: Any) -> None:
        self.compressor._fill(out, message)
        with np.errstate(over="ignore", invalid="ignore"):
            out *= np.asarray(self.factor, out.dtype)
        if self.factor > 1 and not all_finite(out):
            raise ValueError(f"the message of {self} holds numbers beyond {out.dtype}")


@dataclass(frozen=True)
class Contractive(Wrapper, Compressor, spec="contractive"):
    """C(x)/(1 + omega(d)) of an unbiased C, at every dimension d: ``contractive,qsgd:7``.

    delta = 1/(1 + omega(d)) in expectation, attained where C attains its omega (arXiv 1901.09847,
    Theorem IV). Behind error feedback on tensors of many sizes, or inside ``Blockwise``, each is
    scaled by its own d, where one ``Scaled`` would scale the small too much or the large too little
    (``c.contractive(d)`` is the one for a single d). A message holds the factor, so that whoever
    decodes it need not know omega.
    """

    compressor: Compressor
    projection = False

    def __post_init__(self) -> None:
        """Refuse what is not unbiased."""
        if instance(self.compressor).guarantee != "unbiased":
            raise ValueError(
                f"contractive scales an unbiased compressor such as qsgd:7, and {self.compressor} "
                f"is none: use it without contractive"
            )

    @property
    def guarantee(self) -> Guarantee:
        """In expectation."""
        return "expectation"

    def factor(self, d: int) -> float:
        """1/(1 + omega(d)), by which C is scaled at dimension d; 1 at d = 0."""
        return 1.0 / (1.0 + self.compressor.omega(d))

    def apply(self, x: Array, drawn: Any = None) -> Array:
        """The factor at the dimension of x times what the inner one sends."""
        factor = np.asarray(self.factor(x.shape[-1]), x.dtype)
        sent: Array = self.compressor.apply(x, drawn) * factor
        return sent

    def _delta(self, d: int) -> float:
        return self.factor(d)

    def _scaled_delta(self, d: int, a: float) -> float:
        return self.compressor._scaled_delta(d, a * self.factor(d))

    def _attaining_point(self, d: int, within: float) -> Array:
        return self._scaled_point(d, within, 1.0)

    def _scaled_point(self, d: int, within: float, a: float) -> Array:
        return self.compressor._scaled_point(d, within, a * self.factor(d))

    def _bits(self, d: int, width: int) -> int:
        return width + self.compressor._bits(d, width)

    def _write(self, out: Writer, x: Array, drawn: Any) -> None:
        out.floats(np.array([self.factor(x.shape[-1])], x.dtype))
        self.compressor._write(out, x, drawn)

    def _read(self, fields: Reader, shape: Shape) -> Any:
        (factor,) = fields.floats((1,))
        if not 0 < factor <= 1:
            raise ValueError(f"the message scales by {factor}, not by a number in (0, 1]")
        return factor, self.compressor._read(fields, shape)

    def _fill(self, out: Array, message: Any) -> None:
        factor, inner = message
        self.compressor._fill(out, inner)
        out *= factor

    def __str__(self) -> str:
        """The spec: no field comes between the name and the inner one, so no colon either."""
        return super().__str__().replace(":", ",", 1)
