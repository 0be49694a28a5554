"""``efsgd-figures workers`` as a command: its pictures, and what README says of them.

Without this file README could show pictures that are gone, or count claims that are none.
"""

from __future__ import annotations

import re

from click.testing import CliRunner
from import_graph import ROOT

from efsgd.figures import cli
from efsgd.figures.tracks import choose
from efsgd.figures.workers import PICTURES

README = (ROOT / "README.md").read_text()
NAMES = [picture.name for picture in PICTURES]


def test_readme_shows_every_picture() -> None:
    shown = re.findall(r"!\[[^]]*\]\(docs/figures/([a-z-]+)\.png\)", README)
    assert set(NAMES) <= set(shown)
    for name in NAMES:
        assert f"(`{name}`" in README or f"`{name}`" in README


def test_the_command_has_these_pictures() -> None:
    assert choose("workers", ()) == PICTURES
    assert len(set(NAMES)) == len(NAMES) == 9
    help_text = CliRunner().invoke(cli.main, ["workers", "--help"]).output
    assert "simulated" in help_text
