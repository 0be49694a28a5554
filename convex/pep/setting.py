"""The arguments of a worst case as one checked value, and the units in which it is solved.

The coordinates, the conditions and the replay all take their numbers from it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal, get_args

import numpy as np

from efsgd.arrays import Array
from efsgd.checks import positive, scalar, whole
from efsgd.compressors.base import Compressor
from efsgd.methods.base import Method
from efsgd.methods.ef21 import EF21, EF21SGDM, EControl
from efsgd.methods.feedback import EFSGD
from efsgd.methods.sgd import SGD, CompressedSGD

Name = Literal["gd", "cgd", "ef", "ef21", "ef21-sgdm", "econtrol"]
Class = Literal["strongly-convex", "convex", "nonconvex", "nonsmooth"]
Criterion = Literal["f", "x", "grad", "average-f", "f-average"]
Initial = Literal["f", "x"]
SPAN = 1e12  # step sizes lie within this factor of 1/L (of 1 in Units): beyond it is rounding
RANGE = 1e60  # L and zeta lie within this factor of 1, so that no square of a unit leaves float64
LARGEST = 64  # rows of the Gram matrix: a minute; the time grows with about their fifth power


@dataclass(frozen=True)
class Units:
    """The units of x and of gradients, in the user's, in which the solved problem has L = 1.

    f/(x g) as a function of the scaled x is in the same class with L = 1 and mu/L.
    """

    x: float
    g: float

    @property
    def f(self) -> float:
        """The unit of f."""
        return self.x * self.g

    def of(self, criterion: Criterion) -> float:
        """The unit of the criterion."""
        return {"x": self.x**2, "grad": self.g**2}.get(criterion, self.f)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The arguments of :func:`efsgd.convex.worst_case`; ``lr`` one number a step."""

    method: Name
    steps: int
    lr: tuple[float, ...]
    delta: float  # 1 for "gd"
    L: float
    mu: float
    problem: Class
    criterion: Criterion
    initial: Initial
    workers: int
    zeta: float
    momentum: float | None
    eta: float | None

    def __post_init__(self) -> None:
        """Refuse arguments out of range."""
        _check_choice("method", self.method, Name)
        _check_choice("problem", self.problem, Class)
        _check_choice("criterion", self.criterion, Criterion)
        _check_choice("initial", self.initial, Initial)
        for name in ("delta", "L", "mu", "zeta", "momentum", "eta"):
            if getattr(self, name) is not None or name not in ("momentum", "eta"):
                object.__setattr__(self, name, scalar(name, getattr(self, name)))
        positive("L", self.L)
        positive("delta", self.delta, 1.0)
        whole("workers", self.workers)
        self._check_class()
        self._check_workers()
        self._check_units()
        self._check_method_parameter("momentum", "ef21-sgdm")
        self._check_method_parameter("eta", "econtrol")
        self.engine_method(SIZELESS)  # raises for a momentum or eta that is out of range
        if self.rows > LARGEST:
            raise ValueError(
                f"steps={self.steps} with workers={self.workers} needs a Gram matrix of "
                f"{self.rows} rows, and {LARGEST} is the most that takes a minute: use fewer"
            )

    def _check_class(self) -> None:
        """Refuse a mu that the class does not have, and starts that leave the criterion unbounded.

        A convex f with small slopes has x_0 as far from x* as one likes at f(x_0) - f* = 1.
        """
        if self.problem == "strongly-convex":
            if not 0 < self.mu < self.L:
                raise ValueError(
                    f"mu must lie in (0, L = {self.L:g}) for a strongly convex problem, not "
                    f"{self.mu}: problem='convex' is mu = 0"
                )
        elif self.mu != 0:
            raise ValueError(
                f"mu={self.mu} is for problem='strongly-convex' only: leave it out for "
                f"problem={self.problem!r}"
            )
        may_be_flat = self.problem in ("convex", "nonsmooth") and self.criterion != "grad"
        if may_be_flat and self.initial == "f":
            raise ValueError(
                f"initial='f' leaves |x_0 - x*| unbounded for problem={self.problem!r}, and no "
                f"worst case of criterion={self.criterion!r} is attained: take initial='x'"
            )

    def _check_workers(self) -> None:
        """Refuse a heterogeneity that cannot be, or whose exact conditions are not known."""
        if not 0 <= self.zeta < math.inf:
            raise ValueError(f"zeta must be at least 0 and finite, not {self.zeta}")
        if self.zeta and self.workers == 1:
            raise ValueError(
                f"zeta={self.zeta} needs workers=2 or more: the gradient of a single f is 0 at x*"
            )
        if self.workers > 1 and self.problem == "nonconvex":
            raise ValueError(
                f"workers={self.workers} needs a convex problem: no exact interpolation "
                f"conditions are known for the mean of several nonconvex functions"
            )

    def _check_units(self) -> None:
        """Refuse numbers so large or small that only rounding would be left."""
        for name, value in (("L", self.L), ("zeta", self.zeta or 1.0)):
            if not 1 / RANGE <= value <= RANGE:
                raise ValueError(
                    f"{name} must lie in [{1 / RANGE:g}, {RANGE:g}], not {value:g}: change the unit"
                )
        unit = self.units.x / self.units.g
        for lr in self.lr:
            if not unit / SPAN <= lr <= unit * SPAN:
                raise ValueError(
                    f"lr must lie in [{unit / SPAN:g}, {unit * SPAN:g}] for L = {self.L:g}, not "
                    f"{lr:g}, which rounding would drown: take one nearer to {unit:g}"
                )

    def _check_method_parameter(self, name: str, method: Name) -> None:
        """Refuse a parameter that only ``method`` has, and ``method`` without it."""
        value = getattr(self, name)
        if value is None and self.method == method:
            raise ValueError(f"{method!r} needs {name}: give it as {name}=...")
        if value is not None and self.method != method:
            raise ValueError(
                f"{name}={value} is for {method!r} only: leave it out for {self.method!r}"
            )

    @property
    def units(self) -> Units:
        """The unit of x is the size of the start or, if larger, zeta/L: a shift of minimisers."""
        if self.problem == "nonsmooth":
            return Units(1 / self.L if self.initial == "f" else 1.0, self.L)
        x = 1 / math.sqrt(self.L) if self.initial == "f" else 1.0
        x = max(x, self.zeta / self.L)
        return Units(x, self.L * x)

    @property
    def message_unit(self) -> float:
        """The unit of the compressors' inputs: of x for error feedback, else of gradients."""
        return self.units.x if self.method == "ef" else self.units.g

    @property
    def message_sizes(self) -> Array:
        """The size of messages, in their unit, where gradients have size 1, (N,)."""
        lr = np.array(self.lr) * self.units.g / self.units.x
        return lr if self.method == "ef" else np.ones_like(lr)

    @property
    def q(self) -> float:
        """sqrt(1-delta), the largest relative error of a message."""
        return math.sqrt(1 - self.delta)

    @property
    def compresses(self) -> bool:
        """Whether messages may differ from the compressors' inputs."""
        return self.delta < 1

    @property
    def knows_minimiser(self) -> bool:
        """Whether x* is one of the points; a nonconvex f may have an infimum only."""
        return self.problem != "nonconvex" or "x" in (self.criterion, self.initial)

    @property
    def averages(self) -> bool:
        """Whether the mean of the iterates is one of the points."""
        return self.criterion == "f-average"

    @property
    def points(self) -> int:
        """The points of a run, but for x*: x_0, ..., x_N, and then their mean if it counts."""
        return self.steps + 1 + self.averages

    @property
    def rows(self) -> int:
        """The size of the Gram matrix."""
        messages = self.steps if self.compresses else 0
        at_minimiser = self.workers - 1 if self.zeta else 0  # gradients, which sum to 0
        return int(self.knows_minimiser) + self.workers * (self.points + messages) + at_minimiser

    def engine_method(self, compressor: Compressor) -> Method:
        """The method of :mod:`efsgd.methods`, with this compressor."""
        if self.method == "gd":
            return SGD()
        if self.method == "ef21-sgdm":
            return EF21SGDM(compressor, momentum=float(self.momentum or 0.0))
        if self.method == "econtrol":
            return EControl(compressor, eta=float(self.eta or 0.0))
        if self.method == "cgd":
            return CompressedSGD(compressor)
        return EFSGD(compressor) if self.method == "ef" else EF21(compressor)


SIZELESS = Compressor()  # a placeholder where no compressor is applied


def step_sizes(lr: Any, steps: Any) -> tuple[float, ...]:
    """``lr`` as one number a step; raises ValueError for anything else."""
    whole("steps", steps, LARGEST)  # before a list of that length is made
    is_list = isinstance(lr, Sequence) or (isinstance(lr, np.ndarray) and lr.ndim > 0)
    sizes = list(lr) if is_list and not isinstance(lr, str) else [lr] * steps
    if len(sizes) != steps:
        raise ValueError(f"lr names {len(sizes)} step sizes for {steps} steps: give one a step")
    for size in sizes:
        if isinstance(size, bool) or not isinstance(size, Real):
            raise ValueError(f"lr must be a number or one number a step, not {size!r}")
    return tuple(positive("lr", scalar("lr", size)) for size in sizes)


def _check_choice(name: str, value: Any, kind: Any) -> None:
    """Refuse a value that is not one of the strings of a Literal type."""
    if not isinstance(value, str) or value not in get_args(kind):
        raise ValueError(f"{name} must be one of {', '.join(get_args(kind))}, not {value!r}")
