"""What pictures call methods and how they look, and lines that have one point.

Without this file one name could stand for two methods in two pictures, EF and EF21 could look alike
in a grey print, and a series of one point could be drawn as nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from efsgd import (
    EF21,
    EFSGD,
    SGD,
    CompressedSGD,
    FullyCorrectiveEF,
    Method,
    ScaledSign,
    Sign,
    SignSGD,
    Signum,
    TopK,
)
from efsgd.figures.drawing import style

NAMES: list[tuple[Method, str]] = [
    (SignSGD(), "signSGD (one bit)"),
    (SignSGD(Sign(zero=0)), "signSGD (ternary)"),
    (CompressedSGD(Sign()), "signSGD (one bit)"),
    (CompressedSGD(ScaledSign()), "scaled signSGD (one bit)"),
    (CompressedSGD(ScaledSign(zero=0)), "scaled signSGD (ternary)"),
    (Signum(), "signSGDm (one bit)"),
    (Signum(Sign(zero=0)), "signSGDm (ternary)"),
    (Signum(Sign(zero=0), form="undecayed"), "signSGDm, undecayed (ternary)"),
    (EFSGD(ScaledSign()), "EF-signSGD (one bit)"),
    (EFSGD(ScaledSign(zero=0), momentum=0.9), "EF-signSGD (ternary, momentum 0.9)"),
]
OTHERS = [SGD(), EFSGD(TopK(1)), EF21(ScaledSign()), FullyCorrectiveEF(ScaledSign())]


@pytest.mark.parametrize(("method", "name"), NAMES, ids=[name for _, name in NAMES])
def test_sign_methods_say_their_scale_and_their_zero(method: Method, name: str) -> None:
    assert style.sign_label(method) == name
    assert style.labels({"whatever": method}) == {"whatever": name}
    assert style.line(name)["label"] == name


@pytest.mark.parametrize("method", OTHERS, ids=str)
def test_other_methods_keep_their_names(method: Method) -> None:
    assert style.labels({"its name": method}) == {"its name": "its name"}
    with pytest.raises(ValueError, match="none of the sign methods: name it by its compressor"):
        style.sign_label(method)


def lightness(colour: str) -> float:
    """CIE L*, 0 is black and 100 white: what a grey print keeps."""
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    Y = float(linear @ [0.2126, 0.7152, 0.0722])
    return 116 * Y ** (1 / 3) - 16


@pytest.mark.parametrize(("one", "two"), [("EF", "EF21"), ("EF", "compressed SGD"), ("EF", "SGD")])
def test_methods_of_one_picture_differ_in_a_grey_print(one: str, two: str) -> None:
    (first, *_), (second, *_) = style.METHODS[one], style.METHODS[two]
    # blue has 46 and the green that EF21 had 58; orange has 71, vermilion 54
    assert first != second
    assert abs(lightness(first) - lightness(second)) > (20 if two == "EF21" else 5)


def test_curves_that_differ_in_a_number_differ_in_a_grey_print() -> None:
    order = sorted(map(lightness, style.THREE))
    assert min(np.diff(order)) > 20


def test_methods_without_a_look_of_their_own_get_one_each() -> None:
    looks = [style.other(f"method {i}", i) for i in range(4 * len(style.OTHERS))]
    assert len({(k["color"], str(k["linestyle"]), k["marker"]) for k in looks}) == len(looks)
    assert style.YELLOW not in {look["color"] for look in looks}  # too light for a line


@pytest.mark.parametrize("label", style.METHODS)
def test_the_first_marker_comes_within_the_first_fifth(label: str) -> None:
    """Markers are that far apart, so that short curves have one."""
    offset, distance = style.line(label)["markevery"]
    assert 0 <= offset < distance == 0.2


# -- lines of one point ---------------------------------------------------------------------------


def drawn(step: Any, values: Any) -> Any:
    with style.drawing():
        figure, axes = style.panels()
        style.spread(axes[0, 0], np.array(step), np.array(values), "EF")
        figure.draw_without_rendering()
    return axes[0, 0]


@pytest.mark.parametrize(
    ("step", "values"),
    [([3], [[1.0, 2.0, 3.0]]), ([1, 3, 4], [[np.nan] * 3, [1.0, 2.0, 3.0], [np.nan] * 3])],
)
def test_a_lone_point_is_marked_and_its_band_is_a_bar(step: Any, values: Any) -> None:
    ax = drawn(step, values)
    (line,) = ax.lines
    assert (line.get_markevery(), line.get_marker()) == (1, "o")
    (bar,) = ax.collections
    # 10 and 90 % of 1, 2, 3 lie a fifth of a step within the ends
    assert bar.get_segments()[0] == pytest.approx(np.array([[3, 1.2], [3, 2.8]]))


def test_a_lone_point_of_a_line_without_markers_gets_a_dot() -> None:
    with style.drawing():
        figure, axes = style.panels()
        style.curve(axes[0, 0], np.array([1.0]), np.array([2.0]), marker="", color="black")
        figure.draw_without_rendering()
    (line,) = axes[0, 0].lines
    assert line.get_marker() == "."


def test_several_points_are_a_line_and_a_band() -> None:
    ax = drawn([0, 1], [[1.0, 2.0], [2.0, 4.0]])
    assert ax.lines[0].get_markevery() == style.line("EF")["markevery"]
    (area,) = ax.collections
    assert area.get_paths()[0].vertices[:, 1].max() == pytest.approx(3.8)


def test_nothing_finite_draws_nothing_and_warns_of_nothing() -> None:
    ax = drawn([0, 1], [[np.nan] * 2] * 2)
    assert not ax.collections or not ax.collections[0].get_segments()
