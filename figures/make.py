"""From pictures to files: obtain the results, draw and save each picture, give the verdicts.

A picture is three functions: what work it needs, how its results are drawn, what they say. Drawing
and judging compute no new results.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from efsgd.figures.claims import identities, report, verdict_file
from efsgd.figures.claims.verdicts import Verdict
from efsgd.figures.drawing import style, ticks
from efsgd.figures.processes.crew import Call, Crew, workers
from efsgd.figures.processes.pool import obtain_all
from efsgd.results import Result, Work, made_by, place, replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Works: TypeAlias = Mapping[str, Work]
Results: TypeAlias = Mapping[str, Result]


@dataclass(frozen=True)
class Picture:
    """One figure. ``draw`` and ``verdicts`` get a result for each name that ``work`` gives.

    Its functions are those of a module, so that they can be pickled: another process may draw it.
    """

    name: str
    title: str
    work: Callable[[bool, int], Works]  # (quick, seed)
    draw: Callable[[Results], Figure]
    verdicts: Callable[[Results], Sequence[Verdict]]


@dataclass(frozen=True)
class Options:
    """What the figure commands have in common."""

    quick: bool = False
    out: Path = Path("figures-out")
    results: Path = Path("results")
    formats: tuple[str, ...] = ("png",)
    again: bool = False
    jobs: int = 1
    seed: int = 0
    verbose: bool = False
    command: str = ""  # its name
    typed: str = ""  # those of its options that were given and can change a verdict, as text
    tally: list[Mapping[str, Sequence[Verdict]]] | None = None  # where `all` collects verdicts

    def file(self, name: str, ending: str) -> Path:
        """Where a picture or table goes; quick ones never take the place of others."""
        return self.out / f"{name}{'-quick' if self.quick else ''}.{ending}"


def make(pictures: Sequence[Picture], options: Options) -> int:
    """Make the pictures and their verdicts; the exit code is 1 if a claim failed, else 0.

    Raises ValueError or OSError, with one sentence, for what cannot be computed or written.
    """
    check_out(options)
    works = {picture.name: picture.work(options.quick, options.seed) for picture in pictures}
    with ExitStack() as stack:
        crew = stack.enter_context(workers(options.jobs)) if options.jobs > 1 else None
        results = _obtain(works, options, crew)
        for path in _draw_all(pictures, results, options, crew):
            click.echo(path)
    if options.quick:
        return conclude({}, options)
    judged = {picture.name: judge(picture, results[picture.name]) for picture in pictures}
    return conclude(judged | identities.every_run(results), options)


def _obtain(
    works: Mapping[str, Works], options: Options, crew: Crew | None
) -> dict[str, dict[str, Result]]:
    """The results of every picture, by its names; work that several share is done once."""
    works_by_title = {
        f"{picture}, {name}": work
        for picture, needed in works.items()
        for name, work in needed.items()
    }
    by_path = obtain_all(works_by_title, options.results, again=options.again, crew=crew)
    return {
        picture: {name: by_path[place(work, options.results)] for name, work in needed.items()}
        for picture, needed in works.items()
    }


def _draw_all(
    pictures: Sequence[Picture],
    results: Mapping[str, Results],
    options: Options,
    crew: Crew | None,
) -> Iterator[Path]:
    """Draw and save the pictures, several by a crew; their files in the order of the pictures."""
    if crew is None or len(pictures) == 1:
        for picture in pictures:
            yield from draw(picture, results[picture.name], options)
        return
    longest = sorted(pictures, key=lambda picture: -len(results[picture.name]))  # the most curves
    calls = [Call(p.name, (p, results[p.name], options)) for p in longest]
    drawn = crew.call_all(draw, calls)
    paths = {call.name: files for call, files in zip(calls, drawn, strict=True)}
    for picture in pictures:
        yield from paths[picture.name]


def draw(picture: Picture, results: Results, options: Options) -> list[Path]:
    """Draw a picture and save it in every format; returns the files."""
    with style.drawing(), _failures_are_bugs(picture):
        figure = picture.draw(results)
        ticks.tidy(figure)
        if options.quick:
            style.mark_quick(figure)
        paths = []
        for kind in dict.fromkeys(options.formats):
            content = io.BytesIO()
            figure.savefig(content, format=kind, metadata=_metadata(kind, picture, results))
            paths.append(options.file(picture.name, kind))
            with replacing(paths[-1]) as file:
                file.write(content.getvalue())
    return paths


def judge(picture: Picture, results: Results) -> list[Verdict]:
    """The verdicts of a picture on its results."""
    with _failures_are_bugs(picture):
        return list(picture.verdicts(results))


@contextmanager
def _failures_are_bugs(picture: Picture) -> Iterator[None]:
    """RuntimeError for a picture that fails on its own results: a bug, whatever the input."""
    try:
        yield
    except ValueError as error:
        raise RuntimeError(f"the picture {picture.name} fails on its results: {error}") from error


def _metadata(kind: str, picture: Picture, results: Results) -> dict[str, Any]:
    """The title and the result files under the names of a format; no dates, so bytes repeat."""
    files = " ".join(sorted({result.path.name for result in results.values()}))
    fields: dict[str, dict[str, Any]] = {
        "png": {"Title": picture.title, "Source": files},
        "pdf": {"Title": picture.title, "Subject": files, "CreationDate": None},
        "svg": {"Title": picture.title, "Source": files, "Date": None},
    }
    return fields[kind]


def check_out(options: Options) -> None:
    """Refuse a folder that cannot take pictures and verdicts before an hour's work, not after."""
    require_writable(options.out)
    verdict_file.read(options.out / verdict_file.NAME)


def require_writable(folder: Path) -> None:
    """Make a folder; PermissionError where nothing can be written into it."""
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"cannot write into {folder}: choose another folder")


def conclude(judged: Mapping[str, Sequence[Verdict]], options: Options) -> int:
    """Print the verdicts of this run and merge them into verdicts.json.

    The exit code is 1 if a claim of this run failed, else 0. Quick pictures have no verdicts, and
    leave those of the file as they are.
    """
    if options.quick:
        click.echo(f"quick pictures carry no verdicts: {verdict_file.NAME} stays as it is")
        return 0
    path, maker = options.out / verdict_file.NAME, made_by()
    origin = {
        "command": options.command,
        "options": options.typed,
        "code": maker["git"] or maker["efsgd"],
    }
    rows = {figure: [v.row(figure) | origin for v in of] for figure, of in judged.items()}
    verdict_file.merge(path, options.command, rows)
    if options.tally is not None:
        options.tally.append(judged)
    click.echo("\n" + report.report(judged, options.verbose))
    click.echo("\n" + report.summary(judged) + f" Each of them is in {path}.")
    return int(any(v.passed is False for verdicts_of in judged.values() for v in verdicts_of))
