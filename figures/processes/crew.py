"""Worker processes that may be stopped or die at any moment, and leave nothing behind.

Each has a pipe of its own and holds nothing that others need, and the parent has no threads: where
a worker dies, its pipe ends or its process is gone, and the parent sees one of both. Executors of
the standard library share one queue: a worker that dies holding its lock stops all others, and
where their thread cannot start for lack of memory, nobody waits for an answer that ever comes.
"""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, NamedTuple, TypeVar

from efsgd.figures.processes.failures import Failure
from efsgd.figures.processes.worker import GRACE, Answer, Told, serve

T = TypeVar("T")

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
POLL = 0.2  # seconds between two looks whether the workers live


class Call(NamedTuple):
    """What a worker calls its function with, and what messages call that."""

    name: str
    arguments: tuple[Any, ...]


@dataclass(eq=False)
class Worker:
    """A process, the parent's end of its pipe, and the number of the call that it has."""

    process: SpawnProcess
    pipe: Connection
    call: int | None = None


class Crew:
    """Up to ``jobs`` worker processes, each started when there is work for it."""

    def __init__(
        self, jobs: int, prepare: Callable[..., None] | None, arguments: tuple[Any, ...]
    ) -> None:
        self.jobs = jobs
        self._prepare = (prepare, arguments)
        self._workers: list[Worker] = []

    def call_all(
        self,
        function: Callable[..., T],
        calls: Sequence[Call],
        *,
        tick: Callable[[int], None] = lambda more: None,
        hear: Callable[[Any], None] = lambda message: None,
    ) -> list[T]:
        """What ``function`` returns for each call, begun and returned in this order.

        ``tick`` is called several times a second with how many more are done, ``hear`` with what a
        worker tells (:func:`tell`). The first call to fail is raised as a Failure says; one whose
        worker died or ran out of memory is a ValueError that names it.
        """
        values: dict[int, T] = {}
        waiting = deque(range(len(calls)))
        while len(values) < len(calls):
            self._begin(function, calls, waiting)
            done = len(values)
            for worker in self._with_news():
                assert worker.call is not None
                sent = _received(worker, calls[worker.call].name)
                if isinstance(sent, Told):
                    hear(sent.message)
                else:
                    values[worker.call], worker.call = sent.value, None
            tick(len(values) - done)
        return [values[number] for number in range(len(calls))]

    def _begin(
        self, function: Callable[..., T], calls: Sequence[Call], waiting: deque[int]
    ) -> None:
        """Give the next calls to idle workers, and to new ones as long as there may be more."""
        begun = []
        for worker in [worker for worker in self._workers if worker.call is None]:
            if waiting:
                worker.call = waiting.popleft()
                begun.append(worker)
        while waiting and len(self._workers) < self.jobs:
            begun.append(self._start(calls[waiting[0]].name))
            begun[-1].call = waiting.popleft()
        for worker in begun:  # now that all of them are starting: a long call waits for its reader
            assert worker.call is not None
            with suppress(ConnectionError):  # it died, and _received says so
                worker.pipe.send((function, calls[worker.call].arguments))

    def _start(self, name: str) -> Worker:
        context = get_context("spawn")
        try:
            ours, theirs = context.Pipe()
            process = context.Process(target=serve, args=(theirs, *self._prepare))
            with theirs, _ctrl_c_held(), _one_thread_each():
                process.start()
                self._workers.append(Worker(process, ours))
        except (OSError, MemoryError) as error:
            reason = getattr(error, "strerror", None) or "out of memory"
            raise ValueError(
                f"{name} failed: no worker could be started ({reason}): try --jobs 1"
            ) from error
        return self._workers[-1]

    def _with_news(self) -> list[Worker]:
        """The busy workers that have sent something or are gone, after POLL seconds at most."""
        busy = [worker for worker in self._workers if worker.call is not None]
        ready = connection.wait([worker.pipe for worker in busy], POLL)
        return [w for w in busy if w.pipe in ready or w.process.exitcode is not None]

    def dismiss(self) -> None:
        """Let idle workers end, which takes GRACE seconds at most."""
        for worker in self._workers:
            worker.pipe.close()
        self._join(GRACE)

    def stop(self, patience: float) -> None:
        """End all workers: they are asked to, and killed if they have not after some seconds.

        Another Ctrl-C kills them at once.
        """
        for worker in self._workers:
            worker.process.terminate()
        with suppress(KeyboardInterrupt):
            self._join(patience)
        for worker in self._workers:
            worker.process.kill()
        self._join(GRACE)

    def _join(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        for worker in self._workers:
            worker.process.join(max(0.0, end - time.monotonic()))


@contextmanager
def workers(
    jobs: int,
    prepare: Callable[..., None] | None = None,
    *arguments: Any,
    patience: float = GRACE,
) -> Iterator[Crew]:
    """A crew that is gone after the block; ``prepare(*arguments)`` is called in each worker first.

    A worker that has to be stopped gets SIGTERM, which raises SystemExit in it, and after
    ``patience`` seconds SIGKILL.
    """
    crew = Crew(jobs, prepare, arguments)
    try:
        yield crew
        crew.dismiss()
    finally:
        crew.stop(patience)


def _received(worker: Worker, name: str) -> Answer | Told:
    """What a worker sent; raises what failed there, also where the worker died."""
    sent = None
    with suppress(EOFError, OSError):
        if worker.pipe.poll():  # else it is gone, and what it had started keeps its pipe open
            sent = worker.pipe.recv()
    if isinstance(sent, Answer | Told):
        return sent
    if isinstance(sent, Failure):
        raise sent.error(name)
    worker.process.join(GRACE)
    code = worker.process.exitcode
    by_itself = code is not None and code > 1  # libraries that get no memory exit with 1
    guess = "" if by_itself else ", of too little memory perhaps"
    raise ValueError(f"{name} failed: a worker died ({_cause(code)}){guess}: try --jobs 1")


def _cause(exitcode: int | None) -> str:
    if exitcode is None or exitcode >= 0:
        return f"exit code {exitcode}"
    try:
        return signal.Signals(-exitcode).name
    except ValueError:  # a signal that Python has no name for
        return f"signal {-exitcode}"


@contextmanager
def _ctrl_c_held() -> Iterator[None]:
    """Ctrl-C is delivered after this block, and never to the processes that are started in it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """One BLAS thread for the processes started in this block: BLAS reads THREADS when loaded."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
