"""The least squares problem of section 5: studies of a method on many draws of its data.

What happens there has closed forms (derived here), for a training set with more y = +1 than -1.
Scaled signs give all touched coordinates the same magnitude a; rows y = +1 then need 4a = 1 and
rows y = -1 need a - 2a + 5a = 1, so a = 1/4 fits all of them. A test row, whose own columns have
weight 0, is predicted as 3/4 for y = +1 and as 1/4, wrongly, for y = -1. With sign(0) = +1 the
untouched coordinates end at -1/4 and the predictions are 1/2 and -1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from efsgd.arrays import Array
from efsgd.convex.problems.least_squares import WilsonLeastSquares
from efsgd.convex.studies.vary import Vary
from efsgd.engine.runs import Run, run
from efsgd.methods.base import Method

STEPS = 80  # as in the paper's figure
GRID = tuple(float(f"{lr:.4g}") for lr in np.logspace(-3, 2, 25))
Draws = tuple[WilsonLeastSquares, ...]


def data_draws(p: float, number: int, seed: int) -> Draws:
    """``number`` draws of the data with P(y=1) = p; the random numbers are the same for any p."""
    return tuple(WilsonLeastSquares(p=p, seed=1000 * seed + i) for i in range(number))


def draws_in(values: list[dict[str, Any]]) -> Draws:
    """The draws in the saved spec of a study: its ``values``, the fields of each draw."""
    return tuple(WilsonLeastSquares(rows=v["rows"], p=v["p"], seed=v["seed"]) for v in values)


def along(
    data: Draws,
    method: Method,
    lr: float,
    metrics: tuple[str, ...],
    steps: int = STEPS,
    record: int | None = None,
) -> Vary:
    """The method on every draw; ``record`` and ``metrics`` as in :class:`efsgd.Run`."""
    first = Run(data[0], method, lr, steps, record=record, metrics=metrics)
    return Vary(first, "problem", data)


def on_grid(
    data: Draws, method: Method, grid: tuple[float, ...] = GRID, steps: int = STEPS
) -> Vary:
    """The first and final test loss of the method on every draw with every step size, (2, V, R)."""
    first = Run(
        problem=data[0],
        method=method,
        lr=grid,
        steps=steps,
        replicates=len(grid),
        record=(steps,),
        metrics=("test_mse",),
    )
    return Vary(first, "problem", data)


def negatives(data: Draws) -> Array:
    """The share of y = -1 among the test rows of each draw, (V,)."""
    return np.array([np.mean(draw.labels[draw.rows // 2 :] < 0) for draw in data])


def ternary_loss(negative: Array) -> Array:
    """The test loss of scaled signs with sign(0) = 0, for this share of y = -1 (derived above)."""
    return (1 - negative) / 16 + negative * 25 / 16


def one_bit_loss(negative: Array) -> Array:
    """The test loss of scaled signs with sign(0) = +1, for this share of y = -1 (derived above)."""
    return (1 - negative) / 4


@dataclass(frozen=True)
class Untouched:
    """The final iterate on each draw, without the weights of columns that are 0 in training.

    Arrays (V,): "test_mse" and "test_accuracy" with those weights set to 0, and the "least" and
    "greatest" of them before that.
    """

    problems: Draws
    method: Method
    lr: float
    steps: int = STEPS

    @property
    def cost(self) -> float:
        """The steps of all runs together."""
        return float(self.steps * len(self.problems))

    def compute(self) -> dict[str, Array]:
        """Train on every draw, then set those weights to 0."""
        draws = [self._measure(problem) for problem in self.problems]
        return {name: np.array([draw[name] for draw in draws]) for name in draws[0]}

    def _measure(self, problem: WilsonLeastSquares) -> dict[str, float]:
        training = Run(problem, self.method, self.lr, self.steps, metrics=("loss",))
        w = run(training)["x_final"]
        free = abs(problem.data.train.matrix).sum(axis=0) == 0
        measured = problem.measure(np.where(free, 0.0, w))
        return {
            "test_mse": float(measured["test_mse"][0]),
            "test_accuracy": float(measured["test_accuracy"][0]),
            "least": float(w[:, free].min()),
            "greatest": float(w[:, free].max()),
        }
