"""How the pictures look: sizes of a paper's column, and one colour, line and marker per method.

Colours are those of Okabe and Ito (2008), which colour-blind readers tell apart; line styles and
markers differ as well, so that a grey print stays legible. Nothing here touches pyplot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd import EFSGD, CompressedSGD, Method, ScaledSign, Sign, SignSGD, Signum
from efsgd.arrays import Array
from efsgd.figures.drawing.plain_matplotlib import import_without_settings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GREY, BROWN = "#7F7F7F", "#6B3D00"
THREE = (ORANGE, BLUE, BLACK)  # of curves that differ in a number: far apart in a grey print too

COLUMN = 3.4  # inches: the width of one column of a two-column paper
PAGE = 7.0  # inches: both columns
PANEL = 2.4  # inches: the height of a panel

SOLID, DASHED, DASHDOT, DOTTED = "-", (0, (5, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (1, 1))
LONG, SHORT, DASHDOTDOT = (0, (9, 2)), (0, (2.5, 1)), (0, (5, 1.5, 1, 1.5, 1, 1.5))

# colour, line, marker of every method that a picture names; EF itself is always solid
METHODS: dict[str, tuple[str, Any, str]] = {
    "SGD": (BLACK, DASHED, "o"),
    "signSGD": (VERMILION, DASHDOT, "^"),
    "scaled signSGD": (ORANGE, LONG, "s"),
    "signSGDm": (PURPLE, DOTTED, "D"),
    "signSGDm, undecayed": (SKY, DASHDOTDOT, "P"),
    "EF-signSGD": (BLUE, SOLID, "X"),
    "EF-top-1": (GREEN, SHORT, "p"),
    "compressed SGD": (VERMILION, DASHDOT, "d"),
    "EF": (BLUE, SOLID, "o"),
    "EF, corrected": (SKY, DOTTED, "H"),
    "EF21": (ORANGE, SHORT, "D"),
    "EF21+": (BROWN, DASHED, "P"),
    "EF21-SGDM": (PURPLE, LONG, "h"),
    "EControl": (GREY, DASHDOTDOT, "d"),
    "EF, momentum after": (GREEN, DASHED, "*"),
    "gradient EF": (BLACK, DOTTED, "X"),
    "gradient EF, not rescaled": (VERMILION, SOLID, "v"),
    "DIANA": (GREEN, DASHDOT, "<"),
    "MARINA": (BROWN, SHORT, ">"),
    "DASHA": (SKY, LONG, "v"),
    "majority vote": (VERMILION, DOTTED, "s"),
}
# of methods that the list above does not name, in their order
OTHERS: tuple[tuple[str, Any, str], ...] = (
    (GREEN, SOLID, "p"),
    (BROWN, DASHED, "v"),
    (SKY, LONG, "<"),
    (VERMILION, SHORT, "h"),
    (PURPLE, DASHDOT, ">"),
    (GREY, DASHDOTDOT, "*"),
)

SENDING_SIGNS = (EFSGD, CompressedSGD, SignSGD, Signum)  # with Sign or ScaledSign

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
    "legend.handlelength": 2.6,
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
    import_without_settings()
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
    return _keywords(label, METHODS[name], list(METHODS).index(name))


def other(label: str, i: int) -> dict[str, Any]:
    """The same for method i of those without a look in METHODS, i = 0, 1, ..

    Colours and lines come back after len(OTHERS) methods, then with other markers.
    """
    colour, dashes, _ = OTHERS[i % len(OTHERS)]
    marker = OTHERS[(i + i // len(OTHERS)) % len(OTHERS)][2]
    return _keywords(label, (colour, dashes, marker), i)


def _keywords(label: str, look: tuple[str, Any, str], i: int) -> dict[str, Any]:
    """Of the plot of method i: markers of curves that coincide stand side by side."""
    colour, dashes, marker = look
    return {
        "label": label,
        "color": colour,
        "linestyle": dashes,
        "marker": marker,
        "markevery": (0.02 * i % 0.2, 0.2),
    }


def sign_label(method: Method) -> str:
    """What every picture calls a sign method: scaled or not, one bit a sign or ternary.

    "signSGD" sends sign(g), "scaled signSGD" sends |g|_1/d sign(g), "signSGDm" the sign of the
    momentum, "EF-signSGD" the scaled sign with feedback. "one bit" has sign(0) = +1, "ternary"
    sign(0) = 0. ValueError for any other method.

    >>> sign_label(EFSGD(ScaledSign(zero=0)))
    'EF-signSGD (ternary)'
    """
    signs = method.compresses
    if type(method) not in SENDING_SIGNS or not isinstance(signs, Sign | ScaledSign):
        raise ValueError(f"{method} is none of the sign methods: name it by its compressor")
    kind = "one bit" if signs.zero else "ternary"
    if isinstance(method, EFSGD):
        momentum = f", momentum {method.momentum:g}" if method.momentum else ""
        return f"EF-signSGD ({kind}{momentum})"
    if method.momentum:
        name = "signSGDm, undecayed" if method.form == "undecayed" else "signSGDm"
    else:
        name = "scaled signSGD" if isinstance(signs, ScaledSign) else "signSGD"
    return f"{name} ({kind})"


def labels(methods: Mapping[str, Method]) -> dict[str, str]:
    """What pictures call methods: sign methods by :func:`sign_label`, others by their names."""
    return {
        name: sign_label(method) if type(method) in SENDING_SIGNS and _signs(method) else name
        for name, method in methods.items()
    }


def _signs(method: Method) -> bool:
    return isinstance(method.compresses, Sign | ScaledSign)


def curve(axes: Axes, x: Array, y: Array, **look: Any) -> None:
    """Draw y (T,) against x (T,). A point without a finite neighbour has no line: it is marked."""
    finite = np.isfinite(x) & np.isfinite(y)
    if finite.sum() <= 1:
        look |= {"markevery": 1, "marker": look.get("marker") or "."}
    axes.plot(x, y, **look)


def band(axes: Axes, x: Array, low: Array, high: Array, colour: str) -> None:
    """Fill between low and high, (T,) each; a lone point has no area and gets a bar instead."""
    finite = np.isfinite(low) & np.isfinite(high)
    if finite.sum() <= 1:
        axes.vlines(x[finite], low[finite], high[finite], color=colour, alpha=0.5, linewidth=2)
        return
    fill, edge = (colour, 0.18), (colour, 0.5)  # with an edge, as bands may overlap
    axes.fill_between(x, low, high, facecolor=fill, edgecolor=edge, linewidth=0.4)


def spread(
    axes: Axes,
    step: Array,
    values: Array,
    label: str,
    *,
    share: float = 0.8,
    centre: Callable[..., Array] = np.mean,
    **look: Any,
) -> None:
    """Draw the mean over replicates of values (T, R) and the band that holds most of them.

    The band runs between quantiles, which also suit a logarithmic axis; none for one replicate or
    ``share=0``. ``centre`` is the mean or, with ``np.median``, the median. ``look`` overrides what
    :func:`line` says.
    """
    keywords = line(label) | look
    curve(axes, step, centre(values, axis=1), **keywords)
    if values.shape[1] > 1 and share:
        low, high = np.quantile(values, [(1 - share) / 2, (1 + share) / 2], axis=1)
        band(axes, step, low, high, keywords["color"])


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
