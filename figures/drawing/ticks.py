"""The ticks of logarithmic axes: plain numbers where few powers of ten are in view.

matplotlib writes such axes as "6 x 10^-1", which is hard to read and runs into its neighbours.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

FEW = 2.2  # powers of ten; an axis of more has its ticks at them alone
LEAST, MOST = 1e-4, 1e5  # numbers between them are written without a power of ten
FEWEST = 3  # ticks; an axis with fewer of 1, 2, 5 in view is so short that it takes even steps


def tidy(figure: Figure) -> None:
    """Choose the ticks of every logarithmic axis of a finished figure.

    Ticks that the figure has set itself stay. Call it once the limits are final.
    """
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if axis.get_scale() == "log":
                _tidy_log(axis)
            elif axis.get_scale() == "symlog":
                _tidy_symlog(axis)


def _tidy_log(axis: Axis) -> None:
    """1, 2 and 5 times powers of ten as plain numbers, on a shorter axis even steps."""
    from matplotlib.ticker import AutoLocator, FixedLocator, LogLocator, NullFormatter, NullLocator

    low, high = sorted(axis.get_view_interval())
    if isinstance(axis.get_major_locator(), FixedLocator) or not low > 0:
        return
    axis.set_minor_formatter(NullFormatter())
    if math.log10(high / low) > FEW:
        return
    axis.set_major_formatter(_plain)
    locator = LogLocator(subs=(1.0, 2.0, 5.0))
    if sum(low <= tick <= high for tick in locator.tick_values(low, high)) >= FEWEST:
        axis.set_major_locator(locator)
    else:
        axis.set_major_locator(AutoLocator())
        axis.set_minor_locator(NullLocator())


def _tidy_symlog(axis: Axis) -> None:
    """Small ticks at 2 to 9 times powers of ten show where the axis is logarithmic."""
    from matplotlib.ticker import SymmetricalLogLocator

    transform: Any = axis.get_transform()
    subs = range(2, 10)
    axis.set_minor_locator(SymmetricalLogLocator(transform=transform, subs=subs))
    if transform.linthresh >= LEAST:
        axis.set_major_formatter(_plain)


def _plain(value: float, position: float) -> str:
    if value == 0 or LEAST <= abs(value) < MOST:
        return f"{value:g}"
    exponent = math.floor(math.log10(abs(value)))
    return f"${value / 10.0**exponent:g}\\times10^{{{exponent}}}$"
