"""What a search for step sizes found: the choice, its picture and its tables.

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
from efsgd.figures.cifar import plots, tables
from efsgd.figures.cifar.captions import caption
from efsgd.figures.cifar.study import Study

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
        """The place of the best step size by the rule above; None if all diverged."""
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
        said = [EDGE] if self.chosen in (0, len(self.lr) - 1) else []
        return "; ".join(said + [f"{self.missing} runs missing"] * bool(self.missing))


def searches(study: Study) -> list[Search]:
    """The study cut by batch size and method."""
    found = []
    for cell in study.cells():
        rates = sorted({entry.training.lr for entry in cell.wanted})
        by_rate = [[e for e in cell.wanted if e.training.lr == lr] for lr in rates]
        accuracy = tuple(
            np.array([100 * study.found[e]["test_accuracy"][-1] for e in own if e in study.found])
            for own in by_rate
        )
        missing = len(cell.wanted) - len(cell.results)
        found.append(Search(cell.batch, cell.method, cell.label, tuple(rates), accuracy, missing))
    return found


def draw(study: Study) -> Figure:
    """Validation accuracy against the step size, the chosen one marked by a ring."""
    figure, axes = plots.board(1, len(study.batches), height=2.8)
    for ax, batch in zip(axes[0], study.batches, strict=True):
        for search in searches(study):
            if search.batch != batch:
                continue
            shown = plots.look(study, search.method) | {"markevery": 1}
            ax.plot(search.lr, search.means, **shown)
            at = search.chosen
            if at is not None:
                ring = {"markerfacecolor": "none", "markersize": 9, "linestyle": ""}
                ring |= {"marker": "o", "color": shown["color"]}
                ax.plot([search.lr[at]], [search.means[at]], **ring)
        ax.set(xscale="log", xlabel="step size", title=plots.heading(study, batch))
        ax.set(ylabel="validation accuracy (%)")
    note = "rings: the chosen ones; no point where a run diverged; means over seeds"
    return plots.finish(figure, axes, study, note)


def markdown(study: Study) -> str:
    """The chosen step sizes as a table."""
    lines = [f"# Step sizes: {study.title}", "", f"{caption(study)}.", ""]
    lines += [tables.piped(HEADS), tables.piped(["---"] * len(HEADS))]
    for search in searches(study):
        at = search.chosen
        best = ["-", "-", "0"]
        if at is not None:
            accuracy = search.accuracy[at]
            spread = tables.with_deviation(*tables.mean_and_deviation(accuracy))
            best = [repr(search.lr[at]), spread, str(len(accuracy))]
        ends = [f"{search.diverged} of {len(search.lr)}", search.remark or "-"]
        lines.append(tables.piped([str(search.batch), search.label, *best, *ends]))
    return "\n".join(lines) + "\n"


def comma_separated(study: Study) -> str:
    """Every run of the search; an empty field for the accuracy of one that diverged."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("batch", "method", "step_size", "seed", "validation_accuracy", "chosen"))
    best = {(s.batch, s.method): s.lr[s.chosen] for s in searches(study) if s.chosen is not None}
    for entry, result in study.found.items():
        run, accuracy = entry.training, 100 * float(result["test_accuracy"][-1])
        number = "" if math.isnan(accuracy) else repr(accuracy)
        taken = best.get((run.batch, entry.method)) == run.lr
        writer.writerow((run.batch, entry.method, repr(run.lr), run.seed, number, int(taken)))
    return text.getvalue()
