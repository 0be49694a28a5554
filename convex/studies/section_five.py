"""The least squares problem of section 5: a method on every training set that can be drawn.

A trajectory depends on the number of y = +1 among the 100 training rows alone (but for what
rounding decides), and the test loss on it and on their number among the 100 test rows. Both are
binomial, so that all 101 x 101 cases with their chances stand for any number of data draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np

from efsgd.arrays import Array
from efsgd.convex.problems.wilson_counts import WilsonCount
from efsgd.convex.studies.vary import Vary, densities
from efsgd.engine.runs import Run, run
from efsgd.methods.base import Method

ROWS = 100  # for training, and as many for the test
STEPS = 80  # as in the paper's figure
GRID = tuple(float(f"{lr:.4g}") for lr in np.logspace(-3, 2, 25))
COUNTS = tuple(range(ROWS + 1))  # of y = +1 in the training set
FEW = tuple(range(40, 81, 4))  # where one count says much of its neighbours
SERIES = ("train_mse", "positive", "negative", "span_distance", "distance")


def training_sets(counts: tuple[int, ...] = COUNTS, order: int = 0) -> tuple[WilsonCount, ...]:
    """One training set for each number of y = +1, its rows in an order drawn from ``order``."""
    return tuple(WilsonCount(k, order, ROWS) for k in counts)


def enumerated(method: Method, lr: float, counts: tuple[int, ...] = COUNTS, order: int = 0) -> Vary:
    """The method on each training set, every step recorded: (T, V, 1).

    "distance" is that to X^+ y, the solution of least norm.
    """
    sets = training_sets(counts, order)
    metrics = SERIES + ("memory_norm", "virtual_residual") * method.feeds_back + densities(method)
    return Vary(Run(sets[0], method, lr, STEPS, metrics=metrics), "problem", sets)


def along(method: Method, lr: float, metrics: tuple[str, ...], steps: int, record: int) -> Vary:
    """The method on a few training sets for as many steps, every ``record`` of them recorded."""
    sets = training_sets(FEW)
    return Vary(Run(sets[0], method, lr, steps, record=record, metrics=metrics), "problem", sets)


def on_grid(method: Method, grid: tuple[float, ...] = GRID, steps: int = STEPS) -> Vary:
    """The first and final predictions on a few training sets with every step size, (2, V, R)."""
    sets = training_sets(FEW)
    first = Run(
        problem=sets[0],
        method=method,
        lr=grid,
        steps=steps,
        replicates=len(grid),
        record=(steps,),
        metrics=("positive", "negative"),
    )
    return Vary(first, "problem", sets)


def chances(p: float, n: int = ROWS) -> Array:
    """The probabilities of 0, ..., n labels y = +1 among n, if each has probability p: (n + 1,)."""
    return np.array([comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)])


def joint(p: float, counts: tuple[int, ...] = COUNTS) -> Array:
    """The probabilities of the pairs (y = +1 in training, y = -1 in the test), (V, 101).

    Of a few counts in training: under the condition that it is one of them.
    """
    training = chances(p)[list(counts)]
    return np.outer(training / training.sum(), chances(1 - p))


NEGATIVE = np.arange(ROWS + 1) / ROWS  # the share of y = -1 in the test, (101,)


def test_loss(positive: Array, negative: Array) -> Array:
    """The test loss for each share of y = -1 in the test set: predictions (..,) -> (.., 101)."""
    of_positive, of_negative = (positive[..., None] - 1) ** 2, (negative[..., None] + 1) ** 2
    loss: Array = (1 - NEGATIVE) * of_positive + NEGATIVE * of_negative
    return loss


def test_accuracy(positive: Array, negative: Array) -> Array:
    """The share of test rows with the right sign: predictions (..,) -> (.., 101)."""
    right = (1 - NEGATIVE) * (positive[..., None] > 0) + NEGATIVE * (negative[..., None] < 0)
    return np.asarray(right)


def evenly(values: Array, chance: Array, number: int = 200) -> Array:
    """``number`` quantiles at evenly spaced probabilities, of values that have these chances.

    values (.., M), chance (M,) or of the same shape as the last axes of values, -> (.., number).
    """
    values = np.broadcast_to(values, values.shape[: values.ndim - chance.ndim] + chance.shape)
    flat = values.reshape(*values.shape[: values.ndim - chance.ndim], -1)
    rank = np.argsort(flat, axis=-1, kind="stable")
    below = np.cumsum(chance.ravel()[rank], axis=-1)
    wanted = (np.arange(number) + 0.5) / number * float(chance.sum())
    at = [np.searchsorted(row, wanted) for row in below.reshape(-1, flat.shape[-1])]
    index = np.minimum(np.reshape(at, (*flat.shape[:-1], number)), flat.shape[-1] - 1)
    spaced: Array = np.take_along_axis(np.take_along_axis(flat, rank, -1), index, -1)
    return spaced


@dataclass(frozen=True)
class Untouched:
    """The final iterate on each training set, without the weights of columns that are 0 in it.

    Arrays (V,): "positive" and "negative", the predictions with those weights set to 0, and the
    "least" and "greatest" of them before that.
    """

    problems: tuple[WilsonCount, ...]
    method: Method
    lr: float
    steps: int = STEPS

    @property
    def cost(self) -> float:
        """The steps of all runs together."""
        return float(self.steps * len(self.problems))

    def compute(self) -> dict[str, Array]:
        """Train on every set, then set those weights to 0."""
        sets = [self._measure(problem) for problem in self.problems]
        return {name: np.array([one[name] for one in sets]) for name in sets[0]}

    def _measure(self, problem: WilsonCount) -> dict[str, float]:
        training = Run(problem, self.method, self.lr, self.steps, metrics=("loss",))
        w = run(training)["x_final"]
        free = abs(problem.data.train.matrix).sum(axis=0) == 0
        measured = problem.measure(np.where(free, 0.0, w))
        return {
            "positive": float(measured["positive"][0]),
            "negative": float(measured["negative"][0]),
            "least": float(w[:, free].min()),
            "greatest": float(w[:, free].max()),
        }
