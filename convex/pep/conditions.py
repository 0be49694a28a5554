"""The conditions of a worst case, linear in the Gram matrix G and the function values F.

Row k says <A_k, G> + b_k . F <= c_k, in the units of :class:`efsgd.convex.pep.setting.Units`.
F holds f_i(x_t) - f_i(x*), worker by worker, and then the variable tau where the criterion is a
minimum over t. Interpolation conditions are exact: numbers that satisfy them belong to a function
of the class (SOURCES).

SOURCES. Smooth convex functions: Taylor, Hendrickx, Glineur, arXiv 1502.05666; the other convex
classes, and smooth nonconvex ones: the same, arXiv 1512.07516; f >= f* + |g|^2/(2L) for a nonconvex
f bounded below: Drori and Shamir, arXiv 1910.01845.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from efsgd.arrays import Array
from efsgd.convex.pep.paths import Paths
from efsgd.convex.pep.setting import Setting


@dataclass(frozen=True, eq=False)
class Conditions:
    """m conditions on G (n, n) and F (v,), and the criterion <A0, G> + b0 . F to maximise."""

    names: tuple[str, ...]
    units: Array  # (m,) what 1 of the left-hand side is in the user's units
    A: Array  # (m, n, n), symmetric
    b: Array  # (m, v)
    c: Array  # (m,)
    A0: Array  # (n, n)
    b0: Array  # (v,)


class _List:
    """Collects conditions."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.parts: list[tuple[Array, ...]] = []

    def add(
        self, names: list[str], unit: float | Array, A: Array, b: Array, c: float = 0.0
    ) -> None:
        """Conditions of one kind: names (k), A (k, n, n), b (k, v) or (v,)."""
        self.names += names
        ones = np.ones(len(names))
        self.parts.append((unit * ones, A, b * ones[:, None], c * ones))


def conditions(setting: Setting, paths: Paths) -> Conditions:
    """All conditions of the setting, and its criterion."""
    rows, n, count = _List(), setting.rows, setting.workers * (setting.steps + 1)
    values = np.eye(count + (setting.criterion == "grad"))
    f = values[:count].reshape(setting.workers, setting.steps + 1, len(values))
    for i in range(setting.workers):
        _interpolation(rows, setting, paths, i, f[i])
        _compressor(rows, setting, paths, i, len(values))
    _start(rows, setting, paths, f)
    A0, b0, mean = np.zeros((n, n)), np.zeros(len(values)), f.mean(0)
    if setting.criterion == "f":
        b0 = mean[-1]
    elif setting.criterion == "average-f":
        b0 = mean.mean(0)
    elif setting.criterion == "x":
        A0 = _outer(paths.x[-1], paths.x[-1])
    else:
        b0, g = values[-1], paths.g.mean(0)
        names = [f"criterion({t})" for t in range(len(g))]
        rows.add(names, setting.units.g**2, -_outer(g, g), b0)
    units, A, b, c = (np.concatenate(part) for part in zip(*rows.parts, strict=True))
    return Conditions(tuple(rows.names), units, A, b, c, A0, b0)


def _start(rows: _List, setting: Setting, paths: Paths, f: Array) -> None:
    """That f(x_0) - f* or |x_0 - x*| is at most 1, and |grad f_i(x*)| at most zeta."""
    units, nothing = setting.units, np.zeros(f.shape[-1])
    if setting.initial == "f":
        level = f[:, 0].mean(0)
        rows.add(
            ["initial"], units.f, np.zeros((1, setting.rows, setting.rows)), level, 1 / units.f
        )
    else:
        distance = _outer(paths.x[:1], paths.x[:1])
        rows.add(["initial"], units.x**2, distance, nothing, 1 / units.x**2)
    if setting.zeta:
        names = [f"zeta{_worker(i, setting)}" for i in range(setting.workers)]
        bound = (setting.zeta / units.g) ** 2
        rows.add(names, units.g**2, _outer(paths.star, paths.star), nothing, bound)


def _interpolation(rows: _List, setting: Setting, paths: Paths, i: int, f: Array) -> None:
    """That f_i of worker i belongs to the class: for all pairs, f_a >= f_b + <g_b, x_a - x_b> + ...

    x*, where f_i is 0, is the last of the points if it is one of them.
    """
    x, g, label = paths.x, paths.g[i], [str(t) for t in range(len(f))]
    if setting.knows_minimiser:
        x, g = np.vstack([x, 0 * x[:1]]), np.vstack([g, paths.star[i]])
        f, label = np.vstack([f, 0 * f[:1]]), [*label, "*"]
    a, b = np.nonzero(~np.eye(len(x), dtype=bool))
    dx, dg, who = x[a] - x[b], g[a] - g[b], _worker(i, setting)
    A = _outer(g[b], dx)
    if setting.problem != "nonsmooth":
        mu = -1.0 if setting.problem == "nonconvex" else setting.mu / setting.L
        A += (_outer(dg, dg) + mu * _outer(dx, dx) - 2 * mu * _outer(dg, dx)) / (2 * (1 - mu))
    names = [f"f{who}({label[j]},{label[k]})" for j, k in zip(a, b, strict=True)]
    rows.add(names, setting.units.f, A, f[b] - f[a])
    last = setting.steps + 1
    if setting.problem == "nonsmooth":
        kept = len(x) if setting.zeta else last  # a gradient 0 at x* has no length to bound
        names = [f"slope{who}({label[t]})" for t in range(kept)]
        rows.add(names, setting.units.g**2, _outer(g[:kept], g[:kept]), 0 * f[:1], 1.0)
    if setting.problem == "nonconvex":
        names = [f"lower({t})" for t in range(last)]
        rows.add(names, setting.units.f, _outer(g[:last], g[:last]) / 2, -f[:last])


def _compressor(rows: _List, setting: Setting, paths: Paths, i: int, width: int) -> None:
    """|c - p|^2 <= (1-delta)|p|^2 for every message c of worker i."""
    if not setting.compresses:
        return
    sizes = setting.message_sizes[:, None]
    p, missed = paths.given[i] / sizes, (paths.sent[i] - paths.given[i]) / (setting.q * sizes)
    names = [f"C{_worker(i, setting)}({t})" for t in range(setting.steps)]
    unit = setting.q * setting.message_unit * sizes[:, 0]
    rows.add(names, unit**2, _outer(missed, missed) - _outer(p, p), np.zeros(width))


def _outer(a: Array, b: Array) -> Array:
    """The symmetric matrices (..., n, n) with <M, G> = <a, b> when G holds the inner products."""
    product: Array = a[..., :, None] * b[..., None, :]
    return (product + product.swapaxes(-1, -2)) / 2


def _worker(i: int, setting: Setting) -> str:
    return "" if setting.workers == 1 else str(i + 1)
