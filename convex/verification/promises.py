"""What a compressor promises besides its bound, each as a search for a vector that breaks it.

C(x) is a finite vector of the shape of x, and x stays as it was; C of several vectors at once is C
of each; messages are no longer than ``bits`` says and decode to C(x); the flags ``projection`` and
``fixed_size`` hold; the bound holds in float32; an unbiased compressor has the mean x. Each
function gives such a vector and what is wrong there, or None.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from efsgd.arrays import Array, Generator, achieved_delta
from efsgd.compressors.base import Compressor, drawn_for
from efsgd.compressors.frame import HEADER
from efsgd.convex.verification.plain_function import PlainFunction
from efsgd.wire import decode

Broken: TypeAlias = tuple[Array, str] | None  # a vector (d,), and what is wrong there

ROUNDING = 1e-9
FLOAT32 = 1e-4  # rounding of a loss in float32
LONG = 4096  # a dimension at which the header cannot hide what the payload carries
ERRORS = 5.0  # standard errors of the mean at the worst of d entries
SUSPECT = 4.0  # from here on it is drawn anew
DRAWN = 2**22  # entries of that, where that is no less than 4 times the samples


def computed(c: Compressor, points: Array, rng: Generator) -> Broken:
    """Where C(x) is no vector of finite numbers of the same shape, or x is overwritten."""
    for x in points:
        given = x.copy()
        try:
            sent = np.asarray(c(given, rng))
        except (ValueError, ArithmeticError) as error:
            return x, f"C(x) cannot be computed ({error})"
        if not np.array_equal(given, x):
            return x, "C overwrites the x that it is given"
        if sent.shape != x.shape:
            return x, f"C(x) has the shape {sent.shape}, x has {x.shape}"
        if not np.isfinite(sent).all():
            return x, "C(x) holds NaN or inf"
    return None


def apart(c: Compressor, points: Array, rng: Generator) -> Broken:
    """Where C makes something else of a vector beside other vectors."""
    drawn = c.draw(points.shape, rng)
    together = c._checked(points, drawn)
    for i, x in enumerate(points):
        alone = c._checked(x, drawn_for(i, drawn))
        if not np.allclose(together[i], alone, rtol=ROUNDING, atol=ROUNDING * np.abs(x).max()):
            return x, "C of several vectors at once is not C of each of them"
    return None


def short(c: Compressor, points: Array, bound: float) -> Broken:
    """Where the bound on the loss does not hold in float32."""
    if c.random or isinstance(c, PlainFunction):
        return None
    rounded = points.astype(np.float32)
    loss = 1.0 - achieved_delta(rounded, c(rounded))
    worst = int(np.argmax(loss))
    if loss[worst] <= bound + FLOAT32:
        return None
    return points[worst], "the bound does not hold in float32"


def flagged(c: Compressor, points: Array, rng: Generator) -> Broken:
    """Where ``projection`` or ``fixed_size`` is not true."""
    sizes = set()
    for x in points:
        drawn = c.draw(x.shape, rng)
        sent = c._checked(x, drawn)
        if c.projection and abs(sent @ x - sent @ sent) > 1e-6 * (x @ x):
            return x, "projection is claimed, but <C(x), x> is not |C(x)|^2"
        if c.fixed_size and c.name:
            sizes.add(len(c.encode(x, drawn=drawn)))
            if len(sizes) > 1:
                return x, f"fixed_size is claimed, but messages take {sorted(sizes)} bytes"
    return None


def messages(c: Compressor, points: Array, rng: Generator) -> tuple[Broken, int]:
    """Where a message is longer than said or does not decode to C(x); and the bits of the longest
    at this d, 0 where the compressor has no spec and sends none."""
    if not c.name:
        return None, 0
    longest = 0
    for x in (_long(c, points, rng), *points[:: max(1, len(points) // 16)]):
        drawn = c.draw(x.shape, rng)
        message = c.encode(x, drawn=drawn)
        bits, allowed = 8 * len(message), c.bits(x.size) + 8 * HEADER
        if bits > allowed:
            return (x, f"a message takes {bits} bits, {allowed} are allowed"), bits
        if x.shape == points[0].shape:
            longest = max(longest, bits)
        try:
            decoded = decode(message)
        except ValueError as error:
            return (x, f"its message cannot be decoded ({error})"), bits
        if not np.array_equal(decoded, c._checked(x, drawn)):
            return (x, "its message does not decode to C(x)"), bits
    return None, longest


def _long(c: Compressor, points: Array, rng: Generator) -> Array:
    """A long vector; some compressors have a shape of their own, and take no other dimension."""
    long = rng.standard_normal(LONG)
    try:
        c(long, rng)
    except ValueError:
        return np.array(points[0])
    return long


def biased(c: Compressor, points: Array, rng: Generator, samples: int) -> tuple[Broken, float]:
    """Where the mean of C(x) is not x, and by how many standard errors it is off at the worst of
    all entries and points. What looks wrong is drawn anew, by itself and more often: among so
    many, one will look wrong by chance."""
    most = 0.0
    for x in points:
        off = _deviation(c, x, rng, samples)
        worst = int(np.argmax(off))
        found = float(off[worst])
        if found > SUSPECT:
            times = min(16, max(4, DRAWN // (samples * x.size)))
            found = float(_deviation(c, x, rng, times * samples)[worst])
        if found > ERRORS:
            return (x, f"the mean of C(x) is {found:.3g} standard errors away from x"), found
        most = max(most, found)
    return None, most


def _deviation(c: Compressor, x: Array, rng: Generator, samples: int) -> Array:
    """How many standard errors the mean of C(x) is off, at each entry and, last, along x (d+1,).

    What is seldom sent has a spread that is measured badly, and too small when too few were drawn;
    but a part of C between 0 and M with the mean m has a variance of at most m M.
    """
    mean = x / np.abs(x).max()
    sent = c(np.broadcast_to(x, (samples, x.size)), rng) / np.abs(x).max()
    along = (sent @ mean / (mean @ mean))[:, None]
    return np.concatenate([_off(sent, mean), _off(along, np.ones(1))])


def _off(sent: Array, mean: Array) -> Array:
    """The same for draws (R, m) that should have the means (m,)."""
    draws = len(sent)
    error = sent.std(axis=0, ddof=1) / np.sqrt(draws)
    largest = np.abs(sent).max(axis=0)
    most = max(float(largest.max()), 1e-100)
    largest[largest == 0] = most
    seldom = np.count_nonzero(sent, axis=0) < draws / 10
    error = np.where(seldom, np.maximum(error, np.sqrt(np.abs(mean) * largest / draws)), error)
    rare = most / draws  # a large value that was too rare to be drawn
    off: Array = np.abs(sent.mean(axis=0) - mean) / np.maximum(error, rare)
    return off
