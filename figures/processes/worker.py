"""A worker process of a crew: it answers the calls that come through its pipe, one at a time."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from threading import Thread
from typing import Any, NamedTuple, NoReturn

from efsgd.figures.processes.failures import Failure

GRACE = 5.0  # seconds that a worker has to end before it is killed


class Answer(NamedTuple):
    """What a call returned."""

    value: Any


class Told(NamedTuple):
    """A message from the middle of a call."""

    message: Any


class _State:
    """Of this process, where it is a worker."""

    pipe: Connection | None = None  # to the parent
    terminated = False  # whether SIGTERM came


def tell(message: Any) -> None:
    """Send a message to the parent; it is lost where there is none any more."""
    if _State.pipe is not None:
        with suppress(OSError):
            _State.pipe.send(Told(message))


def serve(
    pipe: Connection, prepare: Callable[..., None] | None, arguments: tuple[Any, ...]
) -> None:
    """Call ``prepare(*arguments)``, then answer calls until the pipe closes or a signal comes.

    A call that fails is the last one: its Failure is sent. Nothing ends in a traceback.
    """
    _State.pipe = pipe
    try:
        _silence_libraries()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
        signal.signal(signal.SIGTERM, _exit)
        Thread(target=_follow_parent, daemon=True).start()
        if prepare is not None:
            prepare(*arguments)
        while (call := _next_call(pipe)) is not None:
            function, values = call
            pipe.send(Answer(function(*values)))
    except KeyboardInterrupt:  # a training that SIGTERM stopped, and that has saved its state
        raise SystemExit(1) from None
    except Exception as error:
        with suppress(Exception):  # the parent is gone, or there is no memory even for this
            pipe.send(Failure.of(error))
        raise SystemExit(1) from None
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # this process is ending already


def _silence_libraries() -> None:
    """What C code says when it dies of too little memory is dropped: the parent says it better.

    Warnings of Python still come through.
    """
    sys.stderr = open(os.dup(2), "w", buffering=1, errors="backslashreplace")  # noqa: SIM115
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    os.close(nothing)


def _next_call(pipe: Connection) -> Any:
    """A function and its arguments, or None where no further call is wanted."""
    if _State.terminated:  # the exception of _exit was lost: callbacks of weak references drop it
        return None
    try:
        return pipe.recv()
    except (EOFError, OSError):
        return None


def _exit(*_: Any) -> NoReturn:
    """Leave by an exception, so that temporary files are removed."""
    _State.terminated = True
    raise SystemExit(1)


def _follow_parent() -> None:
    """Do not outlive the parent."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE)
        os._exit(1)
