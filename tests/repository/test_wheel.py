"""The release: an sdist, the wheel that is built from it, and the tests run against that wheel.

All of it is slow, and needs a package index: the wheel goes into a new environment, with the
versions of constraints.txt.

Without this file a release could lack modules, hold links or need what is not pinned.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name
from project import PACKAGE_DIR, ROOT, SETUP, STARTER, TRACKS, VERSION, lines, pins

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Built:
    """The two files of a release, and the names that they hold."""

    sdist: Path
    wheel: Path

    def sdist_names(self) -> set[str]:
        with tarfile.open(self.sdist) as file:
            members = file.getmembers()
        assert all(member.isfile() or member.isdir() for member in members)
        return {member.name.partition("/")[2] for member in members if member.isfile()}

    def wheel_names(self) -> set[str]:
        with zipfile.ZipFile(self.wheel) as file:
            return set(file.namelist())


def quietly(*command: str | Path, cwd: Path) -> str:
    """What `command` printed; everything it said, if it failed."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    ran = subprocess.run(command, cwd=cwd, env=clean, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def copied(folder: Path) -> Path:
    """The checkout in `folder`, without what is made in it."""
    made = (".*", "*.egg-info", "__pycache__", "build", "dist", "figures-out")
    return shutil.copytree(ROOT, folder, symlinks=True, ignore=shutil.ignore_patterns(*made))


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Built:
    """A sdist of a clean copy of the checkout, and the wheel that was built from that sdist."""
    copy = copied(tmp_path_factory.mktemp("release") / "efsgd")
    quietly(sys.executable, "-m", "build", copy, cwd=copy.parent)
    (sdist,), (wheel,) = copy.glob("dist/*.tar.gz"), copy.glob("dist/*.whl")
    return Built(sdist, wheel)


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory) -> Path:
    """The interpreter of a new environment with the wheel and its base dependencies, pinned."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    pip = (python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt")
    quietly(*pip, built.wheel, cwd=folder)
    return python


def modules_of(package: str, folder: str) -> set[str]:
    """The sources of a package and those inside it, but for what stands behind a link."""
    paths = [
        Path(where, name).relative_to(ROOT / folder)
        for where, _, names in os.walk(ROOT / folder)
        for name in names
        if name.endswith(".py")
    ]
    return {f"{package.replace('.', '/')}/{path.as_posix()}" for path in paths}


def data_files() -> set[str]:
    """What stands beside the sources and travels with them, such as data sets."""
    folders = {package: package.replace(".", "/") for package in SETUP["options.package_data"]}
    return {
        path.relative_to(ROOT).as_posix()
        for package, folder in folders.items()
        for pattern in SETUP["options.package_data"][package].split()
        for path in (ROOT / folder).glob(pattern)
    }


def test_the_wheel_holds_the_packages_and_nothing_else(built):
    modules = (modules_of(*pair) for pair in PACKAGE_DIR.items())
    expected = {f"{STARTER}.py"}.union(data_files(), *modules)
    assert {"efsgd/py.typed", "efsgd/convex/data/sets/breast_cancer.svm"} <= expected
    about = f"efsgd-{VERSION}.dist-info/"
    assert {name for name in built.wheel_names() if not name.startswith(about)} == expected


def test_the_sdist_holds_the_folders_and_no_links(built):
    names = built.sdist_names()
    for folder in PACKAGE_DIR.values():
        assert modules_of(folder, folder) <= names
    files = {"setup.cfg", "pyproject.toml", "README.md", "LICENSE", "constraints.txt"}
    assert files | {f"{STARTER}.py"} <= names
    tops = {name.partition("/")[0] for name in names if "/" in name}
    assert tops == {*PACKAGE_DIR.values(), "efsgd.egg-info"}
    assert not [name for name in names if name.startswith(tuple(f"efsgd/{t}/" for t in TRACKS))]


def test_the_base_installs_what_is_pinned_and_no_more(installed):
    listed = quietly(installed, "-m", "pip", "list", "--format=freeze", cwd=installed.parent)
    pairs = (line.split("==") for line in listed.split())
    installed_versions = {canonicalize_name(name): version for name, version in pairs}
    assert installed_versions.pop("efsgd") == VERSION
    came_with_venv = {"pip", "setuptools"}
    ours = {n: v for n, v in installed_versions.items() if n not in came_with_venv}
    assert ours.items() <= pins().items()
    tools = {canonicalize_name(name) for name in lines("options.extras_require", "dev")}
    assert not installed_versions.keys() & {"torch", "torchvision", *tools - {"packaging"}}
    text = quietly(installed.parent / "efsgd-figures", "--help", cwd=installed.parent)
    assert text.startswith("Usage: efsgd-figures")


def test_the_wheel_passes_the_tests_from_another_directory(installed, tmp_path):
    """That is a checkout without its packages, and without the tests that look at their files."""
    pip = (installed, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt")
    wanted = [*lines("options.extras_require", "dev"), *lines("options.extras_require", "deep")]
    quietly(*pip, *wanted, cwd=tmp_path)
    elsewhere = copied(tmp_path / "elsewhere")
    for folder in PACKAGE_DIR.values():
        shutil.rmtree(elsewhere / folder)
    (elsewhere / f"{STARTER}.py").unlink()
    for about in ("architecture", "layers", "packaging", "public", "wheel"):
        (elsewhere / "tests" / "repository" / f"test_{about}.py").unlink()
    (elsewhere / "tests" / "efsgd" / "test_freshness.py").unlink()
    (elsewhere / "tests" / "test_where.py").write_text(
        "import pathlib\nimport sysconfig\n\nimport efsgd\n\n\n"
        "def test_it_is_the_wheel_that_is_tested():\n"
        "    site = pathlib.Path(sysconfig.get_path('purelib')).resolve()\n"
        "    assert pathlib.Path(efsgd.__file__).resolve().parents[1] == site\n"
    )
    report = quietly(installed, "-m", "pytest", "-m", "not slow", cwd=elsewhere)
    assert re.search(r"\d+ passed", report)
    assert "test_where.py" in report
