"""CSV and similar tables, which are refused with the two lines that make an .npz of them."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from efsgd.archives import parsing
from efsgd.convex.data.libsvm import BYTE_ORDER_MARK

DELIMITERS = (";", "\t", ",")  # a comma beside one of the others is a decimal comma
LONGEST = 2**16  # bytes that are looked at


def refuse_delimited(file: IO[bytes], path: str | Path) -> None:
    """Raise ValueError for a CSV or a table of blanks; the file stands at its start again.

    Judged by the first two lines that are neither empty nor comments; Damaged where there are none
    to read.
    """
    with parsing():
        start = file.read(LONGEST)
        file.seek(0)
    text = start.decode("utf-8-sig", errors="replace").splitlines()
    numbered = [(i, line.strip()) for i, line in enumerate(text) if line.partition("#")[0].strip()]
    if not numbered:
        return
    (at, first), (_, second) = numbered[0], numbered[:2][-1]
    delimiter = next((c for c in DELIMITERS if c in second), None)
    if not _is_table(first, second, delimiter):
        return
    decimal_commas = delimiter != "," and any("," in line for _, line in numbered)
    options = [repr(str(path))]
    options += [] if delimiter is None else [f"delimiter={delimiter!r}"]
    options += [] if _numbers(first, delimiter) else [f"skiprows={at + 1}"]
    if decimal_commas:
        options.append("converters=lambda word: float(word.replace(',', '.'))")
    if start.startswith(BYTE_ORDER_MARK):
        options.append("encoding='utf-8-sig'")
    elif decimal_commas:
        options.append("encoding='utf-8'")
    name = Path(path).with_suffix("").with_suffix(".npz").name
    kind = "blanks" if delimiter is None else repr(delimiter)
    raise ValueError(
        f"{path} is a table delimited by {kind}, neither LIBSVM text nor .npz: with y in its last "
        f"column, t = numpy.loadtxt({', '.join(options)}); "
        f"numpy.savez({name!r}, X=t[:, :-1], y=t[:, -1])"
    )


def _is_table(first: str, second: str, delimiter: str | None) -> bool:
    """Whether these lines, a header or not, are of a table and not of LIBSVM text."""
    is_text = all(line.replace("\t", " ").isprintable() for line in (first, second))
    if not is_text or ":" in second:
        return False
    if delimiter is None:
        return ":" not in first and len(second.split()) > 1 and _numbers(second, None)
    return delimiter in first


def _numbers(line: str, delimiter: str | None) -> bool:
    """Whether all words of a line are numbers, maybe with decimal commas."""
    try:
        return bool([float(word.replace(",", ".")) for word in line.split(delimiter)])
    except ValueError:
        return False
