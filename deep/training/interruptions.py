"""How somebody asks a training to stop: by a signal, or by a check of the caller's."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeAlias

Check: TypeAlias = Callable[[], object]  # may raise Stopped; true if it has let time pass itself


class Stopped(Exception):
    """Somebody asked to stop, and the state of the training can be saved as it is; says who."""


class Stop:
    """Whether somebody asked to stop."""

    name = ""  # of the signal, or what else it was

    def check(self) -> None:
        """Raise Stopped if one did."""
        if self.name:
            raise Stopped(self.name)


@contextmanager
def interruptions() -> Iterator[Stop]:
    """SIGINT and SIGTERM only leave a note inside; outside their handlers are as before.

    In another thread than the main one, which no signal reaches, this does nothing.
    """
    stop = Stop()

    def note(number: int, frame: FrameType | None) -> None:
        stop.name = signal.Signals(number).name

    mine = threading.current_thread() is threading.main_thread()
    numbers = [signal.SIGINT, signal.SIGTERM] if mine else []
    before = {number: signal.getsignal(number) for number in numbers}
    heard = [number for number, handler in before.items() if handler not in (None, signal.SIG_IGN)]
    try:
        for number in heard:
            signal.signal(number, note)
        yield stop
    finally:
        for number in heard:
            signal.signal(number, before[number])
