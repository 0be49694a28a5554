"""The conditions of a worst case, linear in the Gram matrix G and the function values F.

Condition k is <A_k, G> + b_k . F <= c_k, in the units of :class:`efsgd.convex.pep.setting.Units`.
F holds f_i - f_i(x*) at the points of the run, worker by worker, and then, where the criterion is a
minimum over t, one variable tau below all of its terms. The interpolation conditions are exact:
points, gradients and values satisfy them if and only if a function of the class has them (SOURCES).

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
    units: Array  # (m,) of the left-hand sides, in the user's units
    A: Array  # (m, n, n), symmetric
    b: Array  # (m, v)
    c: Array  # (m,)
    A0: Array  # (n, n)
    b0: Array  # (v,)


class _Collector:
    """Collects conditions, kind by kind."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.parts: list[tuple[Array, ...]] = []

    def add(
        self, names: list[str], unit: float | Array, A: Array, b: Array, c: float = 0.0
    ) -> None:
        """Add k conditions of one kind: A (k, n, n), b (k, v) or (v,)."""
        self.names += names
        ones = np.ones(len(names))
        self.parts.append((unit * ones, A, b * ones[:, None], c * ones))


def conditions(setting: Setting, paths: Paths) -> Conditions:
    """All conditions of the setting, and its criterion."""
    collected, n, count = _Collector(), setting.rows, setting.workers * setting.points
    values = np.eye(count + (setting.criterion == "grad"))
    f = values[:count].reshape(setting.workers, setting.points, len(values))
    for i in range(setting.workers):
        _interpolation(collected, setting, paths, i, f[i])
        _compressor(collected, setting, paths, i, len(values))
    _start(collected, setting, paths, f)
    A0, b0, mean = np.zeros((n, n)), np.zeros(len(values)), f.mean(0)
    if setting.criterion in ("f", "f-average"):
        b0 = mean[-1]
    elif setting.criterion == "average-f":
        b0 = mean.mean(0)
    elif setting.criterion == "x":
        A0 = _outer(paths.x[-1], paths.x[-1])
    else:
        b0, g = values[-1], paths.g.mean(0)
        names = [f"criterion({t})" for t in range(len(g))]
        collected.add(names, setting.units.g**2, -_outer(g, g), b0)
    units, A, b, c = (np.concatenate(part) for part in zip(*collected.parts, strict=True))
    return Conditions(tuple(collected.names), units, A, b, c, A0, b0)


def _start(collected: _Collector, setting: Setting, paths: Paths, f: Array) -> None:
    """f(x_0) - f* <= 1 or |x_0 - x*| <= 1, and |grad f_i(x*)| <= zeta."""
    units, no_values = setting.units, np.zeros(f.shape[-1])
    if setting.initial == "f":
        no_gram, level = np.zeros((1, setting.rows, setting.rows)), f[:, 0].mean(0)
        collected.add(["initial"], units.f, no_gram, level, 1 / units.f)
    else:
        distance = _outer(paths.x[:1], paths.x[:1])
        collected.add(["initial"], units.x**2, distance, no_values, 1 / units.x**2)
    if setting.zeta:
        names = [f"zeta{_worker(i, setting)}" for i in range(setting.workers)]
        bound = (setting.zeta / units.g) ** 2
        collected.add(names, units.g**2, _outer(paths.star, paths.star), no_values, bound)


def _interpolation(collected: _Collector, setting: Setting, paths: Paths, i: int, f: Array) -> None:
    """The interpolation conditions of f_i, f_a >= f_b + <g_b, x_a - x_b> + ... for all pairs.

    If x* is one of the points, it is the last one, with value 0.
    """
    x, g, label = paths.x, paths.g[i], [str(t) for t in range(len(f))]
    if setting.averages:
        label[-1] = "mean"
    if setting.knows_minimiser:
        x, g = np.vstack([x, 0 * x[:1]]), np.vstack([g, paths.star[i]])
        f, label = np.vstack([f, 0 * f[:1]]), [*label, "*"]
    a, b = np.nonzero(~np.eye(len(x), dtype=bool))
    dx, dg, worker = x[a] - x[b], g[a] - g[b], _worker(i, setting)
    A = _outer(g[b], dx)
    if setting.problem != "nonsmooth":
        mu = -1.0 if setting.problem == "nonconvex" else setting.mu / setting.L
        A += (_outer(dg, dg) + mu * _outer(dx, dx) - 2 * mu * _outer(dg, dx)) / (2 * (1 - mu))
    names = [f"f{worker}({label[j]},{label[k]})" for j, k in zip(a, b, strict=True)]
    collected.add(names, setting.units.f, A, f[b] - f[a])
    points = setting.points
    if setting.problem == "nonsmooth":
        bounded = len(x) if setting.zeta else points  # without zeta the gradient at x* is 0
        names = [f"slope{worker}({label[t]})" for t in range(bounded)]
        lengths = _outer(g[:bounded], g[:bounded])
        collected.add(names, setting.units.g**2, lengths, 0 * f[:1], 1.0)
    if setting.problem == "nonconvex":
        names = [f"lower({t})" for t in label[:points]]
        lengths = _outer(g[:points], g[:points])
        collected.add(names, setting.units.f, lengths / 2, -f[:points])


def _compressor(collected: _Collector, setting: Setting, paths: Paths, i: int, width: int) -> None:
    """|c - p|^2 <= (1-delta)|p|^2 for every message c of worker i."""
    if not setting.compresses:
        return
    sizes = setting.message_sizes[:, None]
    p = paths.inputs[i] / sizes
    error = (paths.messages[i] - paths.inputs[i]) / (setting.q * sizes)
    names = [f"C{_worker(i, setting)}({t})" for t in range(setting.steps)]
    unit = setting.q * setting.message_unit * sizes[:, 0]
    collected.add(names, unit**2, _outer(error, error) - _outer(p, p), np.zeros(width))


def _outer(a: Array, b: Array) -> Array:
    """The symmetric matrices (..., n, n) with <M, G> = <a, b> when G holds the inner products."""
    product: Array = a[..., :, None] * b[..., None, :]
    return (product + product.swapaxes(-1, -2)) / 2


def _worker(i: int, setting: Setting) -> str:
    """The number of worker i in the name of a condition, nothing where there is only one."""
    return "" if setting.workers == 1 else str(i + 1)
