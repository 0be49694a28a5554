"""Performance estimation: the worst function and compressor for N steps of a method, exactly.

A message is any c with |c-p|^2 <= (1-delta)|p|^2, and a function enters through its interpolation
conditions at the points of the run, so that the worst case over all of them is a semidefinite
programme (Drori and Teboulle, arXiv 1206.3209; Taylor, Hendrickx, Glineur, arXiv 1502.05666).
:mod:`efsgd.convex.pep.dual` solves its dual and checks the solution, and :func:`replay` runs the
method on the instance that attains it.
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
    """The worst case of a method after ``steps`` steps of size ``lr`` (a number, or one a step).

    It is taken over all f of the class ``problem`` (L-smooth, with mu for "strongly-convex";
    "nonsmooth": convex and L-Lipschitz), all compressors with ``delta`` (arXiv
    1901.09847, Assumption A; they may change with time) and all x_0 with f(x_0) - f* <= 1
    (``initial`` "f") or |x_0 - x*| <= 1 ("x"). ``criterion``: "f", f(x_N) - f*; "x", |x_N - x*|^2;
    "grad", min over 0 <= t <= N of |grad f(x_t)|^2; "average-f", the mean of f(x_t) - f* over the
    same t; "f-average", f - f* at the mean of x_0, ..., x_N. With several workers f is the mean of
    f_i of the class, each with its own compressor, and |grad f_i(x*)| <= zeta. Gradients are full,
    the methods those of :mod:`efsgd.methods`.

    Raises ValueError for arguments out of range, RuntimeError where there is no finite worst case
    or the solution is not accurate.
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
    return _estimate(setting)


def _estimate(setting: Setting) -> WorstCase:
    """The worst case of a setting, in the user's units."""
    began = time.perf_counter()
    run = paths(setting)
    constraints = conditions(setting, run)
    solution = solve(constraints)
    unit = setting.units.of(setting.criterion)
    multipliers = (unit * solution.y / constraints.units).tolist()
    return WorstCase(
        value=unit * solution.value,
        multipliers=dict(zip(constraints.names, multipliers, strict=True)),
        residuals=solution.residuals,
        instance=instance(setting, run, solution),
        setting=setting,
        seconds=time.perf_counter() - began,
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
