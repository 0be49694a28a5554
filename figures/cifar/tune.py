"""The search for step sizes, on images held out from the training set.

:mod:`efsgd.figures.cifar.step_sizes` has the rule by which one is chosen. The test images are
never evaluated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from efsgd.figures import make
from efsgd.figures.cifar import command, step_sizes, tables
from efsgd.figures.cifar.grid import Choice, Entry, grid
from efsgd.figures.cifar.presets import PRESETS, QUICK, Preset
from efsgd.figures.cifar.run import Datasets
from efsgd.figures.cifar.study import Study, collect, of_other_code, studies
from efsgd.figures.claims.verdicts import Verdict, observation
from efsgd.figures.make import Options, Picture, Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GRID = tuple(float(lr) for lr in np.logspace(-5, 1, 9))  # the paper's
QUICK_GRID, QUICK_VALIDATION = (1e-3, 1e-2, 1e-1), 32
PREFIX = "tune-"  # of the names of files


def tune(
    options: Options,
    *,
    preset: str,
    data_dir: Path | None,
    rates: str | None,
    validation: int,
    device: str,
    compile: bool,
    graph: bool | None,
    form: str | None,
    parallel: int,
    seeds: int | None,
    **chosen: Any,
) -> int:
    """Train the search's runs that are missing, choose, draw and tabulate; the exit code is 0."""
    command.require_torch()
    step_size_grid = GRID if rates is None else rates_of(rates)
    choice = Choice(PRESETS[preset], seed=options.seed, seeds=seeds, **chosen)
    if options.quick:
        choice = replace(choice, preset=QUICK)
        options, choice = command.quick(options, choice)
        step_size_grid = step_size_grid if rates else QUICK_GRID
        validation = min(validation, QUICK_VALIDATION)
    choice = replace(choice, seeds=choice.seeds or 1)
    if not choice.batches:  # as in the paper: at one batch size, in proportion elsewhere
        choice = replace(choice, batches=choice.preset.batches[:1])
    machine = command.machine_of(
        options,
        choice,
        data_dir=data_dir,
        device=device,
        compile=compile,
        graph=graph,
        form=form,
        parallel=parallel,
    )
    make.check_out(options)
    datasets = Datasets(data_dir)
    entries = grid(choice, datasets.sources(choice))
    entries = runs(choice, entries, step_size_grid, validation)
    command.train_missing(entries, machine, datasets)
    return show(entries, options, command.grid_name(preset, choice, step_size_grid, validation))


def rates_of(text: str) -> tuple[float, ...]:
    """Read "0.01,0.1"; ValueError unless they are positive numbers. Increasing, each once."""
    try:
        rates = {float(word) for word in text.split(",")}
    except ValueError:
        rates = {math.nan}
    if not all(0 < rate < math.inf for rate in rates):
        raise ValueError(f"--grid takes positive step sizes such as 0.01,0.1, not {text!r}")
    return tuple(sorted(rates))


def runs(
    choice: Choice, entries: Sequence[Entry], rates: Sequence[float], validation: int
) -> list[Entry]:
    """The grid with every step size, in the first epochs of the preset's schedule.

    Raises ValueError where ``validation``, the number of images held out, leaves none to train on.
    """
    epochs, drops = tuning_schedule(choice.preset, choice.epochs)
    for entry in entries:
        if validation >= entry.source.train:
            raise ValueError(
                f"{entry.source.name} has {entry.source.train} training images: "
                f"--validation {validation} leaves none to train on"
            )
    all_runs = []
    for entry in entries:
        available, size = entry.source.train - validation, entry.training.train_size
        training = replace(
            entry.training,
            epochs=epochs,
            drops=drops,
            validation=validation,
            train_size=None if size is None or size >= available else size,
            test_size=None,
        )
        all_runs += [replace(entry, training=replace(training, lr=lr)) for lr in rates]
    return all_runs


def tuning_schedule(preset: Preset, epochs: int | None) -> tuple[int, tuple[int, ...]]:
    """Epochs and drops of the start of the preset's schedule: the paper's 100 have no drop."""
    epochs = preset.tuning_epochs if epochs is None else epochs
    return epochs, tuple(drop for drop in preset.drops if drop < epochs)


def show(entries: Sequence[Entry], options: Options, name: str = "") -> int:
    """Draw, tabulate and print the saved results of a search of this name; the exit code is 0."""
    saved, complaints = collect(entries, options.results)
    judged: dict[str, list[Verdict]] = {}
    for study in studies(entries, saved, of_other_code(saved), name):
        results = {entry.name: result for entry, result in study.results.items()}
        picture = Picture(
            name=f"{PREFIX}{study.file_stem}",
            title=f"Step sizes of each method: {study.title}",
            work=lambda quick, seed: {},  # the study has the results
            draw=partial(_draw, study),
            verdicts=partial(_verdicts, study),
        )
        for path in make.draw(picture, results, options):
            click.echo(path)
        for path in tables.write(study, options, step_sizes.WRITERS, prefix=PREFIX):
            click.echo(path)
        click.echo("\n" + step_sizes.plain(study))
        for search in step_sizes.searches(study):
            if search.remark:
                name = f"{study.file_stem}, batch {search.batch}, {search.label}"
                click.echo(f"warning: {name}: {search.remark}", err=True)
        judged[picture.name] = [] if options.quick else make.judge(picture, results)
    command.print_missing(entries, saved, complaints, options.results)
    return make.conclude(judged, options)


def _draw(study: Study, results: Results) -> Figure:
    return step_sizes.draw(study)


def _verdicts(study: Study, results: Results) -> list[Verdict]:
    return [
        observation(
            f"{study.title}, batch {search.batch}: best step size of {search.label}",
            source="chosen on held-out images",
            measured=_best(search),
        )
        for search in step_sizes.searches(study)
    ]


def _best(search: step_sizes.Search) -> str:
    if search.chosen is None:
        return search.remark
    lr, accuracy = search.lr[search.chosen], search.means[search.chosen]
    remark = f" ({search.remark})" if search.remark else ""
    return f"{lr:.4g}, with {accuracy:.2f} %{remark}"
