"""verdicts.json: the verdicts of all figures in a folder, those of the last run of each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from efsgd.figures.claims.verdicts import Row
from efsgd.temporary import lock, replacing

NAME = "verdicts.json"


def read(path: Path) -> list[Row]:
    """The rows of a verdicts.json, none where there is no such file.

    Raises ValueError for a file that holds no verdicts, which is not to be overwritten.
    """
    if not path.exists():
        return []
    try:
        rows = json.loads(path.read_bytes()) if path.is_file() else None
    except (ValueError, RecursionError):
        rows = None
    if not isinstance(rows, list) or not all(map(_is_row, rows)):
        raise ValueError(f"{path} holds no verdicts: remove it, or choose another folder by --out")
    return rows


def _is_row(row: object) -> bool:
    """Whether it names a figure, and a command if it names one."""
    return isinstance(row, dict) and all(
        isinstance(name, str) for name in (row.get("figure"), row.get("command", ""))
    )


def merge(path: Path, command: str, judged: Mapping[str, Sequence[Row]]) -> None:
    """Put the rows of these figures of a command in the place of those that the file has of them.

    All other rows stay. The file is written whole or not at all, and two processes that merge into
    one folder at the same time lose nothing. A row of an earlier efsgd that names no command counts
    as one of this command.
    """
    with lock(path.parent, wait=True):
        groups: dict[tuple[str, str], list[Row]] = {}
        for row in read(path):
            groups.setdefault((row.get("command", command), row["figure"]), []).append(row)
        groups |= {(command, figure): list(rows) for figure, rows in judged.items()}
        rows = [row for group in groups.values() for row in group]
        with replacing(path) as file:
            file.write(
                (json.dumps(rows, indent=2, ensure_ascii=False) + "\n").encode(
                    errors="backslashreplace"
                )
            )
