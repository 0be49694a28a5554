"""How the command starts and ends: its standard streams, its exit codes, failures in a sentence."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

import click

from efsgd.figures.processes.failures import lacks_memory
from efsgd.figures.texts import printable

EXIT_CODES = """\b
Exit codes:
  0    every claim passed
  1    a claim failed, and nothing else has this code
  2    bad usage or input, or too little memory or room: one sentence says which
  3    a bug of efsgd, with its traceback
  130  Ctrl-C
  141  nobody reads what is printed, as after `| head -1`
"""


class BadInput(click.ClickException):
    """What the user can correct: one sentence on stderr."""

    exit_code = 2


class Bug(click.ClickException):
    """What only we can correct: a traceback."""

    exit_code = 3

    def show(self, file: Any = None) -> None:
        """Print the traceback of the cause."""
        assert self.__cause__ is not None
        click.echo("".join(traceback.format_exception(self.__cause__)), err=True, nl=False)


class Interrupted(click.ClickException):
    """Ctrl-C, with the exit code that shells give it."""

    exit_code = 130


class Unread(click.ClickException):
    """Nobody reads what is printed: the exit code that shells give to that, and no word."""

    exit_code = 141

    def show(self, file: Any = None) -> None:
        """Say nothing, now and when Python ends."""
        _drop_the_rest()


class NoRoom(BadInput):
    """What is printed has no room."""

    def show(self, file: Any = None) -> None:
        """Print the sentence."""
        super().show(file)
        _drop_the_rest()


class PrintError(OSError):
    """What is printed cannot be written."""


def _drop_the_rest() -> None:
    """Let what is left for stdout go nowhere: Python, which writes it last, would exit with 120."""
    with suppress(OSError, ValueError):  # it is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turn whatever is raised into an end of the command, with its exit code."""
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        raise BadInput(printable(error.format_message())) from error
    except (click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except KeyboardInterrupt as error:
        raise Interrupted(printable(str(error) or "interrupted")) from error
    except BrokenPipeError as error:
        raise Unread("nobody reads") from error
    except Exception as error:
        raise _end(error) from error


def _end(error: Exception) -> click.ClickException:
    if isinstance(error, ValueError):
        return BadInput(printable(str(error)))
    if lacks_memory(error):
        what = f"{error}" if isinstance(error, MemoryError) and str(error) else "out of memory"
        return BadInput(printable(f"{what}: free some, or take a machine that has more"))
    if isinstance(error, PrintError):
        return NoRoom(str(error))
    if isinstance(error, OSError):
        named = f"cannot use {error.filename} ({error.strerror}): name another"
        return BadInput(printable(named if error.filename else str(error)))
    return Bug(str(error))


class Stream:
    """A text stream that can print every name of a file, and says what hinders it.

    Progress and messages are never a reason to fail: a stream that is not ``needed`` drops what it
    cannot write.
    """

    def __init__(self, stream: TextIO, needed: bool) -> None:
        self._stream, self._needed = stream, needed
        with suppress(AttributeError, ValueError):  # it has no encoding, or is closed
            stream.reconfigure(errors="backslashreplace")  # type: ignore[attr-defined]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, as the stream itself."""
        with self._failures():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, as the stream itself."""
        with self._failures():
            self._stream.flush()

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            if self._needed:
                raise
        except (OSError, ValueError) as error:  # ValueError: it is closed
            if self._needed:
                reason = getattr(error, "strerror", None) or error
                raise PrintError(f"cannot print ({reason}): print to another place") from error


def open_streams() -> None:
    """Make both streams usable whatever the caller has done with them: closed, full, in ASCII.

    A closed descriptor is opened on nothing: else the next file would get its number, and what a
    library prints would go into that file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for name, needed in (("stdout", True), ("stderr", False)):
        stream = getattr(sys, name)
        if not isinstance(stream, Stream):
            nothing = open(os.devnull, "w") if stream is None else stream  # noqa: SIM115
            setattr(sys, name, cast(TextIO, Stream(nothing, needed)))
