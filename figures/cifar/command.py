"""The deep figures of the paper: what `efsgd-figures cifar` and `tune` do. Needs torch when run."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from efsgd.figures import make
from efsgd.figures.cifar import claims, plots, tables
from efsgd.figures.cifar.estimate import plan
from efsgd.figures.cifar.grid import (
    SIZES,
    UNKNOWN,
    Choice,
    Entry,
    Source,
    grid,
    pairs,
    part_of,
    share,
    untuned,
)
from efsgd.figures.cifar.presets import PRESETS, QUICK
from efsgd.figures.cifar.run import Machine, Shelf, train_all
from efsgd.figures.cifar.study import Study, collect, stale, studies
from efsgd.figures.make import Options, Picture
from efsgd.figures.verdicts import Verdict
from efsgd.results import Result, place

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Kind:
    """One picture of every study."""

    name: str
    title: str
    draw: Callable[[Study], Figure]
    verdicts: Callable[[Study], Sequence[Verdict]]

    def of(self, study: Study) -> Picture:
        """The picture of one study, whose results are already there."""
        return Picture(
            f"{self.name}-{study.slug}",
            f"{self.title}: {study.title}",
            lambda quick, seed: {},  # nothing is left to do
            lambda results: self.draw(study),
            lambda results: self.verdicts(study),
        )


PICTURES = (
    Kind(
        "accuracy",
        "Test accuracy and train loss of four methods, by batch size",
        *(plots.accuracy, claims.accuracy),
    ),
    Kind(
        "density",
        "Density of the gradient and of the corrected gradient, which decides how fast EF is",
        *(plots.density, claims.density),
    ),
    Kind(
        "memory-back",
        "What giving the memory back changes: x beside the virtual iterate x - e",
        *(plots.memory_back, claims.memory_back),
    ),
    Kind(
        "gap",
        "The distance of each method to SGDm, against the batch size",
        *(plots.gap, claims.gap),
    ),
)


def cifar(
    names: Sequence[str],
    options: Options,
    *,
    preset: str,
    data_dir: Path | None,
    dry_run: bool,
    part: str,
    draw: bool,
    device: str,
    compile: bool,
    graph: bool | None,
    form: str | None,
    parallel: int,
    **chosen: Any,
) -> int:
    """Train what is missing of a grid, draw it, write its tables and judge it; the exit code.

    ``chosen`` are the fields of a :class:`Choice`. Raises ValueError or OSError in one sentence.
    """
    need_torch()
    if draw and options.again:
        raise ValueError("--draw trains nothing and --again everything: give one of them")
    kinds = choose(names)
    mine = part_of(part)
    choice = Choice(QUICK if options.quick else PRESETS[preset], seed=options.seed, **chosen)
    if options.quick:
        options, choice = quick(options, choice)
    how = {"compile": compile, "graph": graph, "form": form, "parallel": parallel}
    machine = machine_of(options, choice, data_dir=data_dir, device=device, **how)
    shelf = Shelf(data_dir)
    entries = grid(choice, sources(choice, shelf, draw))
    if dry_run:
        tell_untuned(choice, entries)
        own = share(entries, mine)
        found = {} if options.again else collect(own, options.results)[0]
        for line in plan(own, found, stale(found), machine):
            click.echo(line)
        return 0
    writable(options.out)
    if not draw:
        tell_untuned(choice, entries)
        train_missing(share(entries, mine), machine, shelf)
    return show(kinds, entries, options)


def choose(names: Sequence[str]) -> Sequence[Kind]:
    """The pictures of these names, all of them for no name."""
    known: Any = PICTURES  # they have names, and nothing else is asked of them
    chosen: Any = make.choose(known, names)
    return tuple(chosen)


def machine_of(options: Options, choice: Choice, **how: Any) -> Machine:
    """Where and how a grid is trained, ``how`` being the other fields.

    Raises ValueError for an option that this machine or device does not have.
    """
    shared: dict[str, Any] = {"jobs": options.jobs, "again": options.again}
    machine = Machine(directory=options.results, **shared, **how)
    machine.check(choice.precision or choice.preset.precision)
    return machine


def need_torch() -> None:
    """Raise ValueError that says what to install where torch is missing."""
    try:
        missing = find_spec("torch") is None
    except ValueError:  # somebody put None into sys.modules
        missing = True
    if missing:
        raise ValueError('the deep figures need torch: pip install "efsgd[deep]"')


def quick(options: Options, choice: Choice) -> tuple[Options, Choice]:
    """In this process, on the stand-in, one model at one batch size.

    Raises ValueError where the choice asks for more, which nobody would look for there.
    """
    from dataclasses import replace

    asked: dict[str, object] = {
        "--data": choice.data,
        "--epochs": choice.epochs,
        "--seeds": choice.seeds,
    }
    asked |= {"a second --model": choice.models[1:], "a second --batch": choice.batches[1:]}
    if others := [name for name, value in asked.items() if value]:
        told = "--quick takes a few steps on the stand-in, one model, one batch size, one seed"
        raise ValueError(f"{told}: leave out {', '.join(others)}, or --quick")
    return replace(options, jobs=1), choice


def sources(choice: Choice, shelf: Shelf, draw: bool = False) -> dict[str, Source]:
    """What is known of the data of a grid; a file is read for its name.

    To draw, the name is enough: results are found by it, though nobody has their images.
    """
    whats = dict.fromkeys(what for _, what in pairs(choice))
    return {what: named(what) if draw and is_name(what) else shelf.source(what) for what in whats}


def is_name(what: str) -> bool:
    """Whether it can only be the name of data whose file is elsewhere, such as "mine-0123abcd"."""
    return what not in (*SIZES, "standin") and not what.endswith(".npz") and not Path(what).exists()


def named(what: str) -> Source:
    """Data of which only the name is known; they have as many images as the preset takes."""
    return Source(what, what, UNKNOWN, UNKNOWN)


def tell_untuned(choice: Choice, entries: Sequence[Entry]) -> None:
    """Say which step sizes are borrowed."""
    for pair, donor in untuned(choice.preset, entries).items():
        told = f"step sizes for {'/'.join(pair)} are those of {'/'.join(donor)}"
        click.echo(f"note: {told}: efsgd-figures tune looks for better ones")


def writable(folder: Path) -> None:
    """Refuse a folder that cannot be written before an hour's work, not after."""
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"cannot write into {folder}: choose another folder")


