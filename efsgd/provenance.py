"""What was run (a spec) and what ran it (versions, sources, machine), both as JSON.

A spec depends on values only: the same work has the same spec in every process.
"""

from __future__ import annotations

import configparser
import dataclasses
import hashlib
import json
import math
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from efsgd.arrays import Array
from efsgd.compressors.base import Compressor
from efsgd.freshness import digest, is_frozen

Json = dict[str, Any]
T = TypeVar("T")


def optional(default: T, **options: Any) -> T:
    """A field of a dataclass that its spec holds only where it differs from its default.

    A class gets a new option as ``option: bool = optional(False)``, and results saved before keep
    their spec and their key. The default must never change: results of the old one would pass as
    those of the new one. Other options are those of ``dataclasses.field``.
    """
    field: T = dataclasses.field(default=default, metadata={"spec": "changed"}, **options)
    return field


def spec_of(value: Any) -> Json:
    """What a frozen dataclass is, in JSON: {"type": "package.Name", field: ...}, at any depth.

    The type is the name under which its users import it (:func:`public_name`), so that a result
    outlives a move of the module in which its class stands. A compressor is its spec string; an
    array or a sparse matrix is its SHA-256, shape and dtype. A field declared with ``optional`` is
    left out while it has its default.
    Raises ValueError with the name of the field that cannot be written down.
    """
    if not is_frozen(value):
        raise ValueError(f"only a frozen dataclass has a spec, not {value!r}: make it one")
    spec: Json = _as_json(value, type(value).__name__)
    return spec


def key(spec: Json) -> str:
    """16 hex digits that name a spec, whatever the order of its fields: SHA-256 of its JSON."""
    return hashlib.sha256(as_text(spec).encode()).hexdigest()[:16]


def as_text(value: Json) -> str:
    """The one JSON text of a value: sorted names, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def public_name(cls: type) -> str:
    """The name of a class in the highest package of efsgd that exports it, such as efsgd.Signum.

    A class that no package exports, and one from outside efsgd, is named by its module.
    """
    words = cls.__module__.split(".")
    if words[0] == "efsgd":
        for length in range(1, len(words)):
            package = sys.modules[".".join(words[:length])]
            name = cls.__qualname__
            if name in getattr(package, "__all__", ()) and getattr(package, name) is cls:
                return f"{package.__name__}.{name}"
    return f"{cls.__module__}.{cls.__qualname__}"


def made_by(work: Any = None) -> Json:
    """What would make a result now: versions, sources, machine, UTC time.

    ``code`` is a digest of the source files that the classes in ``work`` depend on
    (:mod:`efsgd.freshness`). It is None without work, and where such a class has no file, as in an
    interactive session. ``git`` is what ``git describe`` says of efsgd's
    checkout and, where it has no answer, as in a copy without .git, the environment variable
    EFSGD_COMMIT; ``efsgd`` is the version installed, else that in setup.cfg.
    """
    return {
        "efsgd": _version("efsgd"),
        "git": _git_describe(),
        "code": digest(work),
        "numpy": np.__version__,
        "scipy": _version("scipy"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": "cpu",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _as_json(value: Any, path: str) -> Any:
    """A value in a spec as JSON; ``path`` names its field in errors, such as Run.problem.d."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, tuple | list):
        return [_as_json(item, f"{path}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, Compressor) and value.name:
        return str(value)
    if is_frozen(value):
        return _fields_as_json(value, path)
    if hasattr(value, "tocsr"):
        return _sparse_digest(value)
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return _digest(value)
    raise ValueError(
        f"{path} = {value!r} cannot be part of a spec: "
        "use finite numbers, strings, tuples, arrays and frozen dataclasses of these"
    )


def _fields_as_json(value: Any, path: str) -> Json:
    spec = {"type": public_name(type(value))}
    for field in dataclasses.fields(value):
        name, field_path = field.name, f"{path}.{field.name}"
        if name == "type":
            raise ValueError(f"{field_path} cannot be part of a spec: give the field another name")
        spec[name] = _as_json(getattr(value, name), field_path)
        changed_only = field.metadata.get("spec") == "changed"
        if changed_only and spec[name] == _as_json(field.default, field_path):
            del spec[name]
    return spec


def _digest(array: Array) -> Json:
    sha = hashlib.sha256(np.asarray(array, order="C").tobytes())
    return {"sha256": sha.hexdigest(), "shape": list(array.shape), "dtype": array.dtype.str}


def _sparse_digest(matrix: Any) -> Json:
    rows = matrix.tocsr(copy=True)
    rows.sum_duplicates()
    rows.eliminate_zeros()
    sha = hashlib.sha256(b"csr")
    for part in (rows.indptr.astype("<i8"), rows.indices.astype("<i8"), rows.data):
        sha.update(part.tobytes())
    return {"sha256": sha.hexdigest(), "shape": list(rows.shape), "dtype": rows.dtype.str}


@cache
def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return _metadata().get("version") if package == "efsgd" else None


def _root() -> Path:
    return Path(__file__).resolve().parents[1]


def _metadata() -> dict[str, str]:
    """What setup.cfg of efsgd's own checkout says of efsgd; empty elsewhere."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(_root() / "setup.cfg", encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError):
        return {}
    metadata = dict(parser["metadata"]) if "metadata" in parser else {}
    return metadata if metadata.get("name") == "efsgd" else {}


@cache
def _git_describe() -> str | None:
    """``git describe`` of efsgd's own checkout, else EFSGD_COMMIT, else None."""
    return _git_answer() or os.environ.get("EFSGD_COMMIT", "").strip() or None


def _git_answer() -> str | None:
    if not ((_root() / ".git").exists() and _metadata()):
        return None
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-C", str(_root()), "describe", "--always", "--dirty", "--tags"]
    try:
        answer = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None
