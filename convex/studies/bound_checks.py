"""The check of one compressor's bound at one dimension: search, certificate, Gaussian vectors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from efsgd.arrays import Array, Generator
from efsgd.compressors import compressor
from efsgd.compressors.base import Compressor
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
    "lowrank:1",
    "threshold:l2=0.5",
    "threshold:linf=0.5",
    "threshold:abs=0.1",
    "qsgd:2",
    "qsgd:64",
    "contractive,qsgd:2",
    "terngrad",
    "natural",
    "natural:nearest",
)
BUILT_IN = tuple(compressor(spec) for spec in SPECS)


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


def checked(
    subject: Compressor | Callable[..., Any],
    d: int,
    seed: int,
    samples: int,
    delta: float | Callable[[int], float] | None = None,
) -> tuple[Verification, dict[str, Array]]:
    """The outcome of :func:`efsgd.verify` with a certificate, and the same as arrays.

    ``subject`` is a compressor, or a function with its ``delta``. Raises as ``verify`` does.
    """
    rng = np.random.default_rng([seed, d])
    verification = verify(subject, d, rng, delta=delta, samples=samples, certify=True)
    gaussian = attaining = (math.nan, math.nan)
    if verification:
        c = as_compressor(subject, d, delta)
        gaussian, attaining = _gaussian(c, d, rng, samples), _attaining(c, d, rng, samples)
    return verification, described(verification, gaussian, attaining)


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
