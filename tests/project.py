"""What setup.cfg, pyproject.toml, constraints.txt and the tests say, for tests and benchmarks."""

import configparser
import os
import re
import tomllib
from pathlib import Path

from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
STARTER = "efsgd_figures"  # the module beside the package
TRACKS = ("convex", "deep", "figures")
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
VERSION = SETUP["metadata"]["version"]
PACKAGE_DIR = dict(line.split(" = ") for line in SETUP["options"]["package_dir"].split("\n")[1:])


def lines(section: str, option: str) -> list[str]:
    """The lines of a list in setup.cfg."""
    return SETUP[section][option].split("\n")[1:]


def pins() -> dict[str, str]:
    """Canonical name -> version, of each line of constraints.txt that is no comment."""
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pairs = [line.split("==") for line in text.splitlines() if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


def stable_id(value: object) -> str:
    """The id of a parameter: its text without addresses, which differ from process to process."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))


def python_path(test_file: str) -> str:
    """PYTHONPATH for a process that imports efsgd, what a test file holds, and its helpers."""
    import efsgd

    folders = (Path(efsgd.__file__).parents[1], Path(test_file).parent, ROOT / "tests")
    return os.pathsep.join(str(folder) for folder in folders)


def gpu_test_files() -> list[str]:
    """The files that hold tests marked gpu, from the root of the repository."""
    marked = re.compile(r"^\s*@?pytest\.mark\.gpu\b", re.MULTILINE)
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    marked_files = [file for file in files if marked.search(file.read_text(encoding="utf-8"))]
    return [file.relative_to(ROOT).as_posix() for file in marked_files]
