"""The deep figures of the paper: what `efsgd-figures cifar` and `tune` do. Needs torch when run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from efsgd.figures import make
from efsgd.figures.cifar import claims, plots, tables
from efsgd.figures.cifar.estimate import plan
from efsgd.figures.cifar.grid import Choice, Entry, grid, part_of, share, untuned
from efsgd.figures.cifar.presets import PRESETS, QUICK
from efsgd.figures.cifar.run import Datasets, Machine, train_all
from efsgd.figures.cifar.study import Study, collect, of_other_code, studies
from efsgd.figures.claims.verdicts import Verdict
from efsgd.figures.make import Options, Picture
from efsgd.figures.texts import digest_of
from efsgd.results import Result, place

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Kind:
    """A kind of picture, of which every study has one."""

    name: str
    title: str
    draw: Callable[[Study], Figure]
    verdicts: Callable[[Study], Sequence[Verdict]]

    def of(self, study: Study) -> Picture:
        """The picture of one study, whose results are already there."""
        return Picture(
            name=f"{self.name}-{study.file_stem}",
            title=f"{self.title}: {study.title}",
            work=lambda quick, seed: {},  # the study has the results
            draw=lambda results: self.draw(study),
            verdicts=lambda results: self.verdicts(study),
        )


PICTURES = (
    Kind(
        name="accuracy",
        title="Test accuracy and train loss of four methods, by batch size",
        draw=plots.accuracy,
        verdicts=claims.accuracy,
    ),
    Kind(
        name="density",
        title="Density of the gradient and of the corrected gradient, which decides how fast EF is",
        draw=plots.density,
        verdicts=claims.density,
    ),
    Kind(
        name="memory-back",
        title="What giving the memory back changes: x beside the virtual iterate x - e",
        draw=plots.memory_back,
        verdicts=claims.memory_back,
    ),
    Kind(
        name="gap",
        title="The distance of each method to SGDm, against the batch size",
        draw=plots.gap,
        verdicts=claims.gap,
    ),
)


def cifar(
    kinds: Sequence[Kind],
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

    ``kinds`` are the pictures to draw, some of PICTURES; ``chosen`` are the fields of a
    :class:`Choice`. Raises ValueError or OSError in one sentence.
    """
    require_torch()
    if draw and options.again:
        raise ValueError("--draw trains nothing and --again everything: give one of them")
    index_and_count = part_of(part)
    choice = Choice(QUICK if options.quick else PRESETS[preset], seed=options.seed, **chosen)
    if options.quick:
        options, choice = quick(options, choice)
    machine = machine_of(
        options,
        choice,
        planned=dry_run,
        data_dir=data_dir,
        device=device,
        compile=compile,
        graph=graph,
        form=form,
        parallel=parallel,
    )
    datasets = Datasets(data_dir)
    entries = grid(choice, datasets.sources(choice, draw))
    if dry_run:
        print_untuned(choice, entries)
        print_plan(share(entries, index_and_count), options, machine)
        return 0
    make.check_out(options)
    if not draw:
        print_untuned(choice, entries)
        train_missing(share(entries, index_and_count), machine, datasets)
    return show(kinds, entries, options, grid_name(preset, choice))


def machine_of(
    options: Options, choice: Choice, *, planned: bool = False, **fields: Any
) -> Machine:
    """Where and how a grid is trained; ``fields`` are those that the options do not give.

    Raises ValueError for an option that this machine or device does not have; but what is only
    ``planned`` may be for a GPU that is elsewhere.
    """
    machine = Machine(directory=options.results, jobs=options.jobs, again=options.again, **fields)
    if not (planned and machine.elsewhere):
        machine.check(choice.precision or choice.preset.precision)
    return machine


def require_torch() -> None:
    """Raise ValueError that says what to install where torch is missing."""
    try:
        missing = find_spec("torch") is None
    except ValueError:  # somebody put None into sys.modules
        missing = True
    if missing:
        raise ValueError('the deep figures need torch: pip install "efsgd[deep]"')


