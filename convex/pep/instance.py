"""The outcome of a performance estimation: value, multipliers, and an instance that attains it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from efsgd.arrays import Array
from efsgd.convex.pep.dual import Residuals, Solution
from efsgd.convex.pep.paths import Paths
from efsgd.convex.pep.setting import Setting


@dataclass(frozen=True, eq=False)
class Instance:
    """A worst function and its compressors along the run, in the user's units; x* = 0, f* = 0.

    N steps, W workers; P points, x_0 to x_N and, for the criterion "f-average", their mean. The
    dimension d is the size of the Gram matrix; the coordinates are its principal axes, in order of
    decreasing eigenvalues.
    """

    gram: Array  # (d, d) inner products of the vectors that ``basis`` names
    basis: tuple[str, ...]  # x_0, gradients, compression errors
    x: Array  # (P, d)
    g: Array  # (W, P, d) gradients of f_i
    f: Array  # (W, P) f_i - f_i(x*)
    g_star: Array  # (W, d) gradients of f_i at x*
    given: Array  # (W, N, d) inputs of the compressors
    sent: Array  # (W, N, d) messages


@dataclass(frozen=True, eq=False)
class WorstCase:
    """The worst case of a setting, with its proof (the multipliers) and an instance near it.

    ``value`` has a relative error up to 1e-5, or an absolute one up to 1e-6 units where it is below
    0.1 units; mostly 1e-8, see ``error``. A unit is 1 where L = 1 and zeta <= 1.

    ``multipliers`` has the dual multiplier of each condition by its name: "f(a,b)", the
    interpolation condition f_a >= f_b + <g_b, x_a - x_b> + ...; "C(t)", the compressor at step t;
    "initial"; and where they apply "lower(t)", f_t >= f* + |g_t|^2/(2L); "slope(t)", |g_t| <= L;
    "zeta"; "criterion(t)", the terms of the minimum. With several workers "f1(a,b)", "C1(t)", ...
    are those of the first. The sum of the conditions with these weights bounds the criterion.
    """

    value: float
    seconds: float  # that it took
    multipliers: dict[str, float]
    residuals: Residuals
    instance: Instance
    setting: Setting

    @property
    def error(self) -> float:
        """A bound on the error of ``value``, to first order, from the residuals."""
        return self.setting.units.of(self.setting.criterion) * self.residuals.error


def instance(setting: Setting, run: Paths, solution: Solution) -> Instance:
    """Vectors whose inner products are G, in the user's units."""
    units, count = setting.units, setting.workers * setting.points
    eigenvalues, axes = np.linalg.eigh(solution.G)
    basis = (axes * np.sqrt(np.maximum(eigenvalues, 0.0)))[:, ::-1]  # (n, n), a vector a row
    scale = np.array([units.x if name == "x0" else units.g for name in run.names])
    return Instance(
        gram=solution.G * np.outer(scale, scale),
        basis=run.names,
        x=units.x * run.x @ basis,
        g=units.g * run.g @ basis,
        f=units.f * solution.F[:count].reshape(setting.workers, -1),
        g_star=units.g * run.star @ basis,
        given=setting.message_unit * run.inputs @ basis,
        sent=setting.message_unit * run.messages @ basis,
    )
