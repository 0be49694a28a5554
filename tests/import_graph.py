"""The imports of our four packages, read from their sources with ast; none of them is run."""

import ast
import os
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {
    "efsgd": ROOT / "efsgd",
    "efsgd.convex": ROOT / "convex",
    "efsgd.deep": ROOT / "deep",
    "efsgd.figures": ROOT / "figures",
}
BY_NAME = ("import_module", "__import__")


@dataclass(frozen=True)
class Import:
    """`name` is absolute and full: "efsgd.engine.Run" in `from efsgd.engine import Run`."""

    name: str
    line: int
    late: bool  # importing the module does not run it: inside a function, or typing
    typing: bool  # for the type checker only: it never runs


def sources() -> dict[str, str]:
    """Module name -> its source, of everything in the four folders and the folders inside them."""
    modules = {}
    for package, top in FOLDERS.items():
        for folder, inside, names in os.walk(top):  # which follows no link
            inside.sort()
            words = [package, *Path(folder).relative_to(top).parts]
            for path in sorted(Path(folder, name) for name in names if name.endswith(".py")):
                name = words if path.stem == "__init__" else [*words, path.stem]
                modules[".".join(name)] = path.read_text("utf-8")
    return modules


def packages(modules: dict[str, str]) -> set[str]:
    """Those of the modules that hold others."""
    return {name.rpartition(".")[0] for name in modules} & set(modules)


def inside(name: str, package: str) -> bool:
    """Whether a name is that of a package or of something in it."""
    return f"{name}.".startswith(f"{package}.")


def area(name: str) -> str:
    """What a rule speaks of: one of our packages, or the first word of anybody else's."""
    ours = [package for package in FOLDERS if inside(name, package)]
    return max(ours, key=len) if ours else name.partition(".")[0]


def imports(source: str) -> Iterator[Import]:
    """Every import in a source, also the calls of import_module; relative ones are banned."""

    def visit(node: ast.AST, late: bool, typing: bool) -> Iterator[Import]:
        for name in _names(node):
            yield Import(name, node.lineno, late or typing, typing)
        late = late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        guarded = node.body if _is_type_checking(node) else []
        for child in ast.iter_child_nodes(node):
            yield from visit(child, late, typing or child in guarded)

    return visit(ast.parse(source), False, False)


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).split(".")[-1] == "TYPE_CHECKING"


def _names(node: ast.AST) -> list[str]:
    match node:
        case ast.Import():
            return [alias.name for alias in node.names]
        case ast.ImportFrom(module=module, level=level):
            prefix = "." * level + (module or "")
            return [f"{prefix}.{alias.name}" for alias in node.names]
        case ast.Call(func=ast.Name(id=called) | ast.Attribute(attr=called)) if called in BY_NAME:
            argument = node.args[0] if node.args else None
            known = isinstance(argument, ast.Constant) and isinstance(argument.value, str)
            return [argument.value if known else "<computed>"]
    return []


def arrows(source: str, among: dict[str, str]) -> Iterator[tuple[str, Import]]:
    """Each import of a module that is `among` ours, as (that module, the import).

    A name that is no module belongs to the package that it is taken from.
    """
    for one in imports(source):
        target = one.name
        while target and target not in among:
            target = target.rpartition(".")[0]
        if target:
            yield target, one


def rooms(graph: dict[str, set[str]], package: str) -> dict[str, set[str]]:
    """The graph between what stands directly in a package: its modules and folders."""

    def room(module: str) -> str:
        return module[len(package) + 1 :].partition(".")[0] if inside(module, package) else ""

    among: dict[str, set[str]] = {room(module): set() for module in graph if room(module)}
    for module, targets in graph.items():
        if room(module):
            among[room(module)] |= {room(target) for target in targets} - {"", room(module)}
    return among


def circle(graph: dict[str, set[str]]) -> list[str]:
    """The modules of a circle in order, the first repeated at the end; empty if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def reached(graph: dict[str, set[str]], start: str) -> set[str]:
    """Everything that `start` imports, directly or through others."""
    seen: set[str] = set()
    todo = [start]
    while todo:
        fresh = graph[todo.pop()] - seen
        seen |= fresh
        todo += fresh
    return seen
