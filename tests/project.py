"""What setup.cfg, pyproject.toml and constraints.txt say, for the tests of the packaging."""

import configparser
import re
import tomllib
from pathlib import Path

from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
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


def shown(value: object) -> str:
    """The id of a parameter: its text without addresses, which differ from process to process."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))
