"""`efsgd-figures theory` end to end: every claim holds, README shows every picture.

Without this file a claim of the theory could fail, and README still say that all hold.
"""

from pathlib import Path

import pytest
from commands import passing

from efsgd.figures.claims.identities import GROUP
from efsgd.figures.cli import TRACKS

README = (Path(__file__).parents[3] / "README.md").read_text()


@pytest.mark.slow
def test_every_claim_of_the_theory_passes(tmp_path):
    figures, count = passing("theory", tmp_path)
    assert figures == {picture.name for picture in TRACKS["theory"]()} | {GROUP}
    assert f"beyond them: {count} claims" in README


@pytest.mark.parametrize("track", ["bounds", "theory"])
def test_readme_shows_every_picture(track):
    for picture in TRACKS[track]():
        assert f"](docs/figures/{picture.name}.png)" in README
        assert (Path(__file__).parents[3] / "docs/figures" / f"{picture.name}.png").exists()
