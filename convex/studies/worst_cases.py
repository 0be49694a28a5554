"""Worst cases, Lyapunov rates and exact checks of certificates, each over several settings."""

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
    """The worst case of a method for several settings; see :func:`efsgd.convex.worst_case`.

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
        """Above those of all other studies: these take longest."""
        return 1e9 * sum(float(N * self.workers) ** 3 for N, _, _ in self.settings)

    def compute(self) -> dict[str, Array]:
        """(S,) with S settings: "steps", "lr", "zeta", "value", and "error", a bound on its own."""
        cases = [
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
        value = np.array([case.value for case in cases])
        error = np.array([case.residuals.error for case in cases])
        return {"steps": steps, "lr": lr, "zeta": zeta, "value": value, "error": error}


@dataclass(frozen=True, kw_only=True)
class LyapunovRates:
    """The rate of a method for several (lr, delta, mu), L = 1; see :func:`lyapunov_rate`."""

    method: one_step.Name
    settings: tuple[tuple[float, float, float], ...]

    @property
    def cost(self) -> float:
        """A tenth of a second each."""
        return 1e8 * len(self.settings)

    def compute(self) -> dict[str, Array]:
        """(S,) with S settings: "lr", "delta", "mu", "rate" and "residual"."""
        rates = [
            lyapunov_rate(self.method, lr=lr, delta=delta, mu=mu) for lr, delta, mu in self.settings
        ]
        lr, delta, mu = np.array(self.settings).T
        rate, residual = np.array([(rate.value, rate.residual) for rate in rates]).T
        return {"lr": lr, "delta": delta, "mu": mu, "rate": rate, "residual": residual}


@dataclass(frozen=True)
class ExactChecks:
    """The certificates of EF and EF21 at random rational points, and how CGD compares there."""

    points: int
    seed: int

    @property
    def cost(self) -> float:
        """Milliseconds a point."""
        return 1e6 * self.points

    def compute(self) -> dict[str, Array]:
        """(P,) with P points: "q", "m" as floats; "ef", "ef21": valid; "cgd": rate below rho*."""
        points = rational_points(self.points, self.seed)
        return {
            "q": np.array([float(q) for q, _ in points]),
            "m": np.array([float(m) for _, m in points]),
            "ef": np.array([exact.check_ef(q, m).valid for q, m in points]),
            "ef21": np.array([exact.check_ef21(q, m).valid for q, m in points]),
            "cgd": np.array([_lead_of_cgd(q, m).sign > 0 for q, m in points]),
        }


def rational_points(number: int, seed: int) -> list[tuple[Fraction, Fraction]]:
    """Random rational (q, m) in (0, 1), with denominators up to 1000."""
    rng = np.random.default_rng(seed)
    denominators = rng.integers(2, 1001, (number, 2))
    numerators = rng.integers(1, denominators)
    return [
        (Fraction(int(a), int(b)), Fraction(int(c), int(d)))
        for (a, c), (b, d) in zip(numerators, denominators, strict=True)
    ]


def _lead_of_cgd(q: Fraction, m: Fraction) -> Surd:
    """rho* of EF minus the rate ((k-1)/(k+1))^2 of CGD, k = (1+q)/((1-q)m)."""
    k = (1 + q) / ((1 - q) * m)
    return exact.closed_rate(q, m) - surd(((k - 1) / (k + 1)) ** 2)
