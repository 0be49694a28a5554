"""Studies of several workers: stationary gaps over n, votes of signs, and means of iterates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from efsgd.arrays import Array
from efsgd.compressors.signs import Sign
from efsgd.convex.problems.several_workers import NoisySlope, SkewedNoise
from efsgd.engine.runs import Run, run
from efsgd.engine.split import Split
from efsgd.methods.base import Method
from efsgd.methods.sgd import MajorityVote

EVERY = 5  # steps between two gaps that count


@dataclass(frozen=True)
class StationaryGaps:
    """The gap of a method on :class:`SkewedNoise` from x*, averaged over time, for each n.

    The first ``burn_in`` steps do not count. Replicates that diverge become NaN.
    """

    method: Method
    ns: tuple[int, ...]
    lr: float = 0.05
    burn_in: int = 500
    steps: int = 2500
    replicates: int = 48
    seed: int = 0

    @property
    def cost(self) -> float:
        """All steps of all replicates and workers, roughly in calls of NumPy."""
        return float(self.steps * sum(4 + n for n in self.ns))

    def compute(self) -> dict[str, Array]:
        """ "n" (N,), and "gap" (N, R), a mean over time for each replicate."""
        recorded = tuple(range(self.burn_in, self.steps + 1, EVERY))
        gaps = []
        for n in self.ns:
            experiment = Run(
                SkewedNoise(),
                self.method,
                self.lr,
                self.steps,
                seed=self.seed,
                replicates=self.replicates,
                record=recorded,
                metrics=("loss",),
                workers=n,
            )
            history = run(experiment, diverged="keep")
            gaps.append(history["loss"][history["step"] >= self.burn_in].mean(0))
        return {"n": np.array(self.ns), "gap": np.array(gaps)}


@dataclass(frozen=True)
class Votes:
    """One step of majority vote on :class:`NoisySlope`, many times, for each n.

    The right sign is known, so that each entry of the step is right, wrong or a tie.
    """

    problem: NoisySlope
    ns: tuple[int, ...]
    replicates: int = 400
    seed: int = 0

    @property
    def cost(self) -> float:
        """All draws, in steps."""
        return float(sum(self.ns))

    def compute(self) -> dict[str, Array]:
        """ "n", "right", "wrong" and "tie" (N,): counts of entries."""
        steps = []
        for n in self.ns:
            vote = Run(
                self.problem,
                MajorityVote(Sign()),
                1.0,
                1,
                seed=self.seed,
                replicates=self.replicates,
                metrics=("loss",),
                workers=n,
            )
            steps.append(-run(vote)["x_final"].ravel())
        counts = {"right": 1.0, "wrong": -1.0, "tie": 0.0}
        found = {
            name: np.array([(s == sign).sum() for s in steps]) for name, sign in counts.items()
        }
        return {"n": np.array(self.ns), **found}


@dataclass(frozen=True)
class MeanIterates:
    """A run on least squares that is split over workers, and the gap at the mean of its iterates.

    ``run`` is of one replicate and records every step.

    The mean of x_0, ..., x_(T-1) tells whether anything is lost. If v = x - e moves by -lr grad f,
    then grad f at the mean is (v_0 - v_T)/(lr T), as f is quadratic, and the gap there, times
    (lr T)^2, tends to (x_0 - x*)' H^-1 (x_0 - x*)/2 but for what is in memories at T (derived
    here). The mean of the last half, from x_(T//2) on, forgets the start: there only v_(T//2) - v_T
    is left, two memories apart, and what is lost on average keeps grad f away from 0.
    """

    run: Run

    def __post_init__(self) -> None:
        """Refuse what has no such mean."""
        if self.run.record != 1 or self.run.replicates != 1:
            raise ValueError("the mean iterate needs a run with record=1 and one replicate")

    @property
    def cost(self) -> float:
        """The steps."""
        return float(self.run.steps)

    def compute(self) -> dict[str, Array]:
        """The metrics of the run, (T+1,); "gap", "mean_gap" and "late_gap" (NaN at 0); "limit"."""
        experiment = self.run
        split: Any = experiment.problem
        followed = replace(experiment, problem=Followed(split), metrics=self._metrics())
        history = run(followed, diverged="keep")
        x = np.stack([history.pop(name)[:, 0] for name in coordinates(split.d)], axis=1)
        T = np.arange(1, len(x))[:, None]
        sums = np.concatenate([np.zeros((1, split.d)), np.cumsum(x[:-1], axis=0)])
        late = (sums[1:] - sums[T[:, 0] // 2]) / (T - T // 2)
        best = split.optimum
        del history["x_final"]
        found = {name: a if a.ndim == 1 else a[:, 0] for name, a in history.items()}
        with np.errstate(over="ignore", invalid="ignore"):  # of runs that diverged
            gaps = {"gap": x, "mean_gap": sums[1:] / T, "late_gap": late}
            found |= {name: split.loss(points) - best.f for name, points in gaps.items()}
        for name in ("mean_gap", "late_gap"):
            found[name] = np.concatenate([[np.nan], found[name]])
        return found | {"limit": _limit(split, x[0] - best.x)}

    def _metrics(self) -> tuple[str, ...]:
        names = self.run.metrics
        assert isinstance(names, tuple)  # as works give them
        return (*names, *coordinates(self.run.problem.d))


@dataclass(frozen=True)
class Followed:
    """The same problem, whose coordinates are recorded."""

    problem: Split

    def __getattr__(self, name: str) -> Any:
        """What the problem has itself."""
        if name.startswith("__") or name in ("problem", "project"):
            raise AttributeError(f"Followed has no attribute {name!r}")
        return getattr(self.problem, name)

    @property
    def d(self) -> int:
        """The dimension."""
        return self.problem.d

    def loss(self, x: Array) -> Array:
        """f of each replicate, (R, d) -> (R,)."""
        return self.problem.loss(x)

    def gradient(self, x: Array, rng: np.random.Generator) -> Array:
        """The gradient of the whole problem, (R, d)."""
        return self.problem.gradient(x, rng)

    def measure(self, x: Array) -> dict[str, Array]:
        """Each coordinate."""
        return dict(zip(coordinates(self.d), x.T, strict=True))


def coordinates(d: int) -> tuple[str, ...]:
    """What the coordinates are called: x_0, x_1, ..."""
    return tuple(f"x_{i}" for i in range(d))


def _limit(split: Any, away: Array) -> Array:
    """away' H^-1 away/2 with the Hessian H = X'X/n."""
    X = split.problem.data.X
    return np.array(0.5 * away @ np.linalg.solve(X.T @ X / len(X), away))
