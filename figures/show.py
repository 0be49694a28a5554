"""A result file in words."""

from __future__ import annotations

import json

import numpy as np

from efsgd.arrays import Array
from efsgd.results import Result

FEW = 4  # values that are printed one by one


def described(result: Result) -> str:
    """The spec, what made it, and one line for each array with its last values."""
    rows = [(n, f"{a.dtype} {a.shape}", last_values(a)) for n, a in result.arrays.items()]
    name_width, kind_width = (max((len(row[i]) for row in rows), default=0) for i in (0, 1))
    lines = [f"  {n:<{name_width}}  {k:<{kind_width}}  {v}" for n, k, v in rows]
    texts = [_indented(result.spec), _indented(result.made_by)]
    return "\n".join(["spec", texts[0], "", "made by", texts[1], "", "arrays", *lines])


def last_values(array: Array) -> str:
    """The last entry along the first axis that is not all NaN, or its mean and range."""
    rows = np.atleast_1d(array)
    if array.size == 0 or array.dtype.kind not in "biuf":
        return str(array) if array.size <= FEW else f"{array.size} values"
    row = rows[-1].ravel()
    skipped = 0
    while skipped < len(rows) - 1 and np.isnan(row).all():
        skipped += 1
        row = rows[-1 - skipped].ravel()
    note = f" ({skipped} before the last)" if skipped else ""
    if row.size <= FEW:
        return ", ".join(f"{value:.6g}" for value in row) + note
    with np.errstate(invalid="ignore", over="ignore"):
        return f"mean {row.mean():.6g}, from {row.min():.6g} to {row.max():.6g}{note}"


def _indented(value: object) -> str:
    return "\n".join("  " + line for line in json.dumps(value, indent=2).splitlines()[1:-1])
