"""Several trainings at once in one process, so that one GPU serves them all without idling.

Each has a thread, a stream and a CUDA graph of its own. A fair lock is passed around between their
steps, and only the thread that holds it runs Python: so a graph is never captured while another
thread calls the device, and every training makes the same calls in the same order as alone. On a
CPU its history has the same bits as alone; on CUDA cuDNN may choose other algorithms where the
device is busy.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Lock
from typing import TypeAlias

from efsgd.deep.training.interruptions import Check, StopRequest, deferred_signals

Task: TypeAlias = Callable[[Check], None]  # calls its argument between its steps


class FairLock:
    """A lock that threads acquire in the order in which they asked for it."""

    def __init__(self) -> None:
        self._guard = Lock()
        self._free = True
        self._queue: deque[Lock] = deque()  # one for each waiting thread, locked until its turn

    def __enter__(self) -> None:
        """Acquire it, after all threads that already wait."""
        with self._guard:
            if self._free:
                self._free = False
                return
            turn = Lock()
            turn.acquire()
            self._queue.append(turn)
        turn.acquire()

    def __exit__(self, *error: object) -> None:
        """Give it to the thread that has waited longest."""
        with self._guard:
            if self._queue:
                self._queue.popleft().release()
            else:
                self._free = True

    def yield_turn(self) -> bool:
        """Let every waiting thread have a turn, then acquire it again; whether any waited."""
        if not self._queue:
            return False
        self.__exit__()
        self.__enter__()
        return True


def at_once(tasks: Sequence[Task], count: int) -> None:
    """Run the tasks, each in a thread, ``count`` at a time, started in this order.

    Each is given a ``check`` to call between its steps, such as that of
    :func:`efsgd.deep.run_training`. Where one fails, or on SIGINT or SIGTERM, ``check`` raises
    :class:`efsgd.deep.training.Stopped` in the others and no further task is started. Once all
    have ended, the failure is raised, or else the KeyboardInterrupt of one that stopped.
    """
    if count < 1:
        raise ValueError(f"at least one training has to run at a time, not {count}")
    turn = FairLock()
    with deferred_signals() as request, ThreadPoolExecutor(count, "training") as threads:
        futures = [threads.submit(_run, task, turn, request) for task in tasks]
        pending: set[Future[bool]] = set(futures)
        while pending:  # in short waits: Python handles signals only in between
            pending = wait(pending, 0.2).not_done
    errors = [error for future in futures if (error := future.exception())]
    for error in sorted(errors, key=lambda error: isinstance(error, KeyboardInterrupt)):
        raise error
    if not all(future.result() for future in futures):
        raise KeyboardInterrupt(f"{request.source} stopped the trainings before all had begun")


def _run(task: Task, turn: FairLock, request: StopRequest) -> bool:
    """Run the task; false where a stop was requested before it could start."""

    def check() -> bool:
        request.check()
        return turn.yield_turn()

    with turn:
        if request.source:
            return False
        try:
            task(check)
        except BaseException:
            request.source = request.source or "the failure of another training"
            raise
    return True
