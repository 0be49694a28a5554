"""A worst case replayed: the engine runs the method on the worst function and compressor.

Both are defined at the points of the instance only, by its vectors. What the engine measures along
the run is compared with the value of the programme, so that a mistake in the matrices of the
programme, in its units or in reading its solution is noticed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from efsgd.arrays import Array, Generator
from efsgd.convex.pep.instance import Instance, WorstCase
from efsgd.convex.pep.setting import Setting
from efsgd.convex.pep.stored import StoredCompressor, nearest
from efsgd.engine.problem import Optimum
from efsgd.engine.runs import Run, run
from efsgd.schedules import Schedule

MAX_STEPS = 5
METRICS = ("loss", "distance", "gradient_squared", "achieved_delta")


@dataclass(frozen=True)
class Replay:
    """What the engine measured on a worst instance, in the units of the solved problem."""

    value: float  # the criterion, from the history of the run
    claimed: float  # by the semidefinite programme
    start: float  # f(x_0) - f* or |x_0 - x*|^2, in the user's units: at most 1
    violation: float  # the largest by which the function misses an interpolation condition
    excess: float  # the largest |C(p)-p|^2 - (1-delta)|p|^2 of the run

    @property
    def difference(self) -> float:
        """value - claimed, relative to the claimed value, or to 1e-2 where it is smaller."""
        return (self.value - self.claimed) / max(abs(self.claimed), 1e-2)

    def holds(self, tolerance: float = 1e-5) -> bool:
        """Whether value, start, function and compressor are as claimed."""
        errors = (abs(self.difference), self.start - 1, self.violation, self.excess)
        return bool(np.max(errors) <= tolerance)  # False for NaN, which max would pass over


def replay(worst: WorstCase) -> Replay:
    """Run the method on the worst function with the worst compressor: one worker, up to 5 steps.

    Raises ValueError for more, and where the run leaves the points of the instance.
    """
    if not isinstance(worst, WorstCase):
        raise TypeError(f"replay takes what worst_case returns, not {worst!r}")
    setting, instance = worst.setting, worst.instance
    if setting.workers != 1 or setting.steps > MAX_STEPS:
        raise ValueError(
            f"only one worker and at most {MAX_STEPS} steps are replayed, not workers="
            f"{setting.workers} and steps={setting.steps}: ask for a smaller worst case"
        )
    problem = StoredFunction(instance.x, instance.g[0], instance.f[0])
    compressor = StoredCompressor(instance.given[0], instance.sent[0], setting.delta)
    method = setting.engine_method(compressor)
    full = Run(problem, method, Listed(setting.lr), setting.steps, metrics=METRICS)
    history = run(full)
    unit = setting.units.of(setting.criterion)
    lengths = np.vecdot(compressor.inputs, compressor.inputs)
    excess = (setting.delta - history["achieved_delta"][:-1, 0]) * lengths
    start = history["loss"] if setting.initial == "f" else history["distance"] ** 2
    return Replay(
        value=criterion(setting, full, history) / unit,
        claimed=worst.value / unit,
        start=float(start[0, 0]),
        violation=violation(setting, instance),
        excess=float(excess.max()) / setting.message_unit**2,
    )


def criterion(setting: Setting, full: Run, history: dict[str, Array]) -> float:
    """The criterion, from a run and its history, which recorded t = 0, ..., N."""
    loss = history["loss"][:, 0]
    if setting.averages:
        return float(full.problem.loss(mean_iterate(full)[None])[0])
    if setting.criterion == "f":
        return float(loss[-1])
    if setting.criterion == "average-f":
        return float(loss.mean())
    if setting.criterion == "x":
        return float(history["distance"][-1, 0] ** 2)
    return float(history["gradient_squared"][:, 0].min())


def mean_iterate(full: Run) -> Array:
    """The mean of x_0, ..., x_N of the first replicate, (d,); x_t is where a run of t steps ends.

    It takes N runs: for a few steps only.
    """
    ends = [
        run(replace(full, steps=t, record=None))["x_final"][0] for t in range(1, full.steps + 1)
    ]
    start = full.problem.x0(np.random.default_rng(full.seed), 1)[0]  # type: ignore[attr-defined]
    mean: Array = np.mean([start, *ends], axis=0)
    return mean


def violation(setting: Setting, instance: Instance) -> float:
    """The largest violation of an interpolation condition, in the units in which L = 1.

    Computed from the vectors, not from :mod:`efsgd.convex.pep.conditions`, as a check on these.
    """
    units, L, violations = setting.units, 1.0, [-np.inf]
    x, g, f = instance.x / units.x, instance.g[0] / units.g, instance.f[0] / units.f
    mu = -L if setting.problem == "nonconvex" else setting.mu / setting.L
    if setting.problem == "nonconvex":
        violations += [float(slope @ slope / (2 * L) - v) for slope, v in zip(g, f, strict=True)]
    if setting.problem == "nonsmooth":
        violations += [float(slope @ slope - L**2) for slope in g]
    if setting.knows_minimiser:
        x, g, f = np.vstack([x, 0 * x[:1]]), np.vstack([g, 0 * g[:1]]), np.append(f, 0.0)
    for i in range(len(f)):
        for j in range(len(f)):
            d, step = g[i] - g[j], x[i] - x[j]
            least = f[j] + g[j] @ step
            if setting.problem != "nonsmooth":  # f - mu|x|^2/2 is convex and (L - mu)-smooth
                least += mu / 2 * step @ step
                least += (d - mu * step) @ (d - mu * step) / (2 * (L - mu))
            violations.append(float(least - f[i]))
    return max(violations)


@dataclass(frozen=True)
class Listed(Schedule):
    """The step sizes of a tuple, one a step."""

    values: tuple[float, ...]

    def __call__(self, t: int) -> float:
        """The step size of step t."""
        return self.values[t]


@dataclass(frozen=True, eq=False)
class StoredFunction:
    """A function defined at its points only; ValueError anywhere else. x* = 0 and f* = 0."""

    points: Array  # (P, d)
    g: Array  # (P, d) gradients
    f: Array  # (P,) values

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
        """The value at each row of x, (R, d) -> (R,)."""
        return self.f[nearest(x, self.points, "the function")]

    def gradient(self, x: Array, rng: Generator) -> Array:
        """The gradient at each row of x, (R, d) -> (R, d)."""
        return self.g[nearest(x, self.points, "the function")]

    def measure(self, x: Array) -> dict[str, Array]:
        """ "gradient_squared": |grad f(x)|^2, (R,)."""
        g = self.g[nearest(x, self.points, "the function")]
        return {"gradient_squared": np.vecdot(g, g)}
