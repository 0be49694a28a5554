"""What commands print: tables as wide as the terminal, and verdicts without a thousand lines.

Without this file a failed claim could be lost among hundreds that passed, or be cut at the edge of
a narrow terminal.
"""

import click
import pytest

from efsgd.figures import terminal
from efsgd.figures.claims import report, verdicts

LONG = verdicts.claim("a long claim " * 20, "section 3", 1.0, ">=", 2.0)
REST = verdicts.does_not_hold("n", "s", "mm " * 50, shown=False)
SHORT = verdicts.observation("n", "s", "one more")


def passing(count):
    return [verdicts.claim(f"claim {i}", "s", i, ">=", 0.0) for i in range(count)]


@pytest.mark.parametrize("columns", [60, 80, 100, 140])
def test_the_table_is_aligned_and_as_wide_as_the_terminal(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = click.unstyle(report.table({"a-figure": [LONG, REST, SHORT]})).splitlines()
    assert columns - 8 <= max(map(len, lines)) <= columns
    head, _, figure, first, *_, last = lines
    assert figure == "a-figure"
    for word, cell, line in [
        ("verdict", "FAIL", first),
        ("claim", "a long claim", first),
        ("expected", ">= 2", first),
        ("measured", "1", first),
        ("claim", "n [s]", last),
        ("measured", "one more", last),
    ]:
        assert line[head.index(word) :].startswith(cell)


def test_no_word_is_lost_where_columns_have_no_room(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    path = "results/convex/run-0123456789abcdef.npz"
    text = terminal.table(("result", "file", "state"), [["SGD", path, "up to date"]])
    assert text.splitlines() == [
        "SGD",
        f"  file   {path[:31]}",
        f"         {path[31:]}",
        "  state  up to date",
    ]
    wide = terminal.table(("result", "file", "state"), [["SGD", path, "up to date"]], room=70)
    assert wide.splitlines()[1] == f"SGD     {path}  up to date"


def test_few_verdicts_are_all_printed():
    text = click.unstyle(report.report({"a": [*passing(3), LONG], "b": passing(2)}))
    assert text.count("pass ") == 5
    assert "FAIL" in text


def test_of_many_verdicts_those_that_fail_come_first_and_then_a_line_a_figure():
    judged = {"a": [*passing(20), LONG], "b": [*passing(7), SHORT, SHORT], "c": []}
    text = click.unstyle(report.report(judged))
    failures, counts = text.split("\n\n")[-2:]
    assert failures.startswith("a\nFAIL")
    assert "claim 1 " not in text
    assert [line.split() for line in counts.splitlines()] == [
        ["figure", "pass", "fail", "observations"],
        ["a", "20", "1", "0"],
        ["b", "7", "0", "2"],
        ["c", "0", "0", "0"],
    ]
    assert "claim 19 " in report.report(judged, verbose=True)
    assert report.report({"a": passing(13)}).count("\n") == 1  # nothing but the counts


def test_the_summary_counts():
    judged = {"a": [*passing(2), LONG], "b": [SHORT]}
    assert report.summary(judged) == "3 claims: 2 pass, 1 fail; 1 observation."
