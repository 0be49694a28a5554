"""`efsgd-figures theory` end to end: every claim holds, README shows every picture.

Without this file a claim of the theory could fail, and README still say that all hold.
"""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from efsgd.figures.claims.identities import GROUP
from efsgd.figures.cli import TRACKS, main

README = (Path(__file__).parents[3] / "README.md").read_text()


@pytest.mark.slow
def test_every_claim_of_the_theory_passes(tmp_path):
    folders = ["--out", str(tmp_path / "out"), "--results", str(tmp_path / "results")]
    outcome = CliRunner().invoke(main, ["theory", *folders])
    assert outcome.exit_code == 0, outcome.output
    rows = json.loads((tmp_path / "out" / "verdicts.json").read_text())
    pictures = {picture.name for picture in TRACKS["theory"]()}
    assert {row["figure"] for row in rows} == pictures | {GROUP}
    claims = [row for row in rows if row["kind"] == "claim"]
    assert all(row["pass"] is True for row in claims)
    assert f"beyond them: {len(claims)} claims" in README


@pytest.mark.parametrize("track", ["bounds", "theory"])
def test_readme_shows_every_picture(track):
    for picture in TRACKS[track]():
        assert f"](docs/figures/{picture.name}.png)" in README
        assert (Path(__file__).parents[3] / "docs/figures" / f"{picture.name}.png").exists()
