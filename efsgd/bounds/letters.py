"""The letters of the theory, their domains, and how a formula becomes a function that checks them.

They are the paper's (arXiv 1901.09847), and each means the same in all of :mod:`efsgd.bounds`. All
are keyword arguments, numbers or arrays that broadcast, and the result has their common shape.

==========  ==================  ==================================================================
letter      domain              meaning
==========  ==================  ==================================================================
lr          > 0                 step size, constant
sigma       >= 0                E|g_t|^2 <= sigma^2: the second moment, not the variance
delta       in (0, 1]           of the compressor: E|C(x)-x|^2 <= (1-delta)|x|^2
L, mu       > 0, in (0, L]      f is L-smooth, mu-strongly convex
f0, R       >= 0                f(x_0) - f*, |x_0 - x*|
t, T, N     0, 1, 2, ...        a step; the last one, of T+1 gradients; the number of steps taken
rho         in (0, 2)           the free constant in the proof of Theorem II
k           >= 1                E|U(x)|^2 <= k|x|^2 for an unbiased U
==========  ==================  ==================================================================

Each function has a ``source``. ValueError for a number outside its domain, for shapes that do not
broadcast and for a result beyond float64, TypeError for what is no number. Short below:
q = sqrt(1-delta), Q = q/(1-q), K = (1+q)/(1-q); for delta = 1 there is no compression, q = Q = 0
and K = 1.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from reprlib import repr as shortened
from typing import Any, ParamSpec, Protocol, TypeAlias, TypeVar, cast

import numpy as np

from efsgd.arrays import Array

Value: TypeAlias = float | Array
P = ParamSpec("P")
Out = TypeVar("Out", covariant=True)

PAPER, TIGHT, DERIVED = "arXiv 1901.09847", "arXiv 2506.05271", "derived here"
INEXACT = "de Klerk, Glineur, Taylor, arXiv 1709.05191"
_ABOVE_0, _FROM_0 = "positive and finite", "finite and at least 0"
_WHOLE = "a whole number 0, 1, 2, ..."
_DOMAINS = {
    **dict.fromkeys(("lr", "lrs", "L", "mu"), _ABOVE_0),
    **dict.fromkeys(("sigma", "sigmas", "f0", "R"), _FROM_0),
    **dict.fromkeys(("t", "T", "N"), _WHOLE),
    "delta": "in (0, 1]",
    "rho": "in (0, 2)",
    "k": "finite and at least 1",
}
_TESTS: dict[str, Callable[[Array], Array]] = {
    _ABOVE_0: lambda v: v > 0,
    _FROM_0: lambda v: v >= 0,
    _WHOLE: lambda v: (v >= 0) & (v == np.floor(v)),
    "in (0, 1]": lambda v: (v > 0) & (v <= 1),
    "in (0, 2)": lambda v: (v > 0) & (v < 2),
    "finite and at least 1": lambda v: v >= 1,
}


class Bound(Protocol[P, Out]):
    """A function that knows where its formula comes from."""

    __name__: str
    source: str

    def __call__(self, *args: P.args, **letters: P.kwargs) -> Out:
        """The value for these letters."""


def sourced(source: str) -> Callable[[Callable[P, Out]], Bound[P, Out]]:
    """Decorate a formula: check its letters when it is called, and give it its ``source``."""

    def decorate(formula: Callable[P, Out]) -> Bound[P, Out]:
        @wraps(formula)
        def checked(*args: P.args, **letters: P.kwargs) -> Out:
            numbers: Any = {n: _number(n, v) for n, v in letters.items() if n in _DOMAINS}
            if "lrs" not in numbers:  # error_varying checks its own shapes
                _one_shape(numbers)
            L, mu = numbers.get("L"), numbers.get("mu")
            if L is not None and mu is not None and np.any(mu > L):
                raise ValueError(f"mu must lie in (0, L], not {mu} with L = {L}: lower it")
            try:
                with np.errstate(over="raise", divide="raise", invalid="raise"):
                    return formula(*args, **(letters | numbers))
            except FloatingPointError:
                values = ", ".join(
                    f"{n} = {shortened(np.asarray(v).tolist())}" for n, v in numbers.items()
                )
                raise ValueError(f"{values} leave the range of float64: change the units") from None

        bound = cast("Bound[P, Out]", checked)
        bound.source = source
        return bound

    return decorate


def _one_shape(numbers: dict[str, Any]) -> None:
    """Refuse shapes that do not broadcast."""
    shapes = {name: np.shape(value) for name, value in numbers.items()}
    try:
        np.broadcast_shapes(*shapes.values())
    except ValueError:
        arrays = ", ".join(f"{name} {shape}" for name, shape in shapes.items() if shape)
        raise ValueError(
            f"the shapes of {arrays} do not broadcast: give arrays of one shape"
        ) from None


def _number(name: str, value: Any) -> Any:
    """The value in float64, as a scalar where it is one; refused outside the letter's domain."""
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        array = np.array(None)
    if array.dtype.kind not in "iuf" or np.ma.is_masked(value):
        raise TypeError(f"{name} must be a number or an array of numbers, not {shortened(value)}")
    number = array.astype(np.float64)
    domain = _DOMAINS[name]
    outside = ~(np.isfinite(number) & _TESTS[domain](number))
    if outside.any():
        raise ValueError(f"{name} must be {domain}, not {number[outside].ravel()[0]:g}")
    return number[()]


