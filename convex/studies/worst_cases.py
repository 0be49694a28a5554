"""Worst cases and Lyapunov rates over several settings, and the proofs of some of these rates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from efsgd.arrays import Array
from efsgd.convex.lyapunov import one_step, proofs, signs
from efsgd.convex.lyapunov.rate import lyapunov_rate
from efsgd.convex.pep import setting
from efsgd.convex.pep.estimation import worst_case


@dataclass(frozen=True, kw_only=True)
class OneMethod:
    """What all worst cases of a study share; see :func:`efsgd.convex.worst_case`.

    ``delta`` is None for "gd".
    """

    method: setting.Name
    delta: float | None = None
    mu: float = 0.0
    problem: setting.Class = "strongly-convex"
    criterion: setting.Criterion = "f"
    initial: setting.Initial = "f"
    workers: int = 1

    def solved(self, steps: int, lr: float, zeta: float) -> tuple[float, float]:
        """The worst case after ``steps`` steps of size ``lr``, and a bound on its error."""
        case = worst_case(
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
        return case.value, case.residuals.error


@dataclass(frozen=True, kw_only=True)
class WorstCases(OneMethod):
    """The worst case of a method for several settings.

    ``settings`` are (N, lr, zeta): steps, one step size, heterogeneity.
    """

    settings: tuple[tuple[int, float, float], ...]

    @property
    def cost(self) -> float:
        """Above those of all other studies: these take longest."""
        return 1e9 * sum(float(N * self.workers) ** 3 for N, _, _ in self.settings)

    def compute(self) -> dict[str, Array]:
        """(S,) with S settings: "steps", "lr", "zeta", "value", and "error", a bound on its own."""
        cases = [self.solved(steps, lr, zeta) for steps, lr, zeta in self.settings]
        value, error = np.array(cases).T
        steps, lr, zeta = (np.array(column) for column in zip(*self.settings, strict=True))
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
class RateProofs:
    """Identities and signs behind the rates of EF, EF21 and CGD, and these rates at some (q, m).

    q = sqrt(1-delta) and m = mu/L, in (0, 1); see :mod:`efsgd.convex.lyapunov.proofs` and
    :mod:`efsgd.convex.lyapunov.signs`.
    """

    points: tuple[tuple[float, float], ...]

    @property
    def cost(self) -> float:
        """A second, whatever the points are."""
        return 1e9

    def compute(self) -> dict[str, Array]:
        """Whether each of the identities "ef", "ef21", "root", "determinant", "traces" and "lead"
        holds, and "ef_signs" and so on, whether each of the signs that it needs is proven; (P,) at
        the P points the rest: "q", "m", "step" (of EF and EF21), "rate" (of both), and "cgd", the
        rate of CGD.
        """
        holds = {name: np.array(make().is_zero) for name, make in proofs.IDENTITIES.items()}
        for name, make in signs.SIGNS.items():
            holds[f"{name}_signs"] = np.array([sign.proven for sign in make().values()])
        q, m = np.array(self.points).T
        at_points = {
            name: np.array([polynomial.at(*point) for point in self.points])
            for name, polynomial in (
                ("step", proofs.STEP),
                ("rate", proofs.RATE),
                ("top", proofs.CGD_NUMERATOR),
                ("bottom", proofs.CGD_DENOMINATOR),
            )
        }
        cgd = (at_points.pop("top") / at_points.pop("bottom")) ** 2
        return {"q": q, "m": m, "cgd": cgd, **at_points, **holds}
