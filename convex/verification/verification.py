"""Does a compressor do what it claims? An adversarial search for a vector where it does not.

Gaussian vectors never meet a worst case: on them scaled sign achieves about 2/pi at any d, while
its delta is 1/d. So the search tries the shapes that are worst for known compressors, ascends from
each of them, and then tries tiny and huge vectors, whose |x|^2 underflows or overflows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np

from efsgd.arrays import Array, Generator
from efsgd.checks import whole
from efsgd.compressors.base import Compressor
from efsgd.compressors.frame import HEADER
from efsgd.compressors.guarantee import Guarantee
from efsgd.convex.verification import promises
from efsgd.convex.verification.candidates import candidates
from efsgd.convex.verification.certificates import DeltaCertificate, certificate
from efsgd.convex.verification.fitted_form import fitted
from efsgd.convex.verification.plain_function import PlainFunction, as_compressor
from efsgd.convex.verification.promises import Counterexample
from efsgd.convex.verification.search import ERRORS, Search

LARGEST = 2**17  # dimension: minutes, and a gigabyte
NEAR = 1e-6  # how near the claim the worst case has to come to count as attained,
NEAR_SHARE = 1e-3  # and no further from a small claim than this share of it
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
    vector: Array  # (d,) at which ``worst`` was found
    reason: str  # what was violated; empty if nothing was
    certificate: DeltaCertificate | None = None  # with ``certify``, where there is one
    bias: float = np.nan  # of an unbiased one: the largest bias found, in standard errors
    bits: int = 0  # of the longest message, with its header; 0 if none was encoded
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
        text = f"{self.compressor}, d = {self.d}: {self.verdict}"
        if self.verdict != "claims nothing":
            spread = f" +- {self.error:.2g}" if self.error else ""
            text += f"; claimed {self.quantity} = {self.claimed:.6g}"
            text += f", worst found {self.worst:.6g}{spread}" if self.worst == self.worst else ""
            if not self and f"{self.worst:.6g}" == f"{self.claimed:.6g}":
                text += f", off by {abs(self.worst - self.claimed):.2g}"
        if self.certificate is not None:
            text += f"\n{self.certificate}"
        return text if self else f"{text}\n{self.reason}, at x = {abridged(self.vector)}"


def abridged(x: Array) -> str:
    """A vector in one line, its middle left out where it is long."""
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

    ``compressor`` is a :class:`Compressor`, which says itself what it guarantees, or a function
    x -> C(x) of one vector (d,), or (x, rng) -> C(x), with the ``delta`` that it has to satisfy. A
    random one is judged by means over ``samples`` draws, fewer for d > 4000. Checked are the bound,
    also at the vector that is said to attain it and in float32; for unbiased compressors the mean;
    for those that can be encoded, that messages decode to C(x) and are no longer than ``bits(d)``
    says; that C of several vectors is C of each; and the flags ``projection`` and ``fixed_size``. A
    C(x) that comes back in float32 or float16 is held to the bound within that dtype's rounding,
    see :mod:`efsgd.convex.verification.precision`.

    With ``certify`` the bound of a built-in compressor is also proven by
    :func:`efsgd.convex.certificate`, which imports cvxpy; the verdict is "certified" where a
    computation proves the claim and the search finds nothing against it. For others
    :func:`efsgd.convex.verification.fitted_form.fitted` is tried, whose proof has a condition.

    Raises ValueError where a function comes without ``delta``, or a compressor with one, and where
    rounding may hide half of the delta that is claimed: then let C return float64.
    """
    rng = np.random.default_rng(0) if rng is None else rng
    whole("samples", samples, least=2)
    c = as_compressor(compressor, d, delta)
    if not 1 <= d <= LARGEST:
        raise ValueError(f"d must be at least 1 and at most {LARGEST} for a search, not {d}")
    search = Search(c, d, rng, samples)
    if c.guarantee not in get_args(Guarantee) or not search.claimed < np.inf:
        raise ValueError(
            f"{c} claims {search.claimed} with the guarantee {c.guarantee!r}: "
            f"use a number and one of {', '.join(get_args(Guarantee))}"
        )
    verification = _judged(search)
    return _certified(verification, c, rng) if certify else verification


