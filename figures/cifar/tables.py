"""Tables of final accuracies in markdown, LaTeX and CSV, with the paper's numbers beside ours.

Everything is in percent or points. The accuracy of a run is the one after its last epoch; the
maximum over epochs, which is what the paper reports, was selected on the test set and says so.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from efsgd.arrays import Array
from efsgd.figures.cifar import paper
from efsgd.figures.cifar.captions import caption, incomplete
from efsgd.figures.cifar.orders import orders
from efsgd.figures.cifar.study import Cell, Study
from efsgd.figures.make import Options
from efsgd.figures.texts import for_markdown, printable
from efsgd.results import replacing

SELECTED = (
    "best: the maximum over epochs of the mean over seeds, selected on the test set, as the paper "
    "reports; difference: best minus the paper's"
)
FINAL = "final: test accuracy after the last epoch, mean +- sample standard deviation over seeds"
ORDERS = "Which of two methods ends with the higher test accuracy, each pair alone:"
HEADS = (
    "batch",
    "method",
    "n",
    "final",
    "final at x - e",
    "best (selected on the test set)",
    "paper (best of 3)",
    "difference",
)
COLUMNS = (  # of the CSV
    "model",
    "data",
    "batch",
    "method",
    "n",
    "wanted",
    "diverged",
    "final_mean",
    "final_sd",
    "virtual_final_mean",
    "virtual_final_sd",
    "best_selected_on_test",
    "paper_best",
    "difference",
)


@dataclass(frozen=True)
class Row:
    """One line: accuracies in percent, NaN where a run diverged or where there are too few."""

    cell: Cell
    final: tuple[float, float]  # mean, sample standard deviation
    virtual: tuple[float, float]  # the same at x - e
    best: float
    paper: float | None

    @property
    def difference(self) -> float | None:
        """Best minus the paper's, which are the same quantity."""
        if self.paper is None or not self.cell.results:
            return None
        return round(self.best - self.paper, 9)  # no -1.4e-14 where the two are equal


def rows(study: Study) -> list[Row]:
    """A row for each batch size and method of the grid, also those without a run."""
    return [
        Row(
            cell,
            final=mean_and_deviation(cell.finals()),
            virtual=mean_and_deviation(cell.finals("virtual_test_accuracy")),
            best=cell.best(),
            paper=paper.accuracy(study.model, study.data, cell.batch, cell.method),
        )
        for cell in study.cells()
    ]


def mean_and_deviation(values: Array) -> tuple[float, float]:
    """Mean and sample standard deviation, the latter NaN for fewer than two values."""
    if not len(values):
        return math.nan, math.nan
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    return float(np.mean(values)), deviation


def markdown(study: Study) -> str:
    """A table with a title, a caption, the orders of the methods and the runs that are missing."""
    body = [_cells(row) for row in rows(study)]
    lines = [f"# {for_markdown(study.title)}", "", f"{for_markdown(caption(study))}.", ""]
    lines += [piped(HEADS), piped(["---"] * len(HEADS)), *map(piped, body)]
    lines += ["", f"{FINAL}; {SELECTED}."]
    if order_lines := [order.line for batch in study.batches for order in orders(study, batch)]:
        lines += ["", ORDERS, "", *(f"- {line}" for line in order_lines)]
    if missing := incomplete(study):
        lines += ["", "Missing:", "", *(f"- {line}" for line in missing)]
    return "\n".join(lines) + "\n"


def latex(study: Study) -> str:
    """A tabular for \\input, which needs no package."""
    body = [" & ".join(map(escaped, _cells(row))).replace("+-", "$\\pm$") for row in rows(study)]
    notes = [f"{study.title}: {caption(study)}", FINAL, SELECTED, *incomplete(study)]
    lines = [f"% {' '.join(note.split())}" for note in notes]  # a line break would end the comment
    lines += ["\\begin{tabular}{rlrlllrr}", "\\hline"]
    lines += [" & ".join(map(escaped, HEADS)) + " \\\\", "\\hline"]
    lines += [f"{line} \\\\" for line in body]
    return "\n".join([*lines, "\\hline", "\\end{tabular}"]) + "\n"


def comma_separated(study: Study) -> str:
    """The same numbers to eight digits, an empty field where there is none."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows(study):
        cell = row.cell
        counts = (len(cell.results), len(cell.entries), cell.diverged)
        numbers = (*row.final, *row.virtual, row.best, row.paper, row.difference)
        fields = ["" if v is None or math.isnan(v) else f"{v:.8g}" for v in numbers]
        writer.writerow(
            [study.model, printable(study.data), cell.batch, cell.label, *counts, *fields]
        )
    return text.getvalue()


WRITERS = {"md": markdown, "tex": latex, "csv": comma_separated}  # by the ending of the file


def write(
    study: Study,
    options: Options,
    writers: Mapping[str, Callable[[Study], str]] = WRITERS,
    prefix: str = "",
) -> list[Path]:
    """Write OUT/<prefix><model>-<data> with the ending of each writer; returns the paths."""
    paths = []
    for ending, text in writers.items():
        paths.append(options.file(f"{prefix}{study.file_stem}", ending))
        with replacing(paths[-1]) as file:
            file.write(text(study).encode())
    return paths


def with_deviation(mean: float, deviation: float, digits: int = 2) -> str:
    """ "93.41 +- 0.12", without the second part for a single run; "-" for none."""
    if math.isnan(mean):
        return "-"
    spread = "" if math.isnan(deviation) else f" +- {deviation:.{digits}f}"
    return f"{mean:.{digits}f}{spread}"


def _cells(row: Row) -> list[str]:
    cell = row.cell
    count = str(len(cell.results))
    if len(cell.results) < len(cell.entries):
        count += f" of {len(cell.entries)}"
    final, virtual = with_deviation(*row.final), with_deviation(*row.virtual)
    if cell.diverged:
        final = virtual = f"{cell.diverged} of {len(cell.results)} diverged"
    best = "-" if math.isnan(row.best) else f"{row.best:.2f}"
    published = "-" if row.paper is None else f"{row.paper:.2f}"
    points = row.difference
    difference = "-" if points is None or math.isnan(points) else f"{points:+z.2f}"
    return [str(cell.batch), cell.label, count, final, virtual, best, published, difference]


def piped(cells: Sequence[str]) -> str:
    """One line of a markdown table."""
    return "| " + " | ".join(map(for_markdown, cells)) + " |"


def escaped(text: str) -> str:
    """The text with the characters escaped that LaTeX gives a meaning."""
    return "".join(f"\\{char}" if char in "&%$#_{}" else char for char in text)
