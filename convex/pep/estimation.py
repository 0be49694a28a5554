"""Worst cases by performance estimation: the worst function and compressor for N steps, exactly.

A compressor is any vector c with |c-p|^2 <= (1-delta)|p|^2, a function is what its interpolation
conditions say, and the worst case over all of them is a semidefinite programme (Drori and Teboulle,
arXiv 1206.3209; Taylor, Hendrickx, Glineur, arXiv 1502.05666). Its dual is solved, its solution is
checked (:mod:`efsgd.convex.pep.dual`), and :func:`replay` runs the real method on what it found.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from efsgd.checks import scalar
from efsgd.convex.pep.conditions import conditions
from efsgd.convex.pep.dual import Residuals, solve
from efsgd.convex.pep.engine_check import Replay, replay
from efsgd.convex.pep.instance import Instance, WorstCase, instance
from efsgd.convex.pep.paths import paths
from efsgd.convex.pep.setting import Class, Criterion, Initial, Name, Setting, step_sizes

__all__ = ["Instance", "Replay", "Residuals", "Setting", "WorstCase", "replay", "worst_case"]


def worst_case(
    method: Name,
    *,
    steps: int,
    lr: float | Sequence[float],
    delta: float | None = None,
    L: float = 1.0,
    mu: float = 0.0,
    problem: Class = "strongly-convex",
    criterion: Criterion = "f",
    initial: Initial = "f",
    workers: int = 1,
    zeta: float = 0.0,
    momentum: float | None = None,
    eta: float | None = None,
) -> WorstCase:
    """The worst case of a method after ``steps`` steps of length ``lr`` (a number, or one a step).

    Over all f of the class (L-smooth, and mu-strongly convex or so; "nonsmooth": convex, L bounds
    the subgradients), all compressors with ``delta`` (arXiv 1901.09847, Assumption A; they may
    change with time) and all x_0 with f(x_0) - f* <= 1 or |x_0 - x*| <= 1. ``criterion``: f(x_N) -
    f*, |x_N - x*|^2, min_{0<=t<=N} |grad f(x_t)|^2, or the mean of f(x_t) - f* over 0 <= t <= N.
    With several workers f is the mean of f_i of the class, each with a compressor of its own, and
    |grad f_i(x*)| <= zeta. Full gradients. Methods as in the engine.

    Raises ValueError for what cannot be asked, RuntimeError where there is no finite worst case or
    the solution is not accurate.
    """
    setting = Setting(
        method=method,
        steps=steps,
        lr=step_sizes(lr, steps),
        delta=_delta(method, delta),
        L=L,
        mu=mu,
        problem=problem,
        criterion=criterion,
        initial=initial,
        workers=workers,
        zeta=zeta,
        momentum=momentum,
        eta=eta,
    )
    return _solved(setting)


def _solved(setting: Setting) -> WorstCase:
    """The worst case of a setting."""
    before = time.perf_counter()
    basis = paths(setting)
    rows = conditions(setting, basis)
    found = solve(rows)
    unit = setting.units.of(setting.criterion)
    return WorstCase(
        value=unit * found.value,
        multipliers=dict(zip(rows.names, (unit * found.y / rows.units).tolist(), strict=True)),
        residuals=found.residuals,
        instance=instance(setting, basis, found),
        setting=setting,
        seconds=time.perf_counter() - before,
    )


def _delta(method: str, delta: float | None) -> float:
    """The delta of the compressor; gradient descent has none."""
    if isinstance(method, str) and method == "gd":
        if delta is not None and scalar("delta", delta) != 1:
            raise ValueError(f"'gd' sends the gradient as it is: leave delta={delta} out")
        return 1.0
    if delta is None:
        raise ValueError(f"{method!r} needs the delta of its compressor: give delta=...")
    return delta
