"""docs/architecture.md: every file and folder that it names is there, and every folder is named.

Without this file the map would go on showing rooms that have moved.
"""

import re

import pytest
from import_graph import ROOT, packages, sources

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
TREE = PAGE.split("```")[1]
NOT_YET = {"deep/distributed/"}


def places() -> list[str]:
    """The paths in the page's text, from the root or from one of the four folders."""
    return sorted(set(re.findall(r"`((?:[\w-]+/)+(?:[\w-]+\.(?:py|md))?)`", PAGE)))


@pytest.mark.parametrize("place", places())
def test_a_path_of_the_page_is_there(place):
    tops = ("", "efsgd", "deep", "deep/training", "figures", "figures/cifar")
    tops += ("efsgd/compressors", "convex")
    assert place in NOT_YET or any((ROOT / top / place).exists() for top in tops)


def test_what_is_not_there_yet_is_named_as_such():
    for place in NOT_YET:
        assert not (ROOT / place).exists()
        assert f"`{place}`: not here yet" in PAGE


def test_the_map_shows_every_folder_and_nothing_else():
    shown, top = set(), ""
    for line in TREE.splitlines():
        names = re.match(r"( *)((?:[\w/]+(?:\.py)?(?: [\w]+/)*)+)", line)
        if names and len(names[1]) == 0 and "/" in names[2]:
            top = names[2].split("/")[0]
        if names and len(names[1]) == 2:
            shown |= {f"{top}/{word[:-1]}" for word in names[2].split() if word.endswith("/")}
    tracks = ("efsgd.convex", "efsgd.deep", "efsgd.figures")
    ours = {
        name.removeprefix("efsgd.").replace(".", "/") if name.startswith(tracks) else name
        for name in packages(sources()) - {"efsgd", *tracks}
    }
    assert {place for place in shown if not place.startswith(("tests/", "benchmarks/"))} == {
        name.replace(".", "/") for name in ours
    }
