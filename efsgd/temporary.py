"""Files that appear whole or not at all, and folders for work under way; what a kill left goes.

A writer locks what it has not finished, and the system releases the lock of a process that died.
So whoever gets the lock of such a file or folder knows that its writer is gone, and removes it.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:
    CAN_LOCK = False  # Windows
else:
    CAN_LOCK = True

__all__ = ["clear", "lock", "replacing", "temporary_folder"]

ENDING = ".efsgd"
PATTERN = f".*.{'[0-9a-f]' * 6}{ENDING}"
ABANDONED = 3600.0  # seconds without a write after which a writer is gone that cannot lock


@contextmanager
def replacing(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a file that takes the place of ``path`` once it is whole and on disk, or leaves it.

    Makes missing folders, and clears the folder of what killed writers left (:func:`clear`).
    Raises OSError with one sentence that names the path.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        clear(path.parent)
        with _under_way(path, _touch, Path.unlink) as temporary:
            with open(temporary, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
    except OSError as error:
        cause = error.strerror or error
        raise OSError(
            f"cannot write {path} ({cause}): make room or choose another folder"
        ) from error


@contextmanager
def temporary_folder(parent: Path, name: str) -> Iterator[Path]:
    """A new folder in ``parent`` that is removed at the end; after a kill, by :func:`clear`."""
    with _under_way(parent / name, Path.mkdir, shutil.rmtree) as folder:
        yield folder


def clear(*folders: str | Path) -> None:
    """Remove what writers that are gone left in these folders, which need not exist."""
    for folder in folders:
        for path in Path(folder).glob(PATTERN):
            with suppress(OSError):  # another process was faster, or it may not be removed
                _remove_abandoned(path)


def _touch(path: Path) -> None:
    path.touch(exist_ok=False)


@contextmanager
def _under_way(
    path: Path, make: Callable[[Path], object], remove: Callable[[Path], object]
) -> Iterator[Path]:
    """A new file or folder beside ``path``, locked until the block ends, then removed if there."""
    with ExitStack() as locks:
        temporary = _made(path, make, locks)
        try:
            yield temporary
        finally:
            with suppress(OSError):
                remove(temporary)


def _made(path: Path, make: Callable[[Path], object], locks: ExitStack) -> Path:
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(3)}{ENDING}")
        make(temporary)
        with suppress(FileNotFoundError):  # another process cleared it away before it was locked
            locks.enter_context(lock(temporary, wait=True))
            if temporary.exists():
                return temporary


@contextmanager
def lock(path: Path, wait: bool) -> Iterator[bool | None]:
    """Lock a file or folder; false if somebody else has the lock, None where nobody can."""
    if not CAN_LOCK:
        yield None
        return
    held: bool | None = True
    # Network file systems lock only what is open for writing, and no folders.
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            held = False
        except OSError:
            held = None
        yield held
    finally:
        os.close(descriptor)


def _remove_abandoned(path: Path) -> None:
    """Remove a file or folder if its writer is gone."""
    with lock(path, wait=False) as held:
        if held or (held is None and _is_old(path)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _is_old(path: Path) -> bool:
    """Whether nobody has written to it for long, by the clock of its file system."""
    last = max(part.lstat().st_mtime for part in (path, *path.rglob("*")))
    with tempfile.TemporaryFile(dir=path.parent) as now:
        return os.fstat(now.fileno()).st_mtime - last > ABANDONED
