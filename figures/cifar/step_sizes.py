"""The outcome of a search for step sizes: the choice, its picture and its tables.

The rule: of the step sizes with which no seed diverged, the one with the greatest mean accuracy on
the held-out images after the last epoch; of several the smallest, which is the most stable. A step
size at the edge of the grid is reported, because the optimum may lie outside.
"""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from efsgd.arrays import Array
from efsgd.figures import terminal
from efsgd.figures.cifar import plots, tables
from efsgd.figures.cifar.captions import caption
from efsgd.figures.cifar.study import Cell, Study
from efsgd.figures.texts import for_markdown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEADS = ("batch", "method", "step size", "validation accuracy (%)", "n", "diverged", "remark")
EDGE = "at the edge of the grid: the optimum may lie outside"


@dataclass(frozen=True)
class Search:
    """The step sizes that were tried for one method at one batch size, in increasing order."""

    batch: int
    method: str
    label: str
    lr: tuple[float, ...]
    accuracy: tuple[Array, ...]  # of each: after the last epoch in percent, (seeds,)
    missing: int

    @property
    def means(self) -> Array:
        """The mean over seeds for each step size; NaN where a seed diverged or all are missing."""
        return np.array([a.mean() if len(a) else math.nan for a in self.accuracy])

    @property
    def chosen(self) -> int | None:
        """The index of the best step size by the rule above; None if all diverged."""
        means = self.means
        return None if np.isnan(means).all() else int(np.nanargmax(means))

    @property
    def diverged(self) -> int:
        """The step sizes with which a seed diverged."""
        return sum(bool(np.isnan(a).any()) for a in self.accuracy)

    @property
    def remark(self) -> str:
        """What to mind about the choice, empty if nothing."""
        if self.chosen is None:
            return "every step size diverged: try smaller ones"
        remarks = [EDGE] if self.chosen in (0, len(self.lr) - 1) else []
        return "; ".join(remarks + [f"{self.missing} runs missing"] * bool(self.missing))


def searches(study: Study) -> list[Search]:
    """The study cut by batch size and method."""
    all_searches = []
    for cell in study.cells():
        rates = sorted({entry.training.lr for entry in cell.entries})
        search = Search(
            batch=cell.batch,
            method=cell.method,
            label=cell.label,
            lr=tuple(rates),
            accuracy=tuple(_accuracies(study, cell, lr) for lr in rates),
            missing=len(cell.entries) - len(cell.results),
        )
        all_searches.append(search)
    return all_searches


def _accuracies(study: Study, cell: Cell, lr: float) -> Array:
    """The last accuracies of a cell's runs with one step size, in percent: (seeds,)."""
    runs = [entry for entry in cell.entries if entry.training.lr == lr]
    results = [study.results[entry] for entry in runs if entry in study.results]
    return np.array([100 * result["test_accuracy"][-1] for result in results])


def draw(study: Study) -> Figure:
    """Validation accuracy against the step size, the chosen one marked by a ring."""
    figure, axes = plots.board(1, len(study.batches), height=2.8)
    for ax, batch in zip(axes[0], study.batches, strict=True):
        for search in searches(study):
            if search.batch != batch:
                continue
            line = plots.look(study, search.method) | {"markevery": 1}
            ax.plot(search.lr, search.means, **line)
            best = search.chosen
            if best is not None:
                ring = {"markerfacecolor": "none", "markersize": 9, "linestyle": ""}
                ring |= {"marker": "o", "color": line["color"]}
                ax.plot([search.lr[best]], [search.means[best]], **ring)
        ax.set(xscale="log", xlabel="step size", title=plots.heading(study, batch))
        ax.set(ylabel="validation accuracy (%)")
    note = "rings: the chosen ones; no point where a run diverged; means over seeds"
    return plots.finish(figure, axes, study, note)


def markdown(study: Study) -> str:
    """The chosen step sizes as a table in markdown."""
    lines = [
        f"# Step sizes: {for_markdown(study.title)}",
        "",
        f"{for_markdown(caption(study))}.",
        "",
    ]
    lines += [tables.piped(HEADS), tables.piped(["---"] * len(HEADS))]
    return "\n".join([*lines, *map(tables.piped, _rows(study))]) + "\n"


def plain(study: Study) -> str:
    """The same for the terminal."""
    return f"{study.title}\n\n{terminal.table(HEADS, _rows(study))}"


def _rows(study: Study) -> list[list[str]]:
    """A row under HEADS for each search."""
    rows = []
    for search in searches(study):
        best = search.chosen
        chosen = ["-", "-", "0"]
        if best is not None:
            accuracy = search.accuracy[best]
            spread = tables.with_deviation(*tables.mean_and_deviation(accuracy))
            chosen = [repr(search.lr[best]), spread, str(len(accuracy))]
        remarks = [f"{search.diverged} of {len(search.lr)}", search.remark or "-"]
        rows.append([str(search.batch), search.label, *chosen, *remarks])
    return rows


def comma_separated(study: Study) -> str:
    """Every run of the search; an empty field for the accuracy of one that diverged."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("batch", "method", "step_size", "seed", "validation_accuracy", "chosen"))
    best = {(s.batch, s.method): s.lr[s.chosen] for s in searches(study) if s.chosen is not None}
    for entry, result in study.results.items():
        run, accuracy = entry.training, 100 * float(result["test_accuracy"][-1])
        number = "" if math.isnan(accuracy) else repr(accuracy)
        chosen = best.get((run.batch, entry.method)) == run.lr
        writer.writerow((run.batch, entry.method, repr(run.lr), run.seed, number, int(chosen)))
    return text.getvalue()


WRITERS = {"md": markdown, "csv": comma_separated}  # by the ending of the file
