"""The ``efsgd-figures`` command: parse the options, call a track, print.

A track is a folder of figures; it is imported inside its command, so that the others need nothing
of what it needs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from efsgd.figures import options
from efsgd.figures.bounds.options import BOUNDS
from efsgd.figures.cifar.options import CIFAR, TUNE
from efsgd.figures.own_data.options import USER_DATA, given

if TYPE_CHECKING:
    from efsgd.figures.make import Options


class BadInput(click.ClickException):
    """Bad usage or bad input: one sentence on stderr, exit code 2."""

    exit_code = 2


class Interrupted(click.ClickException):
    """Ctrl-C, with the exit code that shells give it."""

    exit_code = 130


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turn what the user can correct into BadInput; all else is a bug and keeps its traceback."""
    try:
        yield
    except (BrokenPipeError, click.exceptions.NoArgsIsHelpError):
        raise
    except click.UsageError as error:
        raise BadInput(error.format_message()) from error
    except OSError as error:
        named = f"cannot use {error.filename} ({error.strerror}): name another"
        raise BadInput(named if error.filename else str(error)) from error
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


def release() -> str:
    """The version of the installed efsgd."""
    try:
        return version("efsgd")
    except PackageNotFoundError:
        return "unknown, for it is not installed"


def convex_pictures() -> tuple[Any, ...]:
    """The convex figures; to list them needs neither cvxpy nor matplotlib."""
    from efsgd.figures.convex import PICTURES

    return PICTURES


def cifar_pictures() -> tuple[Any, ...]:
    """The deep figures, one of each for every model and data set; to list them needs no torch."""
    from efsgd.figures.cifar.command import PICTURES

    return PICTURES


def theory_pictures() -> tuple[Any, ...]:
    """The figures of the theory; to list them needs neither cvxpy nor matplotlib."""
    from efsgd.figures.theory import PICTURES

    return PICTURES


def bounds_pictures() -> tuple[Any, ...]:
    """The delta zoo; to list it needs neither cvxpy nor matplotlib."""
    from efsgd.figures.bounds.command import PICTURES

    return PICTURES


# Each track is a command below, and a folder of results; its pictures have a name and a title.
TRACKS: dict[str, Callable[[], tuple[Any, ...]]] = {
    "convex": convex_pictures,
    "cifar": cifar_pictures,
    "bounds": bounds_pictures,
    "theory": theory_pictures,
}


def run_track(track: str, names: tuple[str, ...], results: Path, settings: dict[str, Any]) -> None:
    """Make the pictures of these names and exit with their code."""
    from efsgd.figures.make import Options, choose, make

    chosen = choose(TRACKS[track](), names)
    sys.exit(make(chosen, Options(results=results / track, **settings)))


def shared(track: str, settings: dict[str, Any]) -> Options:
    """The options that all figure commands share; removes them from the settings of a command."""
    from efsgd.figures.make import Options

    fields = ("quick", "out", "formats", "again", "jobs", "seed")
    values = {field: settings.pop(field) for field in fields}
    return Options(results=settings.pop("results") / track, **values)


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
    rows = [
        (f"{track} {p.name}", p.title) for track, pictures in TRACKS.items() for p in pictures()
    ]
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
@options.add(USER_DATA)
@options.figure_command
def convex(names: tuple[str, ...], results: Path, **settings: Any) -> None:
    """The paper's convex figures, or its methods on data of your own.

    All figures, or only those that are NAMEd; `efsgd-figures list` has the names. With --data the
    methods run on that file instead. Results are kept in RESULTS/convex and used again, unless the
    code or a version has changed.
    """
    own_data = given(settings, names)
    if own_data["data"] is not None:
        from efsgd.figures.own_data.command import on_data

        sys.exit(on_data(shared("convex", settings | {"results": results}), **own_data))
    run_track("convex", names, results, settings)


@main.command()
@options.add(CIFAR)
@options.figure_command
def cifar(names: tuple[str, ...], **settings: Any) -> None:
    """The paper's deep experiments.

    Trains what RESULTS/cifar lacks, one file a run, then draws what there is: all pictures or only
    those that are NAMEd. Stopped by Ctrl-C, the same command goes on. Results of several machines
    are merged by copying them together. Claims are made for the paper's own grid only.
    """
    from efsgd.figures.cifar.command import cifar as run

    sys.exit(run(names, shared("cifar", settings), **settings))


@main.command()
@options.add(BOUNDS)
@options.figure_command
def bounds(names: tuple[str, ...], **settings: Any) -> None:
    """Does each compressor keep its word, and what proves it?

    An adversarial search for a vector that breaks the claimed delta or omega, a certificate from a
    convex programme where there is one, the length of the messages; for all built-in compressors,
    those of --compressor, or your own of --module. Results of built-in ones are kept in
    RESULTS/bounds. A vector that breaks a claim is saved in OUT, and the exit code is 1.
    """
    from efsgd.figures.bounds.command import bounds as run

    sys.exit(run(names, shared("bounds", settings), **settings))


@main.command()
@options.figure_command
def theory(names: tuple[str, ...], results: Path, **settings: Any) -> None:
    """The theorems checked by machine.

    All figures, or only those that are NAMEd: what attains each bound, and how much of it real
    compressors use. Results are kept in RESULTS/theory and used again, unless the code or a version
    has changed.
    """
    run_track("theory", names, results, settings)


@main.command()
@options.add(TUNE)
@options.shared
def tune(**settings: Any) -> None:
    """Search for step sizes on held-out images.

    Trains every method and batch size with each step size, names the best and draws the search.
    Results are kept in RESULTS/cifar; a run that diverges stops early.
    """
    from efsgd.figures.cifar.tune import tune as run

    sys.exit(run(shared("cifar", settings), **settings))


if __name__ == "__main__":
    main(prog_name="efsgd-figures")
