"""How the pictures look: sizes of a paper's column, and one colour, line and marker per method.

Colours are those of Okabe and Ito (2008), which colour-blind readers tell apart; line styles and
markers differ as well, so that a grey print stays legible. Nothing here touches pyplot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd.arrays import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"

COLUMN = 3.4  # inches: the width of one column of a two-column paper
PAGE = 7.0  # inches: both columns
PANEL = 2.4  # inches: the height of a panel

SOLID, DASHED, DASHDOT, DOTTED = "-", (0, (5, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (1, 1))
LONG, DASHDOTDOT = (0, (9, 2)), (0, (5, 1.5, 1, 1.5, 1, 1.5))

# colour, line, marker of every method that a picture names; EF itself is always solid
METHODS: dict[str, tuple[str, Any, str]] = {
    "SGD": (BLACK, DASHED, "o"),
    "signSGD": (VERMILION, DASHDOT, "^"),
    "scaled signSGD": (ORANGE, LONG, "s"),
    "signSGDm": (PURPLE, DOTTED, "D"),
    "signSGDm, undecayed": (SKY, DASHDOTDOT, "P"),
    "EF-signSGD": (BLUE, SOLID, "X"),
    "EF-top-1": (GREEN, SOLID, "p"),
    "compressed SGD": (VERMILION, DASHDOT, "d"),
    "EF": (BLUE, SOLID, "o"),
    "EF, corrected": (BLUE, DOTTED, "H"),
    "EF21": (GREEN, SOLID, "s"),
    "EF21+": (GREEN, DASHED, "P"),
    "EF21-SGDM": (ORANGE, LONG, "D"),
    "EControl": (PURPLE, DASHDOTDOT, "d"),
    "EF, momentum after": (SKY, DASHED, "*"),
    "gradient EF": (BLACK, DOTTED, "X"),
    "gradient EF, not rescaled": (VERMILION, SOLID, "v"),
}

RC: dict[Any, Any] = {
    "axes.grid": True,
    "axes.labelsize": 8,
    "axes.prop_cycle": f"cycler('color', {[BLACK, BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY]})",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 8,
    "figure.constrained_layout.use": True,
    "figure.titlesize": 9,
    "font.family": "DejaVu Sans",  # comes with matplotlib, so every machine draws the same
    "font.size": 8,
    "grid.alpha": 0.35,
    "grid.linewidth": 0.5,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.5,
    "pdf.fonttype": 42,  # text stays text
    "savefig.dpi": 200,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "efsgd",  # the same picture, the same bytes
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
}


@contextmanager
def drawing() -> Iterator[None]:
    """Draw with RC on matplotlib's defaults, whatever the user's own settings; restores them."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(RC)
        yield


def panels(rows: int = 1, columns: int = 1, *, height: float = PANEL) -> tuple[Figure, Array]:
    """A figure and its axes (rows, columns): a column wide for one panel a row, else a page."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(COLUMN if columns == 1 else PAGE, rows * height))
    axes: Array = figure.subplots(rows, columns, squeeze=False)
    return figure, axes


def line(label: str) -> dict[str, Any]:
    """The keyword arguments of Axes.plot for a method, its label among them.

    What follows a colon or a bracket does not count: "EF-signSGD (ternary)" looks as EF-signSGD.
    """
    name = label.partition(" (")[0].partition(":")[0]
    if name not in METHODS:
        raise ValueError(f"no style for {name!r}: add it to METHODS, known are {list(METHODS)}")
    colour, dashes, marker = METHODS[name]
    offset = 0.02 * list(METHODS).index(name)  # markers of curves that coincide stand side by side
    return {
        "label": label,
        "color": colour,
        "linestyle": dashes,
        "marker": marker,
        "markevery": (offset, 0.2),
    }


def spread(
    axes: Axes,
    step: Array,
    values: Array,
    label: str,
    *,
    band: float = 0.8,
    centre: Callable[..., Array] = np.mean,
    **look: Any,
) -> None:
    """Draw the mean over replicates of values (T, R) and the band that holds most of them.

    The band runs between quantiles, which also suit a logarithmic axis; none for one replicate or
    ``band=0``. ``centre`` is the mean or, with ``np.median``, the median. ``look`` overrides what
    :func:`line` says.
    """
    keywords = line(label) | look
    axes.plot(step, centre(values, axis=1), **keywords)
    if values.shape[1] > 1 and band:
        low, high = np.quantile(values, [(1 - band) / 2, (1 + band) / 2], axis=1)
        axes.fill_between(step, low, high, color=keywords["color"], alpha=0.2, linewidth=0)


def mark_quick(figure: Figure) -> None:
    """Write above a picture, in a strip of its own, that it is too quick to claim anything.

    Long logarithmic axes lose their small ticks, which take a fifth of the time to draw.
    """
    from matplotlib.ticker import NullLocator

    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            if axis.get_scale() == "log" and high >= 100 * low:  # two powers of ten keep a label
                axis.set_minor_locator(NullLocator())
    strip = 0.25 / figure.get_figheight()  # a quarter of an inch
    below = 1 - strip
    for title in [text for text in figure.texts if text.get_text() == figure.get_suptitle()]:
        font = {"fontsize": title.get_fontsize(), "fontweight": title.get_fontweight()}
        figure.suptitle(title.get_text(), y=below, **font)  # the layout would put it on top
        below -= strip
    engine: Any = figure.get_layout_engine()
    if engine is not None:
        engine.set(rect=(0, 0, 1, below))
    text = "quick: too few steps and replicates to claim anything"
    figure.text(0.5, 1 - strip / 2, text, size=9, weight="bold", color=VERMILION, ha="center")
