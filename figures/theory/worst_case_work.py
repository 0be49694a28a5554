"""The work of the picture worst-case, and the closed forms that its results are compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd import bounds
from efsgd.arrays import Array
from efsgd.bounds import rates
from efsgd.figures.make import Works
from efsgd.figures.theory.common import F0, METHODS, L, R, best_rate, best_step
from efsgd.results import Work

if TYPE_CHECKING:
    from efsgd.convex.pep.setting import Class, Criterion, Initial, Name

MU = 0.1
DELTAS = (0.5, 0.9)
FEEDBACK: tuple[Name, ...] = ("ef", "ef21")
COMPRESSED: tuple[Name, ...] = ("cgd", *FEEDBACK)
STEPS = (1, 2, 3, 4, 5, 6, 8, 10)
PROBLEMS: dict[Class, tuple[Criterion, Initial, float]] = {  # and mu
    "strongly-convex": ("f", "f", MU),
    "convex": ("f", "x", 0.0),
    "nonconvex": ("grad", "f", 0.0),
}
FACTORS, FACTOR_DELTA, FACTOR_STEPS = (0.5, 1.5), 0.5, (1, 2, 3)  # of the step size, convex f
SLOPE_DELTAS, SLOPE_STEPS, SIGMA = (0.01, 0.1), 5000, 3.0  # of runs along a slope


def slope_key(delta: float) -> str:
    """What the result of a run along a slope is called."""
    return f"slope, {delta}"


def key(problem: str, method: str, delta: float, factor: float = 1.0) -> str:
    """What a result is called; GD has no delta. ``factor`` is that of the step size."""
    name = f"{problem}, {method}" + ("" if method == "gd" else f", {delta}")
    return name + ("" if factor == 1 else f", lr x {factor}")


def step_size(problem: str, method: str, delta: float) -> float:
    """The best step size for a strongly convex f; else 1/L, 1/((1+q)L) or 1/(K L)."""
    if problem == "strongly-convex":
        return best_step(method, mu=MU, delta=delta)
    if method in ("gd", "cgd"):
        return L * float(bounds.cgd_cliff(L=L, delta=1.0 if method == "gd" else delta)) / 2
    return L * float(bounds.noise_free_step(L=L, delta=delta))


def work(quick: bool, seed: int) -> Works:
    """Every problem, method, delta and number of steps; other step sizes; runs along a slope."""
    from efsgd.convex.studies.theorem_two import Steady
    from efsgd.convex.studies.worst_cases import WorstCases

    works: dict[str, Work] = {}
    for delta in SLOPE_DELTAS:
        T, lr = 1000 if quick else SLOPE_STEPS, float(bounds.noise_free_step(L=L, delta=delta))
        works[slope_key(delta)] = Steady((1 - delta) ** 0.5, T, T, lr, L=L, sigma=SIGMA)
    for method in COMPRESSED:
        for factor in FACTORS:
            lr = factor * step_size("convex", method, FACTOR_DELTA)
            works[key("convex", method, FACTOR_DELTA, factor)] = WorstCases(
                method=method,
                settings=tuple((N, lr, 0.0) for N in FACTOR_STEPS),
                delta=FACTOR_DELTA,
                problem="convex",
                initial="x",
            )
    for problem, (criterion, initial, mu) in PROBLEMS.items():
        for method in METHODS:
            for delta in DELTAS:
                lr = step_size(problem, method, delta)
                works[key(problem, method, delta)] = WorstCases(
                    method=method,
                    settings=tuple((N, lr, 0.0) for N in (STEPS[:3] if quick else STEPS)),
                    delta=None if method == "gd" else delta,
                    mu=mu,
                    problem=problem,
                    criterion=criterion,
                    initial=initial,
                )
    return works


def closed(problem: str, method: str, delta: float, lr: float, N: Array) -> Array | None:
    """The closed form of a worst case, or its lower bound (see EXACT); None where none is known.

    At the step of :func:`step_size`; for convex f of CGD, EF and EF21 at any.
    """
    letters: dict[str, Any] = {"L": L, "N": N} | ({} if method == "gd" else {"delta": delta})
    if problem == "convex":
        if method == "gd":
            return np.asarray(rates.gd_convex(R=R, **letters)) / (L * R**2)
        form = rates.cgd_convex if method == "cgd" else rates.ef_convex
        return np.asarray(form(R=R, lr=lr / L, **letters)) / (L * R**2)
    if method in FEEDBACK:
        return None
    if problem == "strongly-convex":
        return np.asarray(best_rate(method, mu=MU, delta=delta) ** N)
    least = rates.gd_nonconvex if method == "gd" else rates.cgd_nonconvex
    return np.asarray(least(f0=F0, **letters)) / (L * F0)
