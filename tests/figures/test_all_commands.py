"""``efsgd-figures all``: every command runs, one failure stops no other, one summary at the end.

Without this file a claim that failed early could be forgotten in the exit code, and an option could
reach some of the commands only.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from efsgd.figures import cli
from efsgd.figures.all_commands import COMMANDS
from efsgd.figures.claims.verdicts import claim, observation
from efsgd.figures.make import check_out, conclude

TRIED: list[tuple[str, dict[str, Any]]] = []


@pytest.fixture
def call(tmp_path: Path, monkeypatch: Any) -> Any:
    """Run ``all`` where each command makes one claim, of the value that ``values`` gives it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli.main, "commands", dict(cli.main.commands))
    TRIED.clear()

    def run(values: dict[str, float | Exception], *words: str) -> Any:
        for name in COMMANDS:
            monkeypatch.setitem(cli.main.commands, name, stand_in(name, values.get(name, 0.0)))
        return CliRunner().invoke(cli.main, ["all", *words])

    return run


def stand_in(name: str, value: float | Exception) -> click.Command:
    """A command with the options of the real one."""
    real = cli.main.commands[name]

    @click.command(name, params=list(real.params))
    def command(**settings: Any) -> None:
        TRIED.append((name, dict(settings)))
        options = cli.shared(name, dict(settings))
        check_out(options)
        if isinstance(value, BaseException):
            raise value
        judged = {"a": [claim("small", "test", value, "<=", 1.0), observation("o", "test", "1")]}
        sys.exit(conclude(judged, options))

    return command


def summary(output: str) -> dict[str, list[str]]:
    lines = output.rstrip().splitlines()[-len(COMMANDS) :]
    return {line.split()[0]: line.split(None, 4)[1:] for line in lines}


def test_every_command_of_the_figures_is_among_them() -> None:
    assert set(COMMANDS) == set(cli.TRACKS)
    assert set(COMMANDS) <= set(cli.main.commands)


def test_all_run_with_the_same_options_and_are_summed_up(call: Any) -> None:
    done = call({}, "--seed", "5", "--out", "there", "--format", "svg", "--jobs", "1")
    assert done.exit_code == 0, done.output
    assert [name for name, _ in TRIED] == list(COMMANDS)
    for _, settings in TRIED:
        assert (settings["seed"], settings["out"], settings["formats"]) == (
            5,
            Path("there"),
            ("svg",),
        )
    assert dict(TRIED)["cifar"]["preset"] == "smoke"
    assert summary(done.output) == {key: ["1", "0", "1", "passed"] for key in COMMANDS}
    assert '"options": "--seed 5"' in Path("there/verdicts.json").read_text()


def test_a_failed_claim_is_in_the_exit_code_and_stops_no_other(call: Any) -> None:
    done = call({"bounds": 2.0})
    assert done.exit_code == 1
    assert summary(done.output)["bounds"] == ["0", "1", "1", "a claim failed"]
    assert summary(done.output)["workers"] == ["1", "0", "1", "passed"]


@pytest.mark.parametrize(
    ("error", "code", "outcome"),
    [(ValueError("no room"), 2, "could not run"), (IndexError("a mistake"), 3, "a bug")],
)
def test_a_command_that_cannot_run_stops_no_other(
    call: Any, error: Exception, code: int, outcome: str
) -> None:
    done = call({"convex": error, "theory": 2.0})
    assert done.exit_code == code
    assert str(error) in done.stderr
    assert summary(done.output)["convex"] == ["0", "0", "0", outcome]
    assert summary(done.output)["theory"][-1] == "a claim failed"
    assert len(TRIED) == len(COMMANDS)


def test_ctrl_c_ends_all(call: Any) -> None:
    done = call({"bounds": KeyboardInterrupt()})  # type: ignore[dict-item]
    assert done.exit_code == 130
    assert [name for name, _ in TRIED] == ["convex", "bounds"]


def test_quick_pictures_have_no_verdicts(call: Any) -> None:
    done = call({}, "--quick")
    assert done.exit_code == 0
    assert summary(done.output) == {key: ["-", "-", "-", "passed"] for key in COMMANDS}
