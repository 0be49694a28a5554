"""Checkpoints: the state of a training under way in one file, written completely or not at all.

A checkpoint holds plain tensors, numbers and strings, so that it loads without running any code.
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
# The exceptions of reading a damaged or foreign file: those of archives, and torch's.
DAMAGE = (
    *archives.DAMAGE,
    AssertionError,
    AttributeError,
    LookupError,
    TypeError,
    pickle.UnpicklingError,
)


def save(path: str | Path, spec: str, data: str, state: Mapping[str, Any]) -> None:
    """Replace the checkpoint of the training ``spec`` on data with the digest ``data``.

    Raises OSError with the path if it cannot be written; the previous checkpoint then stays.
    """
    with replacing(path) as file:
        try:
            torch.save({"format": FORMAT, "spec": spec, "data": data, "state": dict(state)}, file)
        except RuntimeError as error:  # after an OSError torch closes its archive, and fails again
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
        raise refusal(path, f"is damaged or no checkpoint ({reason(error)})") from error
    if content.get("format") != FORMAT:
        raise refusal(path, f"has the format {content.get('format')!r}, not {FORMAT}")
    if content.get("spec") != spec:
        raise refusal(path, f"belongs to another training ({_difference(spec, content)})")
    if content.get("data") != data:
        raise refusal(path, f"belongs to other data, of SHA-256 {content.get('data')}")
    state = content.get("state")
    if not isinstance(state, dict):
        raise refusal(path, "is damaged or no checkpoint (it holds no state)")
    return state


def place(training: Any, directory: str | Path) -> Path:
    """The checkpoint's path for a training whose result goes into ``directory``."""
    return Path(directory) / "checkpoints" / f"{key(spec_of(training))}.pt"


def finish(path: str | Path) -> None:
    """Remove the checkpoint of a training whose result is saved; fine if there is none."""
    Path(path).unlink(missing_ok=True)


def refusal(path: str | Path, why: str) -> ValueError:
    """The error to raise for a checkpoint that cannot be used."""
    return ValueError(f"the checkpoint {path} {why}: delete it to start over")


def _difference(spec: str, content: State) -> str:
    """The names of the fields in which a spec and that of a checkpoint differ."""
    try:
        ours, theirs = json.loads(spec), dict(json.loads(content["spec"]))
    except DAMAGE:
        return "with no spec of ours"
    names = sorted(name for name in ours | theirs if ours.get(name) != theirs.get(name))
    return f"with another {', '.join(names)}"


def _read(path: Path) -> State:
    with open(path, "rb") as file:
        with zipfile.ZipFile(file) as archive:  # torch itself compares no checksums
            damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"{damaged} does not match its checksum")
        file.seek(0)
        content = torch.load(file, map_location="cpu", weights_only=True)
    if not isinstance(content, dict):
        raise ValueError("it holds no dictionary")
    return content
