"""What a failure means to who runs a command: bad input, too little memory, or a bug."""

from __future__ import annotations

import errno
import traceback
from typing import NamedTuple

INPUT = (ValueError, OSError, ArithmeticError)  # of the user's input; all others are bugs
NO_MEMORY = (  # how Python, the loader of libraries and torch say it without a MemoryError
    "can't start new thread",
    "allocate memory",
    "failed to map segment",
    "without setting an exception",  # the MemoryError was lost on its way
)


def lacks_memory(error: BaseException | None) -> bool:
    """Whether too little memory is the cause, or the cause of its cause."""
    seen: list[BaseException] = []  # some errors are their own cause
    while error is not None and error not in seen:
        if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
            return True
        if any(words in str(error) for words in NO_MEMORY):
            return True
        seen.append(error)
        error = error.__cause__ or error.__context__
    return False


def sentence(error: BaseException) -> str:
    """The text of an error in one line."""
    return " ".join(str(error).split())


def failure(name: str, error: Exception) -> Exception:
    """One sentence that names what failed.

    MemoryError for too little memory, ValueError for bad input and RuntimeError for a bug.
    """
    if lacks_memory(error):
        return MemoryError(f"{name} ran out of memory")
    kind = ValueError if isinstance(error, INPUT) else RuntimeError
    return kind(f"{name} failed: {type(error).__name__}: {sentence(error)}")


class Failure(NamedTuple):
    """A failure in a worker, which can be sent whatever the exception holds."""

    kind: type[Exception]
    text: str
    trace: str  # of the worker, for a bug

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """What is to be sent of an error."""
        if lacks_memory(error):
            return cls(MemoryError, sentence(error), "")
        if isinstance(error, INPUT):
            return cls(ValueError, str(error), "")
        text = str(error) if isinstance(error, RuntimeError) else f"{type(error).__name__}: {error}"
        return cls(RuntimeError, text, "".join(traceback.format_exception(error)))

    def error(self, name: str) -> Exception:
        """What the parent raises where ``name`` failed so."""
        if self.kind is MemoryError:
            return ValueError(f"{name} ran out of memory: try --jobs 1")
        error = self.kind(self.text)
        if self.trace:
            error.add_note(f"in a worker:\n{self.trace}")
        return error
