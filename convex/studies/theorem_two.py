"""Runs on a smooth nonconvex problem with known constants, for Theorem II, and worst cases of it.

The worst case :class:`Halved` (derived here) shows that the middle term L lr sigma^2 of Theorem II
cannot be halved. On f = L|x|^2/2 in the plane the noise is orthogonal to x, so that it always
lengthens the virtual iterate v = x - e, and the compressor leaves an error along v as long as it
may. With h = lr L, r = |v|, a = |e| and s the length of the noise, so that |x| = r + a:

    r+^2 = r^2 - 2hr(r+a) + h^2(r+a)^2 + lr^2 s^2
    a+^2 = (1-delta)((a + h(r+a))^2 + lr^2 s^2)

In :class:`Steady` (derived here) |grad f| stays at sigma, so that no bound on its mean
square can be less than sigma^2. On a slope of :class:`Huber` and with C(p) = (1-q)p the memory
grows to lr sigma q/(1-q). Once x is where 2x/(1+q) = lr sigma/(1-q), C(p) = (1+q)p sends it to -x
and back for ever, with e = 2q/(1+q) x and p = lr sigma + e = 2/(1+q) x, so that C(p) = 2x and
p - C(p) = -2q/(1+q) x. With K = (1+q)/(1-q) that is x = K lr sigma/2, the end of the slope if lr is
2/(K L) and beyond it if lr is larger.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot, sqrt

import numpy as np

from efsgd.arrays import Array
from efsgd.compressors.base import Compressor
from efsgd.convex.problems.valleys import Crosswind, Huber, Valleys
from efsgd.convex.studies.extremal_compressors import AlongVirtual, Turning
from efsgd.convex.studies.vary import densities
from efsgd.engine.runs import Run, run
from efsgd.methods.feedback import EFSGD


@dataclass(frozen=True)
class MeanGradients:
    """The mean over s = 0, ..., t of E|grad f(x_s)|^2 under error feedback, for each step size.

    Arrays: "mean" (V, T+1), over ``replicates`` runs; "lr" (V,); "f0", "L", "sigma" and "delta",
    numbers; "virtual_residual" (T+1,). Of scaled signs also "achieved_delta" and "phi_p" (T+1, R).
    """

    compressor: Compressor
    problem: Valleys
    rates: tuple[float, ...]
    steps: int
    seed: int = 0
    replicates: int = 20

    @property
    def cost(self) -> float:
        """The steps of all runs together."""
        return float(self.steps * len(self.rates) * self.replicates)

    def compute(self) -> dict[str, Array]:
        """Run all step sizes at once, each with its replicates."""
        lrs = tuple(lr for lr in self.rates for _ in range(self.replicates))
        method = EFSGD(self.compressor)
        watched = densities(method)
        history = run(
            Run(
                problem=self.problem,
                method=method,
                lr=lrs,
                steps=self.steps,
                seed=self.seed,
                replicates=len(lrs),
                record=1,
                metrics=("gradient_squared", "virtual_residual", *watched),
            )
        )
        squared = history["gradient_squared"].reshape(self.steps + 1, len(self.rates), -1)
        counts = np.arange(1, self.steps + 2)
        return {
            "mean": (squared.mean(axis=2).cumsum(axis=0) / counts[:, None]).T,
            **{name: history[name] for name in watched},
            "virtual_residual": history["virtual_residual"].max(axis=1),
            "lr": np.array(self.rates),
            **{name: np.array(getattr(self.problem, name)) for name in ("f0", "L", "sigma")},
            "delta": np.array(self.compressor.delta(self.problem.d)),
        }


@dataclass(frozen=True)
class Halved:
    """The worst case of the module docstring as a run, from 1.02 times the limit of |x_t|.

    Arrays over t = 0, ..., T: "squared", |grad f(x_t)|^2, which no draw changes; "recursion", the
    same from the recursion; "achieved" (T,), the delta of each step; and the numbers "lr", "L",
    "delta", "noise", "f0".
    """

    lr: float = 0.1
    delta: float = 0.9
    L: float = 1.0
    noise: float = 1.0
    steps: int = 10_000
    seed: int = 0

    @property
    def cost(self) -> float:
        """The steps."""
        return float(self.steps)

    def compute(self) -> dict[str, Array]:
        """The run and the recursion."""
        start = 1.02 * self._limit()
        history = run(
            Run(
                problem=Crosswind(start, self.noise, self.L),
                method=EFSGD(AlongVirtual(start, self.delta)),
                lr=self.lr,
                steps=self.steps,
                seed=self.seed,
                record=1,
                metrics=("gradient_squared", "achieved_delta", "virtual_residual"),
            )
        )
        return {
            "squared": history["gradient_squared"][:, 0],
            "recursion": np.array([(self.L * x) ** 2 for x in self._lengths(start, self.steps)]),
            "achieved": history["achieved_delta"][:-1, 0],
            "virtual_residual": history["virtual_residual"][:, 0],
            "f0": np.array(self.L / 2 * start**2),
            **{name: np.array(getattr(self, name)) for name in ("lr", "delta", "L", "noise")},
        }

    def _lengths(self, start: float, steps: int) -> list[float]:
        """|x_t| = r + a for t = 0, ..., steps."""
        r, a, h = start, 0.0, self.lr * self.L
        lengths = [start]
        for _ in range(steps):
            x, across = r + a, self.lr * self.noise
            r, a = hypot(r - h * x, across), sqrt(1 - self.delta) * hypot(a + h * x, across)
            lengths.append(r + a)
        return lengths

    def _limit(self) -> float:
        """The limit of |x_t|, the same from every start."""
        return self._lengths(1.0, 2000)[-1]  # to rounding: the distance shrinks by 1 - h a step


@dataclass(frozen=True)
class Steady:
    """|grad f| stays at sigma, see the module docstring: ``straight`` steps on a slope, then to and
    fro with lr >= 2/(K L); or on the slope for ever where ``steps`` is not more than that.

    Arrays over some t of 0, ..., T: "step" (S,), and (S,) "mean" and "mean_loss", over s = 0, ...,
    t of |grad f(x_s)|^2 and f(x_s) - f*; the numbers "lr", "L", "sigma", "f0", "R" = |x_0 - x*|,
    "delta"; and "achieved", the least delta of a step.
    """

    q: float  # sqrt(1-delta)
    straight: int
    steps: int
    lr: float | None = None  # None: 2/(K L)
    L: float = 1.0
    sigma: float = 1.0

    @property
    def cost(self) -> float:
        """The steps."""
        return float(self.steps)

    def compute(self) -> dict[str, Array]:
        """The run, from where the end of the slope, or x beyond it, is ``straight`` steps away."""
        q, delta = self.q, 1 - self.q**2
        lr = 2 * (1 - q) / ((1 + q) * self.L) if self.lr is None else self.lr
        memory = sum(q**t for t in range(1, self.straight + 1)) * lr * self.sigma
        turn = self.sigma / self.L
        if self.steps > self.straight:
            turn = max(turn, (1 + q) / (1 - q) * lr * self.sigma / 2)
        start = turn + self.straight * lr * self.sigma - memory
        problem = Huber(start, self.sigma, self.L)
        history = run(
            Run(
                problem=problem,
                method=EFSGD(Turning(self.straight, delta)),
                lr=lr,
                steps=self.steps,
                record=1,
                metrics=("gradient_squared", "loss", "achieved_delta"),
            )
        )
        count = np.arange(1, self.steps + 2)
        at = np.unique([0, *np.geomspace(1, self.steps, 60).round().astype(int)])
        numbers = {"lr": lr, "L": self.L, "sigma": self.sigma, "delta": delta}
        numbers |= {"f0": problem.f0, "R": start}
        return {
            "step": at,
            "mean": (history["gradient_squared"][:, 0].cumsum() / count)[at],
            "mean_loss": (history["loss"][:, 0].cumsum() / count)[at],
            "achieved": history["achieved_delta"][:-1].min(),
            **{name: np.array(value) for name, value in numbers.items()},
        }
