"""The picture, the table and the verdicts of a comparison on data of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd.arrays import Array
from efsgd.figures import style
from efsgd.figures.make import Results
from efsgd.figures.own_data.study import Choice, Study
from efsgd.figures.verdicts import Verdict, claim, observation
from efsgd.results import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SERIES = {  # in the order of the table
    "train_mse": "train loss",
    "train_loss": "train loss",
    "train_accuracy": "train accuracy",
    "test_mse": "test loss",
    "test_loss": "test loss",
    "test_accuracy": "test accuracy",
    "distance": "distance to the optimum",
    "span_distance": "distance to the gradient span",
}
LOSSES = ("train_mse", "train_loss", "test_mse", "test_loss")  # against steps and bytes
BLOWN_UP = 1e4  # times the first value: a curve ends there, or it would flatten all others
OTHERS = [  # for methods without a look in style.METHODS
    (style.GREEN, style.SOLID, "p"),
    (style.SKY, style.SOLID, "v"),
    (style.YELLOW, style.SOLID, "h"),
    (style.PURPLE, style.SOLID, "<"),
    (style.ORANGE, style.SOLID, ">"),
]


def certified(result: Result) -> bool:
    """Whether the optimum was found and its certificate holds."""
    return bool(result["error"] <= result["tolerance"])


def draw(study: Study, results: Results) -> Figure:
    """Losses against steps and bytes, and the distances that were recorded against steps."""
    runs = {label: results[label] for label in study.methods}
    panels = _panels(next(iter(runs.values())).arrays)
    looks, columns = _looks(list(runs)), min(3, len(panels))
    figure, axes = style.panels(-(-len(panels) // columns), columns, height=2.3)
    for ax, (x, series) in zip(axes.flat, panels, strict=False):
        for label, result in runs.items():
            _curve(ax, result, x, series, looks[label])
        _frame(ax, x, series)
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    figure.suptitle(study.title)
    handles = axes.flat[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=4)
    return figure


def _panels(arrays: dict[str, Array]) -> list[tuple[str, str]]:
    """What is drawn against what."""
    losses = [name for name in LOSSES if name in arrays]
    distances = [name for name in ("distance", "span_distance") if name in arrays]
    at_steps = [("step", name) for name in losses + distances[:1]]
    return at_steps + [("bytes", name) for name in losses] + [("step", n) for n in distances[1:]]


def _curve(ax: Any, result: Result, x: str, series: str, look: dict[str, Any]) -> None:
    """The median over replicates, and the range of them."""
    abscissa = result["step"] if x == "step" else result["bytes"][:, 0].mean(1)
    start_row = int(x == "bytes")  # nothing is sent before the first step, and the axis is log
    abscissa, values = abscissa[start_row:], result[series][start_row:, 0]
    start = float(np.median(result[series][0, 0]))
    ceiling = BLOWN_UP * start if start > 0 else BLOWN_UP
    values = np.where(values <= ceiling, values, np.nan)
    centre = np.median(values, axis=1)
    if np.isfinite(centre).sum() < 2:  # too short to space markers along it
        look = look | {"markevery": None}
    ax.plot(abscissa, centre, **look)
    if values.shape[1] > 1:
        low, high = values.min(1), values.max(1)
        ax.fill_between(abscissa, low, high, color=look["color"], alpha=0.2, linewidth=0)


def _frame(ax: Any, x: str, series: str) -> None:
    ax.set(xlabel="steps" if x == "step" else "bytes sent", ylabel=SERIES[series])
    drawn = any((line.get_ydata() > 0).any() for line in ax.lines)  # a log axis needs something
    if series == "span_distance":
        ax.set_yscale("symlog", linthresh=1e-6)
    elif drawn:
        ax.set_yscale("log")
    if x == "bytes" and drawn:
        ax.set_xscale("log")


def _looks(labels: list[str]) -> dict[str, dict[str, Any]]:
    """How each method is drawn; those without a look of their own in style.METHODS get OTHERS."""
    names = [label.partition(" (")[0] for label in labels]
    looks = {
        label: style.line(label)
        for label, name in zip(labels, names, strict=True)
        if name in style.METHODS and names.count(name) == 1
    }
    for i, label in enumerate(label for label in labels if label not in looks):
        colour, dashes, _ = OTHERS[i % len(OTHERS)]
        marker = OTHERS[(i + i // len(OTHERS)) % len(OTHERS)][2]
        looks[label] = {"label": label, "markevery": (0.01 + 0.02 * i, 0.2)}
        looks[label] |= {"color": colour, "linestyle": dashes, "marker": marker}
    return looks


def _final(result: Result) -> dict[str, float]:
    """The last values that the table has, medians over replicates."""
    return {s: float(np.median(result[s][-1, 0])) for s in SERIES if s in result.arrays}


def markdown(study: Study, chosen: dict[str, Choice], results: Results) -> str:
    """A table of the last values, one line a method."""
    finals = {label: _final(results[label]) for label in study.methods}
    series = list(next(iter(finals.values())))
    heads = ["method", "step size", "", *(SERIES[s] for s in series), "bytes a step"]
    lines = [f"# {study.title}", "", f"After {_after(study)}.", "", _line(heads)]
    lines.append(_line(["---"] * len(heads)))
    for label, final in finals.items():
        sent = float(results[label]["bytes"][-1, 0].mean()) / study.steps
        numbers = [_number(final[s]) for s in series]
        choice = chosen[label]
        lines.append(_line([label, f"{choice.lr:.3g}", choice.remark, *numbers, f"{sent:,.0f}"]))
    return "\n".join(lines) + "\n"


def _after(study: Study) -> str:
    batch = "all rows" if study.batch is None else f"{study.batch} rows"
    return f"{study.steps} steps of {batch} each; medians where there are several runs"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _number(value: float) -> str:
    return f"{value:.4g}" if np.isfinite(value) else "diverged"


def judge(study: Study, chosen: dict[str, Choice], results: Results) -> list[Verdict]:
    """What the methods reached, as observations, and the certificate of the optimum as a claim."""
    rows = []
    for label in study.methods:
        final = _final(results[label])
        text = f"{label}, lr = {chosen[label].lr:.3g} ({chosen[label].remark}), at the end"
        measured = ", ".join(f"{SERIES[s]} {_number(value)}" for s, value in final.items())
        rows.append(observation(text, "your data", measured))
    return rows + _certificate(results["certificate"])


def _certificate(result: Result) -> list[Verdict]:
    error, f, gap = (float(result[name]) for name in ("error", "f", "solver_gap"))
    measure, objective = "duality gap over f", "the mean logistic loss + l2/2 |w|^2"
    if result.spec["problem"]["type"].endswith("FileSquares"):
        measure = "residual of the normal equations, share outside the row span"
        objective = "half the mean squared error"
    if np.isnan(error):
        return [observation(f"no optimum is certified: {measure}", "derived here", "not converged")]
    tolerance = float(result["tolerance"])
    text = f"the optimum f = {f:.6g} (f is {objective}) is certified: {measure}"
    rows = [claim(text, "derived here", error, "<=", tolerance)]
    if not np.isnan(gap):
        text = "the same optimum: gap to the solver's dual value over 1 + f"
        rows.append(claim(text, "certified by cvxpy", gap, "<=", 1e-7))
    return rows
