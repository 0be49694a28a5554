"""What a command prints about its verdicts: a table, or what failed and one line a figure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from efsgd.figures import terminal
from efsgd.figures.claims.verdicts import Verdict

HEADS = ("verdict", "claim", "expected", "measured")
COLOURS = {"pass": "green", "FAIL": "red", "observation": None}
FEW = 12  # verdicts that are always printed one by one


def report(judged: Mapping[str, Sequence[Verdict]], verbose: bool = False) -> str:
    """The verdicts of each figure: all of them if they are FEW or ``verbose``.

    Else those that fail, and how many there are of each figure.
    """
    if verbose or sum(map(len, judged.values())) <= FEW:
        return table(judged)
    failures = {
        figure: failed
        for figure, verdicts in judged.items()
        if (failed := [verdict for verdict in verdicts if verdict.passed is False])
    }
    return "\n\n".join([*([table(failures)] if failures else []), counts(judged)])


def table(judged: Mapping[str, Sequence[Verdict]]) -> str:
    """The verdicts of each figure under its name, as wide as the terminal."""
    rows = {figure: [_cells(v) for v in verdicts] for figure, verdicts in judged.items()}
    layout = terminal.Layout.of(HEADS, [row for of_figure in rows.values() for row in of_figure])
    lines = [layout.head()] if layout.widths else []
    for figure, of_figure in rows.items():
        lines += ["", figure]
        for row in of_figure:
            lines += layout.lines(row, COLOURS[row[0]])
    return "\n".join(lines).lstrip("\n")


def counts(judged: Mapping[str, Sequence[Verdict]]) -> str:
    """One line a figure: how many of its claims pass and fail, and its observations."""
    rows = [(figure, *map(str, counted(verdicts))) for figure, verdicts in judged.items()]
    return terminal.table(("figure", "pass", "fail", "observations"), rows)


def summary(judged: Mapping[str, Iterable[Verdict]]) -> str:
    """How many claims pass, in one sentence."""
    passed, failed, observed = counted(v for verdicts in judged.values() for v in verdicts)
    claims = "1 claim" if passed + failed == 1 else f"{passed + failed} claims"
    observations = "1 observation" if observed == 1 else f"{observed} observations"
    return f"{claims}: {passed} pass, {failed} fail; {observations}."


def counted(verdicts: Iterable[Verdict]) -> tuple[int, int, int]:
    """How many pass, fail and observe."""
    words = [verdict.word for verdict in verdicts]
    return words.count("pass"), words.count("FAIL"), words.count("observation")


def _cells(verdict: Verdict) -> tuple[str, str, str, str]:
    """A row under HEADS."""
    statement = f"{verdict.claim} [{verdict.source}]"
    return verdict.word, statement, verdict.expected, verdict.measured
