"""The pictures of the deep experiments, drawn from saved histories; nothing is trained here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd.figures.cifar import paper
from efsgd.figures.cifar.captions import caption, incomplete
from efsgd.figures.cifar.presets import PREFIX
from efsgd.figures.cifar.study import Cell, Study
from efsgd.figures.drawing import style
from efsgd.figures.texts import for_matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BAND = "lines: mean over seeds, bands from the least to the greatest"


def look(study: Study, method: str) -> dict[str, Any]:
    """Colour, line and marker of a method, and a label that counts the runs that are missing."""
    cells = [cell for cell in study.cells() if cell.method == method]
    results = sum(len(cell.results) for cell in cells)
    runs = sum(len(cell.entries) for cell in cells)
    ((_, name),) = style.labels({cells[0].label: cells[0].entries[0].training.method}).items()
    label = f"{name}: {results} of {runs} runs" if results < runs else name
    diverged = sum(cell.diverged for cell in cells)
    if diverged:
        label += f", {diverged} diverged"
    if method.startswith(PREFIX):
        others = [name for name in study.methods if name.startswith(PREFIX)]
        return style.other(label, others.index(method))
    return style.line("SGD" if method == "sgdm" else name) | {"label": label}


def curves(axes: Axes, study: Study, cell: Cell, series: str, **changes: Any) -> None:
    """One series of a method against the epochs that have it, ``changes`` overriding its look.

    Only an entry of the legend where there is no run or nothing finite.
    """
    line = look(study, cell.method) | changes
    epoch, values = cell.curve(series) if cell.results else (np.zeros(0), np.zeros((0, 0)))
    if not np.isfinite(values.sum(axis=1)).any():
        axes.plot([], [], **line)
        return
    style.curve(axes, epoch, values.mean(axis=1), **line)
    if values.shape[1] > 1:
        style.band(axes, epoch, values.min(axis=1), values.max(axis=1), line["color"])


def count_epochs(axes: Axes) -> None:
    """Name the horizontal axis, whose ticks are whole epochs, also if there is one only."""
    axes.set_xlabel("epoch")
    axes.locator_params(axis="x", integer=True, min_n_ticks=1)


def board(rows: int, columns: int, height: float) -> tuple[Figure, Any]:
    """A figure, a page wide, and its axes (rows, columns).

    A single column lies on its side, and a single panel has an empty one beside it for the legend.
    """
    if columns > 1:
        return style.panels(rows, columns, height=height)
    figure, axes = style.panels(1, max(rows, 2), height=max(height, 2.6))
    return figure, axes[:, :rows].T


def heading(study: Study, batch: int | None = None) -> str:
    """The title of a panel, in lines that are no wider than it."""
    if batch is None:
        return for_matplotlib("\n".join(_wrapped([study.title], 48)))
    width, text = 96 // max(2, len(study.batches)), f"{study.title}, batch {batch}"
    if len(text) > width:  # broken lines get half of it, as letters differ in width
        text = "\n".join([*_wrapped([study.title], width // 2), f"batch {batch}"])
    return for_matplotlib(text)


def accuracy(study: Study) -> Figure:
    """Test accuracy and train loss against epochs, one column a batch size."""
    rows = {"test_accuracy": "test accuracy (%)", "train_loss": "train loss"}
    figure, axes = board(2, len(study.batches), height=2.2)
    for column, batch in zip(axes.T, study.batches, strict=True):
        for ax, (series, title) in zip(column, rows.items(), strict=True):
            for cell in study.cells(batch):
                curves(ax, study, cell, series)
            count_epochs(ax)
            ax.set_ylabel(title)
        column[0].set_title(heading(study, batch), loc="left")
        if _all_positive(study, "train_loss"):
            column[1].set_yscale("log")
    return finish(figure, axes, study, BAND)


def density(study: Study) -> Figure:
    """phi(g) and phi(g + e) over the epochs of the methods with a memory."""
    figure, axes = board(1, len(study.batches), height=2.6)
    for ax, batch in zip(axes[0], study.batches, strict=True):
        cells = [cell for cell in study.cells(batch) if cell.feeds_back]
        for cell in cells:
            label = look(study, cell.method)["label"]
            curves(ax, study, cell, "phi_p", label=f"{label}, $\\phi(g+e)$")
            dotted = {"linestyle": style.DOTTED, "marker": ""}
            curves(ax, study, cell, "phi_g", label=f"{label}, $\\phi(g)$", **dotted)
        if not cells:
            _write_in_middle(ax, "no method with a memory in this grid")
        count_epochs(ax)
        ax.set(ylabel="density $\\phi$", title=heading(study, batch))
        ax.margins(y=0.1)
        ax.set_ylim(bottom=0)
    return finish(figure, axes, study, f"mean over the steps of an epoch; {BAND}")


def memory_back(study: Study) -> Figure:
    """Test accuracy, test loss and train loss at x and at x - e, the virtual iterate."""
    rows = {
        "test_accuracy": "test accuracy (%)",
        "test_loss": "test loss",
        "train_loss": "train loss",
    }
    figure, axes = board(3, len(study.batches), height=1.9)
    for column, batch in zip(axes.T, study.batches, strict=True):
        cells = [cell for cell in study.cells(batch) if cell.feeds_back]
        for ax, (series, title) in zip(column, rows.items(), strict=True):
            for cell in cells:
                label = look(study, cell.method)["label"]
                curves(ax, study, cell, series, label=f"{label}, at x")
                dotted: dict[str, Any] = {"linestyle": style.DOTTED, "marker": ""}
                if len(cells) == 1:  # several keep their own colours
                    dotted["color"] = style.VERMILION
                curves(ax, study, cell, f"virtual_{series}", label=f"{label}, at x - e", **dotted)
            if not cells:
                _write_in_middle(ax, "no method with a memory in this grid")
            count_epochs(ax)
            ax.set_ylabel(title)
        column[0].set_title(heading(study, batch), loc="left")
    return finish(figure, axes, study, f"e is given back to the parameters at x - e; {BAND}")


def gap(study: Study) -> Figure:
    """The difference to SGDm in points of final test accuracy, against the batch size."""
    figure, axes = board(1, 1, height=2.8)
    ax = axes[0, 0]
    if not any(study.cell(batch, "sgdm").results for batch in study.batches):
        _write_in_middle(ax, "no run of SGDm to compare with")
    any_published = False
    for method in study.methods:
        if method == "sgdm":
            continue
        line = look(study, method) | {"markevery": 1}
        batches, points, errors = _gaps(study, method)
        shift = 2 ** (0.06 * (study.methods.index(method) - 1.5))  # so that no bar hides another
        ax.errorbar([shift * batch for batch in batches], points, errors, capsize=2, **line)
        gaps = {b: paper.gap(study.model, study.data, b, method) for b in study.batches}
        published = {batch: points for batch, points in gaps.items() if points is not None}
        any_published |= bool(published)
        hollow = {"color": line["color"], "marker": line["marker"], "markerfacecolor": "none"}
        ax.plot(list(published), list(published.values()), linestyle="", markersize=6, **hollow)
    ax.axhline(0, color="0.6", linewidth=0.8, zorder=0)
    ax.set_xscale("log", base=2)
    ax.set_xlim(min(study.batches) / 1.4, max(study.batches) * 1.4)  # also where it stays empty
    ax.set_xticks(study.batches, [str(batch) for batch in study.batches], minor=False)
    ax.set(xlabel="batch size", ylabel="final accuracy minus SGDm's (points)")
    ax.set_title(heading(study))
    note = "bars: two standard errors, none for single runs"
    if any_published:
        note += "; open markers: the paper's, maxima over epochs of the mean of 3"
    return finish(figure, axes, study, note)


def _gaps(study: Study, method: str) -> tuple[list[int], list[float], list[float]]:
    """Batch sizes, mean differences to SGDm in points, twice their standard errors (or NaN)."""
    batches, differences, errors = [], [], []
    for batch in study.batches:
        finals, base = (study.cell(batch, m).finals() for m in (method, "sgdm"))
        if len(finals) and len(base):
            error = sum(v.var(ddof=1) / len(v) if len(v) > 1 else np.nan for v in (finals, base))
            batches.append(batch)
            differences.append(finals.mean() - base.mean())
            errors.append(2 * np.sqrt(error))
    return batches, differences, errors


def _all_positive(study: Study, series: str) -> bool:
    """Whether a series can be drawn on a logarithmic axis; NaN does not count."""
    cells = [cell for cell in study.cells() if cell.results]
    return all(bool((np.nan_to_num(cell.series(series), nan=1) > 0).all()) for cell in cells)


def _write_in_middle(axes: Axes, text: str) -> None:
    axes.text(
        0.5, 0.5, text, fontsize=7, color="0.4", transform=axes.transAxes, ha="center", va="center"
    )


def finish(figure: Figure, axes: Any, study: Study, note: str) -> Figure:
    """The legend of all panels, once a label, with the small print as its title."""
    entries: dict[str, Any] = {}
    for ax in axes.flat:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    spare = figure.axes[-1] if len(figure.axes) > axes.size else None
    texts = [for_matplotlib(f"{study.model} on {caption(study)}"), note]
    if lines := incomplete(study):
        texts.append(f"missing: {'; '.join(lines)}")
    legend: dict[str, Any] = {
        "title": "\n".join(_wrapped(texts, 60 if spare else 130)),
        "title_fontsize": 6,
        "alignment": "left",
    }
    labels, handles = list(entries), list(entries.values())
    if spare is None:
        figure.legend(handles, labels, loc="outside lower center", ncols=4, **legend)
    else:
        spare.axis("off")
        spare.legend(handles, labels, loc="center left", **legend)
    return figure


def _wrapped(texts: list[str], width: int) -> list[str]:
    import textwrap

    return [
        line.replace("\xa0", " ")
        for text in texts
        for line in textwrap.wrap(text.replace("n = ", "n\xa0=\xa0"), width)
    ]
