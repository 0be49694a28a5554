"""Does a compressor keep its word? An adversarial search for a vector where it does not.

Gaussian vectors never meet a worst case: on them scaled sign achieves about 2/pi at any d, while
its delta is 1/d. So the search goes through the shapes that are worst for known compressors, climbs
from each of them, and then looks at tiny and huge vectors, whose |x|^2 leaves float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np

from efsgd.arrays import Array, Generator
from efsgd.checks import whole
from efsgd.compressors.base import Compressor, instance
from efsgd.compressors.frame import HEADER
from efsgd.compressors.guarantee import Guarantee
from efsgd.convex.verification import promises
from efsgd.convex.verification.candidates import candidates
from efsgd.convex.verification.certificates import DeltaCertificate, certificate
from efsgd.convex.verification.fitted_form import fitted
from efsgd.convex.verification.plain_function import PlainFunction
from efsgd.convex.verification.search import ERRORS, FINAL, Search

SIMPLE = 1e-7  # of a loss: so much less at a simpler vector, and that is shown
LARGEST = 2**17  # dimension: minutes, and a gigabyte
NEAR = 1e-6  # how near the claim the worst case has to come to count as attained
SCALES = (1e-309, 1e-150, 1e150)
EXTREME = " where |x|^2 underflows or overflows: divide by max|x| before taking norms"


@dataclass(frozen=True, eq=False)
class Verification:
    """What :func:`verify` found. ``bool(v)`` is False where the claim is violated."""

    compressor: str
    d: int
    guarantee: Guarantee
    verdict: str  # "certified", "attained", "not violated", "VIOLATED" or "claims nothing"
    claimed: float  # delta, or omega if unbiased
    worst: float  # the least delta, or greatest omega, that was found; NaN if none was measured
    error: float  # its standard error, 0 if nothing is random
    vector: Array  # (d,) where it was found
    reason: str  # what was violated; empty if nothing was
    certificate: DeltaCertificate | None = None  # asked for with ``certify``, where there is one
    bias: float = np.nan  # unbiased: the mean of C(x) is off by so many standard errors at most
    bits: int = 0  # of the longest message, with its header; 0 if none was made
    allowed: int = 0  # bits(d) and the header

    def __bool__(self) -> bool:
        """Whether nothing was violated."""
        return self.verdict != "VIOLATED"

    @property
    def quantity(self) -> str:
        """What is claimed: "delta", or "omega" of an unbiased compressor."""
        return "omega" if self.guarantee == "unbiased" else "delta"

    @property
    def interval(self) -> tuple[float, float]:
        """Four standard errors around ``worst``; a point if nothing is random."""
        return self.worst - ERRORS * self.error, self.worst + ERRORS * self.error

    def __str__(self) -> str:
        """One line, one more for a certificate, one more for a violation."""
        said = f"{self.compressor}, d = {self.d}: {self.verdict}"
        if self.verdict != "claims nothing":
            spread = f" +- {self.error:.2g}" if self.error else ""
            said += f"; claimed {self.quantity} = {self.claimed:.6g}"
            said += f", worst found {self.worst:.6g}{spread}" if self.worst == self.worst else ""
        if self.certificate is not None:
            said += f"\n{self.certificate}"
        return said if self else f"{said}\n{self.reason}, at x = {shown(self.vector)}"


def shown(x: Array) -> str:
    """A vector in a line, its middle left out where it is long."""
    return np.array2string(x + 0.0, precision=3, threshold=8, edgeitems=3)


def verify(
    compressor: Compressor | Callable[..., Any],
    d: int,
    rng: Generator | None = None,
    *,
    delta: float | Callable[[int], float] | None = None,
    samples: int = 1000,
    certify: bool = False,
) -> Verification:
    """Search for a vector of dimension d at which ``compressor`` breaks what it claims.

    It may be a :class:`Compressor`, which says itself what it guarantees, or a function x -> C(x)
    of one vector (d,), or (x, rng) -> C(x), with the ``delta`` that it is to be held to. What is
    random is judged by means over ``samples`` draws, fewer for d > 4000. Checked are the bound, the
    vector that is said to attain it, for unbiased ones the mean, and for compressors that can be
    encoded that messages decode to C(x) and are no longer than ``bits(d)`` says; also that C treats
    several vectors as it treats each, that the bound holds in float32, and the flags ``projection``
    and ``fixed_size``.

    With ``certify`` the bound of a built-in compressor is also proven by
    :func:`efsgd.convex.certificate`, which imports cvxpy; the verdict is "certified" where a
    computation proves the claim and the search finds nothing against it. For others
    :func:`efsgd.convex.verification.fitted_form.fitted` is tried, whose proof has a condition.

    Raises ValueError where a function comes without ``delta``, or a compressor with one.
    """
    rng = np.random.default_rng(0) if rng is None else rng
    whole("samples", samples, least=2)
    c = held(compressor, d, delta)
    if not 1 <= d <= LARGEST:
        raise ValueError(f"d must be at least 1 and at most {LARGEST} for a search, not {d}")
    search = Search(c, d, rng, samples)
    if c.guarantee not in get_args(Guarantee) or not search.claimed < np.inf:
        raise ValueError(
            f"{c} claims {search.claimed} with the guarantee {c.guarantee!r}: "
            f"use a number and one of {', '.join(get_args(Guarantee))}"
        )
    found = _judged(search)
    return _certified(found, c, rng) if certify else found


def held(compressor: Any, d: int, delta: float | Callable[[int], float] | None) -> Compressor:
    """The compressor, or a function held to its delta."""
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


def _certified(found: Verification, c: Compressor, rng: Generator) -> Verification:
    """The same with its certificate, and the verdict that follows."""
    kept = found.verdict in ("attained", "not violated")
    proof = None if isinstance(c, PlainFunction) else certificate(c, found.d)
    if proof is None and kept:
        proof = fitted(c, found.d, rng)
    proves = kept and proof is not None and proof.solved and proof.holds()
    return replace(found, certificate=proof, verdict="certified" if proves else found.verdict)


def _judged(search: Search) -> Verification:
    """Search, then judge."""
    c, d, rng = search.c, search.d, search.rng
    points = candidates(d, rng)
    extreme = np.concatenate([points[::4] * scale for scale in SCALES])
    said, broken = _result(search, "claims nothing", points[0]), promises.computed(c, points, rng)
    if broken is None and not isinstance(c, PlainFunction):
        broken = promises.apart(c, points, rng)
        sent, bits = promises.messages(c, points, rng) if broken is None else (None, 0)
        said = replace(said, bits=bits, allowed=c.bits(d) + 8 * HEADER if bits else 0)
        broken = broken or sent or promises.flagged(c, points, rng)
    if broken is None and not search.silent:
        return _bounded(search, points, extreme, said)
    return _broken(said, broken or promises.computed(c, extreme, rng))


def _broken(said: Verification, broken: promises.Broken) -> Verification:
    """The same, violated where something is broken."""
    if broken is not None:
        said = replace(said, verdict="VIOLATED", vector=broken[0].copy(), reason=broken[1])
    return said


def _bounded(search: Search, points: Array, extreme: Array, said: Verification) -> Verification:
    """Whether the bound holds, and for unbiased ones the mean; ``said`` is what is known so far."""
    c, rng = search.c, search.rng
    points = np.concatenate([points, *search.named(), search.swept()])
    points = np.concatenate([points, search.climb(points)])
    loss, error = search.loss(points)
    violated = _violated(search, points, loss, error, "")
    if violated is None:
        if broken := promises.computed(c, extreme, rng):
            return _broken(said, broken)
        violated = _violated(search, extreme, *search.loss(extreme), EXTREME)
    if violated is not None:
        return replace(violated, bits=said.bits, allowed=said.allowed)
    bias = np.nan
    if search.unbiased:
        wrong, bias = promises.biased(c, points, rng, search.samples)
    else:
        wrong = promises.short(c, points, search.bound)
    if wrong is not None:
        found = _result(search, "VIOLATED", *wrong)
    else:
        x, again, spread = _worst(search, points, loss)
        reached = search.bound - again <= NEAR + ERRORS * spread
        verdict, reason = "attained" if reached else "not violated", ""
        if search.above(again, spread):
            verdict, reason = "VIOLATED", "the bound does not hold"
        found = _result(search, verdict, x, reason, again, spread)
    return replace(found, bias=bias, bits=said.bits, allowed=said.allowed)


def _worst(search: Search, points: Array, loss: Array) -> tuple[Array, float, float]:
    """The worst point, its loss and standard error, drawn anew; the named one has its chance too,
    for a point beside it may have won by luck."""
    at = _first(search, loss)
    x = points[at]
    again, spread = search.anew(x, float(loss[at]))
    for named in search.named() if search.c.random else []:
        other, error = search.anew(named[0], again)
        if other > again:
            x, again, spread = named[0], other, error
    if spread and again - 2 * spread > search.bound:  # too small an excess to tell, or chance
        again, spread = search.anew(x, again, FINAL)
    return x, again, spread


def _first(search: Search, loss: Array) -> int:
    """Where the loss is greatest; nothing being random, the first of those that are about that
    large, for the simple vectors come first. NaN is greatest."""
    if search.c.random or np.isnan(loss).any():
        return int(np.argmax(loss))
    return int(np.argmax(loss >= loss.max() - SIMPLE * abs(loss.max())))


def _violated(
    search: Search, points: Array, loss: Array, error: Array, why: str
) -> Verification | None:
    """The verdict on the worst of these points, if the bound does not hold there."""
    at = _first(search, loss - ERRORS * error)
    if not search.above(loss[at], error[at]):
        return None
    again, spread = search.anew(points[at], loss[at])
    if not search.above(again, spread):
        return None
    reason = f"the bound does not hold{why}"
    return _result(search, "VIOLATED", points[at], reason, again, spread)


def _result(
    search: Search,
    verdict: str,
    x: Array,
    reason: str = "",
    loss: float = np.nan,
    error: float = 0.0,
) -> Verification:
    c, told = search.c, float(loss if search.unbiased else 1.0 - loss)
    found = (search.claimed, told, float(error))
    return Verification(str(c), search.d, c.guarantee, verdict, *found, x.copy(), reason)
