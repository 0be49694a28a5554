"""What section 6 claims, judged on the paper's own grid; everything else is only observed.

A claim needs every run that it speaks of, made by the paper's protocol: 200 epochs on all images,
three seeds. Accuracies are those after the last epoch, but where the paper's numbers are compared
with ours, the maximum over epochs of the mean over seeds, which is what the paper reports.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from efsgd.figures.cifar import paper
from efsgd.figures.cifar.grid import step_size
from efsgd.figures.cifar.orders import Order, orders
from efsgd.figures.cifar.presets import METHODS, PRESETS
from efsgd.figures.cifar.study import Cell, Study
from efsgd.figures.cifar.tables import mean_and_deviation, with_deviation
from efsgd.figures.verdicts import Relation, Verdict, claim, observation

SOURCE = paper.SOURCE
MINE = "measured here"
WITHIN = 1.5  # points between EF-signSGD and SGDm
COLLAPSE = 10.0  # points that scaled signSGD loses at batch 8; 20.2 and 36.4 in the paper
LEAST_PHI = 0.05
NEAR = 1.0  # points between our means and the paper's


def accuracy(study: Study) -> list[Verdict]:
    """The final accuracy of each method, whether the seeds decide each order, the paper's means."""
    found = [
        observation(
            f"{_at(study, cell.batch)}: {cell.label}, final test accuracy in %, {_count(cell)}",
            *(MINE, with_deviation(*mean_and_deviation(cell.finals()))),
        )
        for cell in study.cells()
    ]
    for batch in study.batches:
        found += [order(study, two) for two in orders(study, batch)]
    found += [v for batch in study.batches for v in _means(study, batch)]
    if study.stale:
        text = f"{study.model}/{study.data}: runs made by other code than today's (stale)"
        told = f"{len(study.stale)} of {len(study.found)}"
        found.append(observation(text, MINE, told, "train anew with --again"))
    return found


def gap(study: Study) -> list[Verdict]:
    """The distances to SGDm, the order of the methods, and the collapse at batch 8."""
    return [
        v
        for batch in study.batches
        for v in (
            *_distances(study, batch),
            *_order(study, batch),
            *_within(study, batch),
            *_collapse(study, batch),
        )
    ]


def density(study: Study) -> list[Verdict]:
    """The density of the corrected gradient, which bounds how slow error feedback can be."""
    found = []
    for cell in study.cells():
        if not cell.feeds_back:
            continue
        measured = float(cell.series("phi_p").min()) if cell.results else float("nan")
        text = f"{_at(study, cell.batch)}: {cell.label}, least phi(g + e) of any epoch and seed"
        ready = cell.method == "ef-signsgd"
        judged = _judged(study, [cell], text, SOURCE, measured, ">", LEAST_PHI) if ready else []
        found += judged or [observation(text, MINE, f"{measured:.3g}")]
    return found


def memory_back(study: Study) -> list[Verdict]:
    """What giving the memory back does to the final test accuracy."""
    found = []
    for cell in study.cells():
        if not cell.feeds_back:
            continue
        change = cell.finals("virtual_test_accuracy") - cell.finals()
        text = f"{_at(study, cell.batch)}: {cell.label}, accuracy at x - e minus at x in points"
        found.append(observation(text, MINE, with_deviation(*mean_and_deviation(change), 3)))
    return found


def order(study: Study, two: Order) -> Verdict:
    """Whether the seeds decide which of two methods ends with the higher test accuracy."""
    names = f"{two.one.label} and {two.two.label}"
    text = f"{_at(study, two.one.batch)}: order of {names}, final test accuracy"
    return observation(text, f"{MINE}, Welch 95 %", two.verdict, "a decision")


def by_protocol(study: Study, cell: Cell) -> bool:
    """Whether the runs that a cell wants are those of the paper's grid, by at least three seeds."""
    preset, pair = PRESETS["paper"], (study.model, study.data)
    if pair not in paper.PAIRS or cell.batch not in paper.BATCHES or cell.method not in METHODS:
        return False
    seeds = {entry.training.seed for entry in cell.wanted}
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
        for e in cell.wanted
    )


