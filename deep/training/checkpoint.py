"""The state of a training under way as one file, which appears whole or not at all.

It holds plain tensors, numbers and strings, so that it loads without running any code.
"""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from efsgd import archives
from efsgd.archives import reason
from efsgd.provenance import key, spec_of
from efsgd.results import replacing

State = dict[str, Any]

FORMAT = 3  # raised whenever what a checkpoint holds, or what it means, changes
# What torch raises besides for files that are not what they should be.
DAMAGE = (
    *archives.DAMAGE,
    AssertionError,
    AttributeError,
    LookupError,
    TypeError,
    pickle.UnpicklingError,
)


def save(path: str | Path, spec: str, data: str, state: Mapping[str, Any]) -> None:
    """Write the state of the training ``spec`` on the data of that digest, in place of the last.

    Raises OSError with the path if it cannot be written; the last checkpoint then stays.
    """
    with replacing(path) as file:
        try:
            torch.save({"format": FORMAT, "spec": spec, "data": data, "state": dict(state)}, file)
        except RuntimeError as error:  # torch ends its archive even then, and fails once more
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def load(path: str | Path, spec: str, data: str) -> State | None:
    """The state that was saved for this training and data, on the CPU; None if there is no file.

    Raises ValueError for a damaged or foreign file and for one of another training, data or format.
    """
    path = Path(path)
    try:
        content = _read(path)
    except FileNotFoundError:
        return None
    except DAMAGE as error:
        raise refused(path, f"is damaged or no checkpoint ({reason(error)})") from error
    if content.get("format") != FORMAT:
        raise refused(path, f"has the format {content.get('format')!r}, not {FORMAT}")
    if content.get("spec") != spec:
        raise refused(path, f"belongs to another training ({_difference(spec, content)})")
    if content.get("data") != data:
        raise refused(path, f"belongs to other data, of SHA-256 {content.get('data')}")
    state = content.get("state")
    if not isinstance(state, dict):
        raise refused(path, "is damaged or no checkpoint (it holds no state)")
    return state


def place(training: Any, directory: str | Path) -> Path:
    """Where the checkpoint of a training lies whose result goes into ``directory``."""
    return Path(directory) / "checkpoints" / f"{key(spec_of(training))}.pt"


def finish(path: str | Path) -> None:
    """Remove the checkpoint of a training whose result is saved; fine if there is none."""
    Path(path).unlink(missing_ok=True)


def refused(path: str | Path, why: str) -> ValueError:
    """The error for a checkpoint that cannot be used, to be raised."""
    return ValueError(f"the checkpoint {path} {why}: delete it to start over")


def _difference(spec: str, content: State) -> str:
    """The names of the fields that two specs do not have in common."""
    try:
        ours, theirs = json.loads(spec), dict(json.loads(content["spec"]))
    except DAMAGE:
        return "with no spec of ours"
    names = sorted(name for name in ours | theirs if ours.get(name) != theirs.get(name))
    return f"with another {', '.join(names)}"


def _read(path: Path) -> State:
    with open(path, "rb") as file:
        with zipfile.ZipFile(file) as archive:  # torch itself compares no checksums
            bad = archive.testzip()
        if bad is not None:
            raise ValueError(f"{bad} does not match its checksum")
        file.seek(0)
        content = torch.load(file, map_location="cpu", weights_only=True)
    if not isinstance(content, dict):
        raise ValueError("it holds no dictionary")
    return content
