"""Theorem III attained: a convex function and a compressor for which its bound is an equality.

Derived here. f(x) = sigma max(0, max_t <u_t, x>) with unit vectors u_0, ..., u_T of equal inner
products c, from x_0 = lr sigma sum_t u_t. The compressor leaves of p_t = (lr sigma + |e_t|) u_t an
error as long as delta allows, q|p_t| with q = sqrt(1-delta), in the direction u_(t+1). So
e_t = a_t u_t with a_(t+1) = q(a_t + lr sigma), u_t is a steepest slope at x_t, and f(x_t) =
sigma (a_t + lr sigma (1 + (T-t)c)) is as large as the proof allows. |x_0| = R gives c, which lies
in [-1/T, 1] where lr sigma (T+1) >= R; where it is less, c = 1 and x_0 lies farther out along u.

Theorem III is about f at the mean of the x_t. That is as large, too, with one more slope h, the one
with <h, x_t> = f(x_t)/sigma at every t: for c < 1 the x_t are independent, so that there is one,
and for c = 1 it is u. It changes neither an f(x_t) nor the subgradient u_t there, and along it
f(mean x) is the mean of the f(x_t). It can be longer than 1: the proof takes the gradients of the
run only, and none is taken at the mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from efsgd.arrays import Array, Generator
from efsgd.bounds import error_sharp
from efsgd.compressors.base import Compressor
from efsgd.convex.studies.extremal_compressors import Onward, slopes
from efsgd.engine.problem import Optimum
from efsgd.engine.runs import Run, run
from efsgd.methods.feedback import EFSGD

TIE = 1e-10  # slopes that differ by rounding, relative to the scale of x, are equally steep


def inner(T: int, ratio: float) -> float:
    """The inner product c at which |sum_t u_t| = ratio = R/(lr sigma), 1 if none is so large."""
    if T < 0 or not 0 < ratio < np.inf:
        raise ValueError(f"T must be 0, 1, ... and R/(lr sigma) positive, not {T} and {ratio}")
    return 1.0 if T == 0 else min(1.0, (ratio**2 / (T + 1) - 1) / T)


@lru_cache(maxsize=8)
def with_across(T: int, c: float, delta: float) -> Array:
    """u_0, ..., u_T and h, (T+2, T+1): <h, x_t> = f(x_t)/sigma at x_0, ..., x_T. Read only.

    With far = lr sigma, x_t = far (sum_{s>=t} u_s + m_t u_t) for m_t = q(1-q^t)/(1-q), which gives
    <h, u_T>, ..., <h, u_0> one after the other.
    """
    memory = np.sqrt(error_sharp(lr=1.0, sigma=1.0, delta=delta, t=np.arange(T + 1)))
    rises, later = np.empty(T + 1), 0.0  # <h, u_t>, and the sum of those after t
    for t in range(T, -1, -1):
        rises[t] = (1 + (T - t) * c + memory[t] - later) / (1 + memory[t])
        later += rises[t]
    u = slopes(T, c)
    rows: Array = np.vstack([u, np.linalg.lstsq(u, rises)[0]])
    rows.setflags(write=False)
    return rows


@dataclass(frozen=True)
class Steepest:
    """f(x) = sigma max(0, max_t <u_t, x>) in R^(T+1), from along sum_t u_t; f* = 0.

    |x_0| is R, or ``far`` |sum_t u_t| if c < 1. Of equally steep slopes the gradient is the first.
    With ``delta`` the last one is h.
    """

    T: int
    c: float
    far: float  # lr sigma
    sigma: float = 1.0
    delta: float | None = None
    R: float | None = None  # |x_0| where c = 1; None: ``far`` (T+1)

    @property
    def slopes(self) -> Array:
        """The slopes over sigma, one a row."""
        if self.delta is None:
            return slopes(self.T, self.c)
        return with_across(self.T, self.c, self.delta)

    @property
    def d(self) -> int:
        """T + 1."""
        return self.T + 1

    def x0(self, rng: Generator, replicates: int) -> Array:
        """Along the sum of the slopes."""
        u = slopes(self.T, self.c)
        start = u[0] * self.R if self.c == 1 and self.R is not None else self.far * u.sum(axis=0)
        return np.tile(start, (replicates, 1))

    def loss(self, x: Array) -> Array:
        """f of each replicate, (R, d) -> (R,)."""
        steepest = (x @ self.slopes.T).max(axis=1)
        value: Array = self.sigma * np.maximum(0.0, steepest)
        return value

    def gradient(self, x: Array, rng: Generator) -> Array:
        """A subgradient: sigma times the first of the steepest slopes, 0 where f is 0."""
        u = self.slopes
        rise = x @ u.T
        top = rise.max(axis=1, keepdims=True)
        first = (rise >= top - TIE * self.far).argmax(axis=1)
        g: Array = np.where(top >= 0, self.sigma * u[first], 0.0)
        return g

    @property
    def optimum(self) -> Optimum:
        """0, where f is 0."""
        return Optimum(np.zeros(self.d), 0.0)

    def measure(self, x: Array) -> dict[str, Array]:
        """The coordinates of x, each (R,), and the length of the gradient, "slope"."""
        g = self.gradient(x, np.random.default_rng())
        return {"slope": np.sqrt(np.vecdot(g, g))} | dict(zip(self.coordinates, x.T, strict=True))

    @property
    def coordinates(self) -> tuple[str, ...]:
        """Their names in :meth:`measure`."""
        return tuple(f"x[{i}]" for i in range(self.d))


@dataclass(frozen=True)
class TheoremThree:
    """Error feedback on :class:`Steepest` with :class:`Onward`, or with the compressor given.

    Arrays, all (V,) with one run for each row of ``settings`` (T, delta, lr, sigma): "T", "delta",
    "lr", "sigma", and "R", |x_0| of the run; "mean" over t = 0, ..., T of f(x_t) - f*; "at_mean",
    f - f* at the mean of these x_t, and "slope_at_mean", the length of the gradient there over
    sigma; "slope", the largest |g_t| over sigma; "achieved", the least delta achieved in a step;
    "virtual_residual", the largest. With :class:`Onward` f has the slope h.
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
        return letters | measured

    def _measure(self, T: int, delta: float, lr: float, sigma: float) -> dict[str, float]:
        c = inner(T, self.R / (lr * sigma))
        f = Steepest(T, c, lr * sigma, sigma, None if self.compressor else delta, self.R)
        history = run(
            Run(
                problem=f,
                method=EFSGD(self.compressor or Onward(T, c, delta)),
                lr=lr,
                steps=max(T, 1),
                record=1,
                metrics=("loss", "achieved_delta", "virtual_residual", "slope", *f.coordinates),
            )
        )
        mean = np.array([[history[name][: T + 1, 0].mean() for name in f.coordinates]])
        return {
            "R": float(np.linalg.norm([history[name][0, 0] for name in f.coordinates])),
            "mean": float(history["loss"][: T + 1, 0].mean()),
            "at_mean": float(f.loss(mean)[0]),
            "slope_at_mean": float(f.measure(mean)["slope"][0]) / sigma,
            "slope": float(history["slope"][: T + 1].max()) / sigma,
            "achieved": float(history["achieved_delta"][:-1].min()),
            "virtual_residual": float(history["virtual_residual"].max()),
        }
