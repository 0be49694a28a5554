"""What results on the training sets of section 5 say about random data: exact probabilities."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from efsgd.arrays import Array
from efsgd.convex.studies.section_five import (
    ROWS,
    chances,
    evenly,
    joint,
    test_accuracy,
    test_loss,
)
from efsgd.figures.claims.verdicts import Verdict, claim
from efsgd.results import Result

GENERALISES = 0.95  # test accuracy
GOOD = 0.1  # a final test loss below
BANDS = "median over all data draws, bands from 10 to 90 % of them"


def counts(result: Result) -> Array:
    """The number of y = +1 in each training set of a study, (V,)."""
    return np.array([value["positives"] for value in result.spec["values"]])


def predictions(result: Result, step: int | slice = -1) -> tuple[Array, Array]:
    """The predictions for test rows with y = +1 and y = -1: (V,), or (T, V) of a slice of steps."""
    return result["positive"][step, :, 0], result["negative"][step, :, 0]


def majority(result: Result, step: int | slice = -1) -> tuple[Array, Array]:
    """The same on the training sets with more y = +1 than -1, where there are closed forms."""
    more = counts(result) > ROWS // 2
    positive, negative = predictions(result, step)
    return positive[..., more], negative[..., more]


def weights(result: Result, p: float) -> Array:
    """The chances of a study's training sets with each share of y = -1 in the test, (V, 101)."""
    return joint(p, tuple(counts(result).tolist()))


def losses(result: Result, step: int | slice = -1) -> Array:
    """The test loss on each training set for each share of y = -1 in the test, (.., V, 101)."""
    return test_loss(*predictions(result, step))


def probability(result: Result, p: float, event: Callable[[Array, Array], Array]) -> float:
    """The probability over the data draws of an event of the final test loss and accuracy."""
    final = predictions(result)
    happens = event(test_loss(*final), test_accuracy(*final))
    return float((weights(result, p) * happens).sum())


def accurate(result: Result, p: float) -> float:
    """The probability of a final test accuracy of at least .95."""
    return probability(result, p, lambda loss, accuracy: accuracy >= GENERALISES - 1e-12)


def claim_right(result: Result, name: str, least: int, most: int, source: str) -> Verdict:
    """The claim that with so many y = +1 in training the test accuracy is 1, whatever its labels.

    Both kinds of test rows have the right sign after the last step.
    """
    positive, negative = predictions(result)
    margin = float(np.minimum(positive, -negative)[_with(result, least, most)].min())
    text = f"{name}, any training set with {least} to {most} of 100 y = +1: least final prediction "
    return claim(f"{text}of a test row, times its label", source, margin, ">", 0)


def claim_good(result: Result, name: str, least: int, most: int, source: str) -> Verdict:
    """The claim that with so many y = +1 in training the test loss is small, in any test."""
    text = f"{name}, any training set with {least} to {most} of 100 y = +1, any test labels: "
    largest = float(losses(result)[_with(result, least, most)].max())
    return claim(f"{text}largest final test loss", source, largest, "<", GOOD)


def _with(result: Result, least: int, most: int) -> Array:
    """Which training sets have from ``least`` to ``most`` y = +1, (V,)."""
    among: Array = (counts(result) >= least) & (counts(result) <= most)
    return among


def quantiles(result: Result, p: float, wanted: tuple[float, ...]) -> Array:
    """Quantiles of the final test loss over the data draws."""
    spaced = evenly(losses(result), weights(result, p), 1000)
    return np.quantile(spaced, wanted, method="inverted_cdf")


def drawn_losses(result: Result, p: float) -> Array:
    """The test loss at every recorded step, on evenly spaced quantiles of the draws: (T, 200)."""
    return evenly(losses(result, slice(None)), weights(result, p))


def drawn(result: Result, series: str, p: float) -> Array:
    """A series of the training set alone at every recorded step, the same: (T, 200)."""
    return evenly(result[series][..., 0], chances(p)[counts(result)])


def grid_losses(result: Result, p: float) -> Array:
    """The final test loss for each step size on evenly spaced quantiles of the draws: (R, 200).

    inf where a run diverged.
    """
    positive, negative = (result[name][-1].T for name in ("positive", "negative"))
    loss = np.nan_to_num(test_loss(positive, negative), nan=np.inf)
    return evenly(loss, weights(result, p))


def off(
    measured: tuple[Array, Array], a: Array, of_negative: float = 1, of_positive: float = 3
) -> Array:
    """The larger distance of two predictions (T, V) from 3a and a, or other multiples; a (T,)."""
    positive, negative = measured
    a = np.asarray(a)[..., None]
    distance: Array = np.maximum(abs(positive - of_positive * a), abs(negative - of_negative * a))
    return distance
