"""How a command ends, for the tests that call efsgd-figures."""

import json
from pathlib import Path

from click.testing import CliRunner, Result

from efsgd.figures.cli import main


def refused(done: Result, *words: str, begun: bool = False) -> bool:
    """That a command ended with exit code 2 and one sentence on stderr that holds these words.

    Only one that had ``begun`` its work may have printed something.
    """
    assert done.exit_code == 2, done.output
    assert begun or done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert all(word in done.stderr for word in words), done.stderr
    return True


def passing(command: str, folder: Path) -> tuple[set[str], int]:
    """The figures that a command judges, computed anew, and the number of claims: all pass."""
    folders = ["--out", str(folder / "out"), "--results", str(folder / "results")]
    done = CliRunner().invoke(main, [command, *folders])
    assert done.exit_code == 0, done.output
    rows = json.loads((folder / "out" / "verdicts.json").read_text())
    claims = [row for row in rows if row["kind"] == "claim"]
    assert all(row["pass"] is True for row in claims)
    return {row["figure"] for row in rows}, len(claims)
