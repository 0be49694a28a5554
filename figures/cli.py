"""The ``efsgd-figures`` command: parse the options, call a track, print.

A track is a folder of figures; it is imported inside its command, so that the others need nothing
of what it needs.
"""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from efsgd.figures import options, terminal
from efsgd.figures.bounds.options import BOUNDS
from efsgd.figures.cifar.options import CIFAR, TUNE
from efsgd.figures.entry import EXIT_CODES, one_sentence, open_streams
from efsgd.figures.own_data.options import USER_DATA, given
from efsgd.figures.tracks import TRACKS, choose, nearest

if TYPE_CHECKING:
    from efsgd.figures.make import Options

UNBROKEN = 1000  # columns for a program that reads the list


class Commands(click.Group):
    """A group whose commands, and those of its sub-groups, fail in one sentence."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command, whatever the caller has done with the streams that it prints to."""
        open_streams()
        return super().main(*args, **kwargs)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Parse the options of the group itself."""
        with one_sentence():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Parse and run the command."""
        with one_sentence():
            try:
                return super().invoke(ctx)
            except click.NoSuchOption as error:
                raise self._of_another(error) from error

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """The command of that name; the name of a figure is told its command."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchOption:
            raise
        except click.UsageError as error:
            track, figure = nearest(args[0])
            if not figure:
                raise
            hint = f"did you mean 'efsgd-figures {track} {figure}'?"
            raise click.UsageError(f"no command is called {args[0]!r}, {hint}") from error

    def _of_another(self, error: click.NoSuchOption) -> click.UsageError:
        """The error, with the commands that do have the option."""
        name = error.option_name
        others = [n for n, c in self.commands.items() if any(name in p.opts for p in c.params)]
        hint = f"No such option {name!r}, it is one of {' and '.join(others)}."
        return click.UsageError(hint) if others else error


def release() -> str:
    """The version of the installed efsgd."""
    try:
        return version("efsgd")
    except PackageNotFoundError:
        return "unknown, for it is not installed"


def run_track(track: str, names: tuple[str, ...], settings: dict[str, Any]) -> None:
    """Make the pictures of these names and exit with their code."""
    from efsgd.figures.make import make

    sys.exit(make(choose(track, names), shared(track, settings)))


def shared(track: str, settings: dict[str, Any]) -> Options:
    """The options that all figure commands share; removes them from the settings of a command.

    Clears their folders of what killed commands left there.
    """
    from efsgd.figures.make import Options
    from efsgd.temporary import clear

    context = click.get_current_context()
    fields = ("quick", "out", "formats", "again", "jobs", "seed", "verbose")
    values = {field: settings.pop(field) for field in fields}
    results: Path = settings.pop("results")
    clear(values["out"], *results.glob("*"), *results.glob("*/checkpoints"))
    return Options(
        results=results / track,
        command=str(context.info_name),
        typed=options.typed(context),
        tally=context.obj,
        **values,
    )


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EXIT_CODES,
)
@click.version_option(release(), prog_name="efsgd-figures")
def main() -> None:
    """Reproduce the figures of "Error Feedback Fixes SignSGD" and check their claims."""


@main.command("list")
def list_() -> None:
    """Every figure, and the command that makes it."""
    rows = [
        (f"efsgd-figures {track} {p.name}", p.title)
        for track, pictures in TRACKS.items()
        for p in pictures()
    ]
    layout = terminal.Layout.of(("command", "figure"), rows, terminal.columns(UNBROKEN))
    for row in rows:
        click.echo("\n".join(layout.lines(row)))


@main.command()
@click.argument(
    "paths",
    type=click.Path(exists=True, path_type=Path),
    nargs=-1,
    required=True,
    metavar="FILE.npz|FOLDER...",
)
def show(paths: tuple[Path, ...]) -> None:
    """What result files hold.

    Of a file its spec, what made it, and the last values of each array; of a folder one line for
    each result in it. Also the vectors that `bounds` saves.
    """
    from efsgd.figures.show import shown

    click.echo(shown(paths))


@main.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@options.add(options.KEPT)
def results(names: tuple[str, ...], results: Path, quick: bool, seed: int) -> None:
    """Which file holds which result of which figure.

    Of all figures, or only those that are NAMEd.
    """
    from efsgd.figures.index import index

    click.echo(index(names, results, quick=quick, seed=seed))


@main.command()
@options.add(USER_DATA)
@options.figure_command
def convex(names: tuple[str, ...], **settings: Any) -> None:
    """The paper's convex figures, or its methods on data of your own.

    All figures, or only those that are NAMEd; `efsgd-figures list` has the names. With --data the
    methods run on that file instead. Results are kept in RESULTS/convex and used again, unless the
    code or a version has changed.
    """
    own_data = given(settings, names)
    if own_data["data"] is not None:
        from efsgd.figures.own_data.command import on_data

        sys.exit(on_data(shared("convex", settings), **own_data))
    run_track("convex", names, settings)


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

    sys.exit(run(choose("cifar", names), shared("cifar", settings), **settings))


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

    choose("bounds", names)  # there is one
    sys.exit(run(shared("bounds", settings), **settings))


@main.command()
@options.figure_command
def theory(names: tuple[str, ...], **settings: Any) -> None:
    """The theorems checked by machine.

    All figures, or only those that are NAMEd: what attains each bound, and how much of it real
    compressors use. Results are kept in RESULTS/theory and used again, unless the code or a version
    has changed.
    """
    run_track("theory", names, settings)


@main.command()
@options.figure_command
def workers(names: tuple[str, ...], **settings: Any) -> None:
    """Several workers: disagreement, absence, slow links.

    All figures, or only those that are NAMEd; `efsgd-figures list` has the names. Workers and
    server are simulated in one process. Results are kept in RESULTS/workers and used again, unless
    the code or a version has changed.
    """
    run_track("workers", names, settings)


@main.command("all")
@options.shared
@click.pass_context
def all_(context: click.Context, /, **settings: Any) -> None:
    """Every figure, and one summary at the end.

    Runs convex, bounds, theory, workers and cifar with the preset smoke, one after the other, with
    these options; where one fails the others still run.
    """
    from efsgd.figures.all_commands import run_all

    sys.exit(run_all(main, context, settings))


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
