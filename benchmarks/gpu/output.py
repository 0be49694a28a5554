"""The files that come back from the rented machine: few, small, and complete at every moment.

The machine is gone afterwards, perhaps in the middle of a stage, and often limits the number and
size of the files that come back. Everything else stays in the working folder.
"""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from efsgd.results import replacing

STATE, MEASURED, TESTS = "state.json", "measured.json", "gpu-tests.xml"
ROWS, RESULTS = "rows.csv", "results.zip"


@dataclass(frozen=True)
class OutputFolder:
    """A folder with at most ``max_files`` files of at most ``max_bytes`` each.

    JSON objects are also written to ``work``, where the next call reads them.
    """

    folder: Path
    work: Path
    max_files: int = 8
    max_bytes: int = 16 * 2**20

    def write(self, name: str, content: bytes) -> Path:
        """Write the file, completely or not at all; OSError where it exceeds a limit."""
        path = self._checked_path(name, len(content))
        with replacing(path) as file:
            file.write(content)
        return path

    def update(self, name: str, values: Mapping[str, Any]) -> None:
        """Add these entries to a JSON object; a damaged file is replaced."""
        self.work.mkdir(parents=True, exist_ok=True)
        with open(self.work / f".{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two stages may run side by side
            text = json.dumps(self.read(name) | values, indent=1, default=str)
            with replacing(self.work / name) as file:
                file.write(f"{text}\n".encode())
            self.write(name, f"{text}\n".encode())

    def read(self, name: str) -> dict[str, Any]:
        """The JSON object of that name; empty where none can be read."""
        try:
            content = json.loads((self.work / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def append(self, name: str, row: Mapping[str, Any], columns: Sequence[str]) -> None:
        """Add a line to a CSV file; it is on disk when this returns."""
        line = io.StringIO()
        writer = csv.DictWriter(line, columns, lineterminator="\n")
        path = self.folder / name
        if not path.exists():
            writer.writeheader()
        writer.writerow(row)
        content = line.getvalue().encode()
        self._checked_path(name, len(content) + (path.stat().st_size if path.exists() else 0))
        with open(path, "ab") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def archive(self, name: str, paths: Sequence[Path]) -> None:
        """Write all of these files into one archive, which replaces the previous one."""
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:  # results are compressed already
            for path in sorted(paths):
                archive.write(path, path.name)
        self.write(name, content.getvalue())

    def _checked_path(self, name: str, size: int) -> Path:
        """The path of a file of ``size`` bytes; OSError where a limit forbids it."""
        path = self.folder / name
        self.folder.mkdir(parents=True, exist_ok=True)
        files = [p for p in self.folder.iterdir() if p.is_file() and not p.name.startswith(".")]
        others = [p for p in files if p != path]
        if len(others) >= self.max_files:
            raise OSError(
                f"{self.folder} holds {len(others)} files, and {self.max_files} may come home: "
                f"{name} was not written, raise --files"
            )
        if size > self.max_bytes:
            raise OSError(
                f"{name} would have {size} bytes, and {self.max_bytes} may come home: "
                "it was not written, raise --mib"
            )
        return path
