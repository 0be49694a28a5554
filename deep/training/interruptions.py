"""Requests to stop a training: by SIGINT or SIGTERM, or by a check that the caller passes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeAlias

# Called between steps and while waiting for the device. It may raise Stopped; where it returns
# true it has itself let time pass, and whoever waits need not sleep before the next call.
Check: TypeAlias = Callable[[], object]


class Stopped(Exception):
    """A stop was requested, at a point where the training's state can be saved; says by what."""


class StopRequest:
    """Whether a stop was requested, and by what."""

    source = ""  # the name of the signal, or another cause; "" while there is no request

    def check(self) -> None:
        """Raise Stopped if there is a request."""
        if self.source:
            raise Stopped(self.source)


@contextmanager
def deferred_signals() -> Iterator[StopRequest]:
    """Inside, SIGINT and SIGTERM only set the request; afterwards their handlers are as before.

    A signal that is ignored stays ignored. Outside the main thread, where Python handles no
    signals, this does nothing.
    """
    request = StopRequest()

    def handle(number: int, frame: FrameType | None) -> None:
        request.source = signal.Signals(number).name

    in_main = threading.current_thread() is threading.main_thread()
    numbers = [signal.SIGINT, signal.SIGTERM] if in_main else []
    before = {number: signal.getsignal(number) for number in numbers}
    # A handler that was installed outside Python is None, and could not be put back.
    replaced = [n for n, handler in before.items() if handler not in (None, signal.SIG_IGN)]
    try:
        for number in replaced:
            signal.signal(number, handle)
        yield request
    finally:
        for number in replaced:
            signal.signal(number, before[number])
