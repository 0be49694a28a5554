"""The check of one compressor's bound at one dimension: search, certificate, Gaussian vectors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from efsgd.arrays import Array, Generator, achieved_delta
from efsgd.compressors import Scaled, compressor
from efsgd.compressors.base import Compressor
from efsgd.compressors.guarantee import Guarantee
from efsgd.convex.verification.plain_function import as_compressor
from efsgd.convex.verification.search import Search
from efsgd.convex.verification.verification import Verification, verify

GAUSSIAN, GAUSSIAN_IF_RANDOM = 200, 50  # vectors; a random compressor draws many times at each
DIMENSIONS = (1, 2, 5, 16, 256)
SPECS = (  # every built-in compressor
    "identity",
    "sign",
    "scaledsign",
    "scaledsign:zero=0",
    "blockwise:10,scaledsign",  # of 16 and of 256 the last block is shorter
    "twomeans",
    "signtopk:4",
    "topk:0.25",
    "scaled:0.5,topk:0.25",
    "randk:0.25",
    "randk:0.25,unbiased",
    "shared:randk:0.25",
    "quantised:2,topk:0.5",
    "lowrank:1",
    "powersgd:1",
    "threshold:l2=0.5",
    "threshold:linf=0.5",
    "threshold:abs=0.1",
    "qsgd:2",
    "qsgd:64",
    "contractive,qsgd:2",
    "terngrad",
    "dithering:3",
    "natural",
    "natural:nearest",
)
BUILT_IN = tuple(compressor(spec) for spec in SPECS)
OTHERS = (  # parameters, scalings and nestings at which another constant decides, and one d of each
    ("qsgd:2", 12),  # d is below 4 s^2: sums of odd squares decide
    ("qsgd:3", 2),
    ("qsgd:3", 30),
    ("signtopk:4", 32),
    ("quantised:4,topk:0.5", 16),  # the dropped entries decide
    ("scaled:0.5,quantised:2,topk:0.5", 16),
    ("shared:randk:0.25,unbiased", 16),
    ("dithering:3", 9),
    ("lowrank:2", 5),
    ("lowrank:2", 16),
    ("lowrank:1,shape=2x8", 16),
    ("threshold:l2=0.3", 16),
    ("threshold:linf=0.3", 16),
    ("blockwise:10,terngrad", 16),
    ("contractive,terngrad", 16),
    ("scaled:0.5,scaledsign", 16),
    ("scaled:1.0,natural", 16),
    ("scaled:0.5,natural", 16),
    ("scaled:0.5,natural:nearest", 16),
    ("scaled:1.2,natural:nearest", 16),
    ("scaled:0.3,qsgd:2", 16),
    ("scaled:0.5,scaled:0.5,topk:0.25", 16),
    ("scaled:0.5,blockwise:10,topk:0.25", 16),
    ("scaled:0.5,contractive,qsgd:2", 16),
)
SMALL = 1e-3  # entries of a vector on which neither sign nor threshold:abs=0.1 achieves any delta


@dataclass(frozen=True)
class Bounds:
    """The check of the bound of ``compressor`` at dimension ``d``; arrays of :func:`described`."""

    compressor: Compressor
    d: int
    seed: int = 0
    samples: int = 1000

    @property
    def cost(self) -> float:
        """The longest first: those that are random, at large d."""
        return float(self.d * (1 + 50 * self.compressor.random))

    def compute(self) -> dict[str, Array]:
        """Verify with certificate, and try Gaussian vectors."""
        return checked(self.compressor, self.d, self.seed, self.samples)[1]


@dataclass(frozen=True)
class Multiple(Compressor):
    """``factor`` times x, factor in [0, 2]: delta = 1 - (factor-1)^2, met by every x."""

    factor: float

    @property
    def guarantee(self) -> Guarantee:
        """Holds for every x, with equality."""
        return "pathwise"

    def apply(self, x: Array, drawn: Any = None) -> Array:
        """The multiple of each vector of x (..., d)."""
        sent: Array = x * self.factor
        return sent

    def _delta(self, d: int) -> float:
        return 1.0 - (self.factor - 1.0) ** 2


@dataclass(frozen=True)
class ScaledMultiples:
    """delta of a C(x) where of C nothing but delta is known, beside what such a C achieves.

    |a C(x) - x| <= (a q + |1-a|)|x| with q = sqrt(1-delta), and C(x) = (1-q) x, for a > 1
    C(x) = (1+q) x, meets it (derived here). ``settings`` are (delta, a).
    """

    settings: tuple[tuple[float, float], ...] = ((0.3, 0.5), (0.9, 0.5), (0.9, 1.2), (0.3, 1.5))
    d: int = 16

    def compute(self) -> dict[str, Array]:
        """(S,) each: "delta", "factor", "claimed" of a C(x), and "achieved" by the worse C."""
        x, rows = np.random.default_rng(0).standard_normal(self.d), []
        for delta, factor in self.settings:
            q = math.sqrt(1.0 - delta)
            scaled = [Scaled(Multiple(multiple), factor) for multiple in (1.0 - q, 1.0 + q)]
            achieved = min(float(achieved_delta(x, c(x))) for c in scaled)
            rows.append((delta, factor, scaled[0].delta(self.d), achieved))
        names = ("delta", "factor", "claimed", "achieved")
        return dict(zip(names, np.array(rows).T, strict=True))


def checked(
    subject: Compressor | Callable[..., Any],
    d: int,
    seed: int,
    samples: int,
    delta: float | Callable[[int], float] | None = None,
) -> tuple[Verification, dict[str, Array]]:
    """The outcome of :func:`efsgd.verify` with a certificate, and the same as arrays.

    Also "stated", delta(d) whatever the guarantee is; "contractive", the delta of contractive(d) of
    an unbiased one; "small", the delta that one without a bound achieves at SMALL (1, .., 1). They
    are NaN after a violation. ``subject`` is a compressor, or a function with its ``delta``. Raises
    as ``verify`` does.
    """
    rng = np.random.default_rng([seed, d])
    verification = verify(subject, d, rng, delta=delta, samples=samples, certify=True)
    gaussian = attaining = (math.nan, math.nan)
    more = dict.fromkeys(("stated", "contractive", "small"), math.nan)
    if verification:
        c = as_compressor(subject, d, delta)
        gaussian, attaining = _gaussian(c, d, rng, samples), _attaining(c, d, rng, samples)
        more["stated"] = c.delta(d)
        if c.guarantee == "unbiased":
            more["contractive"] = c.contractive(d).delta(d)
        if c.guarantee in ("absolute", "none"):
            more["small"] = _on_small(c, d, rng)
    arrays = {name: np.array(value) for name, value in more.items()}
    return verification, described(verification, gaussian, attaining) | arrays


def described(
    verification: Verification, gaussian: tuple[float, float], attaining: tuple[float, float]
) -> dict[str, Array]:
    """A verification as arrays: numbers, NaN where there is none, and texts.

    "gaussian" and "gaussian_worst" are the mean and the worst delta (or omega) of Gaussian vectors;
    "attaining" the one at the vector that the compressor names as its worst, and "attaining_error"
    its standard error.
    """
    proof = verification.certificate
    numbers = {
        "claimed": verification.claimed,
        "worst": verification.worst,
        "error": verification.error,
        "bias": verification.bias,
        "bits": verification.bits,
        "allowed": verification.allowed,
        "certified": proof.value if proof else math.nan,
        "dual": proof.dual if proof else math.nan,
        "gap": proof.gap if proof else math.nan,
        "proof_seconds": proof.seconds if proof else math.nan,
        "solved": bool(proof and proof.solved),
        "gaussian": gaussian[0],
        "gaussian_worst": gaussian[1],
        "attaining": attaining[0],
        "attaining_error": attaining[1],
        "vector": verification.vector,
    }
    texts = {
        "verdict": verification.verdict,
        "quantity": verification.quantity,
        "guarantee": verification.guarantee,
        "reason": verification.reason,
        "kind": proof.kind if proof else "none",
        "proof": proof.text if proof else "",
    }
    return {name: np.array(value) for name, value in (numbers | texts).items()}


def _delta_or_omega(search: Search, loss: Array) -> Array:
    """The quantity that the compressor claims, from losses |C(x)-x|^2/|x|^2."""
    quantity: Array = loss if search.unbiased else 1.0 - loss
    return quantity


def _gaussian(c: Compressor, d: int, rng: Generator, samples: int) -> tuple[float, float]:
    """The mean and the worst delta or omega over Gaussian vectors."""
    search = Search(c, d, rng, samples)
    points = rng.standard_normal((GAUSSIAN_IF_RANDOM if c.random else GAUSSIAN, d))
    loss, _ = search.loss(points)
    return float(_delta_or_omega(search, loss.mean())), float(_delta_or_omega(search, loss.max()))


def _attaining(c: Compressor, d: int, rng: Generator, samples: int) -> tuple[float, float]:
    """The delta or omega at the vector that the compressor names, and its standard error."""
    search = Search(c, d, rng, samples)
    if search.silent or not (points := search.named()):
        return math.nan, math.nan
    loss, error = search.loss(points[0], 20 * samples)
    return float(_delta_or_omega(search, loss[0])), float(error[0])


def _on_small(c: Compressor, d: int, rng: Generator) -> float:
    """The delta that C achieves at SMALL (1, .., 1), the mean over some draws."""
    x = np.full((100 if c.random else 1, d), SMALL)
    return float(achieved_delta(x, c(x, rng)).mean())
