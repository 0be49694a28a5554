"""A plain function as a compressor, so that a delta claimed for it can be checked."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, signature
from typing import Any

import numpy as np

from efsgd.arrays import Array, Generator
from efsgd.compressors.base import Compressor, instance
from efsgd.compressors.guarantee import Guarantee


class PlainFunction(Compressor):
    """A function x -> C(x) of one vector (d,), or (x, rng) -> C(x), that claims a given delta."""

    def __init__(self, function: Callable[..., Any], delta: float) -> None:
        object.__setattr__(self, "function", function)
        object.__setattr__(self, "claim", delta)
        object.__setattr__(self, "draws", _takes_generator(function))

    function: Callable[..., Any]
    claim: float
    draws: bool

    @property
    def random(self) -> bool:
        """Whether the function takes a generator."""
        return self.draws

    @property
    def guarantee(self) -> Guarantee:
        """In expectation where the function is random, else for every vector."""
        return "expectation" if self.draws else "pathwise"

    def __call__(self, x: Any, rng: Generator | None = None) -> Array:
        """C of each vector."""
        if x.ndim > 1:
            return np.stack([self(row, rng) for row in x])
        return _real(self.function(x.copy(), rng) if self.draws else self.function(x.copy()))

    def _delta(self, d: int) -> float:
        return self.claim

    def __str__(self) -> str:
        """The function's name."""
        name = str(getattr(self.function, "__name__", type(self.function).__name__))
        return "the function" if name == "<lambda>" else name


def as_compressor(
    compressor: Any, d: int, delta: float | Callable[[int], float] | None
) -> Compressor:
    """The compressor itself, or a function as a compressor that claims ``delta``."""
    if isinstance(compressor, type):
        compressor = instance(compressor)
    if isinstance(compressor, Compressor):
        if delta is not None:
            raise ValueError(f"{compressor} claims its own delta: leave delta out")
        return compressor
    if delta is None:
        raise ValueError("a function claims nothing by itself: pass delta, a number or d -> delta")
    claim = delta(d) if callable(delta) else float(delta)
    if not claim <= 1:
        raise ValueError(f"delta must be a number of at most 1, not {claim}")
    return PlainFunction(compressor, claim)


def _real(sent: Any) -> Array:
    """What a function returned, in its own dtype if it is one of floats, else as float64."""
    if np.iscomplexobj(sent):
        raise ValueError("it is complex: return real numbers")
    array = np.asarray(sent)
    return array if array.dtype.kind == "f" else array.astype(np.float64)


def _takes_generator(function: Callable[..., Any]) -> bool:
    """Whether the function has a second argument that it needs, or one called rng."""
    try:
        parameters = signature(function).parameters.values()
    except ValueError:  # some built-in functions do not say
        return False
    by_place = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return len(by_place) > 1 and (
        by_place[1].default is Parameter.empty or by_place[1].name == "rng"
    )
