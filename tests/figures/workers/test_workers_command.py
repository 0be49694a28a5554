"""``efsgd-figures workers`` as a command: its pictures, and what README says of them.

Without this file a claim could fail, and README still say that all hold, or show pictures that
are gone.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from commands import passing
from import_graph import ROOT
from team_mutants import MUTANTS

from efsgd.figures import cli
from efsgd.figures.tracks import choose
from efsgd.figures.workers import PICTURES

README = (ROOT / "README.md").read_text()
NAMES = [picture.name for picture in PICTURES]


@pytest.mark.slow
def test_every_claim_of_workers_passes(tmp_path: Path) -> None:
    figures, count = passing("workers", tmp_path)
    assert figures >= set(NAMES)
    assert f"draws nine pictures and judges {count} claims" in README


def test_readme_counts_the_wrong_engines() -> None:
    assert f"the tests know {len(MUTANTS)} wrong\nengines" in README


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
