"""What is shown of the runs on data of one's own, with one definition of the loss.

f is what the methods minimise and what is certified: the mean over the training rows of half the
squared error, or of the logistic loss with l2/2 |w|^2. So no run is below the optimum f*. The test
loss is the same mean over the test rows, without the penalty.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from efsgd.arrays import Array
from efsgd.convex.data.file_problems import FileSquares
from efsgd.results import Result

# "step" (T,), and by the names of NAMES (T, V, R); "bytes" is of the worker that sent most.
Series: TypeAlias = dict[str, Array]

NAMES = {  # in the order of the table
    "loss": "train loss f",
    "above": "f - f*",
    "train_accuracy": "train accuracy",
    "test_loss": "test loss",
    "test_accuracy": "test accuracy",
    "distance": "distance to the optimum",
    "span_distance": "distance to the gradient span",
}
LOSSES = ("loss", "test_loss")  # against steps and bytes
ROUNDING = 1e-13  # of f at the start: f - f* within it below 0 is 0


def certified(result: Result) -> bool:
    """Whether the optimum was found and its certificate holds."""
    return bool(result["error"] <= result["tolerance"])


def located(result: Result) -> bool:
    """Whether the minimiser is certified too, so that a distance to it can be shown."""
    return certified(result) and bool(result["proven"] and result["exact"])


def series(result: Result, certificate: Result | None) -> Series:
    """The series of a run; f - f* if the optimum is certified."""
    shown = {name: result[name] for name in ("step", "bytes", *NAMES) if name in result.arrays}
    if "bytes_worker" in result.arrays:
        shown["bytes"] = result["bytes_worker"]
    if "test_mse" in result.arrays:
        shown["test_loss"] = result["test_mse"] / 2
    if certificate is not None and certified(certificate):
        above = shown["loss"] - float(certificate["f"])
        rounding = ROUNDING * np.abs(shown["loss"][0])
        shown["above"] = np.where((above < 0) & (above >= -rounding), 0.0, above)
    return shown


def all_series(labels: Any, results: Mapping[str, Result]) -> dict[str, Series]:
    """The series of each of the runs with these labels."""
    return {label: series(results[label], results.get("certificate")) for label in labels}


def definition(problem: Any) -> str:
    """What f is, in words."""
    if isinstance(problem, FileSquares):
        return "half the mean squared error"
    return "the mean logistic loss + l2/2 |w|^2"


def definitions(problem: Any, shown: Series, certificate: Result | None) -> str:
    """What the losses of the table are, in a sentence."""
    text = f"f is {definition(problem)} over the training rows"
    if "above" in shown and certificate is not None:
        text += " and f* its "
        text += "certified minimum" if certificate["proven"] else "value at a stationary point"
    if "test_loss" in shown:
        text += ", the test loss the same over the test rows"
        text += "" if isinstance(problem, FileSquares) else " without the penalty"
    return text
