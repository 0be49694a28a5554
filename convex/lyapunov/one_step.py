"""One step of a method as quadratic forms: the state before and after, and the valid inequalities.

The search of :mod:`efsgd.convex.lyapunov.rate` works on these forms and knows no method.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from efsgd.arrays import Array

Name: TypeAlias = Literal["gd", "cgd", "ef", "ef21"]
Point: TypeAlias = tuple[Array, Array]  # x and the gradient at x, in coordinates of the basis

STATE = {"gd": ("x",), "cgd": ("x",), "ef": ("x", "e"), "ef21": ("g", "d")}
# One step depends on the state, on u (see _gradient) and on the error q r of the message, with
# q = sqrt(1-delta). These vectors are of one size, whatever mu, q and the step size are.
BASIS = {
    "gd": ("x", "u"),
    "cgd": ("x", "u", "r", "u+"),
    "ef": ("x", "e", "u", "r"),
    "ef21": ("g", "d", "u", "r"),
}


@dataclass(frozen=True, eq=False)
class Step:
    """One step in a basis of k vectors, with L = 1 and f* = 0.

    Inequality i is <forms[i], G> + values[i] . (f_0, f_1) <= 0 with the Gram matrix G of the basis.
    """

    names: tuple[str, ...]  # (m) of the inequalities
    now: Array  # (n, k) the state before the step, a vector a row
    after: Array  # (n, k) the state after it
    forms: Array  # (m, k, k), symmetric
    values: Array  # (m, 2)
    uses_f: bool  # whether V may have a multiple of f - f*


def one_step(method: Name, lr: float, delta: float, mu: float) -> Step:
    """The step of the method, its interpolation conditions and that on its compressor."""
    basis = dict(zip(BASIS[method], np.eye(len(BASIS[method])), strict=True))
    error = math.sqrt(1 - delta) * basis.get("r", 0 * basis["u"])
    after, p, points = _transition(method, lr, mu, basis, error)
    pairs = [(a, b) for a in points for b in points if a != b]
    names = [f"f({a},{b})" for a, b in pairs]
    forms = [_interpolation(points[a], points[b], mu) for a, b in pairs]
    values = [[float((b == t) - (a == t)) for t in ("0", "1")] for a, b in pairs]
    if method != "cgd":  # V is without f, so that both conditions of a pair have one multiplier
        names, forms, values = ["+".join(names)], [sum(forms, 0 * forms[0])], [[0.0, 0.0]]
    if method != "gd":
        names.append("C")
        forms.append(np.outer(error, error) - (1 - delta) * np.outer(p, p))
        values.append([0.0, 0.0])
    return Step(
        names=tuple(names),
        now=np.array([basis[name] for name in STATE[method]]),
        after=np.array(after),
        forms=np.array(forms),
        values=np.array(values),
        uses_f=method == "cgd",
    )


def _transition(
    method: Name, lr: float, mu: float, basis: dict[str, Array], error: Array
) -> tuple[tuple[Array, ...], Array, dict[str, Point]]:
    """The next state, the compressor's input p, and the points (x, g) of f that are used.

    ``error`` is p - C(p).
    """
    if method == "ef21":  # x_t is the origin: only x_{t+1} - x_t matters
        g, d = basis["g"], basis["d"]
        g_next = g + lr * _gradient(-d, basis["u"], mu)
        return (g_next, g_next - error), g_next - d, {"0": (0 * d, g), "1": (-lr * d, g_next)}
    x = basis["x"]
    g = _gradient(x, basis["u"], mu)
    points = {"0": (x, g), "*": (0 * x, 0 * x)}
    if method == "ef":
        p = lr * g + basis["e"]
        return (x - (p - error), error), p, points
    x_next = x - lr * (g - error)
    if method == "cgd":
        points["1"] = (x_next, _gradient(x_next, basis["u+"], mu))
    return (x_next,), g, points


def _gradient(x: Array, u: Array, mu: float) -> Array:
    """The difference mu x + (1-mu) u of the gradients of two points x apart; |u| <= |x|."""
    return mu * x + (1 - mu) * u


def _interpolation(a: Point, b: Point, mu: float) -> Array:
    """The form Q of f_b - f_a + <Q, G> <= 0 for points of a 1-smooth, mu-strongly convex f.

    Source: Taylor, Hendrickx, Glineur, arXiv 1502.05666, Theorem 4.
    """
    dx, dg = a[0] - b[0], a[1] - b[1]
    cross = np.outer(dg, dx) + np.outer(dx, dg)
    square = np.outer(dg, dg) + mu * np.outer(dx, dx) - mu * cross
    form: Array = (np.outer(b[1], dx) + np.outer(dx, b[1])) / 2 + square / (2 * (1 - mu))
    return form
