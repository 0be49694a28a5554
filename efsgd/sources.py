"""Which source files a piece of work depends on: those of its classes, and all that they import.

The imports are read from the sources, also those inside functions, so that the answer is the same
in every process. Importing a module counts what that module imports; the packages above it count
only where something is imported from themselves.
"""

from __future__ import annotations

import ast
import dataclasses
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent
# How results are kept, which does not change what they hold.
STORAGE = ("efsgd.provenance", "efsgd.results", "efsgd.sources")


def classes_in(value: Any) -> Iterator[type]:
    """The classes of a work and of the frozen dataclasses in its fields, at any depth."""
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
    """Name -> file of each source that these classes depend on, less how results are kept.

    Of efsgd these are modules; of others only the files in which the classes stand, without what
    they import beside efsgd. A class without a file (of an interactive session) has None. A class
    that another module runs names it: ``run_by: ClassVar = ("efsgd.deep.training.obtain",)``.
    """
    modules: set[str] = set()
    for kind in classes:
        modules |= {kind.__module__, *getattr(kind, "run_by", ())}
    files: dict[str, Path | None] = {}
    todo = []
    for name in modules:
        if name in _modules():
            todo.append(name)
            continue
        file = getattr(sys.modules.get(name), "__file__", None)
        path = None if file is None else Path(file)
        files[name if path is None else path.name] = path
        if path is not None and path.is_file():
            todo += _imported(path)
    while todo:
        name = todo.pop()
        if name not in files and name not in STORAGE:
            files[name] = _modules()[name]
            todo += _imported(_modules()[name])
    return files


@cache
def _modules() -> dict[str, Path]:
    """Module -> file, of all of efsgd; through the links of a checkout, too."""
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
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            names += [name if name in _modules() else node.module for name in full]
    return tuple(sorted({name for name in names if name in _modules()}))
