"""How the methods of the worst cases look in every picture, and what the pictures share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd.arrays import Array
from efsgd.figures import style
from efsgd.results import Result

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matplotlib.axes import Axes

    from efsgd.convex.lyapunov.one_step import Name

METHODS: tuple[Name, ...] = ("gd", "cgd", "ef", "ef21")
NAMES = {"gd": "GD, no compression", "cgd": "CGD, no feedback", "ef": "EF", "ef21": "EF21"}
LOOKS: dict[str, tuple[str, Any, str]] = {  # colour, line, marker
    "gd": (style.BLACK, style.DASHED, "o"),
    "cgd": (style.ORANGE, style.LONG, "s"),
    "ef": (style.BLUE, style.SOLID, "X"),
    "ef21": (style.GREEN, style.DOTTED, "D"),
}


def worse(least: float, values: Array) -> float:
    """The largest of all; NaN if one is, so that no claim passes on it."""
    return float(np.max([least, *np.ravel(values)]))


def solver_error(results: Iterable[Result]) -> float:
    """What may be off of any worst case, relative to it, or to 1e-2 where it is smaller."""
    return worse(0, np.concatenate([r["error"] / np.maximum(r["value"], 1e-2) for r in results]))


def plain_ticks(ax: Axes) -> None:
    """Label 1, 2 and 5 times powers of ten on a logarithmic y axis, as plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
