"""One result is one ``.npz`` file: arrays, ``spec`` (what was run) and ``made_by`` (what ran it).

The name of the file ends in a hash of the spec, so equal work finds its result again, in whichever
process it runs. The same work on the same machine and versions gives the same bytes outside
``made_by``. A result that other code or other versions made is computed anew, never used silently.
"""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from efsgd.archives import (
    Damaged,
    is_sealed,
    open_regular,
    parsing,
    read_arrays,
    write_sealed,
)
from efsgd.arrays import Array
from efsgd.freshness import is_fresh
from efsgd.provenance import Json, as_text, key, made_by, spec_of
from efsgd.temporary import replacing

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
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, array in members.items():
            info = zipfile.ZipInfo(f"{name}.npy")  # dated 1980: same arrays, same bytes
            info.compress_type, info.create_system = zipfile.ZIP_DEFLATED, 3
            info.external_attr = 0o644 << 16
            with archive.open(info, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
    with replacing(path) as file:
        write_sealed(file, content.getbuffer())


def load(path: str | Path) -> Result:
    """Read a result. Raises ValueError for a damaged or foreign file, OSError for no file."""
    path = Path(path)
    try:
        arrays = _read(path)
        missing = [name for name in TEXTS if name not in arrays]
        if missing:
            raise ValueError(f"{path} holds no {missing[0]!r}: name a file that efsgd wrote")
        made_by, spec = (_object(arrays.pop(name)) for name in TEXTS)
    except Damaged as error:
        raise ValueError(f"{path} is damaged or no result ({error}): name another") from error
    return Result(arrays, spec, made_by, path)


def _read(path: Path) -> dict[str, Array]:
    """All arrays of a file; its digest is that of the bytes from which they are made."""
    with open_regular(path) as file, parsing():
        content = file.read()
    is_sealed(content)  # results of earlier versions are not, and have the checksums of zip only
    return read_arrays(io.BytesIO(content))


def _object(array: Array) -> Json:
    """A JSON object out of its text."""
    with parsing():
        value = json.loads(str(array))
    if not isinstance(value, dict):
        raise Damaged("spec or made_by is no JSON object")
    return value