def _certified(verification: Verification, c: Compressor, rng: Generator) -> Verification:
    """The same with its certificate, and the verdict that follows."""
    unrefuted = verification.verdict in ("attained", "not violated")
    proof = None if isinstance(c, PlainFunction) else certificate(c, verification.d)
    if proof is None and unrefuted:
        proof = fitted(c, verification.d, rng)
    proves = unrefuted and proof is not None and proof.solved and proof.holds()
    verdict = "certified" if proves else verification.verdict
    return replace(verification, certificate=proof, verdict=verdict)


def _judged(search: Search) -> Verification:
    """The verdict on all promises: those beside the bound first, as they take no search."""
    c, d, rng = search.c, search.d, search.rng
    points = search.precision.fit(candidates(d, rng))
    extreme = np.concatenate([points[::4] * scale for scale in search.precision.scales])
    verification = _verification(search, "claims nothing", points[0])
    broken = promises.check_output(c, points, rng)
    if broken is None and not isinstance(c, PlainFunction):
        broken = promises.check_row_by_row(c, points, rng)
        if broken is None:
            broken, bits = promises.check_messages(c, points, rng)
            allowed = c.bits(d) + 8 * HEADER if bits else 0
            verification = replace(verification, bits=bits, allowed=allowed)
        broken = broken or promises.check_flags(c, points, rng)
    if broken is None and not search.silent:
        return _bounded(search, points, extreme, verification)
    return _refuted(verification, broken or promises.check_output(c, extreme, rng))


def _refuted(verification: Verification, broken: Counterexample | None) -> Verification:
    """The same, violated where there is a counterexample."""
    if broken is None:
        return verification
    return replace(verification, verdict="VIOLATED", vector=broken.x.copy(), reason=broken.reason)


def _bounded(
    search: Search, points: Array, extreme: Array, verification: Verification
) -> Verification:
    """The verdict on the bound, in float32 too or, for unbiased ones, with the mean.

    ``verification`` is what is known so far.
    """
    c, rng = search.c, search.rng
    points = np.concatenate([points, *map(search.precision.fit, search.named()), search.swept()])
    points = np.concatenate([points, search.climb(points)])
    loss, error = search.loss(points)
    judged = _violated(search, points, loss, error, "")
    if judged is None:
        if broken := promises.check_output(c, extreme, rng):
            return _refuted(verification, broken)
        judged = _violated(search, extreme, *search.loss(extreme), EXTREME)
    bias = np.nan
    if judged is None:
        if search.unbiased:
            broken, bias = promises.check_unbiased(c, points, rng, search.samples)
        else:
            broken = promises.check_float32(c, points, search.bound)
        if broken is None:
            judged = _at_worst(search, points, loss)
        else:
            judged = _verification(search, "VIOLATED", broken.x, broken.reason)
    return replace(judged, bias=bias, bits=verification.bits, allowed=verification.allowed)


def _at_worst(search: Search, points: Array, loss: Array) -> Verification:
    """The verdict from the worst point, at which the loss is drawn anew."""
    x, mean, error = search.worst(points, loss)
    (rounded,) = search.rounding(x[None])
    if search.exceeds(mean, error, rounded):
        return _verification(search, "VIOLATED", x, "the bound does not hold", mean, error)
    search.refuse_undecided(mean, rounded)
    near = min(NEAR, NEAR_SHARE * abs(search.claimed)) + search.accuracy + rounded
    attained = search.bound - mean <= near + ERRORS * error
    return _verification(search, "attained" if attained else "not violated", x, "", mean, error)


def _violated(
    search: Search, points: Array, loss: Array, error: Array, where: str
) -> Verification | None:
    """The verdict on the worst of these points, if the bound does not hold there."""
    rounded = search.rounding(points)
    at = search.worst_index(loss - ERRORS * error - rounded)
    if not search.exceeds(loss[at], error[at], rounded[at]):
        return None
    mean, mean_error = search.redrawn(points[at], loss[at])
    if not search.exceeds(mean, mean_error, rounded[at]):
        return None
    reason = f"the bound does not hold{where}"
    return _verification(search, "VIOLATED", points[at], reason, mean, mean_error)


def _verification(
    search: Search,
    verdict: str,
    x: Array,
    reason: str = "",
    loss: float = np.nan,
    error: float = 0.0,
) -> Verification:
    """A verdict, with the loss at x written as a delta or an omega."""
    return Verification(
        compressor=str(search.c),
        d=search.d,
        guarantee=search.c.guarantee,
        verdict=verdict,
        claimed=search.claimed,
        worst=float(loss if search.unbiased else 1.0 - loss),
        error=float(error),
        vector=x.copy(),
        reason=reason,
    )
