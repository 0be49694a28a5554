"""The events that a training reports while it runs, and the stopwatch of its epochs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from efsgd.deep.training.history import Row


class Progress(NamedTuple):
    """Reported after each step: what is known without waiting for the device."""

    epoch: int  # the one under way, 1..epochs
    epochs: int
    batch: int  # batches of it that are done, 1..batches
    batches: int
    images_per_second: float  # over the steps of this epoch


class Measured(NamedTuple):
    """Reported after each epoch: its row of the history."""

    epoch: int  # 1..epochs
    epochs: int
    row: Row


Report = Callable[[Progress | Measured], None]


class Stopwatch:
    """Seconds spent inside its ``with`` blocks, added to ``seconds`` of earlier sessions."""

    def __init__(self, seconds: float = 0.0) -> None:
        self._total = seconds  # of the blocks that have ended
        self._start: float | None = None  # of the block under way

    @property
    def seconds(self) -> float:
        """The total up to now, a block under way included."""
        running = 0.0 if self._start is None else time.perf_counter() - self._start
        return self._total + running

    def __enter__(self) -> Stopwatch:
        self._start = time.perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        self._total, self._start = self.seconds, None
