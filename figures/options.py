"""The options that the figure commands share."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

F = TypeVar("F", bound=Callable[..., Any])

FORMATS = ("png", "pdf", "svg")
AGAIN = "May be given more than once"
HOW = ("out", "results", "formats", "again", "jobs", "verbose")  # change no verdict


def add(options: tuple[Callable[[F], F], ...]) -> Callable[[F], F]:
    """A decorator that gives a command these options, in this order."""

    def decorate(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def usable_cpus() -> int:
    """The CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


FOLDER = click.Path(file_okay=False, path_type=Path)
RESULTS = click.option(
    "--results",
    type=FOLDER,
    default="results",
    show_default=True,
    help="Where results are kept, in one folder a command.",
)
SEED = click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Claims are stated for any seed.",
)
SHARED = (
    click.option(
        "--quick",
        is_flag=True,
        help="Under ten seconds: pictures NAME-quick, marked so, and no verdicts.",
    ),
    click.option(
        "--out",
        type=FOLDER,
        default="figures-out",
        show_default=True,
        help="Where pictures and verdicts.json go.",
    ),
    RESULTS,
    click.option(
        "--format",
        "formats",
        type=click.Choice(FORMATS),
        multiple=True,
        default=("png",),
        show_default=True,
        help=f"{AGAIN}.",
    ),
    click.option("--again", is_flag=True, help="Compute everything anew."),
    click.option(
        "--jobs",
        type=click.IntRange(min=1),
        default=usable_cpus,
        show_default="usable CPUs",
        help="Worker processes; 1 works in this process.",
    ),
    SEED,
    click.option("--verbose", is_flag=True, help="Print every verdict, also of many."),
)
# The options that decide which results a figure has, and where they are.
KEPT = (RESULTS, click.option("--quick", is_flag=True, help="Those of quick pictures."), SEED)


def figure_command(command: F) -> F:
    """Add the names and options that all figure commands share."""
    return click.argument("names", nargs=-1, metavar="[NAME]...")(shared(command))


def shared(command: F) -> F:
    """Add the options that all figure commands share."""
    return add(SHARED)(command)


def typed(context: click.Context) -> str:
    """The options that were given to a command, as one would type them, without those in HOW."""
    return shlex.join(words(context, without=HOW))


def words(context: click.Context, without: tuple[str, ...] = ()) -> list[str]:
    """The options that were given to a command, word by word."""
    given: list[str] = []
    for option in context.command.params:
        source = context.get_parameter_source(option.name or "")
        if not isinstance(option, click.Option) or source is not ParameterSource.COMMANDLINE:
            continue
        if option.name not in without:
            value = context.params[option.name or ""]
            for each in value if option.multiple else [value]:
                given += _typed(option, each)
    return given


def _typed(option: click.Option, value: Any) -> list[str]:
    if option.is_flag:
        return [(option.opts if value else option.secondary_opts)[0]]
    return [option.opts[0], str(value)]