def contraction(delta: Value) -> Value:
    """q = sqrt(1-delta): the largest relative error of one message, in norm."""
    q: Value = np.sqrt(1 - delta)
    return q


def lag(delta: Value) -> Value:
    """Q = q/(1-q), without cancellation: the norm that the memory tends to if each step adds 1."""
    return contraction(delta) * (1 + contraction(delta)) / delta


def gap(delta: Value) -> Value:
    """1/K = (1-q)/(1+q), in (0, 1], without cancellation."""
    return delta / (1 + contraction(delta)) ** 2


def limit_share(delta: Value, t: Value) -> Value:
    """1 - q^t, the share of its limit that the memory reaches at step t, without cancellation.

    It is 0 for t = 0, also where q = 0.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        share: Value = np.where(np.equal(t, 0), 0.0, -np.expm1(t * np.log1p(-delta) / 2))[()]
    return share


def mean_share(delta: Value, n: Value) -> Value:
    """The mean of :func:`limit_share` over t = 0, ..., n-1: 1 - (1-q^n)/(n(1-q)).

    Without cancellation: where n(1-q) is small, by the series of 1 - (1 - (1-a)^n)/(n a), a = 1-q.
    """
    a = delta / (1 + contraction(delta))
    mean: Value = np.where(n * a < SHORT, _series(a, n), 1 - limit_share(delta, n) / (n * a))[()]
    return mean


def mean_square_share(delta: Value, n: Value) -> Value:
    """The mean of :func:`limit_share` squared over t = 0, ..., n-1.

    (1-q^t)^2 is 2(1-q^t) - (1-q^(2t)): twice the mean for q minus that for q^2. Where n(1-q) is
    small the two series are subtracted term by term, so that nothing cancels.
    """
    a = delta / (1 + contraction(delta))
    of_q = 1 - limit_share(delta, n) / (n * a)
    of_square = 1 - limit_share(delta, 2 * n) / (n * delta)
    mean = np.where(n * a < SHORT, _series(a, n, squared=True), 2 * of_q - of_square)
    square: Value = np.where(np.equal(n, 1), 0.0, mean)[()]  # rounding could leave less than 0
    return square


SHORT = 0.1  # n(1-q) below which the series are taken: their terms fall by a factor 20 or more


def _series(a: Value, n: Value, squared: bool = False) -> Value:
    """The mean over t < n of 1 - (1-a)^t, or of its square, where n a < SHORT.

    The first is sum_k (-1)^k C(n,k) a^(k-1)/n over k = 2, 3, ..., and with 1-a = q the same sum for
    q^2 has a(2-a) in the place of a.
    """
    a = np.minimum(a, SHORT / n)
    total, term = np.zeros_like(n * a), np.ones_like(n * a)
    for k in range(2, 14):
        term = -term * (n - k + 1) * a / k  # (-1)^(k-1) C(n,k) a^(k-1)/n
        weight = 2 - (2 - a) ** (k - 1) if k > 2 else a
        total = total - term * (weight if squared else 1.0)
    return total
