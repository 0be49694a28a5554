"""Bounds that a line of reasoning proves, without a programme."""

from __future__ import annotations

from efsgd.compressors import RandK, Threshold, TwoMeans
from efsgd.compressors.selection import count
from efsgd.convex.verification.programmes import Proof


def threshold(c: Threshold, d: int) -> Proof:
    """delta of each of the three kinds: infima, so that no programme is solved for them."""
    if c.l2 is not None:
        text = "at most d-1 entries are dropped, each of a square below tau^2|x|^2/d"
        return Proof("argument", 1.0 - (d - 1) * c.l2**2 / d, text)
    if c.linf is not None:
        text = "max|x|^2 is kept; at most d-1 are dropped, each of a square below tau^2 max|x|^2"
        return Proof("argument", 1.0 / (1.0 + (d - 1) * c.linf**2), text)
    return Proof("argument", 0.0, "small x are dropped; |C(x)-x|^2 < d lambda^2 is all that holds")


def two_means(c: TwoMeans, d: int) -> Proof:
    """delta = 1/d."""
    text = "C projects on a space that holds sign(x): |C(x)|^2 >= |x|_1^2/d >= |x|^2/d"
    return Proof("argument", 1.0 / d, text)


def random_entries(c: RandK, d: int) -> Proof:
    """delta = k/d, or omega = d/k - 1, with equality at every x."""
    k = count(c.k, d)
    if c.unbiased:
        return Proof("identity", d / k - 1, "E|C(x)|^2 = (d/k)|x|^2 and E C(x) = x for every x")
    return Proof("identity", k / d, "each entry is kept with probability k/d, for every x")
