"""Worst cases, Lyapunov rates and exact checks as work: frozen values that compute their arrays."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from efsgd.arrays import Array
from efsgd.convex.lyapunov import exact, one_step
from efsgd.convex.lyapunov.rate import lyapunov_rate
from efsgd.convex.lyapunov.surd import Surd, surd
from efsgd.convex.pep import setting
from efsgd.convex.pep.estimation import worst_case


@dataclass(frozen=True, kw_only=True)
class WorstCases:
    """The worst case of a method for several settings, as :func:`efsgd.convex.worst_case` has it.

    ``settings`` are (N, lr, zeta): steps, one step size, heterogeneity. ``delta`` is None for "gd".
    """

    method: setting.Name
    settings: tuple[tuple[int, float, float], ...]
    delta: float | None = None
    mu: float = 0.0
    problem: setting.Class = "strongly-convex"
    criterion: setting.Criterion = "f"
    initial: setting.Initial = "f"
    workers: int = 1

    @property
    def cost(self) -> float:
        """Large: these are what takes longest."""
        return 1e9 * sum(float(N * self.workers) ** 3 for N, _, _ in self.settings)

    def compute(self) -> dict[str, Array]:
        """(S,) with S settings: "steps", "lr", "zeta", "value", and "error", what may be off."""
        found = [
            worst_case(
                self.method,
                steps=steps,
                lr=lr,
                delta=self.delta,
                mu=self.mu,
                problem=self.problem,
                criterion=self.criterion,
                initial=self.initial,
                workers=self.workers,
                zeta=zeta,
            )
            for steps, lr, zeta in self.settings
        ]
        steps, lr, zeta = (np.array(column) for column in zip(*self.settings, strict=True))
        value = np.array([case.value for case in found])
        error = np.array([case.residuals.error for case in found])
        return {"steps": steps, "lr": lr, "zeta": zeta, "value": value, "error": error}


@dataclass(frozen=True, kw_only=True)
class LyapunovRates:
    """The rate of a method by Lyapunov search, L = 1, for several (lr, delta, mu)."""

    method: one_step.Name
    settings: tuple[tuple[float, float, float], ...]

    @property
    def cost(self) -> float:
        """Some: a tenth of a second each."""
        return 1e8 * len(self.settings)

    def compute(self) -> dict[str, Array]:
        """(S,) with S settings: "lr", "delta", "mu", "rate" and "residual"."""
        found = [
            lyapunov_rate(self.method, lr=lr, delta=delta, mu=mu) for lr, delta, mu in self.settings
        ]
        lr, delta, mu = np.array(self.settings).T
        rate, residual = np.array([(one.value, one.residual) for one in found]).T
        return {"lr": lr, "delta": delta, "mu": mu, "rate": rate, "residual": residual}


@dataclass(frozen=True)
class ExactChecks:
    """The certificates of EF and EF21 at random rational points, and how CGD compares there."""

    points: int
    seed: int

    @property
    def cost(self) -> float:
        """Little: milliseconds a point."""
        return 1e6 * self.points

    def compute(self) -> dict[str, Array]:
        """(P,) with P points: "q", "m" as floats; "ef", "ef21": valid; "cgd": rate below rho*."""
        rng = np.random.default_rng(self.seed)
        below = rng.integers(2, 1001, (self.points, 2))
        above = rng.integers(1, below)
        drawn = [
            [Fraction(int(a), int(b)) for a, b in zip(*row, strict=True)]
            for row in zip(above, below, strict=True)
        ]
        return {
            "q": np.array([float(q) for q, _ in drawn]),
            "m": np.array([float(m) for _, m in drawn]),
            "ef": np.array([exact.check_ef(q, m).valid for q, m in drawn]),
            "ef21": np.array([exact.check_ef21(q, m).valid for q, m in drawn]),
            "cgd": np.array([_ahead(q, m).sign > 0 for q, m in drawn]),
        }


def _ahead(q: Fraction, m: Fraction) -> Surd:
    """rho* of EF minus ((k-1)/(k+1))^2 of CGD, k = (1+q)/((1-q)m)."""
    k = (1 + q) / ((1 - q) * m)
    return exact.closed_rate(q, m) - surd(((k - 1) / (k + 1)) ** 2)
