"""What is compared on data of one's own, and the search for its step sizes.

Tuning looks at the training loss alone: of a grid of step sizes it takes the one with the least
mean of f over the last tenth of the steps. The grid is in units of 1/L, L being the smoothness, or
for unscaled signs of the largest entry of the first gradient over L; it grows beyond an edge at
which the best step size lies.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from efsgd import Method, Run, SignSGD, Signum, Split
from efsgd.figures.make import Options
from efsgd.figures.processes.pool import obtain_all
from efsgd.results import Result, Work, place

REPLICATES = 5  # of a comparison in which something is random; tuning takes one
POINTS = 200  # of a curve
SPAN_LIMIT = 2**24  # entries of all gradients; beyond, their span takes too long
EXPONENTS, QUICK_EXPONENTS = range(-4, 2), range(-2, 1)  # of the square root of ten
ADDED, AT_MOST = 2, 24  # step sizes added at an edge, and in all


@dataclass(frozen=True)
class Choice:
    """A step size and how it came about."""

    lr: float
    remark: str


@dataclass(frozen=True)
class Study:
    """What is compared, but for the step sizes; ``methods`` are by label, with their short name."""

    title: str
    problem: Any  # FileSquares or FileLogistic
    methods: dict[str, tuple[str, Method]]
    steps: int
    batch: int | None
    options: Options
    workers: int = 1
    split: str = "iid"  # how the rows are dealt to several workers

    @cached_property
    def dealt(self) -> Any:
        """The problem, with its rows dealt to the workers if there are several."""
        if self.workers == 1:
            return self.problem
        return Split(self.problem, self.workers, self.split, self.options.seed)

    def check(self) -> None:
        """ValueError where the rows cannot be dealt so, or a method cannot work on them."""
        for label in self.methods:
            self._vary(label, 1.0)

    def comparison(self, label: str, lr: float, certified: bool) -> Work:
        """The run that is drawn; the distance to the optimum only if that is certified."""
        random = self.batch is not None or self.methods[label][1].compresses.random
        replicates = REPLICATES if random and not self.options.quick else 1
        d, n = self.problem.d, self.problem.n
        sent = "bytes" if self.workers == 1 else "bytes_worker"
        metrics = ["loss", sent, *self.problem.measure(np.zeros((1, d)))]
        metrics += ["distance"] * certified
        alone = self.workers == 1
        spans = alone and d > n and replicates * self.steps * d <= SPAN_LIMIT
        metrics += ["span_distance"] * spans
        record = tuple({round(self.steps * i / POINTS) for i in range(POINTS + 1)})
        return self._vary(label, lr, replicates=replicates, record=record, metrics=tuple(metrics))

    def tuned(
        self, fixed: dict[str, float], others: dict[str, Work]
    ) -> tuple[dict[str, Choice], dict[str, Result]]:
        """A step size for each method, and the results of other works, done in the same go."""
        first = QUICK_EXPONENTS if self.options.quick else EXPONENTS
        losses: dict[str, dict[int, float]] = {k: {} for k in self.methods if k not in fixed}
        untried = {label: list(first) for label in losses}
        other_results: dict[str, Result] = {}
        while untried or others:
            names = {(k, i): f"{k}, lr={self.lr(k, i):g}" for k in untried for i in untried[k]}
            works = {name: self._tuning(label, i) for (label, i), name in names.items()}
            results = self.obtain(works | others)
            for (label, i), name in names.items():
                losses[label][i] = _late_loss(results[name])
            other_results |= {name: results[name] for name in others}
            others, untried = {}, {} if self.options.quick else _beyond(losses, untried)
        chosen = {label: Choice(lr, "given") for label, lr in fixed.items()}
        chosen |= {label: self._best(label, tried) for label, tried in losses.items()}
        return {label: chosen[label] for label in self.methods}, other_results

    def obtain(self, works: dict[str, Work]) -> dict[str, Result]:
        """The results of some works, by their names."""
        folder, options = self.options.results, self.options
        by_path = obtain_all(works, folder, again=options.again, jobs=options.jobs)
        return {name: by_path[place(work, folder)] for name, work in works.items()}

    def lr(self, label: str, exponent: int) -> float:
        """The step size of the grid, to three digits."""
        method = self.methods[label][1]
        unit = self._units[isinstance(method, SignSGD | Signum)]
        return float(f"{unit * 10 ** (exponent / 2):.3g}")

    @cached_property
    def _units(self) -> tuple[float, float]:
        """1/L, and for unscaled signs the largest entry of the first gradient over L."""
        smoothness = self.problem.smoothness() or 1.0
        first = self.problem.full_gradient(np.zeros((1, self.problem.d)))
        return 1 / smoothness, float(np.abs(first).max()) / smoothness or 1.0

    def _tuning(self, label: str, exponent: int) -> Work:
        """One run that records f over its last tenth."""
        late = {round(self.steps * (0.9 + 0.01 * i)) for i in range(11)}
        return self._vary(label, self.lr(label, exponent), record=tuple(late), metrics=("loss",))

    def _vary(self, label: str, lr: float, **fields: Any) -> Work:
        """A run that goes on where it diverges."""
        from efsgd.convex.studies.vary import Vary

        method, seed = self.methods[label][1], self.options.seed
        fields |= {"workers": self.workers, "batch": self.batch}
        run = Run(self.dealt, method, lr, self.steps, seed, **fields)
        return Vary(run, "lr", (lr,))

    def _best(self, label: str, losses: dict[int, float]) -> Choice:
        best = min(losses, key=lambda i: (losses[i], i))
        remark = f"best of {len(losses)}"
        if losses[best] == np.inf:
            remark = f"all {len(losses)} diverged"
        elif best in (min(losses), max(losses)):
            remark += ", at the edge of the grid"
        return Choice(self.lr(label, best), remark)


def _beyond(losses: dict[str, dict[int, float]], labels: Iterable[str]) -> dict[str, list[int]]:
    """Exponents beyond the edge, for those of these methods whose best step size lies at one."""
    exponents = {}
    for label in labels:
        tried = losses[label]
        best, low, high = min(tried, key=lambda i: (tried[i], i)), min(tried), max(tried)
        if len(tried) < AT_MOST and best in (low, high):
            ends = (low - ADDED, low) if best == low else (high + 1, high + 1 + ADDED)
            exponents[label] = list(range(*ends))
    return exponents


def _late_loss(result: Result) -> float:
    """The mean of f over the last tenth of the steps; inf where the run diverged."""
    late = result["loss"][result["step"] >= 0.9 * result["step"][-1]]
    mean = float(late.mean())
    return mean if np.isfinite(mean) else np.inf
