"""The least squares of section 5 as studies: many draws of its data, a method along them or a grid.

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


def data_draws(p: float, many: int, seed: int) -> Draws:
    """``many`` draws of the data with P(y=1) = p; those of one seed are the same for any p."""
    return tuple(WilsonLeastSquares(p=p, seed=1000 * seed + i) for i in range(many))


def draws_in(values: list[dict[str, Any]]) -> Draws:
    """The draws again, from the spec of a study over them."""
    return tuple(WilsonLeastSquares(v["rows"], v["p"], v["seed"]) for v in values)


def along(
    data: Draws,
    method: Method,
    lr: float,
    metrics: tuple[str, ...],
    steps: int = STEPS,
    record: int | None = None,
) -> Vary:
    """The method on every draw, recorded as in a :class:`efsgd.Run`."""
    one = Run(data[0], method, lr, steps, record=record, metrics=metrics)
    return Vary(one, "problem", data)


def on_grid(
    data: Draws, method: Method, grid: tuple[float, ...] = GRID, steps: int = STEPS
) -> Vary:
    """The final test loss of the method on every draw with every step size, (2, V, R)."""
    last = Run(
        *(data[0], method, grid, steps),
        replicates=len(grid),
        record=(steps,),
        metrics=("test_mse",),
    )
    return Vary(last, "problem", data)


def negatives(data: Draws) -> Array:
    """The share of y = -1 among the test rows of each draw, (V,)."""
    return np.array([np.mean(draw.labels[draw.rows // 2 :] < 0) for draw in data])


def ternary_loss(negative: Array) -> Array:
    """The test loss of scaled signs with sign(0) = 0, for this share of y = -1; see above."""
    return (1 - negative) / 16 + negative * 25 / 16


def one_bit_loss(negative: Array) -> Array:
    """The test loss of scaled signs with sign(0) = +1, for this share of y = -1; see above."""
    return (1 - negative) / 4


@dataclass(frozen=True)
class Untouched:
    """The final answer on each draw, without the weights that no training row touches.

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
        found = [self._one(problem) for problem in self.problems]
        return {name: np.array([one[name] for one in found]) for name in found[0]}

    def _one(self, problem: WilsonLeastSquares) -> dict[str, float]:
        trained = Run(problem, self.method, self.lr, self.steps, metrics=("loss",))
        w = run(trained)["x_final"]
        free = abs(problem.data.train.matrix).sum(axis=0) == 0
        measured = problem.measure(np.where(free, 0.0, w))
        return {
            "test_mse": float(measured["test_mse"][0]),
            "test_accuracy": float(measured["test_accuracy"][0]),
            "least": float(w[:, free].min()),
            "greatest": float(w[:, free].max()),
        }
