"""When compression pays: the first of six methods over the number of workers and their link.

The times are those of the model :mod:`efsgd.cost`, whose methods, bytes and work are the measured
ones of :mod:`efsgd.cost.measured`; the machine is assumed. A method may need more steps than plain
SGD: the second row counts them in runs on least squares, of which deep networks may know nothing.
The numbers at the lines, times as fast as plain SGD, are in the first row also the most of more
steps that a method may need.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd.arrays import Array
from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results
from efsgd.figures.workers.when_to_compress_claims import verdicts
from efsgd.figures.workers.when_to_compress_work import (
    A_STEP,
    LOCAL,
    NAMES,
    NS,
    PLAIN,
    RATES,
    SHARE,
    TO_A_LOSS,
    schemes,
    work,
)
from efsgd.results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PICTURE", "draw", "verdicts", "work"]

TITLES = {A_STEP: "if all need the same steps", TO_A_LOSS: f"to {SHARE:.0%} of the first gap"}
ENTRYWISE = (0, 1, 2, 3)  # of NAMES: they ask nothing of the model, and no other schedule
SHOWN_RATE = 1e8  # of the curves
CONTOURS = (2, 5, 10, 30, 100, 200)
LOOKS: dict[str, tuple[str, Any, str]] = {
    PLAIN: style.METHODS["SGD"],
    "signs, gathered": (style.VERMILION, style.DASHDOT, "^"),
    "signs, in two phases": (style.BLUE, style.SOLID, "o"),
    "top 1 %, gathered": (style.GREEN, style.SHORT, "p"),
    "PowerSGD, rank 1": (style.ORANGE, style.LONG, "s"),
    LOCAL: (style.PURPLE, style.DOTTED, "D"),
}
SHADES = (0.25, 0.6, 0.45, 0.5, 0.4, 0.3)  # of the regions, in the order of NAMES


def draw(results: Results) -> Figure:
    """For each map who is first of all and of four, by how much, and all over n at one rate."""
    maps = {name: results[name] for name in TITLES if name in results}
    figure, axes = style.panels(len(maps), 3, height=3.1)
    for row, (name, result) in zip(axes, maps.items(), strict=True):
        _draw_map(row[0], result, range(len(NAMES)))
        _draw_map(row[1], result, ENTRYWISE)
        _draw_curves(row[2], result)
        row[0].set_title(f"first of six, {TITLES[name]}")
        row[1].set_title("first of plain SGD, signs and top 1 %")
        row[2].set_title("all six at 100 Mbit/s")
    figure.suptitle(_assumed(results[A_STEP]), fontsize=8)
    handles, names = axes[0, 2].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4)
    return figure


def _assumed(result: Result) -> str:
    """The numbers of the map that are the same in all of it."""
    spec = result.spec
    compute, copying = spec["machine"]["compute"], spec["machine"]["copying"]
    return (
        f"ResNet18, b = {spec['size'] / 1e6:g} MB; assumed: a gradient in {1e3 * compute:g} ms, "
        f"memory copied at {copying / 1e12:g} TB/s, latency {1e6 * spec['latency']:g} $\\mu$s"
    )


def _draw_map(ax: Axes, result: Result, among: Sequence[int]) -> None:
    """Regions of the first method, and lines of how many times as fast as plain SGD it is."""
    from matplotlib.colors import ListedColormap, to_rgb

    seconds = result["seconds"][list(among)]
    first = seconds.argmin(axis=0)
    looks = [(np.array(to_rgb(LOOKS[NAMES[i]][0])), SHADES[i]) for i in among]
    colours = ListedColormap([tuple(1 - shade * (1 - colour)) for colour, shade in looks])
    n, rate = np.array(NS), np.array(RATES)
    look: dict[str, Any] = {"vmin": -0.5, "vmax": len(among) - 0.5, "rasterized": True}
    ax.pcolormesh(n, rate, first.T, cmap=colours, shading="nearest", **look)
    _draw_contours(ax, seconds[0] / seconds.min(axis=0))
    for i in np.unique(first):
        _name_region(ax, NAMES[among[i]], first == i)
    ax.set(xscale="log", yscale="log", xlim=(1, n[-1]), ylim=(rate[0], rate[-1]))
    ax.set(xlabel="workers n", ylabel="link, bits per second")
    ax.set_yticks(10.0 ** np.arange(7, 12), ["10 M", "100 M", "1 G", "10 G", "100 G"])
    ax.minorticks_off()
    ax.grid(False)


def _draw_contours(ax: Axes, times: Array) -> None:
    """Lines over n >= 2, each with its number where it has most workers."""
    several, rate = np.array(NS[1:]), np.array(RATES)
    ax.contour(several, rate, times[1:].T, levels=CONTOURS, colors="0.15", linewidths=0.8)
    for level in CONTOURS:
        reached = np.flatnonzero((times[1:] >= level).any(axis=1))
        if reached.size:
            last = int(reached[int(0.9 * (reached.size - 1))])
            highest = int(np.flatnonzero(times[1 + last] >= level)[-1])
            side = "right" if last > len(NS) // 4 else "left"
            text: dict[str, Any] = {"fontsize": 6.5, "ha": side, "va": "bottom", "color": "0.15"}
            ax.text(several[last], 1.05 * rate[highest], f"{level:g} x", **text)


def _name_region(ax: Axes, name: str, inside: Array) -> None:
    """Write the name into the region's widest rows, if they are wide enough."""
    widths = inside.sum(axis=0)
    row = int(np.median(np.flatnonzero(widths == widths.max())))
    columns = np.flatnonzero(inside[:, row])
    if columns.size >= len(NS) // 5:
        place = NS[int(np.quantile(columns, 0.35))]  # to the left of the numbers of the lines
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.8}
        ax.text(place, RATES[row], name, fontsize=6.5, ha="center", va="center", bbox=box)


def _draw_curves(ax: Axes, result: Result) -> None:
    """How many times as fast as plain SGD each method is, over n."""
    column = int(np.argmin(abs(np.array(RATES) - SHOWN_RATE)))
    seconds, n = result["seconds"][:, 1:, column], np.array(NS[1:])
    for i, name in enumerate(NAMES):
        colour, dashes, marker = LOOKS[name]
        look: dict[str, Any] = {"color": colour, "linestyle": dashes, "marker": marker}
        ax.plot(n, seconds[0] / seconds[i], label=name, markevery=(2 * i, 18), **look)
        scheme = schemes()[name]
        if scheme.exchange == "gather":
            factor = float(result["factor"][i]) if "factor" in result.arrays else 1.0
            as_fast = 2 / (scheme.share * factor)
            ax.axvline(as_fast, color=colour, linewidth=0.8, linestyle=style.DOTTED)
    label = "gathered as fast as plain: $2\\,b/b_c$"
    ax.plot([], [], color="0.3", linewidth=0.8, linestyle=style.DOTTED, label=label)
    ax.set(xscale="log", yscale="log", xlabel="workers n", ylim=(0.03, 400))
    ax.set(ylabel="times as fast as plain SGD")
    ax.minorticks_off()


PICTURE = Picture(
    "when-to-compress",
    "When should I compress? The first of six methods over workers and link",
    work,
    draw,
    verdicts,
)
