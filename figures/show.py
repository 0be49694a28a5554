"""Result files in words: one in full, a folder in one line each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from efsgd.arrays import Array
from efsgd.figures import terminal
from efsgd.provenance import as_text
from efsgd.results import Result, load

FEW = 4  # values that are printed one by one


def shown(paths: Sequence[Path]) -> str:
    """Each of several files in full under its name, each folder as :func:`listed`.

    Raises ValueError for a file that is no result and for a folder without one.
    """
    if len(paths) == 1 and not paths[0].is_dir():
        return described(load(paths[0]))
    texts = [listed(p) if p.is_dir() else described(load(p)) for p in paths]
    return "\n\n".join(f"{path}\n\n{text}" for path, text in zip(paths, texts, strict=True))


def listed(folder: Path) -> str:
    """One line for each result in a folder and those below: in what it differs from the others.

    The others are those of the same type. A file that is no result is named as such.
    """
    results: dict[Path, Result | str] = {}
    for path in sorted(folder.rglob("*.npz")):
        try:
            results[path] = load(path)
        except (ValueError, OSError) as error:
            results[path] = str(error)
    if not results:
        raise ValueError(f"{folder} holds no .npz file: name another folder, or files")
    kinds: dict[Any, dict[Path, dict[str, Any]]] = {}
    for path, result in results.items():
        if isinstance(result, Result):
            leaves = dict(_leaves(result.spec))
            kinds.setdefault(leaves.pop("type", None), {})[path] = leaves
    texts = {path: str(result) for path, result in results.items()}
    for kind, specs in kinds.items():
        fields = _distinguishing(list(specs.values()))
        for path, spec in specs.items():
            words = [_word(name, spec[name]) for name in fields if name in spec]
            texts[path] = " ".join([_word("type", kind), *words])
    lines = [f"{len(results)} files; efsgd-figures results lists them by figure"]
    for path, text in texts.items():
        lines += terminal.wrapped(f"{path.relative_to(folder)}  {text}", indent="    ")
    return "\n".join(lines)


def _distinguishing(specs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The fields in which specs of one type differ, those with the most values first.

    Of several that differ together, such as a problem and its size, the one of the shortest text.
    """
    fields: dict[tuple[int, ...], tuple[int, str]] = {}  # by where a column has equal values
    for name in dict.fromkeys(name for spec in specs for name in spec):
        column = [as_text({"": spec.get(name)}) for spec in specs]
        partition = tuple(column.index(value) for value in column)
        candidate = (max(map(len, column)), name)
        fields[partition] = min(candidate, fields.get(partition, candidate))
    ordered = sorted(fields, key=lambda partition: -len(set(partition)))
    return [fields[partition][1] for partition in ordered if len(set(partition)) > 1]


def _word(name: str, value: Any) -> str:
    """A field in short; of a type its last word."""
    last = name.rpartition(".")[2]
    if last == "type":
        return str(value).rpartition(".")[2]
    return f"{last}={value:.4g}" if isinstance(value, float) else f"{last}={value}"


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The numbers and words of a spec by their names, such as "run.lr" or "problems.0.d"."""
    parts = dict(enumerate(value)) if isinstance(value, list) else value
    if isinstance(parts, dict) and (parts is value or any(isinstance(p, dict) for p in value)):
        for key, part in parts.items():
            yield from _leaves(part, f"{name}.{key}" if name else str(key))
    else:
        yield name, value if parts is value else _abridged(value)


def _abridged(values: list[Any]) -> str:
    """A list of numbers or words by its ends."""
    words = [str(v) for v in values]
    return f"[{','.join(words if len(words) <= FEW else [words[0], '...', words[-1]])}]"


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
