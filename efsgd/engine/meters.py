"""Counting the bytes of messages: of one sender, or of n workers and their server."""

from __future__ import annotations

from typing import Any

import numpy as np

from efsgd.arrays import Array
from efsgd.compressors.base import Compressor, drawn_for
from efsgd.compressors.wrappers import Identity
from efsgd.methods.base import Update
from efsgd.methods.team import Team
from efsgd.methods.team_state import Exchange, TeamUpdate


class Meter:
    """Counts the bytes of all messages; where their size varies, by encoding each one."""

    def __init__(self, c: Compressor, x: Array) -> None:
        self.sizes = _Sizes(c)
        self.total = np.zeros(len(x))

    def add(self, update: Update) -> None:
        """Count one message for each replicate."""
        self.total = self.total + self.sizes.of(update)


class TeamMeter:
    """Counts what goes up from the workers and down from the server, each to one worker.

    A server that compresses sends its own message. Any other sends the mean, from which all workers
    know what it does: as one message where the workers' messages add, else whole.
    """

    def __init__(self, team: Team, x: Array) -> None:
        self.up_sizes = _Sizes(team.compresses)
        server = Identity() if team.server is None else team.server.compresses
        self.down_sizes = None if isinstance(server, Identity) else _Sizes(server)
        self.up = np.zeros((len(x), team.workers))
        self.down = np.zeros(len(x))

    def add(self, update: TeamUpdate) -> None:
        """Count the messages of every exchange of a step."""
        for exchange in update.exchanges:
            self._add(exchange)

    def _add(self, exchange: Exchange) -> None:
        sizes = self.up_sizes.of(exchange.rows)
        self.up = self.up + (sizes if exchange.spoke is None else sizes * exchange.spoke)
        self.down = self.down + self._down(exchange, sizes)

    def _down(self, exchange: Exchange, sizes: Array | int) -> Array | int:
        """What each worker receives, given the sizes of the workers' messages."""
        if self.down_sizes is not None:
            assert exchange.down is not None
            return self.down_sizes.of(exchange.down)
        if self.up_sizes.compressor.adds:
            return sizes if isinstance(sizes, int) else sizes.max(1)
        return self.up_sizes.dense(exchange.rows.given.shape[-1])


class _Sizes:
    """The sizes of the messages of a compressor, in bytes."""

    def __init__(self, c: Compressor) -> None:
        self.compressor = c
        self.fixed: dict[int, int] = {}  # of dimension d, where all have the same size
        self.whole: dict[int, int] = {}  # of an uncompressed one

    def of(self, update: Update) -> Array | int:
        """The size of each message, of the shape of x without its last axis; a number if equal."""
        d = update.given.shape[-1]
        sizes = self._compressed(update.given, update.drawn)
        if update.dense is None:
            return sizes
        return np.where(update.dense, self.dense(d), sizes)

    def dense(self, d: int) -> int:
        """The size of d numbers that are not compressed."""
        if d not in self.whole:
            self.whole[d] = len(Identity().encode(np.zeros(d)))
        return self.whole[d]

    def _compressed(self, given: Array, drawn: Any) -> Array | int:
        d = given.shape[-1]
        if self.compressor.fixed_size:
            if d not in self.fixed:
                message = self.compressor.encode(np.zeros(d), np.random.default_rng(0))
                self.fixed[d] = len(message)
            return self.fixed[d]
        return self._encoded(given, drawn)

    def _encoded(self, given: Array, drawn: Any) -> Array:
        if given.ndim == 1:
            return np.array(len(self.compressor.encode(given, drawn=drawn)))
        return np.array([self._encoded(v, drawn_for(r, drawn)) for r, v in enumerate(given)])
