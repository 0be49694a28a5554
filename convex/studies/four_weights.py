"""The least squares of section 5 in four weights: what a method does, without its 1200 columns.

k of n training rows have y = +1 and m = n - k have y = -1 (derived here). Columns that look alike
to every method keep equal weights: column 1, which holds the label; columns 2 and 3, which are 1;
the own column of each row y = +1; the five of each row y = -1. A row y = +1 is predicted as
w_1 + 2 w_2 + w_3 and a row y = -1 as -w_1 + 2 w_2 + 5 w_4, and a test row the same with the last
term 0. With the errors r_1 and r_2 of the two kinds of rows the gradient is (k r_1 - m r_2)/n,
(k r_1 + m r_2)/n, r_1/n and r_2/n. Nothing of the engine and of the compressors is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from efsgd.arrays import Array

Kind: TypeAlias = Literal["gradients", "scaled signs", "scaled signs, feedback", "momentum signs"]
MOMENTUM = 0.9


def trained(kind: Kind, k: Array, lr: float, steps: int, n: int = 100) -> tuple[Array, Array]:
    """The predictions of test rows with y = +1 and y = -1 after training on k rows y = +1 (V,).

    sign(0) = 0, the momentum decays. Where k = m sums are 0 but for rounding, which decides then.
    """
    k = np.asarray(k, float)
    m = n - k
    columns = np.stack([np.ones_like(k), np.full_like(k, 2), k, 5 * m])  # with each weight, (4, V)
    w, memory = np.zeros((2, *columns.shape))
    for _ in range(steps):
        r_1 = w[0] + 2 * w[1] + w[2] - 1
        r_2 = -w[0] + 2 * w[1] + 5 * w[3] + 1
        g = np.stack([k * r_1 - m * r_2, k * r_1 + m * r_2, r_1, r_2]) / n
        if kind == "gradients":
            w = w - lr * g
        elif kind == "momentum signs":
            memory = MOMENTUM * memory + g
            w = w - lr * np.sign(memory)
        else:
            p = lr * g + memory
            sent = (columns * abs(p)).sum(axis=0) / (12 * n) * np.sign(p)
            w = w - sent
            memory = p - sent if kind == "scaled signs, feedback" else memory
    return w[0] + 2 * w[1], -w[0] + 2 * w[1]


def undecayed_exactly(k: Array, units: int, steps: int, n: int = 100) -> tuple[Array, Array]:
    """The same for the momentum that does not decay and lr = 1/``units``, in exact arithmetic.

    All weights are whole multiples of lr, and the buffer counts in units of momentum lr/n.
    """
    k = np.asarray(k, np.int64)
    m = n - k
    w, memory = np.zeros((2, 4, len(k)), np.int64)
    for _ in range(steps):
        r_1 = w[0] + 2 * w[1] + w[2] - units
        r_2 = -w[0] + 2 * w[1] + 5 * w[3] + units
        memory += np.stack([k * r_1 - m * r_2, k * r_1 + m * r_2, r_1, r_2])
        w -= np.sign(memory)
    return (w[0] + 2 * w[1]) / units, (-w[0] + 2 * w[1]) / units


@dataclass(frozen=True)
class LabelDraws:
    """The final test loss on as many draws of all labels, y = +1 with probability ``p``.

    ``rows`` labels for training and as many for the test. Arrays (M, draws): "loss", for each
    of the ``methods``, a kind and its step size.
    """

    p: float
    methods: tuple[tuple[Kind, float], ...]
    steps: int
    draws: int = 20_000
    rows: int = 100
    seed: int = 0

    def compute(self) -> dict[str, Array]:
        """Draw every label, and train once for each number of y = +1 that was drawn."""
        labels = np.random.default_rng(self.seed).random((2, self.draws, self.rows)) < self.p
        counts, index = np.unique(labels[0].sum(axis=1), return_inverse=True)
        test = labels[1].mean(axis=1)  # the share of y = +1
        losses = []
        for kind, lr in self.methods:
            positive, negative = trained(kind, counts, lr, self.steps, self.rows)
            losses.append(
                test * (positive - 1)[index] ** 2 + (1 - test) * (negative + 1)[index] ** 2
            )
        return {"loss": np.array(losses)}
