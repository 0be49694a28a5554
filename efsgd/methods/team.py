"""n workers and a server as one method: who takes part, what is lost, what the server does.

Each worker runs ``method.worker``, on arrays (R, n, d) that hold the workers of R replicates: its
own gradient, its own memory, its own message. The server takes their mean, and perhaps a step of a
method of its own with it, which is how it compresses what it sends down, keeps an outer momentum or
counts votes. With one worker and nothing else a team is the method alone, to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from efsgd.arrays import Array, Generator
from efsgd.compressors.base import Compressor
from efsgd.methods.base import Mean, Memory, Method, StepSize, Update
from efsgd.methods.faults import Faults
from efsgd.methods.local import LocalSteps
from efsgd.methods.sgd import SGD
from efsgd.methods.team_pieces import each, move_in_groups, overwritable, separable
from efsgd.methods.team_state import Exchange, Streams, TeamMemory, TeamUpdate


@dataclass(frozen=True)
class Team:
    """n workers that run ``method``, and a server; the fields are those of :class:`efsgd.Run`.

    It steps as a :class:`Method` does, on gradients (R, n, d). ``weights`` (n,) has the sum 1.
    """

    method: Method
    workers: int
    participation: float = 1.0
    local_steps: int = 1
    downlink: Method | None = None
    faults: Faults = Faults()
    weights: tuple[float, ...] | None = None

    @cached_property
    def local(self) -> LocalSteps | None:
        """The method of local steps, if workers take any."""
        if isinstance(self.method, LocalSteps):
            return self.method
        if self.local_steps == 1:
            return None
        return LocalSteps(self.method, outer=self.downlink or SGD())

    @property
    def compresses(self) -> Compressor:
        """The compressor of the workers' messages."""
        return self.method.compresses

    @property
    def feeds_back(self) -> bool:
        """Whether the workers keep memories e."""
        return self.worker.feeds_back

    @property
    def worker(self) -> Method:
        """The method that each worker runs; with local steps, on the differences."""
        return self.method.worker

    @cached_property
    def server(self) -> Method | None:
        """The server's method; None: x moves by the mean."""
        return (self.local or self.method).server or self.downlink

    @property
    def asked(self) -> int:
        """|S|, the number of workers that are asked at each step."""
        return max(1, round(self.participation * self.workers))

    @property
    def has_virtual(self) -> bool:
        """Whether x less the mean of the memories is the iterate of SGD with the mean gradient."""
        absent = self.asked < self.workers or self.faults.silence > 0
        worker, server = self.worker, self.server
        whole = type(worker) is SGD and server is not None and not self.faults.loss
        return (
            self.local is None
            and (worker.has_virtual or whole)
            and not (absent and worker.keeps_estimates)
            and (server is None or (server.has_virtual and not server.momentum))
        )

    def start(self, x: Array) -> TeamMemory:
        """The memories before the first step from x (R, d)."""
        rows = np.repeat(x[:, None], self.workers, axis=1)
        parts = [slice(None)] if self.local is None else self.local.parts(x.shape[-1])
        workers = tuple(self.worker.start(rows[..., part]) for part in parts)
        weights = self._weights
        warm = None if weights is None else self.compresses.first_state(weights)
        if warm is not None:
            workers = tuple(memory._replace(warm=warm) for memory in workers)
        memory = TeamMemory(
            workers=workers,
            server=tuple((self.server or SGD()).start(x[:, part]) for part in parts),
        )
        if self.local is None:
            return memory
        return memory._replace(x=rows, inner=self.local.inner.start(rows))

    def at(self, x: Array, memory: TeamMemory) -> Array:
        """Where gradients are wanted: x (R, d), or the local models (R, n, d)."""
        return x if memory.x is None else memory.x

    def mean(self, g: Array) -> Array:
        """The weighted mean of the workers' gradients (R, n, d)."""
        return self._mean().of_all(g)

    def answer(self, x: Array, memory: TeamMemory) -> Array:
        """The solution on offer: x, or the mean of the local models."""
        if memory.x is not None:
            mean = self._mean().of_all(memory.x)
            return np.where(np.isfinite(x).all(-1, keepdims=True), mean, np.nan)
        if type(self.method).answer is Method.answer:
            return x
        x = self.method.answer(x, self._mean_memory(memory))
        return x if self.server is None else self.server.virtual(x, memory.server[0])

    def virtual(self, x: Array, memory: TeamMemory) -> Array:
        """x less the workers' memories, weighted as their messages, and less the server's."""
        x = self.worker.virtual(x, self._mean_memory(memory))
        return x if self.server is None else self.server.virtual(x, memory.server[0])

    def step(
        self, x: Array, g: Array, memory: TeamMemory, lr: StepSize, rng: Streams
    ) -> TeamUpdate:
        """One step from x with the workers' gradients g (R, n, d)."""
        if self.local is not None:
            return self._local_step(self.local, x, g, memory, lr, rng)
        present = self._present(len(x), rng.attendance)
        before = (memory.workers[0], memory.server[0])
        x, (workers, server), exchange = self._exchange(x, g, before, lr, present, rng)
        return TeamUpdate(x, TeamMemory((workers,), (server,)), (exchange,))

    def direction(self, update: TeamUpdate) -> Array:
        """The mean of the workers' directions in a step, (R, d): without local steps."""
        (exchange,) = update.exchanges
        mean = Mean(self._weights, exchange.spoke, self.asked / self.workers)
        return mean.of_arrived(exchange.rows.direction)

    def advance(
        self,
        x: Array,
        g: Array,
        memory: TeamMemory,
        lr: StepSize,
        rng: Streams,
        may_overwrite: bool = False,
    ) -> tuple[Array, TeamMemory]:
        """The new x and memory of the same step; a large team's ``memory`` is overwritten."""
        alike = self.local is None and self.weights is None and self.faults == Faults()
        if not (
            alike
            and self.asked == self.workers
            and separable(self.worker, g.shape)
            and overwritable(self.worker, x, g, memory.workers[0], lr)
        ):
            update = self.step(x, g, memory, lr, rng)
            return update.x, update.memory
        move = move_in_groups(self.worker, x, g, memory.workers[0], lr, rng.workers)
        down = self._served(x, move, memory.server[0], lr, rng.server)
        if down is None:
            return x - move, memory
        return down.x, memory._replace(server=(down.memory,))

    # -- one exchange ----------------------------------------------------------------------------

    def _exchange(
        self,
        x: Array,
        g: Array,
        memory: tuple[Memory, Memory],
        lr: StepSize,
        present: Array | None,
        rng: Streams,
    ) -> tuple[Array, tuple[Memory, Memory], Exchange]:
        """The new x (R, d), workers' and server's memory after a message of each worker."""
        worker = self.worker
        before, of_server = memory
        each_lr = each(lr)
        rows = worker.step(x[:, None], g, before, each_lr, rng.workers)
        worker.compresses.check_shape(g, rows.sent)
        arrived = self._arrived(present, g.shape[:2], rng.attendance)
        after = rows.memory
        if self.faults.loss and arrived is not None:
            after = after.where(arrived[..., None], worker.undelivered(before, rows))
        if present is not None:
            after = after.where(present[..., None], worker.idle(before, each_lr))
        mean = Mean(self._weights, arrived, self.asked / self.workers)
        move = worker.mean_move(x[:, None], before, rows, after, lr, mean)
        down = self._served(x, move, of_server, lr, rng.server)
        if down is None:
            return x - move, (after, of_server), Exchange(rows, present, None)
        return down.x, (after, down.memory), Exchange(rows, present, down)

    def _served(
        self, x: Array, move: Array, memory: Memory, lr: StepSize, rng: Generator
    ) -> Update | None:
        """The step of the server's method, along the mean in its own units."""
        if self.server is None:
            return None
        step = (self.local or self.method).server_lr
        if step is not None:
            return self.server.step(x, move, memory, step, rng)
        g = np.divide(move, lr, out=np.zeros_like(move), where=np.asarray(lr) != 0)
        return self.server.step(x, g, memory, lr, rng)

    def _present(self, replicates: int, rng: Generator) -> Array | None:
        """Who takes part, (R, n); None: all."""
        n = self.workers
        if self.asked == n and not self.faults.silence:
            return None
        present = np.ones((replicates, n), bool)
        if self.asked < n:
            ranks = rng.random((replicates, n)).argsort(-1).argsort(-1)
            present = ranks < self.asked
        if self.faults.silence:
            present &= rng.random((replicates, n)) >= self.faults.silence
        return present

    def _arrived(
        self, present: Array | None, shape: tuple[int, ...], rng: Generator
    ) -> Array | None:
        """Whose messages arrived, (R, n); None: all."""
        if not self.faults.loss:
            return present
        arrived: Array = rng.random(shape) >= self.faults.loss
        return arrived if present is None else arrived & present

    @cached_property
    def _weights(self) -> Array | None:
        return None if self.weights is None else np.array(self.weights)

    def _mean(self) -> Mean:
        return Mean(self._weights)

    def _mean_memory(self, memory: TeamMemory) -> Memory:
        """What the workers' memories are worth to x: their mean, n/|S| times."""
        rows, scale = memory.workers[0], self.workers / self.asked
        mean = rows.map(lambda part: scale * self._mean().of_all(part))
        lr = mean.lr
        return mean._replace(lr=lr[..., 0]) if isinstance(lr, np.ndarray) and lr.ndim else mean

    # -- local steps -----------------------------------------------------------------------------

    def _local_step(
        self, method: LocalSteps, x: Array, g: Array, memory: TeamMemory, lr: StepSize, rng: Streams
    ) -> TeamUpdate:
        """A step of each worker alone, and the exchanges that are due after it."""
        assert memory.x is not None  # made by start
        h, t = self.local_steps, memory.t
        present = self._present(len(x), rng.attendance) if t % h == 0 else memory.present
        each_lr = each(lr)
        update = method.inner.step(memory.x, g, memory.inner, each_lr, rng.workers)
        models, inner = update.x, update.memory
        if present is not None:
            models = np.where(present[..., None], models, memory.x)
            waiting = method.inner.idle(memory.inner, each_lr)
            inner = inner.where(present[..., None], waiting)
        workers, servers = list(memory.workers), list(memory.server)
        exchanges: list[Exchange] = []
        for f, part in enumerate(method.parts(x.shape[-1])):
            if (t + 1 - f * h // method.fragments) % h:
                continue
            if not exchanges:
                x, models = x.copy(), models.copy()
            old = x[:, part].copy()
            difference = old[:, None] - models[..., part]
            new, (workers[f], servers[f]), exchange = self._exchange(
                old, difference, (workers[f], servers[f]), 1.0, present, rng
            )
            x[:, part] = new
            models[..., part] = new[:, None]
            exchanges.append(exchange)
        after = TeamMemory(tuple(workers), tuple(servers), models, inner, present, t + 1)
        return TeamUpdate(x, after, tuple(exchanges))
