"""The metrics of the state of several workers: their memories, and the models of local steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from efsgd.arrays import Array


def norm(v: Any) -> Array:
    """|v| of each vector, (..., d) -> (...)."""
    length: Array = np.sqrt(np.vecdot(v, v))
    return length


def _consensus(models: Array | None, x: Array) -> Array:
    """The root mean square distance of the workers' models (R, n, d) from their mean."""
    return np.zeros(len(x)) if models is None else _spread(models)


def _spread(rows: Array) -> Array:
    """The root mean square distance of rows (R, n, d) from their mean, (R,)."""
    away = rows - rows.mean(1, keepdims=True)
    spread: Array = np.sqrt(np.vecdot(away, away).mean(1))
    return spread


BYTES = ("bytes", "bytes_up", "bytes_worker", "bytes_down")
OF_TEAMS: dict[str, Callable[[Array, Array, Any], Any]] = {
    "memory_norm": lambda at, x, memory: norm(memory.e).mean(1),
    "memory_largest": lambda at, x, memory: norm(memory.e).max(1),
    "memory_spread": lambda at, x, memory: _spread(memory.e),
    "consensus": lambda at, x, memory: _consensus(memory.x, x),
}
