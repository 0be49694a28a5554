"""Theorem III attained: a convex function and a compressor for which its bound is an equality.

Derived here. f(x) = sigma max(0, max_t <u_t, x>) with unit vectors u_0, ..., u_T of equal inner
products c, from x_0 = lr sigma sum_t u_t. The compressor leaves of p_t = (lr sigma + |e_t|) u_t an
error as long as delta allows, q|p_t| with q = sqrt(1-delta), in the direction u_(t+1). So
e_t = a_t u_t with a_(t+1) = q(a_t + lr sigma), u_t is a steepest slope at x_t, and f(x_t) =
sigma (a_t + lr sigma (1 + (T-t)c)) is as large as the proof allows. |x_0| = R gives c, which lies
in [-1/T, 1] where lr sigma (T+1) >= R.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from efsgd.arrays import Array, Generator
from efsgd.compressors.base import Compressor
from efsgd.convex.studies.extremal_compressors import Onward, slopes
from efsgd.engine.problem import Optimum
from efsgd.engine.runs import Run, run
from efsgd.methods.feedback import EFSGD

TIE = 1e-10  # slopes that differ by rounding, relative to the scale of x, are equally steep


def inner(T: int, ratio: float) -> float:
    """The inner product c at which |sum_t u_t| = ratio = R/(lr sigma); ratio in (0, T+1]."""
    if T < 1 or not 0 < ratio <= T + 1:
        raise ValueError(f"T must be 1, 2, ... and R/(lr sigma) in (0, T + 1], not {T} and {ratio}")
    return min(1.0, (ratio**2 / (T + 1) - 1) / T)


@dataclass(frozen=True)
class Steepest:
    """f(x) = sigma max(0, max_t <u_t, x>) in R^(T+1), from x_0 = ``far`` sum_t u_t; f* = 0.

    Of equally steep slopes the gradient is the first.
    """

    T: int
    c: float
    far: float  # lr sigma
    sigma: float = 1.0

    @property
    def d(self) -> int:
        """T + 1."""
        return self.T + 1

    def x0(self, rng: Generator, replicates: int) -> Array:
        """``far`` times the sum of the slopes."""
        return np.tile(self.far * slopes(self.T, self.c).sum(axis=0), (replicates, 1))

    def loss(self, x: Array) -> Array:
        """f of each replicate, (R, d) -> (R,)."""
        steepest = (x @ slopes(self.T, self.c).T).max(axis=1)
        value: Array = self.sigma * np.maximum(0.0, steepest)
        return value

    def gradient(self, x: Array, rng: Generator) -> Array:
        """A subgradient: sigma times the first of the steepest slopes, 0 where f is 0."""
        u = slopes(self.T, self.c)
        rise = x @ u.T
        top = rise.max(axis=1, keepdims=True)
        first = (rise >= top - TIE * self.far).argmax(axis=1)
        g: Array = np.where(top >= 0, self.sigma * u[first], 0.0)
        return g

    @property
    def optimum(self) -> Optimum:
        """0, where f is 0."""
        return Optimum(np.zeros(self.d), 0.0)


@dataclass(frozen=True)
class TheoremThree:
    """Error feedback on :class:`Steepest` with :class:`Onward`, or with the compressor given.

    Arrays, all (V,) with one run for each row of ``settings`` (T, delta, lr, sigma), |x_0| = R:
    "T", "delta", "lr", "sigma", "R"; "mean" over t = 0, ..., T of f(x_t) - f*; "achieved", the
    least delta achieved in a step; "virtual_residual", the largest.
    """

    settings: tuple[tuple[int, float, float, float], ...]
    R: float = 1.0
    compressor: Compressor | None = None  # None: Onward

    @property
    def cost(self) -> float:
        """The steps of all runs together, weighed by the dimension."""
        return float(sum(T**2 for T, *_ in self.settings))

    def compute(self) -> dict[str, Array]:
        """Run every setting."""
        rows = [self._measure(T, delta, lr, sigma) for T, delta, lr, sigma in self.settings]
        columns = zip(*self.settings, strict=True)
        letters = dict(zip(("T", "delta", "lr", "sigma"), map(np.array, columns), strict=True))
        measured = {name: np.array([row[name] for row in rows]) for name in rows[0]}
        return letters | measured | {"R": np.full(len(rows), self.R)}

    def _measure(self, T: int, delta: float, lr: float, sigma: float) -> dict[str, float]:
        c = inner(T, self.R / (lr * sigma))
        history = run(
            Run(
                problem=Steepest(T, c, lr * sigma, sigma),
                method=EFSGD(self.compressor or Onward(T, c, delta)),
                lr=lr,
                steps=T,
                record=1,
                metrics=("loss", "achieved_delta", "virtual_residual"),
            )
        )
        return {
            "mean": float(history["loss"][:, 0].mean()),
            "achieved": float(history["achieved_delta"][:-1].min()),
            "virtual_residual": float(history["virtual_residual"].max()),
        }
