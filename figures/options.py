"""The options that the figure commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

FORMATS = ("png", "pdf", "svg")
AGAIN = "May be given more than once"


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


def figure_command(command: F) -> F:
    """Add the names and options that all figure commands share."""
    return click.argument("names", nargs=-1, metavar="[NAME]...")(shared(command))


def shared(command: F) -> F:
    """Add the options that all figure commands share."""
    folder = click.Path(file_okay=False, path_type=Path)
    options = [
        click.option(
            "--quick",
            is_flag=True,
            help='Under ten seconds: pictures marked "quick" and no verdicts; verdicts.json is [].',
        ),
        click.option(
            "--out",
            type=folder,
            default="figures-out",
            show_default=True,
            help="Where pictures and verdicts.json go.",
        ),
        click.option(
            "--results",
            type=folder,
            default="results",
            show_default=True,
            help="Where results are kept, in one folder a command.",
        ),
        click.option(
            "--format",
            "formats",
            type=click.Choice(FORMATS),
            multiple=True,
            default=("png",),
            show_default=True,
            help="May be given more than once.",
        ),
        click.option("--again", is_flag=True, help="Compute everything anew."),
        click.option(
            "--jobs",
            type=click.IntRange(min=1),
            default=usable_cpus,
            show_default="usable CPUs",
            help="Worker processes; 1 works in this process.",
        ),
        click.option(
            "--seed",
            type=click.IntRange(min=0),
            default=0,
            show_default=True,
            help="Claims are stated for any seed.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command