def quick(options: Options, choice: Choice) -> tuple[Options, Choice]:
    """The options and choice for --quick, which trains in this process.

    Its results are kept in a folder of their own, not among those that are published. Raises
    ValueError where the choice asks for more than --quick trains.
    """
    asked: dict[str, object] = {
        "--data": choice.data,
        "--epochs": choice.epochs,
        "--seeds": choice.seeds,
    }
    asked |= {"a second --model": choice.models[1:], "a second --batch": choice.batches[1:]}
    if others := [name for name, value in asked.items() if value]:
        raise ValueError(
            "--quick takes a few steps on the stand-in, one model, one batch size, one seed: "
            f"leave out {', '.join(others)}, or --quick"
        )
    results = options.results.with_name(f"{options.results.name}-quick")
    return replace(options, jobs=1, results=results), choice


def grid_name(preset: str, choice: Choice, *searched: Any) -> str:
    """What the names of a grid's files end in, so that no grid takes the place of another one.

    The preset, and where options change more than models and data a digest of these and of what is
    ``searched``; empty for a quick grid, which is one of a kind.
    """
    if choice.preset is QUICK:
        return ""
    if choice == Choice(choice.preset, models=choice.models, data=choice.data) and not searched:
        return preset
    decisive = (replace(choice, models=(), data=()), searched)
    return f"{preset}-{digest_of(decisive)}"


def print_untuned(choice: Choice, entries: Sequence[Entry]) -> None:
    """Say which step sizes are borrowed."""
    for pair, donor in untuned(choice.preset, entries).items():
        click.echo(
            f"note: step sizes for {'/'.join(pair)} are those of {'/'.join(donor)}: "
            "efsgd-figures tune looks for better ones"
        )


def print_plan(entries: Sequence[Entry], options: Options, machine: Machine) -> None:
    """Print the hours of these runs; with --again those that are done count as well."""
    results = {} if options.again else collect(entries, options.results)[0]
    for line in plan(entries, results, of_other_code(results), machine):
        click.echo(line)


def train_missing(entries: Sequence[Entry], machine: Machine, datasets: Datasets) -> None:
    """Train the runs that have no result, or with ``machine.again`` all of them."""
    results, complaints = collect(entries, machine.directory)
    for complaint in complaints:
        click.echo(f"note: {complaint}")
    todo = [entry for entry in entries if machine.again or entry not in results]
    if todo:
        make.require_writable(machine.directory)
        train_all(todo, machine, datasets)


def show(kinds: Sequence[Kind], entries: Sequence[Entry], options: Options, name: str = "") -> int:
    """Draw, tabulate and judge the saved results of a grid of this name; the exit code."""
    saved, complaints = collect(entries, options.results)
    if not saved:
        raise ValueError(
            f"{options.results} has none of the {len(entries)} results of this grid: "
            "train some without --draw, or name another with --results"
        )
    judged: dict[str, Sequence[Verdict]] = {}
    for study in studies(entries, saved, of_other_code(saved), name):
        results = {entry.name: result for entry, result in study.results.items()}
        for kind in kinds:
            picture = kind.of(study)
            for path in make.draw(picture, results, options):
                click.echo(path)
            judged[picture.name] = [] if options.quick else make.judge(picture, results)
        for path in tables.write(study, options):
            click.echo(path)
    print_missing(entries, saved, complaints, options.results)
    return make.conclude(judged, options)


def print_missing(
    entries: Sequence[Entry],
    saved: dict[Entry, Result],
    complaints: Sequence[str],
    directory: Path,
) -> None:
    """List the runs without a result, each with the file that would hold it, and the complaints."""
    missing = [entry for entry in entries if entry not in saved]
    if missing:
        click.echo(f"\n{len(missing)} of {len(entries)} runs are missing in {directory}:")
    for entry in missing:
        click.echo(f"  {entry.name}  {place(entry.training, directory).name}")
    for complaint in complaints:
        click.echo(f"  {complaint}")
