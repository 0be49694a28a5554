"""What a quarter of an hour brings home: few small files, each whole whenever the machine goes.

A rented machine is bare and gone afterwards, and often lets only so many files of such a size come
back. Everything else stays in the working folder.
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
class Home:
    """A folder with at most so many files of at most so many bytes each.

    JSON objects are also kept in ``work``, where the next call finds them.
    """

    folder: Path
    work: Path
    files: int = 8
    size: int = 16 * 2**20

    def write(self, name: str, content: bytes) -> Path:
        """Put the file in place, whole; OSError in one sentence where it would be too much."""
        path = self._room(name, len(content))
        with replacing(path) as file:
            file.write(content)
        return path

    def update(self, name: str, values: Mapping[str, Any]) -> None:
        """Add these entries to a JSON object; a damaged file is begun anew."""
        self.work.mkdir(parents=True, exist_ok=True)
        with open(self.work / f".{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two stages may run side by side
            text = json.dumps(self.read(name) | values, indent=1, default=str)
            with replacing(self.work / name) as file:
                file.write(f"{text}\n".encode())
            self.write(name, f"{text}\n".encode())

    def read(self, name: str) -> dict[str, Any]:
        """The JSON object of that name; empty where there is none that can be read."""
        try:
            found = json.loads((self.work / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def append(self, name: str, row: Mapping[str, Any], columns: Sequence[str]) -> None:
        """One more line of a CSV file, on disk when this returns."""
        line = io.StringIO()
        writer = csv.DictWriter(line, columns, lineterminator="\n")
        path = self.folder / name
        if not path.exists():
            writer.writeheader()
        writer.writerow(row)
        content = line.getvalue().encode()
        self._room(name, len(content) + (path.stat().st_size if path.exists() else 0))
        with open(path, "ab") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def archive(self, name: str, paths: Sequence[Path]) -> None:
        """All of these files in one archive, in place of the last one."""
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:  # results are compressed already
            for path in sorted(paths):
                archive.write(path, path.name)
        self.write(name, content.getvalue())

    def _room(self, name: str, size: int) -> Path:
        path = self.folder / name
        self.folder.mkdir(parents=True, exist_ok=True)
        files = [p for p in self.folder.iterdir() if p.is_file() and not p.name.startswith(".")]
        others = [p for p in files if p != path]
        if len(others) >= self.files:
            told = f"{self.folder} holds {len(others)} files, and {self.files} may come home"
            raise OSError(f"{told}: {name} was not written, raise --files")
        if size > self.size:
            told = f"{name} would have {size} bytes, and {self.size} may come home"
            raise OSError(f"{told}: it was not written, raise --mib")
        return path
