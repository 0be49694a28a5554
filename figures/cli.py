"""The ``efsgd-figures`` command: parse, call, echo. A track is imported inside its command."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from efsgd.figures.make import Picture

FORMATS = ("png", "pdf", "svg")

F = TypeVar("F", bound=Callable[..., Any])


class BadInput(click.ClickException):
    """Bad usage or bad input: one sentence on stderr, exit code 2."""

    exit_code = 2


class Interrupted(click.ClickException):
    """Ctrl-C, with the exit code that shells give it."""

    exit_code = 130


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turn what the user can mend into BadInput; everything else is a bug and keeps its trace."""
    try:
        yield
    except (BrokenPipeError, click.exceptions.NoArgsIsHelpError):
        raise
    except click.UsageError as error:
        raise BadInput(error.format_message()) from error
    except OSError as error:
        told = f"cannot use {error.filename} ({error.strerror}): name another"
        raise BadInput(told if error.filename else str(error)) from error
    except ValueError as error:
        raise BadInput(str(error)) from error
    except KeyboardInterrupt as error:
        raise Interrupted(str(error) or "interrupted") from error


class Commands(click.Group):
    """A group whose commands, and those of its sub-groups, fail in one sentence."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Parse the options of the group itself."""
        with one_sentence():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Parse and run the command."""
        with one_sentence():
            return super().invoke(ctx)


def usable_cpus() -> int:
    """The CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def release() -> str:
    """The version of the installed efsgd."""
    try:
        return version("efsgd")
    except PackageNotFoundError:
        return "unknown, for it is not installed"


def convex_pictures() -> tuple[Picture, ...]:
    """The convex figures; to know them needs neither cvxpy nor matplotlib."""
    from efsgd.figures.convex import PICTURES

    return PICTURES


# Each track is a command below, and a folder of results.
TRACKS: dict[str, Callable[[], tuple[Picture, ...]]] = {"convex": convex_pictures}


def figure_command(command: F) -> F:
    """Add the names and options that all figure commands share."""
    folder = click.Path(file_okay=False, path_type=Path)
    options = [
        click.argument("names", nargs=-1, metavar="[NAME]..."),
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


def run_track(track: str, names: tuple[str, ...], results: Path, options: dict[str, Any]) -> None:
    """Make the pictures of these names and leave with the exit code."""
    from efsgd.figures.make import Options, choose, make

    chosen = choose(TRACKS[track](), names)
    sys.exit(make(chosen, Options(results=results / track, **options)))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(release(), prog_name="efsgd-figures")
def main() -> None:
    """Reproduce the figures of "Error Feedback Fixes SignSGD" and check their claims.

    \b
    Exit codes: 0 every claim passed, 1 a claim failed, 2 bad usage or bad input.
    """


@main.command("list")
def list_() -> None:
    """Every figure, and the command that makes it."""
    rows = [(f"{track} {p.name}", p.title) for track, found in TRACKS.items() for p in found()]
    width = max((len(name) for name, _ in rows), default=0)
    for name, title in rows:
        click.echo(f"efsgd-figures {name:<{width}}  {title}")


@main.command()
@click.argument(
    "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE.npz"
)
def show(file: Path) -> None:
    """What a result file holds.

    Its spec, what made it, and the last values of each array.
    """
    from efsgd.figures.show import described
    from efsgd.results import load

    click.echo(described(load(file)))


@main.command()
@figure_command
def convex(names: tuple[str, ...], results: Path, **options: Any) -> None:
    """The paper's convex figures.

    All of them, or only those that are NAMEd; `efsgd-figures list` has the names. Results are kept
    in RESULTS/convex and used again, unless the code or a version has changed.
    """
    run_track("convex", names, results, options)


if __name__ == "__main__":
    main(prog_name="efsgd-figures")
