"""What a compressor promises besides its bound, each as a search for a counterexample.

C(x) is a finite vector of the shape of x, and x stays as it was; C of several vectors at once is C
of each; messages are no longer than ``bits`` says and decode to C(x); the flags ``projection`` and
``fixed_size`` hold; the bound holds in float32; an unbiased compressor has the mean x.

Each function tries the points (N, d) and returns the first counterexample, or None.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from efsgd.arrays import Array, Generator, achieved_delta
from efsgd.compressors.base import Compressor, drawn_for
from efsgd.compressors.frame import HEADER
from efsgd.convex.verification.plain_function import PlainFunction
from efsgd.convex.verification.precision import ROUNDING, rounding
from efsgd.wire import decode

LONG = 4096  # a dimension at which the header cannot hide what the payload carries
ERRORS = 5.0  # standard errors of the mean at the worst of d entries
SUSPECT = 4.0  # standard errors from which on the mean is estimated anew
REDRAWN = 2**22  # entries of that new estimate, where this is no less than 4 times the samples


class Counterexample(NamedTuple):
    """A vector at which a promise is broken."""

    x: Array  # (d,)
    reason: str  # what is wrong there, for the user


def check_output(c: Compressor, points: Array, rng: Generator) -> Counterexample | None:
    """Where C(x) is not a vector of finite numbers of the same shape, or x is overwritten."""
    for x in points:
        argument = x.copy()
        try:
            sent = np.asarray(c(argument, rng))
        except (ValueError, ArithmeticError) as error:
            return Counterexample(x, f"C(x) cannot be computed ({error})")
        if not np.array_equal(argument, x):
            return Counterexample(x, "C overwrites the x that it is given")
        if sent.shape != x.shape:
            return Counterexample(x, f"C(x) has the shape {sent.shape}, x has {x.shape}")
        if not np.isfinite(sent).all():
            return Counterexample(x, "C(x) holds NaN or inf")
    return None


def check_row_by_row(c: Compressor, points: Array, rng: Generator) -> Counterexample | None:
    """Where C(x) of a vector in a batch is not C(x) of the vector alone."""
    drawn = c.draw(points.shape, rng)
    batch = c.apply_checked(points, drawn)
    for i, x in enumerate(points):
        alone = c.apply_checked(x, drawn_for(i, drawn))
        if not np.allclose(batch[i], alone, rtol=ROUNDING, atol=ROUNDING * np.abs(x).max()):
            return Counterexample(x, "C of several vectors at once is not C of each of them")
    return None


def check_float32(c: Compressor, points: Array, bound: float) -> Counterexample | None:
    """Where the bound on the loss does not hold in float32; random ones are not tried."""
    if c.random or isinstance(c, PlainFunction):
        return None
    rounded = points.astype(np.float32)
    sent = c(rounded)
    certain = 1.0 - achieved_delta(rounded, sent) - rounding(rounded, sent.astype(np.float32))
    worst = int(np.argmax(certain))
    if certain[worst] <= bound + ROUNDING:
        return None
    return Counterexample(points[worst], "the bound does not hold in float32")


def check_flags(c: Compressor, points: Array, rng: Generator) -> Counterexample | None:
    """Where ``projection`` or ``fixed_size`` is set and false."""
    sizes = set()
    for x in points:
        drawn = c.draw(x.shape, rng)
        sent = c.apply_checked(x, drawn)
        if c.projection and abs(sent @ x - sent @ sent) > 1e-6 * (x @ x):
            return Counterexample(x, "projection is claimed, but <C(x), x> is not |C(x)|^2")
        if c.fixed_size and c.name:
            sizes.add(len(c.encode(x, drawn=drawn)))
            if len(sizes) > 1:
                reason = f"fixed_size is claimed, but messages take {sorted(sizes)} bytes"
                return Counterexample(x, reason)
    return None


def check_messages(
    c: Compressor, points: Array, rng: Generator
) -> tuple[Counterexample | None, int]:
    """Where a message is longer than ``bits`` allows or does not decode to C(x).

    Also the bits of the longest message at this d; 0 for compressors without a spec, which send
    none.
    """
    if not c.name:
        return None, 0
    longest = 0
    for x in (_long_vector(c, points, rng), *points[:: max(1, len(points) // 16)]):
        drawn = c.draw(x.shape, rng)
        message = c.encode(x, drawn=drawn)
        bits, allowed = 8 * len(message), c.bits(x.size) + 8 * HEADER
        if bits > allowed:
            reason = f"a message takes {bits} bits, {allowed} are allowed"
            return Counterexample(x, reason), bits
        if x.shape == points[0].shape:
            longest = max(longest, bits)
        try:
            decoded = decode(message)
        except ValueError as error:
            return Counterexample(x, f"its message cannot be decoded ({error})"), bits
        if not np.array_equal(decoded, c.apply_checked(x, drawn)):
            return Counterexample(x, "its message does not decode to C(x)"), bits
    return None, longest


def _long_vector(c: Compressor, points: Array, rng: Generator) -> Array:
    """A long Gaussian vector, or a point where the compressor takes its own dimension only."""
    x = rng.standard_normal(LONG)
    try:
        c(x, rng)
    except ValueError:
        return np.array(points[0])
    return x


def check_unbiased(
    c: Compressor, points: Array, rng: Generator, samples: int
) -> tuple[Counterexample | None, float]:
    """Where the mean of C(x) is not x.

    Also the bias in standard errors at the worst of all entries and points. A suspicious entry is
    estimated anew, alone and from more draws: among so many, one will look wrong by chance.
    """
    largest = 0.0
    for x in points:
        biases = _standardised_bias(c, x, rng, samples)
        worst = int(np.argmax(biases))
        bias = float(biases[worst])
        if bias > SUSPECT:
            times = min(16, max(4, REDRAWN // (samples * x.size)))
            bias = float(_standardised_bias(c, x, rng, times * samples)[worst])
        if bias > ERRORS:
            reason = f"the mean of C(x) is {bias:.3g} standard errors away from x"
            return Counterexample(x, reason), bias
        largest = max(largest, bias)
    return None, largest


def _standardised_bias(c: Compressor, x: Array, rng: Generator, samples: int) -> Array:
    """The bias of C(x) in standard errors, at each entry and, last, along x: (d+1,)."""
    mean = x / np.abs(x).max()
    sent = c(np.broadcast_to(x, (samples, x.size)), rng) / np.abs(x).max()
    along = (sent @ mean / (mean @ mean))[:, None]
    return np.concatenate([_off_mean(sent, mean), _off_mean(along, np.ones(1))])


def _off_mean(sent: Array, mean: Array) -> Array:
    """How many standard errors draws (R, m) are off the means (m,) that they should have.

    The spread of an entry that is seldom sent is estimated badly, and too small from few draws. But
    an entry of C between 0 and M with the mean m has a variance of at most m M.
    """
    draws = len(sent)
    error = sent.std(axis=0, ddof=1) / np.sqrt(draws)
    largest = np.abs(sent).max(axis=0)
    largest_of_all = max(float(largest.max()), 1e-100)
    largest[largest == 0] = largest_of_all
    seldom = np.count_nonzero(sent, axis=0) < draws / 10
    error = np.where(seldom, np.maximum(error, np.sqrt(np.abs(mean) * largest / draws)), error)
    floor = largest_of_all / draws  # a large value that was too rare to be drawn
    deviation: Array = np.abs(sent.mean(axis=0) - mean) / np.maximum(error, floor)
    return deviation
