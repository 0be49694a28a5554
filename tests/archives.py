"""The contents of result files, for the tests that compare them byte by byte."""

import zipfile
from pathlib import Path


def members(path: Path) -> dict[str, bytes]:
    """The contents of an archive: name of the member -> bytes."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def but_made_by(path: Path) -> dict[str, bytes]:
    """The members of a result file that the same work gives again to the bit."""
    return {name: content for name, content in members(path).items() if name != "made_by.npy"}
