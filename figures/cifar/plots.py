"""The pictures of the deep experiments, drawn from saved histories; nothing is run here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd.figures import style
from efsgd.figures.cifar import paper
from efsgd.figures.cifar.captions import caption, incomplete
from efsgd.figures.cifar.presets import PREFIX
from efsgd.figures.cifar.study import Cell, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

AS = {  # the method of the other pictures whose colour, line and marker each has
    "sgdm": "SGD",
    "signsgd": "scaled signSGD",
    "signsgdm": "signSGDm",
    "ef-signsgd": "EF-signSGD",
}
OTHERS = (style.GREEN, style.SKY, style.VERMILION, style.PURPLE, style.YELLOW)
BAND = "lines: mean over seeds, bands from the least to the greatest"


def look(study: Study, method: str) -> dict[str, Any]:
    """Colour, line and marker of a method, and a label that counts the runs that are missing."""
    cells = [cell for cell in study.cells() if cell.method == method]
    there, wanted = (sum(map(len, runs)) for runs in zip(*_runs(cells), strict=True))
    told = f"{cells[0].label}: {there} of {wanted} runs" if there < wanted else cells[0].label
    diverged = sum(cell.diverged for cell in cells)
    if diverged:
        told += f" ({diverged} diverged)"
    known = style.line(AS.get(method, "EF-top-1"))
    if method.startswith(PREFIX):
        others = [name for name in study.methods if name.startswith(PREFIX)]
        known["color"] = OTHERS[others.index(method) % len(OTHERS)]
    return known | {"label": told}


def _runs(cells: list[Cell]) -> list[tuple[Any, Any]]:
    return [(cell.results, cell.wanted) for cell in cells]


def curves(axes: Axes, study: Study, cell: Cell, series: str, **changes: Any) -> None:
    """One series of a method against the epochs that have it; nothing where no run is there."""
    style_of = look(study, cell.method) | changes
    epoch, values = cell.curve(series) if cell.results else (np.zeros(0), np.zeros((0, 0)))
    drawn = np.isfinite(values.sum(axis=1)).sum()
    if not drawn:
        axes.plot([], [], **style_of)  # only the entry of the legend
        return
    if drawn == 1:  # no line, so its marker must show
        style_of |= {"markevery": 1, "marker": style_of["marker"] or "."}
    axes.plot(epoch, values.mean(axis=1), **style_of)
    if values.shape[1] > 1:
        ends = values.min(axis=1), values.max(axis=1)
        axes.fill_between(epoch, *ends, color=style_of["color"], alpha=0.2, linewidth=0)


def board(rows: int, columns: int, height: float) -> tuple[Figure, Any]:
    """A figure, a page wide, and its axes (rows, columns).

    A single column lies on its side, and a single panel has an empty one beside it for the legend.
    """
    if columns > 1:
        return style.panels(rows, columns, height=height)
    figure, axes = style.panels(1, max(rows, 2), height=max(height, 2.6))
    return figure, axes[:, :rows].T


def plain(text: str) -> str:
    """The text as it is: a name with dollars is no formula."""
    return text.replace("$", "\\$")


def heading(study: Study, batch: int | None = None) -> str:
    """The title of a panel, in lines that are no wider than it."""
    if batch is None:
        return plain("\n".join(_wrapped([study.title], 48)))
    width, text = 96 // max(2, len(study.batches)), f"{study.title}, batch {batch}"
    if len(text) > width:  # broken lines are shorter: who knows how wide their letters are
        text = "\n".join([*_wrapped([study.title], width // 2), f"batch {batch}"])
    return plain(text)


def accuracy(study: Study) -> Figure:
    """Test accuracy and train loss against epochs, one column a batch size."""
    rows = {"test_accuracy": "test accuracy (%)", "train_loss": "train loss"}
    figure, axes = board(2, len(study.batches), height=2.2)
    for column, batch in zip(axes.T, study.batches, strict=True):
        for ax, (series, title) in zip(column, rows.items(), strict=True):
            for cell in study.cells(batch):
                curves(ax, study, cell, series)
            ax.set(xlabel="epoch", ylabel=title)
            ax.locator_params(axis="x", integer=True)
        column[0].set_title(heading(study, batch), loc="left")
        if all((np.nan_to_num(c.series("train_loss"), nan=1) > 0).all() for c in _there(study)):
            column[1].set_yscale("log")
    return finish(figure, axes, study, BAND)


def density(study: Study) -> Figure:
    """phi(g) and phi(g + e) over the epochs of the methods with a memory."""
    figure, axes = board(1, len(study.batches), height=2.6)
    for ax, batch in zip(axes[0], study.batches, strict=True):
        cells = [cell for cell in study.cells(batch) if cell.feeds_back]
        for cell in cells:
            named = look(study, cell.method)["label"]
            curves(ax, study, cell, "phi_p", label=f"{named}, $\\phi(g+e)$")
            dashed = {"linestyle": style.DOTTED, "marker": ""}
            curves(ax, study, cell, "phi_g", label=f"{named}, $\\phi(g)$", **dashed)
        if not cells:
            _say(ax, "no method with a memory in this grid")
        ax.set(xlabel="epoch", ylabel="density $\\phi$", title=heading(study, batch))
        ax.set_ylim(bottom=0)
        ax.locator_params(axis="x", integer=True)
    return finish(figure, axes, study, f"mean over the steps of an epoch; {BAND}")


def memory_back(study: Study) -> Figure:
    """Test accuracy, test loss and train loss at x and at x - e, the virtual iterate."""
    rows = {"test_accuracy": "test accuracy (%)", "test_loss": "test loss"}
    rows["train_loss"] = "train loss"
    figure, axes = board(3, len(study.batches), height=1.9)
    for column, batch in zip(axes.T, study.batches, strict=True):
        cells = [cell for cell in study.cells(batch) if cell.feeds_back]
        for ax, (series, title) in zip(column, rows.items(), strict=True):
            for cell in cells:
                named = look(study, cell.method)["label"]
                curves(ax, study, cell, series, label=f"{named}, at x")
                back: dict[str, Any] = {"linestyle": style.DOTTED, "marker": ""}
                back |= {"color": style.VERMILION} if len(cells) == 1 else {}  # of several its own
                curves(ax, study, cell, f"virtual_{series}", label=f"{named}, at x - e", **back)
            if not cells:
                _say(ax, "no method with a memory in this grid")
            ax.set(xlabel="epoch", ylabel=title)
            ax.locator_params(axis="x", integer=True)
        column[0].set_title(heading(study, batch), loc="left")
    return finish(figure, axes, study, f"e is given back to the parameters at x - e; {BAND}")


def gap(study: Study) -> Figure:
    """The difference to SGDm in points of final test accuracy, against the batch size."""
    figure, axes = board(1, 1, height=2.8)
    ax = axes[0, 0]
    if not any(study.cell(batch, "sgdm").results for batch in study.batches):
        _say(ax, "no run of SGDm to compare with")
    published = False
    for method in study.methods:
        if method == "sgdm":
            continue
        shown = look(study, method) | {"markevery": 1}
        places, points, errors = _gaps(study, method)
        aside = 2 ** (0.06 * (study.methods.index(method) - 1.5))  # so that no bar hides another
        ax.errorbar([aside * place for place in places], points, errors, capsize=2, **shown)
        known = [(b, paper.gap(study.model, study.data, b, method)) for b in study.batches]
        theirs = [(batch, points) for batch, points in known if points is not None]
        published |= bool(theirs)
        hollow = {"color": shown["color"], "marker": shown["marker"], "markerfacecolor": "none"}
        ax.plot(*_columns(theirs), linestyle="", markersize=6, **hollow)
    ax.axhline(0, color="0.6", linewidth=0.8, zorder=0)
    ax.set_xscale("log", base=2)
    ax.set_xlim(min(study.batches) / 1.4, max(study.batches) * 1.4)  # also where it stays empty
    ax.set_xticks(study.batches, [str(batch) for batch in study.batches], minor=False)
    ax.set(xlabel="batch size", ylabel="final accuracy minus SGDm's (points)")
    ax.set_title(heading(study))
    note = "bars: two standard errors, none for single runs"
    if published:
        note += "; open markers: the paper's, maxima over epochs of the mean of 3"
    return finish(figure, axes, study, note)


def _gaps(study: Study, method: str) -> tuple[Any, Any, Any]:
    """Batch sizes, mean differences to SGDm in points, twice their standard errors (or NaN)."""
    found = []
    for batch in study.batches:
        own, base = (study.cell(batch, m).finals() for m in (method, "sgdm"))
        if len(own) and len(base):
            error = sum(v.var(ddof=1) / len(v) if len(v) > 1 else np.nan for v in (own, base))
            found.append((batch, own.mean() - base.mean(), 2 * np.sqrt(error)))
    columns = _columns(found, 3)
    return columns[0], columns[1], columns[2]


def _columns(rows: list[tuple[Any, ...]], count: int = 2) -> list[list[Any]]:
    return [[row[i] for row in rows] for i in range(count)]


def _there(study: Study) -> list[Cell]:
    return [cell for cell in study.cells() if cell.results]


def _say(axes: Axes, text: str) -> None:
    place: dict[str, Any] = {"transform": axes.transAxes, "ha": "center", "va": "center"}
    axes.text(0.5, 0.5, text, fontsize=7, color="0.4", **place)


def finish(figure: Figure, axes: Any, study: Study, note: str) -> Figure:
    """The legend of all panels, once a label, with the small print as its title."""
    entries: dict[str, Any] = {}
    for ax in axes.flat:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    spare = figure.axes[-1] if len(figure.axes) > axes.size else None
    texts = [plain(f"{study.model} on {caption(study)}"), note, *_lacking(study)]
    look_of: dict[str, Any] = {"title_fontsize": 6, "alignment": "left"}
    look_of["title"] = "\n".join(_wrapped(texts, 60 if spare else 130))
    content = list(entries.values()), list(entries)
    if spare is None:
        figure.legend(*content, loc="outside lower center", ncols=4, **look_of)
    else:
        spare.axis("off")
        spare.legend(*content, loc="center left", **look_of)
    return figure


def _lacking(study: Study) -> list[str]:
    lines = incomplete(study)
    return [f"missing: {'; '.join(lines)}"] if lines else []


def _wrapped(texts: list[str], width: int) -> list[str]:
    import textwrap

    return [
        line.replace("\xa0", " ")
        for text in texts
        for line in textwrap.wrap(text.replace("n = ", "n\xa0=\xa0"), width)
    ]
