"""What a compressor promises about its error, and where the worst case is met."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from efsgd.arrays import Array
from efsgd.checks import dimension

Guarantee = Literal["pathwise", "expectation", "unbiased", "absolute", "none"]


class Guarantees:
    """The part of a compressor C that says which bound holds, with its constants.

    ``guarantee`` is one of these:

    - "pathwise": |C(x)-x|^2 <= (1-delta)|x|^2 always (arXiv 1901.09847, Assumption A);
    - "expectation": the same for E|C(x)-x|^2;
    - "unbiased": E C(x) = x and E|C(x)-x|^2 <= omega |x|^2;
    - "absolute": |C(x)-x| is bounded by a constant, delta = 0;
    - "none": nothing.

    A subclass that claims a bound defines ``_delta(d)`` or ``_omega(d)``, and ``_attaining_point``.
    """

    @property
    def projection(self) -> bool:
        """Whether <C(x), x> = |C(x)|^2 for every x and every draw."""
        return False

    @property
    def guarantee(self) -> Guarantee:
        """The kind of bound that holds."""
        return "none"

    @property
    def attained(self) -> bool:
        """Whether the worst case is attained; otherwise it is an infimum."""
        return True

    def delta(self, d: int) -> float:
        """The largest delta that holds for all x of dimension d; 0 where there is none."""
        if dimension(d) == 0:
            return 1.0
        if self.guarantee == "unbiased":
            return max(0.0, 1.0 - self.omega(d))
        return 0.0 if self.guarantee in ("absolute", "none") else self._delta(d)

    def omega(self, d: int) -> float:
        """The least omega with E|C(x)-x|^2 <= omega|x|^2; only for unbiased compressors."""
        if self.guarantee != "unbiased":
            raise ValueError(f"{self} is not unbiased and has no omega: ask for delta(d)")
        return self._omega(d) if dimension(d) else 0.0

    def attaining_point(self, d: int, within: float = 1e-6) -> Array:
        """A float64 vector (d,) where the worst case is met: delta(d), or omega(d) if unbiased.

        Where it is only an infimum (``attained`` is False) the vector comes within ``within``.
        """
        if self.guarantee in ("absolute", "none"):
            raise ValueError(f"{self} has no relative bound, so no point attains it")
        if not 1e-12 <= within < 1:  # closer, float64 no longer tells just below from at
            raise ValueError(f"within must lie in [1e-12, 1), not {within}")
        return self._attaining_point(d, within) if dimension(d) else np.zeros(0)

    def _delta(self, d: int) -> float:
        raise NotImplementedError(f"{type(self).__name__} claims a bound and must define delta(d)")

    def _omega(self, d: int) -> float:
        raise NotImplementedError(f"{type(self).__name__} is unbiased and must define omega(d)")

    def _attaining_point(self, d: int, within: float) -> Array:
        raise NotImplementedError(f"{type(self).__name__} names no attaining point")

    def _scaled_delta(self, d: int, a: float) -> float:
        """delta of x -> a C(x), perhaps negative; exact if C is unbiased or a projection."""
        if self.guarantee == "unbiased":
            return a * (2.0 - a * (1.0 + self.omega(d)))
        if self.projection:
            return a * (2.0 - a) * self.delta(d)
        return 1.0 - (a * math.sqrt(1.0 - self.delta(d)) + abs(1.0 - a)) ** 2

    def _scaled_attained(self, a: float) -> bool:
        """Whether x -> a C(x) attains its delta, if that is positive."""
        return self.attained and (self.projection or self.guarantee == "unbiased" or a <= 1)

    def _scaled_point(self, d: int, within: float, a: float) -> Array:
        """A vector where x -> a C(x) meets its worst case."""
        return self.attaining_point(d, within)
