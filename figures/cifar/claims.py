"""The claims of section 6, judged on the paper's own grid; other grids give observations only.

A claim needs every run that it is about, made by the paper's protocol: 200 epochs on all images,
three seeds. It holds or fails where a 95 % interval over the seeds decides it, and where they leave
it open it is an observation. Accuracies are those after the last epoch, but where the paper's
numbers are compared with ours, at the epoch with the greatest mean over seeds, which is what the
paper reports. Only the shape of the density is judged on other grids too, see ``densities.py``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from efsgd.arrays import Array
from efsgd.figures.cifar import densities, paper
from efsgd.figures.cifar.decisions import of_difference
from efsgd.figures.cifar.grid import step_size
from efsgd.figures.cifar.orders import Order, orders
from efsgd.figures.cifar.presets import METHODS, PRESETS
from efsgd.figures.cifar.study import Cell, Study, makers
from efsgd.figures.cifar.tables import mean_and_deviation, with_deviation
from efsgd.figures.claims.intervals import Interval, decision, of_mean
from efsgd.figures.claims.verdicts import Verdict, observation

SOURCE = paper.SOURCE
MEASURED = "measured here"  # the source of what the paper does not report
WITHIN = 1.5  # points between EF-signSGD and SGDm
COLLAPSE = 10.0  # points that scaled signSGD loses at batch 8; 20.2 and 36.4 in the paper
NEAR = 1.0  # points between our means and the paper's


def accuracy(study: Study) -> list[Verdict]:
    """Final accuracies, the orders that the seeds decide, the paper's means, and other code."""
    verdicts = [
        observation(
            f"{_at(study, cell.batch)}: {cell.label}, final test accuracy in %, {_count(cell)}",
            source=MEASURED,
            measured=with_deviation(*mean_and_deviation(cell.finals())),
        )
        for cell in study.cells()
    ]
    for batch in study.batches:
        verdicts += [order(study, compared) for compared in orders(study, batch)]
    for batch in study.batches:
        verdicts += _means(study, batch)
    return verdicts + _other_code(study)


def gap(study: Study) -> list[Verdict]:
    """The distances to SGDm, the order of the methods, and the collapse at batch 8."""
    verdicts = []
    for batch in study.batches:
        for of_batch in (_distances, _order, _within, _collapse):
            verdicts += of_batch(study, batch)
    return verdicts


def density(study: Study) -> list[Verdict]:
    """The density of the corrected gradient: how small it gets, and its shape over the epochs."""
    verdicts = []
    for cell in study.cells():
        if not cell.feeds_back:
            continue
        least = densities.least(cell)
        text = f"{_at(study, cell.batch)}: {cell.label}, least phi(g + e) of any epoch"
        claims = []
        if cell.method == densities.JUDGED:
            claims = _judged(study, [cell], text, least, above=densities.LEAST)
        verdicts += claims or [observation(text, source=MEASURED, measured=str(least))]
        verdicts += densities.shape(cell, _at(study, cell.batch))
    return verdicts


def memory_back(study: Study) -> list[Verdict]:
    """How the final test accuracy changes when the memory is given back: x - e instead of x."""
    verdicts = []
    for cell in study.cells():
        if not cell.feeds_back:
            continue
        change = cell.finals("virtual_test_accuracy") - cell.finals()
        text = f"{_at(study, cell.batch)}: {cell.label}, accuracy at x - e minus at x in points"
        measured = with_deviation(*mean_and_deviation(change), digits=3)
        verdicts.append(observation(text, source=MEASURED, measured=measured))
    return verdicts


def order(study: Study, compared: Order) -> Verdict:
    """Whether the seeds decide which of two methods ends with the higher test accuracy."""
    names = f"{compared.first.label} and {compared.second.label}"
    return observation(
        f"{_at(study, compared.first.batch)}: order of {names}, final test accuracy",
        source=f"{MEASURED}, Welch 95 %",
        measured=compared.verdict,
        expected="a decision",
    )


def by_protocol(study: Study, cell: Cell) -> bool:
    """Whether the runs of a cell are those of the paper's grid, by at least three seeds."""
    preset, pair = PRESETS["paper"], (study.model, study.data)
    if pair not in paper.PAIRS or cell.batch not in paper.BATCHES or cell.method not in METHODS:
        return False
    seeds = {entry.training.seed for entry in cell.entries}
    lr = step_size(preset, pair, cell.method, cell.batch)
    return len(seeds) >= paper.SEEDS and all(
        e.training
        == replace(
            e.training,
            method=METHODS[cell.method],
            lr=lr,
            epochs=paper.EPOCHS,
            drops=paper.DROPS,
            train_size=None,
            test_size=None,
            validation=0,
        )
        for e in cell.entries
    )


