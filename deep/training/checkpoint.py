"""Checkpoints: the state of a training under way in one file, written completely or not at all.

A checkpoint holds plain tensors, numbers and strings, so that it loads without running any code. A
digest of all its bytes ends it: torch reads a damaged archive without a word.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from efsgd.archives import (
    Damaged,
    is_sealed,
    open_regular,
    parsing,
    reason,
    shortened,
    write_sealed,
)
from efsgd.provenance import key, spec_of
from efsgd.temporary import replacing

State = dict[str, Any]

FORMAT = 3  # raised whenever what a checkpoint holds, or what it means, changes


def save(path: str | Path, spec: str, data: str, state: Mapping[str, Any]) -> None:
    """Replace the checkpoint of the training ``spec`` on data with the digest ``data``.

    Raises OSError with the path if it cannot be written; the previous checkpoint then stays.
    """
    content = io.BytesIO()
    torch.save({"format": FORMAT, "spec": spec, "data": data, "state": dict(state)}, content)
    with replacing(path) as file:
        write_sealed(file, content.getbuffer())


def load(path: str | Path, spec: str, data: str) -> State | None:
    """The state that was saved for this training and data, on the CPU; None if there is no file.

    Raises ValueError for a damaged or foreign file and for one of another training, data or format.
    """
    path = Path(path)
    try:
        content = _read(path)
    except FileNotFoundError:
        return None
    except (OSError, Damaged) as error:
        raise refusal(path, f"is damaged or no checkpoint ({reason(error)})") from error
    if content.get("format") != FORMAT:
        written = shortened(repr(content.get("format")))
        raise refusal(path, f"has the format {written}, not {FORMAT}")
    if content.get("spec") != spec:
        raise refusal(path, f"belongs to another training ({_difference(spec, content)})")
    if content.get("data") != data:
        other = shortened(str(content.get("data")))
        raise refusal(path, f"belongs to other data, of SHA-256 {other}")
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
        with parsing():
            ours, theirs = json.loads(spec), dict(json.loads(content["spec"]))
            names = sorted(name for name in ours | theirs if ours.get(name) != theirs.get(name))
    except Damaged:
        return "with no spec of ours"
    return f"with another {shortened(', '.join(names))}"


def _read(path: Path) -> State:
    """What a file holds, out of the very bytes whose digest was compared."""
    with open_regular(path) as file, parsing():
        content = file.read()
        if not is_sealed(content):
            raise Damaged("it does not end in a digest: an earlier efsgd wrote it, or it was cut")
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(info.file_size for info in archive.infolist()) > len(content):
                raise Damaged("it promises more than it holds")
        loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    if not isinstance(loaded, dict):
        raise Damaged("it holds no dictionary")
    return loaded
