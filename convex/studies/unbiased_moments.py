"""Unbiased compressors U and the contractive U/k of Theorem IV.

Moments are exact, without sampling: the subsets of rand-k are enumerated; every other U here rounds
each entry to one of two values, whose probabilities are found by bisection over the uniform number
drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from efsgd.arrays import Array
from efsgd.compressors.base import Compressor
from efsgd.compressors.guarantee import Guarantee
from efsgd.compressors.packing import Shape
from efsgd.compressors.sparse import RandK
from efsgd.convex.problems.bounded_noise import BoundedNoise
from efsgd.convex.studies.stepping import memories


@dataclass(frozen=True)
class Unscaled(Compressor):
    """U itself without a claim, so that error feedback does not refuse it."""

    compressor: Compressor

    @property
    def guarantee(self) -> Guarantee:
        """None."""
        return "none"

    @property
    def random(self) -> bool:
        """As U is."""
        return self.compressor.random

    def draw(
        self, shape: Shape, rng: np.random.Generator | None = None, state: object = None
    ) -> object:
        """What U draws."""
        return self.compressor.draw(shape, rng, state)

    def apply(self, x: Array, drawn: object = None) -> Array:
        """U(x) of each vector of x (..., d)."""
        return self.compressor.apply(x, drawn)


@dataclass(frozen=True)
class EntryGrowth:
    """How the memory of error feedback with U alone grows, each entry by itself.

    The gradients are those of the problem until it has grown so much that they no longer count.

    Arrays: "log_entries" (2, R, d), log |e_t| of each entry at the two steps "at" (2,), the middle
    and the end of the run; "log_norm" (2, R), log |e_t|.
    """

    compressor: Compressor
    problem: BoundedNoise
    lr: float
    steps: int
    seed: int = 0
    replicates: int = 200

    @property
    def cost(self) -> float:
        """The steps of all runs together."""
        return float(self.steps * self.replicates)

    def compute(self) -> dict[str, Array]:
        """Step through it: a run keeps no entries of the memory."""
        rng, at = np.random.default_rng(self.seed), (self.steps // 2, self.steps)
        start = self.problem.x0(rng, self.replicates)

        def gradient(t: int, x: Array, e: Array) -> Array:
            return self.problem.gradient(x, rng)

        lrs, logs, norms = [self.lr] * self.steps, [], []
        for t, e in enumerate(memories(Unscaled(self.compressor), start, gradient, lrs, rng), 1):
            if t in at:
                logs.append(np.log(abs(e)))
                norms.append(np.log(np.linalg.norm(e, axis=1)))
        return {
            "at": np.array(at),
            "log_entries": np.array(logs),
            "log_norm": np.array(norms),
        }


@dataclass(frozen=True)
class UnbiasedMoments:
    """Moments of an unbiased U at the point where E|U(x)|^2 = k|x|^2, and at ``others`` more.

    Arrays: "k", the number 1 + omega(d); for each point, the attaining one first, (P,): "bias",
    |E U(x) - x|/|x|, and "second", E|U(x)|^2/|x|^2; "scales" (A,), numbers a that are ``shares`` of
    1/k; "delta" (A, P), 1 - E|a U(x) - x|^2/|x|^2.
    """

    compressor: Compressor
    d: int
    shares: tuple[float, ...]
    others: int
    seed: int = 0

    @property
    def cost(self) -> float:
        """The points."""
        return float(self.others)

    def compute(self) -> dict[str, Array]:
        """The moments at every point."""
        points = [self.compressor.attaining_point(self.d), *self._others()]
        k = 1.0 + self.compressor.omega(self.d)
        scales = np.array(self.shares) / k
        rows = [self._moments(x, scales) for x in points]
        bias, second, delta = (np.array(column) for column in zip(*rows, strict=True))
        return {
            "k": np.array(k),
            "bias": bias,
            "second": second,
            "scales": scales,
            "delta": delta.T,
        }

    def _others(self) -> Array:
        """Gaussian vectors, the first of them 1-sparse."""
        points = np.random.default_rng(self.seed).standard_normal((self.others, self.d))
        points[:1, 1:] = 0
        return points

    def _moments(self, x: Array, scales: Array) -> tuple[float, float, Array]:
        """The bias, the second moment and the delta of each scale at x (d,)."""
        values, weights = outcomes(self.compressor, x)
        square = float(x @ x)
        bias = np.linalg.norm((weights * values).sum(axis=0) - x) / square**0.5
        second = float((weights * values**2).sum()) / square
        errors = scales[:, None, None] * values - x
        return float(bias), second, 1 - (weights * errors**2).sum(axis=(1, 2)) / square


def outcomes(c: Compressor, x: Array) -> tuple[Array, Array]:
    """The values that each entry of c(x) takes and their probabilities, both (B, d).

    ``c`` is RandK, or draws a uniform number an entry that chooses between two values.
    """
    if isinstance(c, RandK):
        listed = subsets(c, x.size)
        values = c.apply(np.tile(x, (len(listed), 1)), listed)
        return values, np.full(values.shape, 1 / len(listed))
    first = c.apply(x, np.zeros(x.size))
    second = c.apply(x, np.full(x.size, np.nextafter(1.0, 0.0)))
    low, high = np.zeros(x.size), np.ones(x.size)
    for _ in range(60):
        middle = (low + high) / 2
        same = c.apply(x, middle) == first
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    return np.stack([first, second]), np.stack([high, 1 - high])


def subsets(c: RandK, d: int) -> Array:
    """All sets of positions that rand-k may keep of d, (B, k)."""
    kept = round(c.delta(d) * d) if not c.unbiased else round(d / (1 + c.omega(d)))
    return np.array(list(combinations(range(d), kept)))
