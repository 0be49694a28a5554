"""The checkout: the lists of setup.cfg, the links, the folders and the pins agree.

Without this file a new folder could be missing from the wheel, or a dependency from the pins.
"""

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from import_graph import packages, sources
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from project import PACKAGE_DIR, PYPROJECT, ROOT, SETUP, STARTER, TRACKS, VERSION, lines, pins

import efsgd


def test_the_lists_the_links_and_the_folders_agree():
    """A folder that setup.cfg does not list would be missing from the wheel."""
    assert lines("options", "packages") == sorted(packages(sources()))
    assert {"efsgd": "efsgd"} | {f"efsgd.{track}": track for track in TRACKS} == PACKAGE_DIR
    links = {path.name: os.readlink(path) for path in ROOT.glob("efsgd/*") if path.is_symlink()}
    assert links == {track: f"../{track}" for track in TRACKS}
    for folder in PACKAGE_DIR.values():
        assert not (ROOT / folder).is_symlink()


@pytest.mark.parametrize("folder", PACKAGE_DIR.values())
def test_each_folder_with_sources_is_a_package(folder):
    """And everything in it is a source, a link to a track, py.typed, or a set of data."""
    for where, _, names in os.walk(ROOT / folder):
        if Path(where) == ROOT / "convex" / "data" / "sets":
            assert set(names) == {"README.md", "breast_cancer.svm"}
        elif Path(where).name != "__pycache__":
            assert "__init__.py" in names
            assert {Path(name).suffix for name in names if name != "py.typed"} == {".py"}


@pytest.mark.slow
def test_the_tools_see_each_file_once(tmp_path):
    """A fault planted in each folder, behind its link as in the checkout, is reported once."""
    for folder in PACKAGE_DIR.values():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").touch()
        (tmp_path / folder / "planted.py").write_text("import convex\n\n\ndef f(x): ...\n")
    for track in TRACKS:
        (tmp_path / "efsgd" / track).symlink_to(f"../{track}")
    for name in ("pyproject.toml", f"{STARTER}.py"):
        shutil.copy(ROOT / name, tmp_path)

    tool = (sys.executable, "-m")
    typed = subprocess.run([*tool, "mypy"], cwd=tmp_path, capture_output=True, text=True).stdout
    faults = re.findall(r"^(.+)/planted.py:4: error: .* \[no-untyped-def\]$", typed, re.MULTILINE)
    assert sorted(faults) == sorted(name.replace(".", "/") for name in PACKAGE_DIR)
    ruff = [*tool, "ruff", "check", "--output-format=concise"]
    linted = subprocess.run(ruff, cwd=tmp_path, capture_output=True, text=True).stdout
    faults = re.findall(r"^(.+)/planted.py:1:8: TID251 ", linted, re.MULTILINE)
    assert sorted(faults) == sorted(PACKAGE_DIR.values())


def test_coverage_counts_the_four_folders():
    assert PYPROJECT["tool"]["coverage"]["run"]["source"] == list(PACKAGE_DIR.values())


def test_types_are_shipped():
    """One py.typed at the top speaks for all packages below it (PEP 561)."""
    assert (ROOT / "efsgd" / "py.typed").is_file()
    assert SETUP["options.package_data"]["efsgd"] == "py.typed"


def test_there_is_one_version():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.+)$", citation, re.MULTILINE) == [VERSION]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    unreleased, *released = re.findall(r"^## \[(.+?)\]", changelog, re.MULTILINE)
    assert unreleased == "Unreleased"
    assert released[:1] in ([], [VERSION])
    assert efsgd.__version__ == importlib.metadata.version("efsgd") == VERSION


def test_there_is_one_oldest_python():
    oldest = SETUP["options"]["python_requires"].removeprefix(">=")
    assert PYPROJECT["tool"]["mypy"]["python_version"] == oldest
    assert PYPROJECT["tool"]["ruff"]["target-version"] == "py" + oldest.replace(".", "")
    assert f"({oldest.replace('.', ', ')})" in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_the_command_is_started_by_the_module_beside_the_package():
    assert lines("options.entry_points", "console_scripts") == [f"efsgd-figures = {STARTER}:main"]
    assert SETUP["options"]["py_modules"] == STARTER
    imported = ast.walk(ast.parse((ROOT / f"{STARTER}.py").read_text(encoding="utf-8")))
    names = [node.module for node in imported if isinstance(node, ast.ImportFrom)]
    assert names == ["typing", "efsgd.figures.cli"]


def unpinned(requirements: list[str], needs: dict[str, list[str]]) -> list[str]:
    """Each requirement that no pin satisfies, also of those that the `needs` of another bring."""
    todo = [Requirement(text) for text in requirements]
    seen, bad = set(), []
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        if pins().get(name) is None or pins()[name] not in requirement.specifier:
            bad.append(str(requirement))
        extras = tuple(sorted(requirement.extras)) or ("",)
        if (name, extras) not in seen:
            seen.add((name, extras))
            inner = [Requirement(text) for text in needs.get(name, [])]
            todo += [
                each
                for each in inner
                if each.marker is None or any(each.marker.evaluate({"extra": e}) for e in extras)
            ]
    return bad


def test_every_dependency_is_pinned_also_those_of_the_dependencies():
    """torch is walked into where it is installed; elsewhere its own pin is all that can be seen."""
    asked = lines("options", "install_requires")
    asked += lines("options.extras_require", "dev") + lines("options.extras_require", "deep")
    asked += PYPROJECT["build-system"]["requires"]
    needs = {
        canonicalize_name(dist.name): dist.requires or []
        for dist in importlib.metadata.distributions()
    }
    assert unpinned(asked, needs) == []


def test_a_missing_pin_would_be_seen():
    needs = {"click": ["numpy>=99", "nobody-pinned-this; extra == 'more'"]}
    assert unpinned(["numpy", "ruff>=999"], needs) == ["ruff>=999"]
    assert unpinned(["click"], needs) == ["numpy>=99"]
    assert len(unpinned(["click[more]"], needs)) == 2


def test_a_build_takes_one_version_of_its_backend():
    assert PYPROJECT["build-system"]["requires"] == [f"setuptools=={pins()['setuptools']}"]


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_what_the_commands_make_is_ignored(tmp_path):
    """In a repository of its own: this checkout may be another user's, or .venv a link."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    subprocess.run(["git", "init", "-q", tmp_path], env=env, check=True)
    shutil.copy(ROOT / ".gitignore", tmp_path)
    made = [".venv/x", "results/convex/x.npz", "results/theory/x.npz", "figures-out/x.pdf"]
    made += ["results/cifar-quick/x.npz"]
    tracked = ["results/cifar/x.npz", "efsgd/convex", "constraints.txt", "tests/data/x.npz"]
    ran = subprocess.run(
        ["git", "check-ignore", "--no-index", *made, *tracked],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
    )
    assert ran.stdout.split() == made


def test_ci_makes_test():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    first, *_, last = script.read_text(encoding="utf-8").splitlines()
    assert (first, last) == ("#!/usr/bin/env bash", "make test")
