"""What is public: each package says it in ``__all__``, and a type in a spec has a public name.

Without this file a move of a module could change the identity of saved results, and what a package
exports could differ from what it says.
"""

import dataclasses
import importlib
import inspect

import pytest
from import_graph import packages, sources

pytest.importorskip("torch")

SOURCES = sources()
PACKAGES = sorted(packages(SOURCES))


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_exports_what_it_says_and_no_more(package):
    module = importlib.import_module(package)
    exported = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    } - {"annotations", "Any"}
    modules = {name for name in module.__all__ if inspect.ismodule(getattr(module, name))}
    assert len(module.__all__) == len(set(module.__all__))
    assert exported <= set(module.__all__)
    for name in module.__all__:
        assert hasattr(module, name)  # also where it is loaded when asked for
    assert all(f"{package}.{name}" in SOURCES for name in modules)


def works() -> list[type]:
    """Our frozen dataclasses whose results can be saved."""
    classes = {
        value
        for name in SOURCES
        for value in vars(importlib.import_module(name)).values()
        if inspect.isclass(value)
        and value.__module__.partition(".")[0] == "efsgd"
        and dataclasses.is_dataclass(value)
        and (hasattr(value, "compute") or hasattr(value, "run_by"))
    }
    return sorted(classes, key=lambda kind: kind.__qualname__)


@pytest.mark.parametrize("kind", works(), ids=lambda kind: kind.__qualname__)
def test_what_is_saved_is_named_by_its_package(kind):
    from efsgd.provenance import public_name

    package, _, name = public_name(kind).rpartition(".")
    assert package in PACKAGES
    assert getattr(importlib.import_module(package), name) is kind
