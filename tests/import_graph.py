"""The imports of our four packages, read from their sources with ast; none of them is run."""

import ast
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
    """Module name -> its source, of everything in the four folders."""
    return {
        package if path.stem == "__init__" else f"{package}.{path.stem}": path.read_text("utf-8")
        for package, folder in FOLDERS.items()
        for path in sorted(folder.glob("*.py"))
    }


def area(name: str) -> str:
    """What a rule speaks of: one of our packages, or the first word of anybody else's."""
    ours = [package for package in FOLDERS if f"{name}.".startswith(f"{package}.")]
    return max(ours, key=len) if ours else name.partition(".")[0]


def imports(module: str, source: str) -> Iterator[Import]:
    """Every import of `module`, also the relative ones and the calls of import_module."""

    def visit(node: ast.AST, late: bool, typing: bool) -> Iterator[Import]:
        for name in _names(node, area(module)):
            yield Import(name, node.lineno, late or typing, typing)
        late = late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        guarded = node.body if _is_type_checking(node) else []
        for child in ast.iter_child_nodes(node):
            yield from visit(child, late, typing or child in guarded)

    return visit(ast.parse(source), False, False)


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).split(".")[-1] == "TYPE_CHECKING"


def _names(node: ast.AST, package: str) -> list[str]:
    match node:
        case ast.Import():
            return [alias.name for alias in node.names]
        case ast.ImportFrom(module=module, level=level):
            words = package.split(".")
            base = words[: len(words) + 1 - level] if level else []
            return [".".join([*base, *filter(None, [module]), alias.name]) for alias in node.names]
        case ast.Call(func=ast.Name(id=called) | ast.Attribute(attr=called)) if called in BY_NAME:
            argument = node.args[0] if node.args else None
            known = isinstance(argument, ast.Constant) and isinstance(argument.value, str)
            return [argument.value if known else "<computed>"]
    return []


def arrows(module: str, source: str, among: dict[str, str]) -> Iterator[tuple[str, Import]]:
    """Each import of a module that is `among` ours, as (that module, the import).

    A name that is no module belongs to the package that it is taken from.
    """
    for found in imports(module, source):
        target = found.name
        while target and target not in among:
            target = target.rpartition(".")[0]
        if target:
            yield target, found


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
