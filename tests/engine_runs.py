"""What the tests of the engine share: a finite sum that logs its rows, and equal histories."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from efsgd.arrays import Array, Generator


@dataclass(frozen=True)
class Rows:
    """A finite sum of (x_0 - i)^2/2 over i < n, and a log of the rows that were asked for."""

    n: int = 7
    d: int = 1
    log: list[Array] = field(default_factory=list, compare=False, repr=False)

    def loss(self, x: Array) -> Array:
        return ((x - np.arange(self.n)) ** 2).mean(-1) / 2

    def gradient(self, x: Array, rng: Generator) -> Array:
        return x - (self.n - 1) / 2

    def batch_gradient(self, x: Array, rows: Array) -> Array:
        self.log.append(rows)
        return x - rows.mean(-1, keepdims=True)


def equal(first: dict[str, Array], second: dict[str, Array]) -> None:
    assert list(first) == list(second)
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)
        assert array.dtype == second[name].dtype
