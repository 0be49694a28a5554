"""One step of a method as quadratic forms: the state before and after, and all that is known of it.

Apart from the search of :mod:`efsgd.convex.lyapunov`, which knows of no method.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from efsgd.arrays import Array

Name: TypeAlias = Literal["gd", "cgd", "ef", "ef21"]
Point: TypeAlias = tuple[Array, Array]  # x and the gradient there, each in the basis of the step

STATE = {"gd": ("x",), "cgd": ("x",), "ef": ("x", "e"), "ef21": ("g", "d")}
# One step depends on the state, on u (see _gradient), and on q r, what its message misses. In this
# basis all that is known has the same size, whatever mu, q and the step size are.
BASIS = {
    "gd": ("x", "u"),
    "cgd": ("x", "u", "r", "u+"),
    "ef": ("x", "e", "u", "r"),
    "ef21": ("g", "d", "u", "r"),
}


@dataclass(frozen=True, eq=False)
class Step:
    """One step in a basis of k vectors, L = 1; the state is the rows of ``now`` and ``after``.

    Fact i says <forms[i], Gram> + values[i] . (f_0, f_1) <= 0, with f* = 0.
    """

    facts: tuple[str, ...]
    now: Array  # (n, k)
    after: Array  # (n, k)
    forms: Array  # (m, k, k), symmetric
    values: Array  # (m, 2)
    uses_f: bool


def one_step(method: Name, lr: float, delta: float, mu: float) -> Step:
    """The step of the method, and all that is used of what is known of it."""
    unit = dict(zip(BASIS[method], np.eye(len(BASIS[method])), strict=True))
    r = math.sqrt(1 - delta) * unit.get("r", 0 * unit["u"])
    after, given, points = _moved(method, lr, mu, unit, r)
    pairs = [(a, b) for a in points for b in points if a != b]
    facts = [f"f({a},{b})" for a, b in pairs]
    forms = [_interpolation(points[a], points[b], mu) for a, b in pairs]
    values = [[float((b == t) - (a == t)) for t in ("0", "1")] for a, b in pairs]
    if method != "cgd":  # V is without f, so that both facts of a pair have the same multiplier
        facts, forms, values = ["+".join(facts)], [sum(forms, 0 * forms[0])], [[0.0, 0.0]]
    if method != "gd":
        facts.append("C")
        forms.append(np.outer(r, r) - (1 - delta) * np.outer(given, given))
        values.append([0.0, 0.0])
    now = np.array([unit[name] for name in STATE[method]])
    return Step(
        *(tuple(facts), now, np.array(after), np.array(forms), np.array(values)),
        uses_f=method == "cgd",
    )


def _moved(
    method: Name, lr: float, mu: float, unit: dict[str, Array], r: Array
) -> tuple[tuple[Array, ...], Array, dict[str, Point]]:
    """The next state, what the compressor is given, and the points (x, g) that f is known at."""
    if method == "ef21":  # x_t is the origin here: only x_{t+1} - x_t matters
        g, d = unit["g"], unit["d"]
        g_next = g + lr * _gradient(-d, unit["u"], mu)
        return (g_next, g_next - r), g_next - d, {"0": (0 * d, g), "1": (-lr * d, g_next)}
    x = unit["x"]
    g = _gradient(x, unit["u"], mu)
    points = {"0": (x, g), "*": (0 * x, 0 * x)}
    if method == "ef":
        given = lr * g + unit["e"]
        return (x - (given - r), r), given, points
    x_next = x - lr * (g - r)
    if method == "cgd":
        points["1"] = (x_next, _gradient(x_next, unit["u+"], mu))
    return (x_next,), g, points


def _gradient(x: Array, u: Array, mu: float) -> Array:
    """The change of the gradient over x: mu x, and the rest as (1 - mu) u with |u| <= |x|."""
    return mu * x + (1 - mu) * u


def _interpolation(a: Point, b: Point, mu: float) -> Array:
    """f_b - f_a + <this, Gram> <= 0 for points (x, g) of a 1-smooth, mu-strongly convex f.

    Source: Taylor, Hendrickx, Glineur, arXiv 1502.05666, Theorem 4.
    """
    dx, dg = a[0] - b[0], a[1] - b[1]
    cross = np.outer(dg, dx) + np.outer(dx, dg)
    square = np.outer(dg, dg) + mu * np.outer(dx, dx) - mu * cross
    form: Array = (np.outer(b[1], dx) + np.outer(dx, b[1])) / 2 + square / (2 * (1 - mu))
    return form
