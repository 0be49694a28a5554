"""What n workers and their server remember and send, and where their random numbers come from."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from efsgd.arrays import Array, Generator
from efsgd.methods.base import Memory, Update


class Streams(NamedTuple):
    """One stream each, so that the same workers are absent whatever is compressed how."""

    workers: Generator  # what their compressors draw
    server: Generator  # what the server's compressor draws
    attendance: Generator  # who takes part, and which messages are lost


class TeamMemory(NamedTuple):
    """What a team carries from step to step; tuples have one memory for each fragment of x."""

    workers: tuple[Memory, ...]  # arrays (R, n, d)
    server: tuple[Memory, ...]  # arrays (R, d)
    x: Array | None = None  # (R, n, d), the workers' own models between exchanges
    inner: Memory = Memory()  # of their own steps, arrays (R, n, d)
    present: Array | None = None  # (R, n), who takes part in this round of local steps
    t: int = 0  # local steps so far

    @property
    def e(self) -> Array | None:
        """The workers' memories e, (R, n, d)."""
        parts = [memory.e for memory in self.workers if memory.e is not None]
        return np.concatenate(parts, axis=-1) if len(parts) > 1 else (*parts, None)[0]

    def arrays(self) -> list[Array]:
        """What must stay finite, each with the replicates as its first axis."""
        memories = (*self.workers, *self.server, self.inner)
        models = [] if self.x is None else [self.x]
        return models + [part for memory in memories for part in memory.arrays()]

    def map(self, change: Callable[[Array], Array]) -> TeamMemory:
        """The same with every one of these arrays changed."""
        return self._replace(
            workers=tuple(memory.map(change) for memory in self.workers),
            server=tuple(memory.map(change) for memory in self.server),
            inner=self.inner.map(change),
            x=None if self.x is None else change(self.x),
        )


class Exchange(NamedTuple):
    """One message of each worker, and what the server made of them."""

    rows: Update  # of all workers, (R, n, d)
    spoke: Array | None  # (R, n), who sent its message; None: all
    down: Update | None  # of the server's method, (R, d); None: it sends the mean as it is


class TeamUpdate(NamedTuple):
    """The outcome of one step."""

    x: Array  # (R, d)
    memory: TeamMemory
    exchanges: tuple[Exchange, ...]  # none between those of local steps
