"""What proves the delta or omega of each built-in compressor: a solved convex programme, or else an
argument on paper, which is called so.

A certificate is about the compressor's formula. Whether the code computes this formula is left to
the search of :mod:`efsgd.convex.verification` and to the tests.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from efsgd.compressors import (
    QSGD,
    Blockwise,
    Contractive,
    Identity,
    LowRank,
    Natural,
    NaturalDithering,
    Quantised,
    RandK,
    Scaled,
    ScaledSign,
    Shared,
    SignTopK,
    TernGrad,
    Threshold,
    TopK,
    TwoMeans,
)
from efsgd.compressors.base import Compressor, instance
from efsgd.compressors.selection import count
from efsgd.convex.verification import arguments, piecewise, programmes
from efsgd.convex.verification.programmes import Proof

TOLERANCE = 1e-7  # relative gap to the claim that the solver's accuracy may leave
ROUNDING = 1e-9
FITTED = "fitted sorted-cone LP"
UNSOLVED = ("argument", "identity", "not solved", FITTED)  # kinds not proven by computation alone


@dataclass(frozen=True)
class DeltaCertificate:
    """A proof that delta is at least ``value``, or omega at most that.

    ``kind`` names the programme that was solved. "argument" or "identity" is a line of reasoning
    without one; "not solved" a programme that is too large, with the value NaN; "fitted ..." one
    for a form that was only seen at the vectors tried, see
    :mod:`efsgd.convex.verification.fitted_form`.
    """

    kind: str
    quantity: Literal["delta", "omega"]
    value: float  # recomputed from a point that was made feasible; NaN if nothing is proven
    claimed: float
    dual: float  # the programme's dual value: it can prove nothing better; NaN without a programme
    seconds: float  # that the solver took
    text: str  # the proof in a line

    @property
    def gap(self) -> float:
        """What the proof lacks to the claim; negative where it proves more."""
        return self.claimed - self.value if self.quantity == "delta" else self.value - self.claimed

    @property
    def solved(self) -> bool:
        """Whether a computation alone proves it: a convex programme, or exact arithmetic."""
        return self.kind not in UNSOLVED

    def holds(self) -> bool:
        """Whether the claim is proven, to the accuracy of the solver.

        That is absolute, so that of a tiny delta at least half has to be proven.
        """
        accuracy = TOLERANCE * abs(self.claimed) + ROUNDING
        if self.quantity == "delta" and self.claimed > 0:
            accuracy = min(accuracy, self.claimed / 2)
        return self.gap <= accuracy

    def __str__(self) -> str:
        """One line."""
        if math.isnan(self.value):
            return f"{self.kind}: {self.text}"
        relation = ">=" if self.quantity == "delta" else "<="
        return f"{self.quantity} {relation} {self.value:.9g} by {self.kind}: {self.text}"


def certificate(compressor: Compressor, d: int) -> DeltaCertificate | None:
    """What proves the delta, or the omega, that ``compressor`` claims at dimension d >= 1.

    None for compressors that claim nothing, and for those that are not built in: for these see
    :func:`efsgd.convex.verification.fitted_form.fitted`. Raises ValueError for d < 1.
    """
    c = instance(compressor)
    if d < 1:
        raise ValueError(f"d must be at least 1 to certify a bound, not {d}")
    try:
        return as_certificate(proof_of(c, d), c, d)
    except ValueError as error:  # a programme that is too large says so
        return as_certificate(Proof("not solved", math.nan, str(error)), c, d)


def as_certificate(proof: Proof | None, c: Compressor, d: int) -> DeltaCertificate | None:
    """The proof together with what ``c`` claims at dimension d; None without a proof."""
    if proof is None:
        return None
    quantity: Literal["delta", "omega"] = "omega" if c.guarantee == "unbiased" else "delta"
    return DeltaCertificate(
        kind=proof.kind,
        quantity=quantity,
        value=proof.value,
        claimed=c.omega(d) if quantity == "omega" else c.delta(d),
        dual=proof.dual,
        seconds=proof.seconds,
        text=proof.text,
    )


def proof_of(c: Compressor, d: int) -> Proof | None:
    """The proof of delta, or of omega for an unbiased compressor; None where there is none."""
    if type(c) is Scaled:
        same = c.factor == 1  # then an unbiased one is proven by its omega
        return proof_of(c.compressor, d) if same else proof_of_scaled(c.compressor, c.factor, d)
    if type(c) is Contractive:
        return proof_of_scaled(c.compressor, c.factor(d), d)
    if type(c) is Blockwise:
        proofs = [proof_of(c.compressor, b) for b in sorted(set(c.block_sizes(d)))]
        return _weakest(proofs, greatest=c.guarantee == "unbiased")
    prove = PROOFS.get(type(c))
    return None if prove is None else prove(c, d)


def proof_of_scaled(inner: Compressor, a: float, d: int) -> Proof | None:
    """The proof of delta for x -> a C(x), from that of C (arXiv 1901.09847, Theorem IV; otherwise
    derived here): 2a - a^2(1+omega) if C is unbiased, a(2-a) delta if it is a projection or the
    scaled sign, else 1 - (a sqrt(1-delta) + |1-a|)^2.
    """
    if type(inner) is Scaled:
        return proof_of_scaled(inner.compressor, a * inner.factor, d)
    if type(inner) is Contractive:
        return proof_of_scaled(inner.compressor, a * inner.factor(d), d)
    if type(inner) is Blockwise:
        sizes = sorted(set(inner.block_sizes(d)))
        proofs = [proof_of_scaled(inner.compressor, a, b) for b in sizes]
        return _weakest(proofs)
    if type(inner) is Natural and inner.nearest:
        return piecewise.nearest_power(a)
    if type(inner) is Quantised:
        return _kept_levels(inner, d, a)
    proof = proof_of(inner, d)
    if proof is None:
        return None
    text = f"scaled by {a:.4g}, {proof.text}"
    value, dual = (_delta_of_scaled(inner, a, bound) for bound in (proof.value, proof.dual))
    return replace(proof, value=value, dual=dual, text=text)


def _delta_of_scaled(inner: Compressor, a: float, bound: float) -> float:
    """delta of x -> a C(x) where C has this delta or omega; NaN for NaN."""
    if math.isnan(bound):
        return bound
    if inner.guarantee == "unbiased":
        delta = a * (2.0 - a * (1.0 + bound))
    elif inner.projection or type(inner) is ScaledSign:
        delta = a * (2.0 - a) * bound
    else:
        delta = 1.0 - (a * math.sqrt(max(0.0, 1.0 - bound)) + abs(1.0 - a)) ** 2
    return max(0.0, delta)


def _weakest(proofs: Sequence[Proof | None], greatest: bool = False) -> Proof | None:
    """The proof for the worst block, of the least delta or, ``greatest``, the greatest omega."""
    known = [proof for proof in proofs if proof is not None]
    if len(known) < len(proofs):
        return None
    worst = (max if greatest else min)(known, key=lambda proof: proof.value)
    return replace(worst, seconds=sum(p.seconds for p in known), text=f"by blocks, {worst.text}")


def _sign(c: ScaledSign, d: int) -> Proof:
    """|x|^2 - |C(x)-x|^2 = (s_1 + .. + s_d)^2/d, and at least that if zeros stay zero."""
    return _sum_of_first(d, d)


def _sign_of_top(c: SignTopK, d: int) -> Proof:
    """|x|^2 - |C(x)-x|^2 = (s_1 + .. + s_k)^2/k."""
    return _sum_of_first(count(c.k, d), d)


def _sum_of_first(k: int, d: int) -> Proof:
    """delta by the sorted cone, for s'Ms = (s_1 + .. + s_k)^2/k."""
    if d > programmes.SIZE:
        raise ValueError(f"d = {d} is too large for this programme: take {programmes.SIZE} at most")
    first = np.arange(d) < k
    return programmes.sorted_cone(np.outer(first, first) / k)


