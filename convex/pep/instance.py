"""What a worst case gives back: its value, its proof, and an instance in the user's units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from efsgd.arrays import Array
from efsgd.convex.pep.dual import Residuals, Solution
from efsgd.convex.pep.paths import Paths
from efsgd.convex.pep.setting import Setting


@dataclass(frozen=True, eq=False)
class Instance:
    """A worst function and its compressors, at the points of the run; x* is the origin, f* is 0.

    N steps, W workers, vectors of dimension d. The dimension is the number of rows of the Gram
    matrix, and the first coordinates carry most.
    """

    gram: Array  # (d, d) inner products of the vectors that ``basis`` names
    basis: tuple[str, ...]
    x: Array  # (N+1, d)
    g: Array  # (W, N+1, d) gradients of f_i
    f: Array  # (W, N+1) f_i(x_t) - f_i(x*)
    g_star: Array  # (W, d) gradients of f_i at x*
    given: Array  # (W, N, d) what the compressors were given
    sent: Array  # (W, N, d) what they answered


@dataclass(frozen=True, eq=False)
class WorstCase:
    """The worst case of one setting, with its proof (the multipliers) and an instance that has it.

    ``value`` is right to 1e-5 of itself, or to 1e-6 units where it is below 0.1 of them; mostly it
    is to 1e-8, and ``error`` says how far. A unit is 1 where L = 1 and zeta <= 1.
    ``multipliers``: "f(a,b)" of f_a >= f_b + <g_b, x_a - x_b> + ..., "C(t)" of the message at step
    t, "initial", and where they apply "lower(t)" of f_t >= f* + |g_t|^2/(2L), "slope(t)" of
    |g_t| <= L, "zeta", "criterion(t)" of the minimum; with several workers "f1(a,b)", "C1(t)" for
    the first. Their weighted sum bounds the criterion.
    """

    value: float
    seconds: float
    multipliers: dict[str, float]
    residuals: Residuals
    instance: Instance
    setting: Setting

    @property
    def error(self) -> float:
        """How far off ``value`` may be, from the residuals, to first order."""
        return self.setting.units.of(self.setting.criterion) * self.residuals.error


def instance(setting: Setting, basis: Paths, found: Solution) -> Instance:
    """The vectors whose inner products are G, in the user's units."""
    units, count = setting.units, setting.workers * (setting.steps + 1)
    size, axes = np.linalg.eigh(found.G)
    vectors = (axes * np.sqrt(np.maximum(size, 0.0)))[:, ::-1]  # (n, n): one row a basis vector
    scale = np.array([units.x if name == "x0" else units.g for name in basis.names])
    return Instance(
        gram=found.G * np.outer(scale, scale),
        basis=basis.names,
        x=units.x * basis.x @ vectors,
        g=units.g * basis.g @ vectors,
        f=units.f * found.F[:count].reshape(setting.workers, -1),
        g_star=units.g * basis.star @ vectors,
        given=setting.message_unit * basis.given @ vectors,
        sent=setting.message_unit * basis.sent @ vectors,
    )
