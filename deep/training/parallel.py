"""Several trainings at once in one process: a GPU that one of them leaves idle serves the others.

Each has a thread, a stream and a CUDA graph of its own. A baton goes round between their steps, and
only who holds it runs Python: so no capture of a graph meets a call of another thread, and every
training makes the same calls in the same order as alone. On a CPU its bits are those of alone; on
CUDA cuDNN may choose other algorithms where the device is busy.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Lock
from typing import TypeAlias

from efsgd.deep.training.interruptions import Check, Stop, interruptions

Task: TypeAlias = Callable[[Check], None]  # calls what it is given between its steps


class Baton:
    """A lock that is handed on in turn, so that nobody who waits for it is passed over."""

    def __init__(self) -> None:
        self._guard = Lock()
        self._free = True
        self._queue: deque[Lock] = deque()  # of those that wait, each locked until its turn

    def __enter__(self) -> None:
        """Wait for one's turn."""
        with self._guard:
            if self._free:
                self._free = False
                return
            turn = Lock()
            turn.acquire()
            self._queue.append(turn)
        turn.acquire()

    def __exit__(self, *error: object) -> None:
        """Give it to who has waited longest."""
        with self._guard:
            if self._queue:
                self._queue.popleft().release()
            else:
                self._free = True

    def hand_on(self) -> bool:
        """Let all others that wait have their turn first; whether there was one."""
        if not self._queue:
            return False
        self.__exit__()
        self.__enter__()
        return True


def at_once(tasks: Sequence[Task], count: int) -> None:
    """Run the tasks, ``count`` at a time, each in a thread, begun in this order.

    Each is given a ``check`` to call between its steps, such as that of
    :func:`efsgd.deep.run_training`. Where one fails, or SIGINT or SIGTERM comes, ``check`` raises
    :class:`efsgd.deep.training.Stopped` in the others, no further one is begun, and once all have
    ended the failure, else the KeyboardInterrupt of one that stopped, is raised.
    """
    if count < 1:
        raise ValueError(f"at least one training has to run at a time, not {count}")
    baton = Baton()
    with interruptions() as stop, ThreadPoolExecutor(count, "training") as threads:
        futures = [threads.submit(_run, task, baton, stop) for task in tasks]
        left: set[Future[bool]] = set(futures)
        while left:  # never for long: a signal is only heard in between
            left = wait(left, 0.2).not_done
    errors = [error for future in futures if (error := future.exception())]
    for error in sorted(errors, key=lambda error: isinstance(error, KeyboardInterrupt)):
        raise error
    if not all(future.result() for future in futures):
        raise KeyboardInterrupt(f"{stop.name} stopped the trainings before all had begun")


def _run(task: Task, baton: Baton, stop: Stop) -> bool:
    """Whether the task was begun, and so is done."""

    def check() -> bool:
        stop.check()
        return baton.hand_on()

    with baton:
        if stop.name:
            return False
        try:
            task(check)
        except BaseException:
            stop.name = stop.name or "the failure of another training"
            raise
    return True