def _top(c: TopK, d: int) -> Proof:
    return programmes.largest_shares(count(c.k, d), d)


def _low_rank(c: LowRank, d: int) -> Proof:
    return programmes.largest_shares(c.rank_at(d), min(c.sides(d)))


def _levels(c: QSGD, d: int) -> Proof:
    """By the dual where it is tight, else by enumeration."""
    if d >= 4 * c.s**2 or (d >= 3 and (4 * c.s**2 - d) % 8 == 0 and c.s <= programmes.SIZE):
        return programmes.stochastic_levels(d, c.s)
    return programmes.odd_squares(d, c.s)


def _natural(c: Natural, d: int) -> Proof:
    return piecewise.nearest_power() if c.nearest else programmes.stochastic_powers()


def _kept_levels(c: Quantised, d: int, factor: float = 1.0) -> Proof:
    return piecewise.kept_levels(c.kept(d), d, c.levels, factor)


PROOFS: dict[type[Compressor], Callable[[Any, int], Proof | None]] = {
    Identity: lambda c, d: Proof("identity", 1.0, "C(x) = x"),
    ScaledSign: _sign,
    TwoMeans: arguments.two_means,
    TopK: _top,
    RandK: arguments.random_entries,
    QSGD: _levels,
    TernGrad: lambda c, d: programmes.largest_and_sum(d),
    Natural: _natural,
    NaturalDithering: lambda c, d: piecewise.dithered(c.s, d),
    Quantised: _kept_levels,
    Shared: lambda c, d: proof_of(c.compressor, d),
    LowRank: _low_rank,
    SignTopK: _sign_of_top,
    Threshold: arguments.threshold,
}
