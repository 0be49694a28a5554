"""Worst cases at the step size that makes them least."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from efsgd.arrays import Array
from efsgd.convex.studies.worst_cases import OneMethod


@dataclass(frozen=True, kw_only=True)
class TunedWorstCases(OneMethod):
    """The worst case of a method over a grid of step sizes, and near the best of them.

    ``settings`` are (N, zeta): steps and heterogeneity; ``lrs`` is the grid, ascending. In each
    setting a bounded scalar search between the neighbours of the best of the grid takes
    ``refinements`` step sizes more.
    """

    settings: tuple[tuple[int, float], ...]
    lrs: tuple[float, ...]
    refinements: int

    @property
    def cost(self) -> float:
        """Above those of all other studies: these take longest."""
        each = len(self.lrs) + self.refinements
        return 1e9 * each * sum(float(N * self.workers) ** 3 for N, _ in self.settings)

    def compute(self) -> dict[str, Array]:
        """(S,) with S settings: "steps" and "zeta". (S, G): "lr", "value" and "error".

        G step sizes in each setting, ascending, of the grid and of the search; the error is a bound
        on that of the value.
        """
        steps, zeta = (np.array(column) for column in zip(*self.settings, strict=True))
        tried = np.array([self._tried(N, z) for N, z in self.settings])  # (S, G, 3)
        lr, value, error = np.moveaxis(tried, 2, 0)
        return {"steps": steps, "zeta": zeta, "lr": lr, "value": value, "error": error}

    def _tried(self, steps: int, zeta: float) -> list[tuple[float, float, float]]:
        """(lr, value, error) of all step sizes tried in a setting, by lr."""
        from scipy.optimize import minimize_scalar

        tried: list[tuple[float, float, float]] = []

        def log_worst(log_lr: float) -> float:
            lr = float(np.exp(log_lr))
            value, error = self.solved(steps, lr, zeta)
            tried.append((lr, value, error))
            return float(np.log(value))

        logs = np.log(self.lrs)
        best = int(np.argmin([log_worst(log_lr) for log_lr in logs]))
        if self.refinements:
            bounds = (logs[max(best - 1, 0)], logs[min(best + 1, len(logs) - 1)])
            options = {"maxiter": self.refinements, "xatol": 1e-9}  # so fine that all are taken
            minimize_scalar(log_worst, bounds=bounds, method="bounded", options=options)
        return sorted(tried)
