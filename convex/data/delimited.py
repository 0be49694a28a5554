"""CSV and similar tables, which are refused with the two lines that make an .npz of them."""

from __future__ import annotations

from pathlib import Path
from typing import IO

DELIMITERS = (",", ";", "\t")
LONGEST = 2**16  # bytes of the line that is looked at


def refuse_delimited(file: IO[bytes], path: str | Path) -> None:
    """Raise ValueError if the first line is one of a CSV; the file stands at its start again."""
    line = file.readline(LONGEST).decode(errors="replace").strip()
    file.seek(0)
    delimiter = max(DELIMITERS, key=line.count)
    is_text = line.replace("\t", " ").isprintable()
    if not is_text or line.startswith("#") or ":" in line or delimiter not in line:
        return
    header = "" if _numbers(line.split(delimiter)) else ", skiprows=1"
    raise ValueError(
        f"{path} is a table delimited by {delimiter!r}, neither LIBSVM text nor .npz: with y in "
        f"its last column, t = numpy.loadtxt({str(path)!r}, delimiter={delimiter!r}{header}); "
        f"numpy.savez({Path(path).stem + '.npz'!r}, X=t[:, :-1], y=t[:, -1])"
    )


def _numbers(words: list[str]) -> bool:
    try:
        return bool([float(word) for word in words])
    except ValueError:
        return False
