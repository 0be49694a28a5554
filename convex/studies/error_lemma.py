"""The memory of error feedback along runs, to be compared with the bound of the error lemma.

Each result also holds the arguments of that bound in :mod:`efsgd.bounds`: step sizes, sigma, delta.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from efsgd.arrays import Array
from efsgd.compressors.base import Compressor
from efsgd.convex.problems.bounded_noise import BoundedNoise, Slope
from efsgd.convex.studies.stepping import memories
from efsgd.convex.studies.vary import densities
from efsgd.engine.runs import Run, run
from efsgd.methods.feedback import EFSGD
from efsgd.schedules import Schedule


@dataclass(frozen=True)
class Memories:
    """E|e_t|^2 of error feedback with this compressor, on each problem with each of the step sizes.

    Arrays: "step" (S,), the recorded t; "squared" (P, V, S), the mean of |e_t|^2 over the
    replicates, and "error" its standard error, 0 for one replicate; "lrs" (V, T), the step sizes;
    "sigma" (P,) and the number "delta"; "virtual_residual" (P, V, S). Of scaled signs also
    "achieved_delta" and "phi_p" (P, V, S, R).
    """

    compressor: Compressor
    problems: tuple[BoundedNoise | Slope, ...]
    rates: tuple[float | Schedule, ...]
    steps: int
    record: int
    seed: int = 0
    replicates: int = 1

    @property
    def cost(self) -> float:
        """The steps of all runs together."""
        return float(self.steps * len(self.rates) * len(self.problems) * self.replicates)

    def compute(self) -> dict[str, Array]:
        """Run it once for each problem and step size, with the same noise."""
        runs = [[self._history(problem, rate) for rate in self.rates] for problem in self.problems]
        squares = np.array([[history["memory_norm"] ** 2 for history in row] for row in runs])
        residuals = np.array([[history["virtual_residual"] for history in row] for row in runs])
        spread = squares.std(axis=3, ddof=1) if self.replicates > 1 else 0 * squares[..., 0]
        watched = densities(EFSGD(self.compressor))
        return {
            **{name: np.array([[h[name] for h in row] for row in runs]) for name in watched},
            "step": runs[0][0]["step"],
            "squared": squares.mean(axis=3),
            "error": spread / np.sqrt(self.replicates),
            "virtual_residual": residuals.max(axis=3),
            "lrs": np.stack([self._lrs(rate) for rate in self.rates]),
            "sigma": np.array([problem.sigma for problem in self.problems]),
            "delta": np.array(self.compressor.delta(self.problems[0].d)),
        }

    def _history(self, problem: BoundedNoise | Slope, rate: float | Schedule) -> dict[str, Array]:
        method = EFSGD(self.compressor)
        return run(
            Run(
                problem=problem,
                method=method,
                lr=rate,
                steps=self.steps,
                seed=self.seed,
                replicates=self.replicates,
                record=self.record,
                metrics=("memory_norm", "virtual_residual", *densities(method)),
            )
        )

    def _lrs(self, rate: float | Schedule) -> Array:
        """The step size of each step, (T,)."""
        if not isinstance(rate, Schedule):
            return np.full(self.steps, float(rate))
        return np.array([rate(t) for t in range(self.steps)])


@dataclass(frozen=True)
class GivenLengths:
    """|e_t|^2 of error feedback in one dimension where each gradient has a given length.

    ``rates`` and ``lengths`` are the step sizes lr_t and the gradients sigma_t > 0 of the steps, as
    many of one as of the other. Such gradients are no f's, but the lemma holds for any.

    Arrays: "squared" (T+1,), |e_t|^2 for t = 0, ..., T; "lrs" and "sigmas" (T,); and the number
    "delta".
    """

    compressor: Compressor
    rates: tuple[float, ...]
    lengths: tuple[float, ...]

    @property
    def cost(self) -> float:
        """The steps."""
        return float(len(self.lengths))

    def compute(self) -> dict[str, Array]:
        """Step through it."""
        steps = list(zip(self.rates, self.lengths, strict=True))

        def gradient(t: int, x: Array, e: Array) -> Array:
            return np.full_like(x, steps[t][1])

        start, rng = np.zeros((1, 1)), np.random.default_rng(0)  # which draws nothing
        along = memories(self.compressor, start, gradient, self.rates, rng)
        return {
            "squared": np.array([0.0, *(float(e[0, 0] ** 2) for e in along)]),
            "lrs": np.array(self.rates),
            "sigmas": np.array(self.lengths),
            "delta": np.array(self.compressor.delta(1)),
        }


@dataclass(frozen=True)
class AlongMemory:
    """E|e_t|^2 of error feedback where each gradient points along the memory, lr = sigma = 1.

    |p_t| = |e_t| + lr sigma then, the most that it can be. The first gradient has equal entries,
    and so has the one after an empty memory. Such gradients are no f's, but the lemma holds for any
    gradients with E|g_t|^2 <= sigma^2.

    Arrays over t = 0, ..., T: "squared", the mean of |e_t|^2 over the replicates, and "error", its
    standard error; and the number "delta".
    """

    compressor: Compressor
    d: int
    steps: int
    seed: int = 0
    replicates: int = 100

    @property
    def cost(self) -> float:
        """The entries of all steps."""
        return float(self.steps * self.replicates * self.d) / 100

    def compute(self) -> dict[str, Array]:
        """Step through it: a gradient that depends on the memory is none of a problem."""
        rng, start = np.random.default_rng(self.seed), np.zeros((self.replicates, self.d))
        lengths = np.zeros((self.steps + 1, self.replicates))
        first = np.full(self.d, self.d**-0.5)

        def gradient(t: int, x: Array, e: Array) -> Array:
            length = lengths[t][:, None]
            return np.where(length > 0, e / np.where(length > 0, length, 1.0), first)

        along = memories(self.compressor, start, gradient, [1.0] * self.steps, rng)
        for t, e in enumerate(along, 1):
            lengths[t] = np.linalg.norm(e, axis=1)
        squares = lengths**2
        return {
            "squared": squares.mean(axis=1),
            "error": squares.std(axis=1, ddof=1) / np.sqrt(self.replicates),
            "delta": np.array(self.compressor.delta(self.d)),
        }