def _judged(
    study: Study,
    cells: Sequence[Cell],
    text: str,
    interval: Interval,
    above: float = -math.inf,
    most: float = math.inf,
) -> list[Verdict]:
    """A claim where its runs are complete; an observation that lists them where some are missing.

    Nothing where the grid is not the paper's.
    """
    if not all(cell.entries and by_protocol(study, cell) for cell in cells):
        return []
    verdict = decision(text, SOURCE, interval, above, most)
    if incomplete := [cell for cell in cells if len(cell.results) < len(cell.entries)]:
        missing = f"missing: {_missing(incomplete)}"
        return [observation(text, verdict.source, missing, verdict.expected)]
    return [verdict]


def _missing(cells: Iterable[Cell]) -> str:
    """The methods and seeds without a result."""
    runs = []
    for cell in cells:
        seeds = {e.training.seed for e in cell.entries} - set(cell.seeds)
        runs.append(f"{cell.label} seed {', '.join(map(str, sorted(seeds)))}")
    return "; ".join(runs)


def _other_code(study: Study) -> list[Verdict]:
    """The commits of the results that today's code did not make; a remedy where there is one."""
    results = study.of_other_code
    if not results:
        return []
    text = f"{study.model}/{study.data_label}: runs made by {makers(results)}"
    count = f"{len(results)} of {len(study.results)}"
    if not study.stale:
        return [observation(text, source=MEASURED, measured=count)]
    return [observation(f"{text} (stale)", MEASURED, count, expected="train anew with --again")]


def _distances(study: Study, batch: int) -> list[Verdict]:
    verdicts, base = [], study.cell(batch, "sgdm")
    for cell in study.cells(batch):
        if cell.method == "sgdm" or not (cell.results and base.results):
            continue
        published = paper.gap(study.model, study.data, batch, cell.method)
        text = f"{_at(study, batch)}: {cell.label} minus SGDm, mean final accuracy in points"
        expected = "-" if published is None else f"{published:+.2f} (best means)"
        measured = f"{_mean(cell) - _mean(base):+.2f}"
        verdicts.append(observation(text, MEASURED, measured, expected))
    return verdicts


def _order(study: Study, batch: int) -> list[Verdict]:
    sgdm, ef, *others = (
        study.cell(batch, m) for m in ("sgdm", "ef-signsgd", "signsgd", "signsgdm")
    )
    verdicts = []
    for above, below in [(sgdm, ef), *((ef, other) for other in others)]:
        text = (
            f"{_at(study, batch)}: {above.label} is above {below.label}, by points of mean accuracy"
        )
        interval = of_difference(above.finals(), _zero_if_diverged(below))
        verdicts += _judged(study, [above, below], text, interval, above=0.0)
    return verdicts


def _within(study: Study, batch: int) -> list[Verdict]:
    sgdm, ef = study.cell(batch, "sgdm"), study.cell(batch, "ef-signsgd")
    text = f"{_at(study, batch)}: EF-signSGD is at most {WITHIN} points below SGDm"
    interval = of_difference(sgdm.finals(), ef.finals())
    return _judged(study, [sgdm, ef], text, interval, most=WITHIN)


def _collapse(study: Study, batch: int) -> list[Verdict]:
    if batch != min(paper.BATCHES):
        return []
    sgdm, sign = study.cell(batch, "sgdm"), study.cell(batch, "signsgd")
    text = f"{_at(study, batch)}: scaled signSGD collapses, points below SGDm (0 % if diverged)"
    interval = of_difference(sgdm.finals(), _zero_if_diverged(sign))
    return _judged(study, [sgdm, sign], text, interval, above=COLLAPSE)


def _means(study: Study, batch: int) -> list[Verdict]:
    verdicts = []
    for cell in study.cells(batch):
        published = paper.accuracy(study.model, study.data, batch, cell.method)
        if published is not None:
            text = f"{_at(study, batch)}: {cell.label}, best mean accuracy minus the paper's"
            interval = of_mean(cell.at_best() - published)
            text += f" {published:.2f}"
            verdicts += _judged(study, [cell], text, interval, above=-NEAR, most=NEAR)
    return verdicts


def _zero_if_diverged(cell: Cell) -> Array:
    """Final accuracies of the method that should be below, 0 % for a run that diverged.

    Where only some of them did, the interval is wide and the claim most likely left open.
    """
    return np.nan_to_num(cell.finals(), nan=0.0)


def _mean(cell: Cell) -> float:
    values = cell.finals()
    return float(values.mean()) if len(values) else float("nan")


def _count(cell: Cell) -> str:
    return f"n = {len(cell.results)} of {len(cell.entries)}"


def _at(study: Study, batch: int) -> str:
    return f"{study.model}/{study.data_label}, batch {batch}"
