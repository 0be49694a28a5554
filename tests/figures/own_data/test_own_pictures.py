"""The picture of a comparison on data of one's own, drawn from made-up runs.

Without this file a grid of panels could have a hole, a run of one step could be drawn as nothing,
and a legend could call two sign methods by one name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from efsgd import EFSGD, SGD, CompressedSGD, ScaledSign, Sign, SignSGD, TopK
from efsgd.figures.drawing import style
from efsgd.figures.make import Options
from efsgd.figures.own_data import plots
from efsgd.figures.own_data.command import methods_of
from efsgd.figures.own_data.study import Study
from efsgd.results import Result

METHODS: dict[str, Any] = {
    "SGD": ("sgd", SGD()),
    "signSGD": ("signsgd", SignSGD(Sign(zero=0))),
    "EF-signSGD": ("ef", EFSGD(ScaledSign(zero=0))),
    "EF topk:1": ("ef", EFSGD(TopK(1))),
}
SERIES = ("loss", "test_mse", "distance", "span_distance")
STUDY = Study("made up", None, METHODS, 9, None, Options())


def drawn(series: tuple[str, ...], steps: int = 9, replicates: int = 3) -> Any:
    """The picture of runs with these series, which fall from 2 to 1, and laid out."""
    step = np.arange(steps + 1)
    falling = np.linspace(2.0, 1.0, steps + 1)[:, None, None] * np.linspace(1, 1.5, replicates)
    arrays = {"step": step, "bytes": 40.0 * step[:, None, None] + np.zeros((1, 1, replicates))}
    arrays |= dict.fromkeys(series, falling)
    results = {label: Result(arrays, {}, {}, Path("made-up.npz")) for label in METHODS}
    with style.drawing():
        figure = plots.draw(STUDY, results)
        figure.draw_without_rendering()
    return figure


@pytest.mark.parametrize(
    ("series", "panels"),
    [
        (("loss",), 2),
        (("loss", "distance"), 3),
        (("loss", "test_mse"), 4),
        (("loss", "distance", "span_distance"), 4),
        (("loss", "test_mse", "distance"), 5),
        (SERIES, 6),
    ],
)
def test_no_place_of_the_grid_is_empty(series: tuple[str, ...], panels: int) -> None:
    figure = drawn(series)
    shown = [ax for ax in figure.axes if ax.lines]
    assert len(shown) == panels
    empty = [ax for ax in figure.axes if not ax.lines]
    assert all(ax.get_legend() for ax in empty)
    assert len(empty) + len(figure.legends) == 1  # one legend, where there is room


def test_two_empty_places_hold_one_legend(monkeypatch: Any) -> None:
    """7 panels: with f - f*, where the optimum is certified."""
    seven = [("step", "loss")] * 7
    monkeypatch.setattr(plots, "_panels", lambda shown: seven)
    figure = drawn(("loss",))
    legends = [ax.get_legend() for ax in figure.axes if ax.get_legend()]
    assert (len(figure.axes), len(legends), figure.legends) == (9, 1, [])


def test_the_legend_says_which_signs_are_sent() -> None:
    (legend,) = drawn(("loss", "distance")).legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "SGD",
        "signSGD (ternary)",
        "EF-signSGD (ternary)",
        "EF topk:1",
    ]


def test_two_scaled_signs_are_two_methods() -> None:
    """Both are called EF-signSGD for short: neither takes the place of the other."""
    methods = methods_of(("ef",), ("scaledsign", "scaledsign:zero=0"), 9)
    assert list(methods) == ["EF-signSGD", "EF-signSGD (scaledsign:zero=0)"]
    named = style.labels({label: method for label, (_, method) in methods.items()})
    assert list(named.values()) == ["EF-signSGD (one bit)", "EF-signSGD (ternary)"]


def test_one_method_twice_is_drawn_in_one_look(monkeypatch: Any) -> None:
    monkeypatch.setitem(METHODS, "sign alone", ("compressed", CompressedSGD(Sign(zero=0))))
    lines = {line.get_label(): line for line in drawn(("loss",)).axes[0].lines}
    assert list(lines) == ["SGD", "signSGD (ternary)", "EF-signSGD (ternary)", "EF topk:1"]


def test_a_run_of_one_step_is_marked_against_the_bytes() -> None:
    figure = drawn(("loss",), steps=1)
    steps, sent = figure.axes
    assert [tick for tick in steps.get_xticks() if 0 <= tick <= 1] == [0, 1]
    for line in sent.lines:
        assert line.get_xdata().tolist() == [40]
        assert (line.get_markevery(), line.get_marker() not in ("", "None")) == (1, True)
    bars = [bar.get_segments()[0] for bar in sent.collections]
    assert [bar[:, 1].tolist() for bar in bars] == [[1.0, 1.5]] * len(METHODS)


def test_an_axis_that_is_linear_near_zero_says_so() -> None:
    last = drawn(SERIES).axes[-1]
    assert last.get_yscale() == "symlog"
    assert last.get_ylabel() == "distance to the gradient span\n(linear up to $10^{-6}$)"
