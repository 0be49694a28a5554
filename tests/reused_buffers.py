"""Runs of a method whose gradients come in one buffer, beside runs in which each has its own."""

from __future__ import annotations

import numpy as np

from efsgd.arrays import Array
from efsgd.methods.base import Method


def ends_with_and_without_reuse(method: Method, d: int) -> list[Array]:
    """x after five gradients with 3 replicates, by ``step`` and ``advance`` in turn."""
    gs = np.random.default_rng(0).standard_normal((5, 3, d))
    buffer = np.empty((3, d))
    ends = []
    for reused in (False, True):
        x, rng = np.ones((3, d)), np.random.default_rng(1)
        memory = method.start(x)
        for t, g in enumerate(gs):
            buffer[:] = g
            gradient = buffer if reused else g.copy()
            if t % 2:
                x, memory = method.advance(x, gradient, memory, 0.1, rng)
            else:
                update = method.step(x, gradient, memory, 0.1, rng)
                x, memory = update.x, update.memory
        ends.append(x)
    return ends
