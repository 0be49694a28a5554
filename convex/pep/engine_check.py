"""A worst case that is run: the function and the compressor of an instance, in the real engine.

The Gram matrix gives vectors; a problem and a compressor answer with them where the run comes by,
and nowhere else. What the engine then measures is held against the value of the programme, so that
a mistake in its matrices, in its units or in reading them cannot pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from efsgd.arrays import Array, Generator
from efsgd.convex.pep.instance import Instance, WorstCase
from efsgd.convex.pep.setting import Setting
from efsgd.convex.pep.stored import StoredCompressor, nearest
from efsgd.engine.problem import Optimum
from efsgd.engine.runs import Run, run
from efsgd.schedules import Schedule

MOST = 5  # steps
METRICS = ("loss", "distance", "gradient_squared", "achieved_delta")


@dataclass(frozen=True)
class Replay:
    """What the engine made of a worst case, in the units of the solved problem."""

    value: float  # the criterion, from the history of the run
    claimed: float  # by the semidefinite programme
    start: float  # f(x_0) - f* or |x_0 - x*|^2, in the units asked for: at most 1
    violation: float  # of the interpolation inequalities by the function: the largest
    excess: float  # of |C(p)-p|^2 over (1-delta)|p|^2, by what the run achieved: the largest

    @property
    def difference(self) -> float:
        """value - claimed, relative to the claimed value, or to 1e-2 where it is smaller."""
        return (self.value - self.claimed) / max(abs(self.claimed), 1e-2)

    def holds(self, tolerance: float = 1e-5) -> bool:
        """Whether value, start, function and compressor are as claimed."""
        off = (abs(self.difference), self.start - 1, self.violation, self.excess)
        return bool(np.max(off) <= tolerance)  # False for NaN, which max would pass over


def replay(worst: WorstCase) -> Replay:
    """Run the worst function and compressor of one worker, up to 5 steps, with the real method.

    Raises ValueError for longer ones or several workers, or where the run leaves the stored points.
    """
    if not isinstance(worst, WorstCase):
        raise TypeError(f"replay takes what worst_case returns, not {worst!r}")
    setting, instance = worst.setting, worst.instance
    if setting.workers != 1 or setting.steps > MOST:
        raise ValueError(
            f"only one worker and at most {MOST} steps are replayed, not workers="
            f"{setting.workers} and steps={setting.steps}: ask for a smaller worst case"
        )
    problem = StoredFunction(instance.x, instance.g[0], instance.f[0])
    compressor = StoredCompressor(instance.given[0], instance.sent[0], setting.delta)
    method = setting.engine_method(compressor)
    history = run(Run(problem, method, Listed(setting.lr), setting.steps, metrics=METRICS))
    unit, message = setting.units.of(setting.criterion), setting.message_unit
    lengths = np.vecdot(compressor.inputs, compressor.inputs)
    excess = (setting.delta - history["achieved_delta"][:-1, 0]) * lengths
    first = history["loss"] if setting.initial == "f" else history["distance"] ** 2
    return Replay(
        value=measured(setting, history) / unit,
        claimed=worst.value / unit,
        start=float(first[0, 0]),
        violation=violation(setting, instance),
        excess=float(excess.max()) / message**2,
    )


def measured(setting: Setting, history: dict[str, Array]) -> float:
    """The criterion, from what the engine recorded at t = 0, ..., N."""
    loss = history["loss"][:, 0]
    if setting.criterion == "f":
        return float(loss[-1])
    if setting.criterion == "average-f":
        return float(loss.mean())
    if setting.criterion == "x":
        return float(history["distance"][-1, 0] ** 2)
    return float(history["gradient_squared"][:, 0].min())


def violation(setting: Setting, instance: Instance) -> float:
    """The largest violation of an interpolation inequality, with L = 1, in vector arithmetic."""
    units, L, worst = setting.units, 1.0, [-np.inf]
    x, g, f = instance.x / units.x, instance.g[0] / units.g, instance.f[0] / units.f
    mu = -L if setting.problem == "nonconvex" else setting.mu / setting.L
    if setting.problem == "nonconvex":
        worst += [float(slope @ slope / (2 * L) - level) for slope, level in zip(g, f, strict=True)]
    if setting.problem == "nonsmooth":
        worst += [float(slope @ slope - L**2) for slope in g]
    if setting.knows_minimiser:
        x, g, f = np.vstack([x, 0 * x[:1]]), np.vstack([g, 0 * g[:1]]), np.append(f, 0.0)
    for i in range(len(f)):
        for j in range(len(f)):
            d, step = g[i] - g[j], x[i] - x[j]
            least = f[j] + g[j] @ step
            if setting.problem != "nonsmooth":  # f - mu|x|^2/2 is convex and (L - mu)-smooth
                least += mu / 2 * step @ step
                least += (d - mu * step) @ (d - mu * step) / (2 * (L - mu))
            worst.append(float(least - f[i]))
    return max(worst)


@dataclass(frozen=True)
class Listed(Schedule):
    """The step sizes of a tuple, one a step."""

    values: tuple[float, ...]

    def __call__(self, t: int) -> float:
        """Return values[t]."""
        return self.values[t]


@dataclass(frozen=True, eq=False)
class StoredFunction:
    """A function known at its points (P, d) only: gradients g (P, d), values f (P,); x* = 0."""

    points: Array
    g: Array
    f: Array

    @property
    def d(self) -> int:
        """The dimension."""
        return int(self.points.shape[1])

    @property
    def optimum(self) -> Optimum:
        """x* = 0, f* = 0."""
        return Optimum(np.zeros(self.d), 0.0)

    def x0(self, rng: Generator, replicates: int) -> Array:
        """The first point."""
        return np.tile(self.points[0], (replicates, 1))

    def loss(self, x: Array) -> Array:
        """The stored values."""
        return self.f[nearest(x, self.points, "the function")]

    def gradient(self, x: Array, rng: Generator) -> Array:
        """The stored gradients."""
        return self.g[nearest(x, self.points, "the function")]

    def measure(self, x: Array) -> dict[str, Array]:
        """|grad f(x)|^2, (R,)."""
        g = self.g[nearest(x, self.points, "the function")]
        return {"gradient_squared": np.vecdot(g, g)}
