"""The search for step sizes, on images held out from the training set.

:mod:`efsgd.figures.cifar.step_sizes` has the rule by which one is chosen. The test images are never
looked at.
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
from efsgd.figures.cifar import command, step_sizes
from efsgd.figures.cifar.grid import Choice, Entry, grid
from efsgd.figures.cifar.presets import PRESETS, QUICK, Preset
from efsgd.figures.cifar.run import Shelf
from efsgd.figures.cifar.study import Study, collect, stale, studies
from efsgd.figures.make import Options, Picture, Results
from efsgd.figures.verdicts import Verdict, observation
from efsgd.results import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GRID = tuple(float(lr) for lr in np.logspace(-5, 1, 9))  # the paper's
QUICK_GRID, QUICK_VALIDATION = (1e-3, 1e-2, 1e-1), 32


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
    command.need_torch()
    tried = GRID if rates is None else rates_of(rates)
    choice = Choice(PRESETS[preset], seed=options.seed, seeds=seeds, **chosen)
    if options.quick:
        choice = replace(choice, preset=QUICK)
        options, choice = command.quick(options, choice)
        tried, validation = tried if rates else QUICK_GRID, min(validation, QUICK_VALIDATION)
    choice = replace(choice, seeds=choice.seeds or 1)
    if not choice.batches:  # the paper's way: at one batch size, in proportion elsewhere
        choice = replace(choice, batches=choice.preset.batches[:1])
    how = {"compile": compile, "graph": graph, "form": form, "parallel": parallel}
    machine = command.machine_of(options, choice, data_dir=data_dir, device=device, **how)
    command.writable(options.out)
    shelf = Shelf(data_dir)
    entries = runs(choice, grid(choice, command.sources(choice, shelf)), tried, validation)
    command.train_missing(entries, machine, shelf)
    return show(entries, options)


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
    """The grid with every step size, through the first epochs of the preset's schedule."""
    epochs, drops = tuning_schedule(choice.preset, choice.epochs)
    for entry in entries:
        if validation >= entry.source.train:
            told = f"{entry.source.name} has {entry.source.train} training images"
            raise ValueError(f"{told}: --validation {validation} leaves none to train on")
    found = []
    for entry in entries:
        left = entry.source.train - validation
        size = entry.training.train_size
        changes: dict[str, Any] = {"epochs": epochs, "drops": drops, "validation": validation}
        changes |= {"train_size": None if size is None or size >= left else size}
        changes |= {"test_size": None}
        found += [
            replace(entry, training=replace(entry.training, lr=lr, **changes)) for lr in rates
        ]
    return found


def tuning_schedule(preset: Preset, epochs: int | None) -> tuple[int, tuple[int, ...]]:
    """As many epochs as asked for, of the preset's own schedule: the paper's 100 have no drop."""
    epochs = preset.tuning_epochs if epochs is None else epochs
    return epochs, tuple(drop for drop in preset.drops if drop < epochs)


def show(entries: Sequence[Entry], options: Options) -> int:
    """Draw, tabulate and print what was found."""
    found, complaints = collect(entries, options.results)
    judged: dict[str, list[Verdict]] = {}
    for study in studies(entries, found, stale(found)):
        results = {entry.name: result for entry, result in study.found.items()}
        picture = Picture(
            f"tune-{study.slug}",
            f"Step sizes of each method: {study.title}",
            lambda quick, seed: {},
            partial(_drawn, study),
            partial(_judged, study),
        )
        for path in make.draw(picture, results, options):
            click.echo(path)
        for path in _write_tables(study, options.out):
            click.echo(path)
        click.echo("\n" + step_sizes.markdown(study))
        for search in step_sizes.searches(study):
            if search.remark:
                told = f"{study.slug}, batch {search.batch}, {search.label}: {search.remark}"
                click.echo(f"warning: {told}", err=True)
        if not options.quick:
            judged[picture.name] = make.judge(picture, results)
    command.tell_missing(entries, found, complaints, options.results)
    return make.conclude(judged, options)


def _drawn(study: Study, results: Results) -> Figure:
    return step_sizes.draw(study)


def _judged(study: Study, results: Results) -> list[Verdict]:
    return [
        observation(
            f"{study.title}, batch {search.batch}: best step size of {search.label}",
            *("chosen on held-out images", _said(search), "-"),
        )
        for search in step_sizes.searches(study)
    ]


def _said(search: step_sizes.Search) -> str:
    if search.chosen is None:
        return search.remark
    at, means = search.chosen, search.means
    said = f"{search.lr[at]:.4g}, with {means[at]:.2f} %"
    return said + f" ({search.remark})" * bool(search.remark)


def _write_tables(study: Study, out: Path) -> list[Path]:
    paths = []
    for ending, text in (
        ("md", step_sizes.markdown(study)),
        ("csv", step_sizes.comma_separated(study)),
    ):
        paths.append(out / f"tune-{study.slug}.{ending}")
        with replacing(paths[-1]) as file:
            file.write(text.encode())
    return paths
