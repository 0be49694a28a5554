"""What a training tells while it runs, and how it takes its time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from efsgd.deep.training.history import Row


class Progress(NamedTuple):
    """What is known after a step without waiting for the device."""

    epoch: int  # the one under way, 1..epochs
    epochs: int
    batch: int  # batches of it that are done, 1..batches
    batches: int
    images_per_second: float  # over the steps of this epoch


class Measured(NamedTuple):
    """What an epoch ends with: its row of the history."""

    epoch: int  # 1..epochs
    epochs: int
    row: Row


Report = Callable[[Progress | Measured], None]


class Stopwatch:
    """Seconds spent inside ``with``, those of earlier sessions included."""

    def __init__(self, seconds: float = 0.0) -> None:
        self._before = seconds
        self._since: float | None = None

    @property
    def seconds(self) -> float:
        """Until now."""
        running = 0.0 if self._since is None else time.perf_counter() - self._since
        return self._before + running

    def __enter__(self) -> Stopwatch:
        self._since = time.perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        self._before, self._since = self.seconds, None
