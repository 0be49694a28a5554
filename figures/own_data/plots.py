"""The picture, the table and the verdicts of a comparison on data of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd.convex.data.file_problems import FileSquares
from efsgd.figures import terminal
from efsgd.figures.claims.verdicts import Verdict, claim, observation
from efsgd.figures.drawing import style
from efsgd.figures.make import Results
from efsgd.figures.own_data.series import (
    LOSSES,
    NAMES,
    Series,
    all_series,
    definition,
    definitions,
)
from efsgd.figures.own_data.study import Choice, Study
from efsgd.figures.texts import for_markdown, for_matplotlib
from efsgd.results import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLOWN_UP = 1e4  # times the first value: a curve ends there, or it would flatten all others
LINEAR = 1e-6  # up to here the axis of the distance to the span is linear, as it may be 0


def draw(study: Study, results: Results) -> Figure:
    """Losses against steps and bytes; f - f* and the distances that were recorded against steps."""
    runs = all_series(study.methods, results)
    panels = _panels(next(iter(runs.values())))
    named = style.labels({label: method for label, (_, method) in study.methods.items()})
    looks = _looks(list(dict.fromkeys(named.values())))
    columns = 2 if len(panels) == 4 else min(3, len(panels))
    figure, axes = style.panels(-(-len(panels) // columns), columns, height=2.3)
    for ax, (x, series) in zip(axes.flat, panels, strict=False):
        for label, shown in runs.items():
            _curve(ax, shown, x, series, looks[named[label]])
        _frame(ax, x, series, _sent(study))
    figure.suptitle(for_matplotlib(study.title))
    entries, spare = axes.flat[0].get_legend_handles_labels(), axes.flat[len(panels) :]
    for ax in spare:
        ax.axis("off")
    if len(spare):  # there is room for the legend, over two empty places if there are two
        legend = spare[0].legend(*entries, loc="center left", ncols=len(spare))
        legend.set_in_layout(len(spare) == 1)
    else:
        figure.legend(*entries, loc="outside lower center", ncols=3)
    return figure


def _panels(shown: Series) -> list[tuple[str, str]]:
    """What is drawn against what."""
    losses = [name for name in LOSSES if name in shown]
    beside = [name for name in ("above", "distance", "span_distance") if name in shown]
    at_steps = [("step", name) for name in losses + beside[:1]]
    return at_steps + [("bytes", name) for name in losses] + [("step", n) for n in beside[1:]]


def _curve(ax: Any, shown: Series, x: str, series: str, look: dict[str, Any]) -> None:
    """The median over replicates, and the range of them."""
    abscissa = shown["step"] if x == "step" else shown["bytes"][:, 0].mean(1)
    start_row = int(x == "bytes")  # nothing is sent before the first step, and the axis is log
    abscissa, values = abscissa[start_row:], shown[series][start_row:, 0]
    start = float(np.median(shown[series][0, 0]))
    ceiling = BLOWN_UP * start if start > 0 else BLOWN_UP
    values = np.where(values <= ceiling, values, np.nan)
    centre = np.median(values, axis=1)
    style.curve(ax, abscissa, centre, **look)
    if values.shape[1] > 1:
        style.band(ax, abscissa, values.min(1), values.max(1), look["color"])


def _sent(study: Study) -> str:
    """What the axis of bytes has."""
    return "bytes sent" if study.workers == 1 else "bytes that a worker sent"


def _frame(ax: Any, x: str, series: str, sent: str) -> None:
    ax.set(xlabel="steps" if x == "step" else sent, ylabel=NAMES[series])
    drawn = any((line.get_ydata() > 0).any() for line in ax.lines)  # a log axis needs something
    if x == "step":
        ax.locator_params(axis="x", integer=True)
    if series == "span_distance":
        ax.set_yscale("symlog", linthresh=LINEAR)
        ax.set_ylabel(f"{NAMES[series]}\n(linear up to $10^{{-6}}$)")
    elif drawn:
        ax.set_yscale("log")
    if x == "bytes" and drawn:
        ax.set_xscale("log")


def _looks(labels: list[str]) -> dict[str, dict[str, Any]]:
    """How each method is drawn; those without a look in style.METHODS get one of style.OTHERS."""
    names = [label.partition(" (")[0] for label in labels]
    looks = {
        label: style.line(label)
        for label, name in zip(labels, names, strict=True)
        if name in style.METHODS and names.count(name) == 1
    }
    others = [label for label in labels if label not in looks]
    looks |= {label: style.other(label, i) for i, label in enumerate(others)}
    return {label: looks[label] for label in labels}


def _finals(study: Study, results: Results) -> dict[str, dict[str, float]]:
    """The last values that the table has, medians over replicates, by label."""
    return {
        label: {s: float(np.median(shown[s][-1, 0])) for s in NAMES if s in shown}
        for label, shown in all_series(study.methods, results).items()
    }


def markdown(study: Study, chosen: dict[str, Choice], results: Results) -> str:
    """A table of the last values, one line a method."""
    heads, *rows = _table(study, chosen, results)
    lines = [f"# {for_markdown(study.title)}", "", _after(study, results), ""]
    lines += [_line(heads), _line(["---"] * len(heads)), *map(_line, rows)]
    return "\n".join(lines) + "\n"


def plain(study: Study, chosen: dict[str, Choice], results: Results) -> str:
    """The same for the terminal."""
    heads, *rows = _table(study, chosen, results)
    return f"{study.title}\n{_after(study, results)}\n\n{terminal.table(heads, rows)}"


def _table(study: Study, chosen: dict[str, Choice], results: Results) -> list[list[str]]:
    """The heads, and the cells of each method."""
    finals = _finals(study, results)
    series = list(next(iter(finals.values())))
    unit = "bytes a step" if study.workers == 1 else "bytes a worker and step"
    rows = [["method", "step size", "", *(NAMES[s] for s in series), unit]]
    for label, final in finals.items():
        of_run = all_series([label], results)[label]["bytes"]
        sent = float(of_run[-1, 0].mean()) / study.steps
        numbers = [_number(final[s]) for s in series]
        choice = chosen[label]
        rows.append([label, f"{choice.lr:.3g}", choice.remark, *numbers, f"{sent:,.0f}"])
    return rows


def _after(study: Study, results: Results) -> str:
    """What the numbers of the table are, in two sentences."""
    batch = "all rows" if study.batch is None else f"{study.batch} rows"
    batch += "" if study.batch is None or study.workers == 1 else " of each worker"
    shown = next(iter(all_series(study.methods, results).values()))
    return (
        f"After {study.steps} steps of {batch} each; medians where there are several runs. "
        f"Here {definitions(study.problem, shown, results.get('certificate'))}."
    )


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(map(for_markdown, cells)) + " |"


def _number(value: float) -> str:
    return f"{value:.4g}" if np.isfinite(value) else "diverged"


def judge(study: Study, chosen: dict[str, Choice], results: Results) -> list[Verdict]:
    """What the methods reached, as observations, and the certificate of the optimum as a claim."""
    rows = []
    for label, final in _finals(study, results).items():
        text = f"{label}, lr = {chosen[label].lr:.3g} ({chosen[label].remark}), at the end"
        measured = ", ".join(f"{NAMES[s]} {_number(value)}" for s, value in final.items())
        rows.append(observation(text, "your data", measured))
    return rows + _certificate(study, results["certificate"])


def _certificate(study: Study, result: Result) -> list[Verdict]:
    error, f, gap = (float(result[name]) for name in ("error", "f", "solver_gap"))
    if np.isnan(error):
        return [observation("no optimum is certified", "derived here", "not found")]
    named = f"f = {f:.6g} (f is {definition(study.problem)})"
    text = f"the optimum {named} is certified" if result["proven"] else named
    text += _checked(study, result)
    rows = [claim(text, "derived here", error, "<=", float(result["tolerance"]))]
    if not np.isnan(gap):
        text = "the same optimum: gap to the solver's dual value over f(0)"
        rows.append(claim(text, "certified by cvxpy", gap, "<=", 1e-7))
    return rows


def _checked(study: Study, result: Result) -> str:
    """What else is known of the f of a certificate, and by which numbers: what was checked."""
    if not isinstance(study.problem, FileSquares):
        return ": duality gap over f"
    stationary = "|a_j'r|/(|a_j||y|) of each column, share outside the row span"
    value = "error of f"
    if result["interpolates"]:
        value += " over f(0), as f is 0 up to the rounding of y"
    if not result["proven"]:
        return f" solves the normal equations, no optimum is certified: {stationary}, {value} at w"
    count = int(result["dependent"])
    if not result["exact"]:
        return (
            f", but not its w, as {count} columns depend on others up to rounding only: "
            f"{stationary}, {value}"
        )
    dependent = f", {count} columns depending on others" if count else ""
    return f"{dependent}: {stationary}, error of w, {value}"