def _judged(
    study: Study,
    cells: Sequence[Cell],
    text: str,
    source: str,
    measured: float,
    relation: Relation,
    bound: float,
) -> list[Verdict]:
    """A claim where its runs are complete; an observation that lists them where some are missing.

    Nothing where the grid is not the paper's.
    """
    if not all(cell.wanted and by_protocol(study, cell) for cell in cells):
        return []
    lacking = [cell for cell in cells if len(cell.results) < len(cell.wanted)]
    if lacking:
        return [observation(text, source, f"missing: {_lacking(lacking)}", f"{relation} {bound:g}")]
    return [claim(text, source, measured, relation, bound)]


def _lacking(cells: Iterable[Cell]) -> str:
    told = []
    for cell in cells:
        seeds = {e.training.seed for e in cell.wanted} - set(cell.seeds)
        told.append(f"{cell.label} seed {', '.join(map(str, sorted(seeds)))}")
    return "; ".join(told)


def _distances(study: Study, batch: int) -> list[Verdict]:
    found, base = [], study.cell(batch, "sgdm")
    for cell in study.cells(batch):
        if cell.method == "sgdm" or not (cell.results and base.results):
            continue
        published = paper.gap(study.model, study.data, batch, cell.method)
        text = f"{_at(study, batch)}: {cell.label} minus SGDm, mean final accuracy in points"
        expected = "-" if published is None else f"{published:+.2f} (best means)"
        found.append(observation(text, MINE, f"{_mean(cell) - _mean(base):+.2f}", expected))
    return found


def _order(study: Study, batch: int) -> list[Verdict]:
    sgdm, ef, *others = (
        study.cell(batch, m) for m in ("sgdm", "ef-signsgd", "signsgd", "signsgdm")
    )
    found = []
    for above, below in [(sgdm, ef), *((ef, other) for other in others)]:
        text = (
            f"{_at(study, batch)}: {above.label} is above {below.label}, by points of mean accuracy"
        )
        measured = _mean(above) - _mean(below, diverged=0.0)
        found += _judged(study, [above, below], text, SOURCE, measured, ">", 0)
    return found


def _within(study: Study, batch: int) -> list[Verdict]:
    sgdm, ef = study.cell(batch, "sgdm"), study.cell(batch, "ef-signsgd")
    text = f"{_at(study, batch)}: EF-signSGD is at most {WITHIN} points below SGDm"
    return _judged(study, [sgdm, ef], text, SOURCE, _mean(sgdm) - _mean(ef), "<=", WITHIN)


def _collapse(study: Study, batch: int) -> list[Verdict]:
    if batch != min(paper.BATCHES):
        return []
    sgdm, sign = study.cell(batch, "sgdm"), study.cell(batch, "signsgd")
    text = f"{_at(study, batch)}: scaled signSGD collapses, points below SGDm (0 % if diverged)"
    measured = _mean(sgdm) - _mean(sign, diverged=0.0)
    return _judged(study, [sgdm, sign], text, SOURCE, measured, ">=", COLLAPSE)


def _means(study: Study, batch: int) -> list[Verdict]:
    found = []
    for cell in study.cells(batch):
        published = paper.accuracy(study.model, study.data, batch, cell.method)
        if published is not None:
            text = f"{_at(study, batch)}: {cell.label}, best mean accuracy minus the paper's"
            text += f" {published:.2f}, absolute"
            measured = abs(cell.best() - published)
            found += _judged(study, [cell], text, SOURCE, measured, "<=", NEAR)
    return found


def _mean(cell: Cell, diverged: float = float("nan")) -> float:
    values = cell.finals()
    return float(np.nan_to_num(values, nan=diverged).mean()) if len(values) else float("nan")


def _count(cell: Cell) -> str:
    return f"n = {len(cell.results)} of {len(cell.wanted)}"


def _at(study: Study, batch: int) -> str:
    return f"{study.model}/{study.data}, batch {batch}"