def train_missing(entries: Sequence[Entry], machine: Machine, shelf: Shelf) -> None:
    """Train the runs that have no result, or all of them where that is wanted."""
    found, complaints = collect(entries, machine.directory)
    for complaint in complaints:
        click.echo(f"note: {complaint}")
    todo = [entry for entry in entries if machine.again or entry not in found]
    if todo:
        writable(machine.directory)
        train_all(todo, machine, shelf)


def show(kinds: Sequence[Kind], entries: Sequence[Entry], options: Options) -> int:
    """Draw, tabulate and judge what there is of a grid; the exit code."""
    found, complaints = collect(entries, options.results)
    if not found:
        told = f"{options.results} has none of the {len(entries)} results of this grid"
        raise ValueError(f"{told}: train some without --draw, or name another with --results")
    judged: dict[str, Sequence[Verdict]] = {}
    for study in studies(entries, found, stale(found)):
        results = {entry.name: result for entry, result in study.found.items()}
        for kind in kinds:
            picture = kind.of(study)
            for path in make.draw(picture, results, options):
                click.echo(path)
            if not options.quick:
                judged[picture.name] = make.judge(picture, results)
        for path in tables.write(study, options.out):
            click.echo(path)
    tell_missing(entries, found, complaints, options.results)
    return make.conclude(judged, options)


def tell_missing(
    entries: Sequence[Entry], found: dict[Entry, Result], complaints: Sequence[str], where: Path
) -> None:
    """List the runs without a result, each with the file that would hold it."""
    missing = [entry for entry in entries if entry not in found]
    if missing:
        click.echo(f"\n{len(missing)} of {len(entries)} runs are missing in {where}:")
    for entry in missing:
        click.echo(f"  {entry.name}  {place(entry.training, where).name}")
    for complaint in complaints:
        click.echo(f"  {complaint}")
