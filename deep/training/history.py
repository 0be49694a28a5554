"""The history of a training: arrays (epochs,), float64 unless noted, accuracies as shares.

epoch (int, from 1) and lr; train_loss, train_accuracy, test_loss, test_accuracy at the end of the
epoch, in eval mode without augmentation, the train ones over as many training images as there are
test images; the same with virtual_ in front at the virtual iterate x - e; running_loss,
running_accuracy over the augmented minibatches; phi_g, phi_p, means over the steps of the densities
of g and of the corrected gradient; memory_norm, |e|_2 at the end; skipped (int), the steps that inf
or NaN made the optimiser skip; seconds, of the whole epoch; images_per_second, of its steps. The
means leave out values that are not finite. A run that diverged (its test loss is not finite, or
more than half of the steps of an epoch were skipped) stops there, and its later rows are NaN
(skipped 0).
"""

from __future__ import annotations

import math

import numpy as np

from efsgd.arrays import Array

Row = dict[str, float]
History = dict[str, Array]

SCORES = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
MEANS = ("running_loss", "running_accuracy", "phi_g", "phi_p")
TIMES = ("seconds", "images_per_second")  # all else is equal in equal runs on a CPU
INTEGERS = ("epoch", "skipped")
NAMES = (
    "epoch",
    "lr",
    *SCORES,
    *(f"virtual_{name}" for name in SCORES),
    *MEANS,
    "memory_norm",
    "skipped",
    *TIMES,
)


def empty(epochs: int) -> History:
    """A history without results: NaN, and no skipped steps, as after a divergence."""
    history: History = {name: np.full(epochs, math.nan) for name in NAMES}
    return history | {
        "epoch": np.arange(1, epochs + 1, dtype=np.int64),
        "skipped": np.zeros(epochs, np.int64),
    }


def record(history: History, epoch: int, row: Row) -> None:
    """Write the row of an epoch, counted from 0."""
    for name, value in row.items():
        history[name][epoch] = value
