"""Starts the command efsgd-figures: what fails while its modules load ends in a sentence too.

It stands beside the package, which loads NumPy, so that it can catch what happens meanwhile. The
exit codes are those of :mod:`efsgd.figures.entry`.
"""

import sys
from typing import NoReturn


def main() -> None:
    """Load the command and run it."""
    try:
        from efsgd.figures.cli import main as command
    except KeyboardInterrupt:
        _end("interrupted", 130)
    except MemoryError:
        _end("too little memory to start: free some", 2)
    except ImportError as error:
        if "failed to map segment" not in str(error):  # how the loader of libraries says it
            _traceback(error)
        _end("too little memory to start: free some", 2)
    except Exception as error:
        _traceback(error)
    command(prog_name="efsgd-figures")


def _end(sentence: str, code: int) -> NoReturn:
    if sys.stderr is not None:
        sys.stderr.write(f"Error: {sentence}\n")
    sys.exit(code)


def _traceback(error: Exception) -> NoReturn:
    sys.excepthook(type(error), error, error.__traceback__)
    sys.exit(3)


if __name__ == "__main__":
    main()
