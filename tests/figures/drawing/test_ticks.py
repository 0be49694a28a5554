"""The ticks of logarithmic axes.

Without this file a short axis would be labelled "6 x 10^-1", "7 x 10^-1", one upon the other.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from efsgd.figures.drawing import style, ticks


def axis(low: float, high: float, scale: str = "log", **changes: Any) -> Any:
    """The y axis of a tidy figure with these limits."""
    with style.drawing():
        figure, axes = style.panels()
        axes[0, 0].set_yscale(scale, **changes)
        axes[0, 0].set_ylim(low, high)
        ticks.tidy(figure)
        figure.draw_without_rendering()
    return axes[0, 0].yaxis


def labels(y: Any) -> list[str]:
    low, high = y.get_view_interval()
    major = zip(y.get_majorticklocs(), y.get_majorticklabels(), strict=True)
    assert not any(text.get_text() for text in y.get_minorticklabels())
    return [text.get_text() for at, text in major if low <= at <= high]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.9, 2.1, ["1", "1.2", "1.4", "1.6", "1.8", "2"]),  # two of 1, 2, 5: even steps
        (0.3, 7.0, ["0.5", "1", "2", "5"]),
        (0.02, 2.0, ["0.02", "0.05", "0.1", "0.2", "0.5", "1", "2"]),
        (26000.0, 29000.0, ["26000", "26500", "27000", "27500", "28000", "28500", "29000"]),
        (9e5, 6e6, [f"${i}\\times10^{{6}}$" for i in (1, 2, 5)]),
        (3e-7, 2.5e-6, ["$5\\times10^{-7}$", "$1\\times10^{-6}$", "$2\\times10^{-6}$"]),
    ],
)
def test_a_short_axis_has_plain_numbers(low: float, high: float, expected: list[str]) -> None:
    assert labels(axis(low, high)) == expected


def test_a_long_axis_has_powers_of_ten() -> None:
    assert labels(axis(0.5, 2000)) == [f"$\\mathdefault{{10^{{{k}}}}}$" for k in range(4)]


@pytest.mark.parametrize("high", [1.3, 2.0, 4.0, 9.0, 30.0, 100.0, 1e3, 1e8])
def test_labels_do_not_overlap(high: float) -> None:
    boxes = [text.get_window_extent() for text in axis(1.0, high).get_majorticklabels()]
    boxes = [box for box in boxes if box.height]
    assert len(boxes) >= 2
    assert all(lower.y1 < upper.y0 for lower, upper in pairwise(boxes))


def test_an_axis_that_is_linear_near_zero_shows_where() -> None:
    y = axis(0, 5, "symlog", linthresh=0.1)
    assert labels(y) == ["0", "0.1", "1"]
    assert [f"{tick:g}" for tick in y.get_minorticklocs() if tick < 1] == [
        f"0.{digit}" for digit in range(2, 10)
    ]


def test_ticks_that_a_picture_sets_itself_stay() -> None:
    with style.drawing():
        figure, axes = style.panels()
        axes[0, 0].set_xscale("log", base=2)
        axes[0, 0].set_xlim(5, 200)
        axes[0, 0].set_xticks([8, 32, 128], ["8", "32", "128"])
        ticks.tidy(figure)
        figure.draw_without_rendering()
    assert [text.get_text() for text in axes[0, 0].get_xticklabels()] == ["8", "32", "128"]
