"""A worker and its link: seconds of a gradient, of a copy, of a byte on the wire, and of waiting.

Rates of links are in BITS per second, as they are sold; messages and memory are in bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from efsgd.arrays import Array
from efsgd.cost import numbers
from efsgd.cost.numbers import Value

FEW = 100  # below it a harmonic number is a sum; from there on the series is exact to 1e-14
GAMMA = 0.57721566490153286  # Euler's constant, OEIS A001620
GRID = 4096  # points of the integral in Machine.slowest


@dataclass(frozen=True)
class Link:
    """A worker's way to the others; each field a number or an array.

    ``up`` and ``down`` are BITS per second that carry payload, ``latency`` the seconds until the
    first bit of a message arrives. ValueError for a rate that is not positive.

    >>> print(Link.symmetric(1e9).seconds(125e6))  # 125 MB at 1 Gbit/s
    1.0
    """

    up: Value
    down: Value
    latency: Value = 0.0

    def __post_init__(self) -> None:
        """Refuse what is no rate and no time."""
        for name in ("up", "down"):
            object.__setattr__(
                self, name, numbers.positive(f"{name} (bits per second)", getattr(self, name))
            )
        object.__setattr__(self, "latency", numbers.from_zero("latency (seconds)", self.latency))

    @classmethod
    def symmetric(cls, rate: Value, latency: Value = 0.0) -> Link:
        """As fast both ways: ``rate`` in bits per second."""
        return cls(rate, rate, latency)

    def seconds(self, size: Value) -> Value:
        """Of sending ``size`` bytes while receiving as many, without latency."""
        return 8 * size / np.minimum(self.up, self.down)

    def sending(self, size: Value) -> Value:
        """Of sending ``size`` bytes, without latency."""
        return 8 * size / self.up

    def receiving(self, size: Value) -> Value:
        """Of receiving ``size`` bytes, without latency."""
        return 8 * size / self.down


@dataclass(frozen=True)
class Machine:
    """A worker, as all others; each field a number.

    ==========  ===============================================================================
    compute     seconds of one gradient
    copying     bytes per second at which a gradient is copied in memory (memcpy)
    spread      a worker takes compute (1 + spread E), E exponential with mean 1, fresh each time
    wait        a step waits for the first ceil(wait n) of n workers; the others sit out
    ==========  ===============================================================================

    ValueError for a number outside its domain.

    >>> print(Machine(compute=1.0, copying=1e9, spread=0.5).slowest(2))  # 1 + (1 + 1/2)/2
    1.75
    """

    compute: float
    copying: float
    spread: float = 0.0
    wait: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what is no time, no rate and no share."""
        checks = (numbers.from_zero, numbers.positive, numbers.from_zero, numbers.share)
        for field, check in zip(fields(self), checks, strict=True):
            object.__setattr__(self, field.name, check(field.name, getattr(self, field.name)))

    def awaited(self, n: Value) -> Value:
        """ceil(wait n): how many of n workers a step waits for. Rounding adds none."""
        return np.maximum(1.0, np.ceil(numbers.count("n", n) * self.wait * (1 - 1e-12)))

    def slowest(self, n: Value, gradients: int = 1) -> Value:
        """Expected seconds until the last worker that is awaited has its gradients.

        Derived here. The mean of the m-th of n exponentials is H_n - H_(n-m), as the gaps between
        them are exponentials of means 1/n, 1/(n-1), .... A sum of k of them is beyond t with
        probability q(t) = e^(-t) sum_(j<k) t^j/j!. The m-th of n such sums is beyond t where more
        than n - m of them are, so its mean is the integral of I_q(n-m+1, m), the regularised beta
        function, which is 1 - (1-q)^n for m = n.
        """
        n = numbers.count("n", n)
        if not self.spread:
            return gradients * self.compute * np.ones_like(n)[()]
        if gradients == 1:
            longest = harmonic(n) - harmonic(n - self.awaited(n))
        else:
            longest = _late_sum(n, self.awaited(n), gradients)
        return self.compute * (gradients + self.spread * longest)


def harmonic(n: Value) -> Value:
    """H_n = 1 + 1/2 + ... + 1/n, for n = 0, 1, 2, ...; H_0 = 0.

    From 100 on by ln n + gamma + 1/(2n) - 1/(12 n^2) + 1/(120 n^4) (Euler and Maclaurin).

    >>> print(harmonic(4) - (1 + 1 / 2 + 1 / 3 + 1 / 4))
    0.0
    """
    n = np.asarray(n, np.float64)
    sums = np.concatenate(([0.0], np.cumsum(1 / np.arange(1, FEW))))
    few = sums[np.minimum(n, FEW - 1).astype(int)]
    many = np.maximum(n, FEW)
    series = np.log(many) + GAMMA + 1 / (2 * many) - 1 / (12 * many**2) + 1 / (120 * many**4)
    value: Value = np.where(n < FEW, few, series)[()]
    return value


def _late_sum(n: Value, m: Value, k: int) -> Value:
    """The mean of the m-th of n sums of k exponentials, by Simpson's rule.

    A sum is beyond k + sqrt(2 k a) + a with probability at most e^(-a) (Chernoff), so what the
    integral leaves out has a = ln n + 40.
    """
    from scipy.special import betainc

    n, m = np.asarray(n, np.float64)[..., None], np.asarray(m, np.float64)[..., None]
    a = float(np.log(n.max())) + 40
    t: Array = np.linspace(0, k + np.sqrt(2 * k * a) + a, GRID + 1)
    steps = np.log(t[1:]) - np.log(np.arange(1, k))[:, None]  # of ln(t^j/j!) from j-1 to j
    terms = np.concatenate((np.zeros((1, GRID)), np.cumsum(steps, axis=0))) - t[1:]
    beyond = np.concatenate(([1.0], np.minimum(np.exp(terms).sum(axis=0), 1.0)))
    left = betainc(n - m + 1, m, beyond)
    weights = np.full(GRID + 1, 2.0)
    weights[1::2], weights[[0, -1]] = 4.0, 1.0
    value: Value = (left @ weights * t[1] / 3)[()]
    return value
