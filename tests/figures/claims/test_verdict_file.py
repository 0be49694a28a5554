"""verdicts.json gathers the verdicts of many runs; without this file one run could erase another's.

A rerun must replace its own rows, and nothing else.
"""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from efsgd.figures.claims import verdict_file
from efsgd.figures.claims.verdicts import claim


def row(text, figure="a", **fields):
    return claim(text, "s", 1.0, ">=", 0.0).row(figure) | fields


@pytest.fixture
def path(tmp_path):
    return tmp_path / verdict_file.NAME


def merged(path):
    return [(r.get("command"), r["figure"], r["claim"]) for r in json.loads(path.read_text())]


def test_rows_of_a_figure_are_replaced_where_they_stand(path):
    first = {name: [row(f"{name}1", name, command="convex")] for name in "ab"}
    verdict_file.merge(path, "convex", first)
    verdict_file.merge(path, "bounds", {"a": [row("other", "a", command="bounds")]})
    verdict_file.merge(path, "convex", {"a": [row("new", "a", command="convex")] * 2})
    assert merged(path) == [
        ("convex", "a", "new"),
        ("convex", "a", "new"),
        ("convex", "b", "b1"),
        ("bounds", "a", "other"),
    ]
    verdict_file.merge(path, "convex", {"a": []})
    assert ("convex", "a", "new") not in merged(path)


def test_rows_of_an_earlier_release_are_kept_until_their_figure_is_made_again(path):
    path.write_text(json.dumps([row("old a"), row("old b", "b")]))
    verdict_file.merge(path, "theory", {"b": [row("new", "b", command="theory")]})
    assert merged(path) == [(None, "a", "old a"), ("theory", "b", "new")]


STRANGE = [b'[{"figure": [1]}]', b'[{"figure": "a", "command": {}}]', b'[{"figure": null}]']


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[1]", b"[{}]", b"[" * 10**5, b"\xff", b"no", *STRANGE]
)
def test_what_is_no_verdicts_is_never_overwritten(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"verdicts\.json holds no verdicts: remove it"):
        verdict_file.merge(path, "convex", {"a": [row("new")]})
    assert path.read_bytes() == content


def test_writers_at_the_same_time_lose_nothing(path):
    def write(i):
        verdict_file.merge(path, f"command {i}", {"a": [row("new", command=f"command {i}")]})

    with ThreadPoolExecutor(8) as crew:
        list(crew.map(write, range(40)))
    assert {command for command, *_ in merged(path)} == {f"command {i}" for i in range(40)}
