"""Whether a saved result is what would be computed now: the sources it depends on, and versions.

Its sources are those of the classes in the work, and all that they import.

The imports are read from the sources, also those inside functions, so that the answer is the same
in every process. Importing a module counts what that module imports; the packages above it count
only where something is imported from themselves.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent
# Modules that store results; a change of them changes no result.
STORAGE = ("efsgd.provenance", "efsgd.results", "efsgd.freshness", "efsgd.temporary")


# What must be as it was, of what made a result.
DECIDING = ("code", "numpy", "scipy", "python")


def is_fresh(made_by: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether what made a result would make it now; both as :func:`efsgd.results.made_by` says."""
    return all(now[name] and made_by.get(name) == now[name] for name in DECIDING)


def digest(work: Any) -> str | None:
    """SHA-256 over the source files of a work, by name; None for no work, or a missing file."""
    return _digest(frozenset(classes_in(work)))


@cache
def _digest(classes: frozenset[type]) -> str | None:
    if not classes:
        return None
    sha = hashlib.sha256()
    for name, file in sorted(files_of(classes).items()):
        if file is None or not file.is_file():
            return None
        content = file.read_bytes()
        sha.update(f"{name} {len(content)}\n".encode() + content)
    return sha.hexdigest()


def classes_in(value: Any) -> Iterator[type]:
    """The class of a frozen dataclass and those of the ones in its fields, at any depth."""
    if isinstance(value, tuple | list):
        for item in value:
            yield from classes_in(item)
    if not is_frozen(value):
        return
    yield type(value)
    for field in dataclasses.fields(value):
        yield from classes_in(getattr(value, field.name))


def is_frozen(value: Any) -> bool:
    """Whether this is an instance of a frozen dataclass."""
    params = getattr(type(value), "__dataclass_params__", None)
    return params is not None and bool(params.frozen)


def files_of(classes: Iterable[type]) -> dict[str, Path | None]:
    """Name -> file of each source that these classes depend on, without those in ``STORAGE``.

    Sources of efsgd are listed by module. Of a class outside efsgd its own file counts, by file
    name, and what that imports from efsgd, but no other import; None stands for a class without a
    file, as in an interactive session. A class that another module runs names that module:
    ``run_by: ClassVar = ("efsgd.deep.training.obtain",)``.
    """
    modules: set[str] = set()
    for cls in classes:
        modules |= {cls.__module__, *getattr(cls, "run_by", ())}
    files: dict[str, Path | None] = {}
    pending = []
    for name in modules:
        if name in _modules():
            pending.append(name)
            continue
        file = getattr(sys.modules.get(name), "__file__", None)
        path = None if file is None else Path(file)
        files[name if path is None else path.name] = path
        if path is not None and path.is_file():
            pending += _imported(path)
    while pending:
        name = pending.pop()
        if name not in files and name not in STORAGE:
            files[name] = _modules()[name]
            pending += _imported(_modules()[name])
    return files


@cache
def _modules() -> dict[str, Path]:
    """Module -> file, of all of efsgd, also of the packages that a checkout links to."""
    modules = {}
    folders = [("efsgd", ROOT)]
    while folders:
        package, folder = folders.pop()
        for path in sorted(folder.iterdir()):
            if path.suffix == ".py":
                name = package if path.stem == "__init__" else f"{package}.{path.stem}"
                modules[name] = path
            elif (path / "__init__.py").is_file():
                folders.append((f"{package}.{path.name}", path))
    return modules


@cache
def _imported(path: Path) -> tuple[str, ...]:
    """The modules of efsgd from which a file imports something."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # a file of the user's that has changed since it was loaded
        return ()
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            targets = [f"{node.module}.{alias.name}" for alias in node.names]
            names += [name if name in _modules() else node.module for name in targets]
    return tuple(sorted({name for name in names if name in _modules()}))
