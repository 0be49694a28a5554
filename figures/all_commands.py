"""``efsgd-figures all``: one command after the other, and one summary at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from efsgd.figures import terminal
from efsgd.figures.claims.report import counted
from efsgd.figures.claims.verdicts import Verdict
from efsgd.figures.entry import one_sentence
from efsgd.figures.options import words

COMMANDS: dict[str, tuple[str, ...]] = {
    "convex": (),
    "bounds": (),
    "theory": (),
    "workers": (),
    "cifar": ("--preset", "smoke"),
}
ENDS_ALL = (130, 141)  # Ctrl-C, and nobody reads
OUTCOMES = {0: "passed", 1: "a claim failed", 2: "could not run", 3: "a bug"}


def run_all(group: click.Group, context: click.Context, settings: Mapping[str, Any]) -> int:
    """Run the commands with these settings; the exit code is the greatest of theirs."""
    codes: dict[str, int] = {}
    tallies: dict[str, list[Mapping[str, Sequence[Verdict]]]] = {}
    for name, own in COMMANDS.items():
        click.echo(f"{name}\n{'=' * len(name)}")
        tallies[name] = []
        codes[name] = _run(group.commands[name], name, [*own, *words(context)], tallies[name])
        click.echo()
    rows = [
        (name, *map(str, counted(v for of in tallies[name] for vs in of.values() for v in vs)))
        for name in COMMANDS
    ]
    rows = [(*row, OUTCOMES.get(codes[row[0]], "failed")) for row in rows]
    if settings["quick"]:
        rows = [(name, "-", "-", "-", outcome) for name, *_, outcome in rows]
    click.echo(terminal.table(("command", "pass", "fail", "observations", "outcome"), rows))
    return max(codes.values())


def _run(command: click.Command, name: str, arguments: list[str], tally: list[Any]) -> int:
    """The exit code of a command; its sentence is printed where it fails."""
    try:
        with (
            one_sentence(),
            command.make_context(name, arguments, parent=None, obj=tally) as context,
        ):
            command.invoke(context)
    except SystemExit as end:
        return int(end.code or 0)
    except click.ClickException as error:
        if error.exit_code in ENDS_ALL:
            raise
        error.show()
        return error.exit_code
    return 0
