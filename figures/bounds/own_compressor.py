"""A compressor of the user's own, out of a file: an instance, a class, or a plain function.

Whatever is wrong with the file becomes one sentence that names the file and, where it is known, the
line.
"""

from __future__ import annotations

import importlib.util
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from efsgd import Compressor
from efsgd.archives import Damaged, open_regular
from efsgd.convex.verification.plain_function import PlainFunction


@dataclass(frozen=True)
class OwnCompressor:
    """What a file holds under a name, and the delta to which a function is held."""

    path: Path
    name: str
    mapping: Any  # a Compressor, or a function
    delta: Any  # a number or d -> delta; None for a compressor, which claims its own

    @property
    def label(self) -> str:
        """The spec of a compressor, the name of a function."""
        return str(self.mapping) if isinstance(self.mapping, Compressor) else self.name

    def at(self, d: int) -> Compressor:
        """As a compressor at dimension d."""
        if isinstance(self.mapping, Compressor):
            return self.mapping
        return PlainFunction(self.mapping, self.delta(d) if callable(self.delta) else self.delta)

    @contextmanager
    def errors_located(self) -> Iterator[None]:
        """Turn an error in the user's code into a ValueError of one sentence, with its line."""
        try:
            yield
        except (Exception, SystemExit) as error:
            raise failed(self.path, error) from error


def own_compressor(text: str, delta: float | None = None) -> OwnCompressor:
    """What FILE.py:NAME names, and for a function its delta.

    That is the argument ``delta``, else the attribute ``delta`` of the function, else ``delta`` of
    the file, a number or d -> delta. Raises ValueError or OSError, in one sentence.
    """
    file, colon, name = text.rpartition(":")
    if not colon or not file.endswith(".py") or not name.isidentifier():
        raise ValueError(f"--module {text} names nothing: write FILE.py:NAME, such as my.py:L2Sign")
    path = Path(file)
    module = _imported(path)
    if not hasattr(module, name):
        known = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise ValueError(f"{path} holds no {name!r}: choose from {', '.join(known) or 'nothing'}")
    mapping = _instance(getattr(module, name), path, name)
    if isinstance(mapping, Compressor):
        if delta is not None:
            raise ValueError(f"{name} claims its own delta: leave --delta out")
        return OwnCompressor(path, name, mapping, None)
    claimed = delta
    if claimed is None:
        claimed = getattr(mapping, "delta", getattr(module, "delta", None))
    if not (callable(claimed) or _is_number(claimed)):
        raise ValueError(
            f"{path}: the function {name} claims nothing by itself: pass --delta X, or write "
            f"delta = X (or def delta(d)) in the file"
        )
    return OwnCompressor(path, name, mapping, claimed)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _instance(value: Any, path: Path, name: str) -> Any:
    """The compressor or function itself; a class is called without arguments."""
    if isinstance(value, type):
        if not issubclass(value, Compressor):
            raise ValueError(
                f"{path}: the class {name} is no efsgd.Compressor: derive it from that"
            )
        try:
            return value()
        except TypeError as error:
            reason = f"{path}: {name}() cannot be made ({error})"
            raise ValueError(
                f"{reason}: write mine = {name}(...) there and name {name} so"
            ) from error
    if not callable(value):
        raise ValueError(f"{path}: {name} is neither a compressor nor a function: name one")
    return value


def _imported(path: Path) -> ModuleType:
    """The file as a module of its own."""
    try:
        open_regular(path).close()
    except Damaged as error:
        raise ValueError(f"{path} cannot be run ({error}): write FILE.py:NAME") from error
    spec = importlib.util.spec_from_file_location(f"efsgd_user_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is no Python file: write FILE.py:NAME")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever a file may raise, SystemExit among it
        raise failed(path, error) from error
    return module


def failed(path: Path, error: BaseException) -> ValueError:
    """An error in the user's file in one sentence, with the last line of that file it came from."""
    names = (str(path), os.path.abspath(path))  # the import system makes a path absolute
    line = error.lineno if isinstance(error, SyntaxError) and error.filename in names else None
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename in names]
    if frames:
        line = frames[-1].lineno
    where = f"{path}, line {line}" if line else str(path)
    reason = error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())
    return ValueError(f"{where}: {type(error).__name__}{f': {reason}' if reason else ''}")
