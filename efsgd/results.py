"""One result is one ``.npz`` file: arrays, ``spec`` (what was run) and ``made_by`` (what ran it).

The name of the file ends in a hash of the spec, so equal work finds its result again, in whichever
process it runs. The same work on the same machine and versions gives the same bytes outside
``made_by``. A result that other code or other versions made is computed anew, never used silently.
"""

from __future__ import annotations

import json
import os
import secrets
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from efsgd.archives import DAMAGE, read_array, reason
from efsgd.arrays import Array
from efsgd.freshness import is_fresh
from efsgd.provenance import Json, as_text, key, made_by, spec_of

__all__ = [
    "Result",
    "Work",
    "find",
    "key",
    "load",
    "made_by",
    "obtain",
    "place",
    "replacing",
    "save",
    "spec_of",
]

ABANDONED = 3600.0  # seconds without a write: fsync may keep a living writer waiting
TEXTS = ("made_by", "spec")  # the members that are JSON


class Work(Protocol):
    """Something to compute, as a value: a frozen dataclass of numbers; ``efsgd.Run`` is one."""

    def compute(self) -> dict[str, Array]:
        """The arrays that the work is about, by name."""


@dataclass(frozen=True)
class Result:
    """The content of a result file; ``result["loss"]`` is an array."""

    arrays: dict[str, Array]
    spec: Json
    made_by: Json
    path: Path

    def __getitem__(self, name: str) -> Array:
        """The array of that name; a KeyError says which there are."""
        if name not in self.arrays:
            raise KeyError(f"{self.path.name} has no {name!r}, it has {', '.join(self.arrays)}")
        return self.arrays[name]


def place(work: Any, directory: str | Path) -> Path:
    """Where the result of a frozen dataclass lies: directory/<kind>-<key>.npz, kind its class."""
    return Path(directory) / f"{type(work).__name__.lower()}-{key(spec_of(work))}.npz"


def obtain(work: Work, directory: str | Path, again: bool = False) -> Result:
    """The saved result of ``work``, or a new one where there is none or ``again`` is true."""
    path = place(work, directory)
    saved = None if again else find(work, directory)
    if saved is not None:
        return saved
    start = time.perf_counter()
    arrays = {name: np.asarray(a, order="C") for name, a in sorted(work.compute().items())}
    seconds = round(time.perf_counter() - start, 3)
    result = Result(arrays, spec_of(work), made_by(work) | {"seconds": seconds}, path)
    save(path, arrays, result.spec, result.made_by)
    return result


def find(work: Work, directory: str | Path) -> Result | None:
    """The saved result of ``work``; None if there is none that is whole and up to date."""
    path = place(work, directory)
    try:
        saved = load(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # a damaged file is no result
        return None
    fresh = is_fresh(saved.made_by, made_by(work))
    return saved if fresh and saved.spec == spec_of(work) else None


def save(path: str | Path, arrays: Mapping[str, Array], spec: Json, made_by: Json) -> None:
    """Write a result; it appears whole or not at all, and ``np.load`` reads it without pickle.

    Raises ValueError for an array of objects and for the names ``spec`` and ``made_by``, OSError
    with the path if it cannot be written.
    """
    members = {name: np.asarray(arrays[name], order="C") for name in sorted(arrays)}
    for name, array in members.items():
        if name in TEXTS or array.dtype.hasobject:
            raise ValueError(f"a result cannot hold {name!r} of dtype {array.dtype}: rename it")
    members |= {"spec": np.array(as_text(spec)), "made_by": np.array(as_text(made_by))}
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in members.items():
            info = zipfile.ZipInfo(f"{name}.npy")  # dated 1980: same arrays, same bytes
            info.compress_type, info.create_system = zipfile.ZIP_DEFLATED, 3
            info.external_attr = 0o644 << 16
            with archive.open(info, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def load(path: str | Path) -> Result:
    """Read a result. Raises ValueError for a damaged or foreign file, OSError for no file."""
    path = Path(path)
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                arrays: dict[str, Any] = {
                    name.removesuffix(".npy"): read_array(archive, name)
                    for name in archive.namelist()
                }
            made_by, spec = (json.loads(str(arrays.pop(name))) for name in TEXTS)
            if not (isinstance(spec, dict) and isinstance(made_by, dict)):
                raise ValueError("spec or made_by is no JSON object")
        except KeyError as error:
            raise ValueError(
                f"{path} holds no {error.args[0]!r}: name a file that efsgd wrote"
            ) from error
        except DAMAGE as error:
            raise ValueError(
                f"{path} is damaged or no result ({reason(error)}): name another"
            ) from error
    return Result(arrays, spec, made_by, path)


@contextmanager
def replacing(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a file that takes the place of ``path`` once it is whole and on disk, or leaves it.

    Makes missing folders, and clears away what writers of ``path`` that were killed over an hour
    ago left beside it. Raises OSError with one sentence that names the path.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            _remove_abandoned(path, os.fstat(file.fileno()).st_mtime)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        cause = error.strerror or error
        raise OSError(
            f"cannot write {path} ({cause}): make room or choose another folder"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def _remove_abandoned(path: Path, now: float) -> None:
    """Remove the temporary files of ``path`` that nobody has written to for an hour.

    ``now`` is by the clock of the file system, which need not be that of this machine.
    """
    for temporary in path.parent.glob(f".{escape(path.name)}.{'[0-9a-f]' * 8}.tmp"):
        with suppress(OSError):  # another process was faster, or it may not be removed
            if now - temporary.lstat().st_mtime > ABANDONED:
                temporary.unlink()
