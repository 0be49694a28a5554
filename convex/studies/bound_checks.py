"""The check of one compressor at one dimension as a work: search, certificate, Gaussian vectors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from efsgd.arrays import Array, Generator
from efsgd.compressors import compressor
from efsgd.compressors.base import Compressor
from efsgd.convex.verification.search import Search
from efsgd.convex.verification.verification import Verification, held, verify

GAUSSIAN, FEWER = 200, 50  # vectors; fewer where each is drawn many times
DIMENSIONS = (1, 2, 5, 16, 256)
SPECS = (  # every built-in compressor
    *("identity", "sign", "scaledsign", "scaledsign:zero=0", "blockwise:16,scaledsign"),
    *("twomeans", "signtopk:4", "topk:0.25", "scaled:0.5,topk:0.25", "randk:0.25"),
    *("randk:0.25,unbiased", "lowrank:1", "threshold:l2=0.5", "threshold:linf=0.5"),
    *("threshold:abs=0.1", "qsgd:2", "qsgd:64", "terngrad", "natural", "natural:nearest"),
)
BUILT_IN = tuple(compressor(spec) for spec in SPECS)


@dataclass(frozen=True)
class Bounds:
    """What is known of the bound of ``compressor`` at dimension ``d``; see :func:`described`."""

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


def checked(
    what: Compressor | Callable[..., Any],
    d: int,
    seed: int,
    samples: int,
    delta: float | Callable[[int], float] | None = None,
) -> tuple[Verification, dict[str, Array]]:
    """What :func:`efsgd.verify` finds with a certificate, and the same as arrays.

    ``what`` may also be a function with its ``delta``. Raises as ``verify`` does.
    """
    rng = np.random.default_rng([seed, d])
    found = verify(what, d, rng, delta=delta, samples=samples, certify=True)
    gaussian = named = (math.nan, math.nan)
    if found:
        c = held(what, d, delta)
        gaussian, named = _gaussian(c, d, rng, samples), _named(c, d, rng, samples)
    return found, described(found, gaussian, named)


def described(
    found: Verification, gaussian: tuple[float, float], named: tuple[float, float]
) -> dict[str, Array]:
    """A verification as arrays: numbers, NaN where there is none, and texts.

    "gaussian" and "gaussian_worst" are the mean and the worst delta (or omega) of Gaussian vectors;
    "attaining" the one at the vector that the compressor names, with its standard error.
    """
    proof = found.certificate
    numbers = {
        "claimed": found.claimed,
        "worst": found.worst,
        "error": found.error,
        "bias": found.bias,
        "bits": found.bits,
        "allowed": found.allowed,
        "certified": proof.value if proof else math.nan,
        "dual": proof.dual if proof else math.nan,
        "gap": proof.gap if proof else math.nan,
        "proof_seconds": proof.seconds if proof else math.nan,
        "solved": bool(proof and proof.solved),
        "gaussian": gaussian[0],
        "gaussian_worst": gaussian[1],
        "attaining": named[0],
        "attaining_error": named[1],
        "vector": found.vector,
    }
    texts = {
        "verdict": found.verdict,
        "quantity": found.quantity,
        "guarantee": found.guarantee,
        "reason": found.reason,
        "kind": proof.kind if proof else "none",
        "proof": proof.text if proof else "",
    }
    return {name: np.array(value) for name, value in (numbers | texts).items()}


def _told(search: Search, loss: Array) -> Array:
    """Losses as what is claimed: delta, or omega."""
    told: Array = loss if search.unbiased else 1.0 - loss
    return told


def _gaussian(c: Compressor, d: int, rng: Generator, samples: int) -> tuple[float, float]:
    """The mean and the worst over Gaussian vectors."""
    search = Search(c, d, rng, samples)
    loss, _ = search.loss(rng.standard_normal((FEWER if c.random else GAUSSIAN, d)))
    return float(_told(search, loss.mean())), float(_told(search, loss.max()))


def _named(c: Compressor, d: int, rng: Generator, samples: int) -> tuple[float, float]:
    """The delta or omega at the vector that the compressor names, and its standard error."""
    search = Search(c, d, rng, samples)
    if search.silent or not (points := search.named()):
        return math.nan, math.nan
    loss, error = search.loss(points[0], 20 * samples)
    return float(_told(search, loss[0])), float(error[0])
