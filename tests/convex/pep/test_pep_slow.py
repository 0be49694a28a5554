"""Worst cases against PEPit, in which methods are written down again, and classes by others.

PEPit 0.5.1 (Goujaud et al., Mathematical Programming Computation 16, 2024). It solves its programme
as a primal one, which is why only an agreement to 1e-5 is asked for. Without this file a mistake in
an interpolation condition that no closed form reaches would pass, as with several workers.
"""

from __future__ import annotations

import math
from typing import Any

import pytest

from efsgd import bounds
from efsgd.convex import worst_case

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # of PEPit and of what it calls
]
MU, DELTA = 0.1, 0.5
Q = math.sqrt(1 - DELTA)
SLOW = (1 - Q) / (1 + Q)
BEST = 2 / (1 + MU) * SLOW


def message(pep: Any, p: Any, delta: float) -> Any:
    """A message c with |c - p|^2 <= (1-delta)|p|^2."""
    from PEPit import Point

    c = Point()
    pep.add_constraint((c - p) ** 2 <= (1 - delta) * p**2)
    return c


def value(pep: Any) -> float:
    import cvxpy

    return float(pep.solve(wrapper="cvxpy", solver=cvxpy.CLARABEL, verbose=0))


def smooth_convex(pep: Any, mu: float = MU) -> Any:
    from PEPit.functions import SmoothStronglyConvexFunction

    return pep.declare_function(SmoothStronglyConvexFunction, L=1.0, mu=mu)


def cgd(pep: Any) -> None:
    """Three steps, f(x_N) - f* from f(x_0) - f* <= 1."""
    f = smooth_convex(pep)
    star, x = f.stationary_point(), pep.set_initial_point()
    pep.set_initial_condition(f(x) - f(star) <= 1)
    for _ in range(3):
        x = x - 0.9 * message(pep, f.gradient(x), DELTA)
    pep.set_performance_metric(f(x) - f(star))


def ef(pep: Any) -> None:
    """Three steps, |x_N - x*|^2 from |x_0 - x*| <= 1."""
    f = smooth_convex(pep)
    star, x = f.stationary_point(), pep.set_initial_point()
    pep.set_initial_condition((x - star) ** 2 <= 1)
    e = 0 * x
    for _ in range(3):
        p = BEST * f.gradient(x) + e
        sent = message(pep, p, DELTA)
        x, e = x - sent, p - sent
    pep.set_performance_metric((x - star) ** 2)


def ef21_convex(pep: Any) -> None:
    """Three steps with mu = 0, the mean of f(x_t) - f*."""
    f = smooth_convex(pep, 0.0)
    star, x = f.stationary_point(), pep.set_initial_point()
    pep.set_initial_condition((x - star) ** 2 <= 1)
    h, total = 0 * x, f(x)
    for _ in range(3):
        h = h + message(pep, f.gradient(x) - h, DELTA)
        x = x - SLOW * h
        total = total + f(x)
    pep.set_performance_metric(total / 4 - f(star))


def econtrol_nonconvex(pep: Any) -> None:
    """Three steps, the least |grad f(x_t)|^2; f - f* >= |grad f|^2/2 at every point."""
    from PEPit import Expression
    from PEPit.functions import SmoothFunction

    f, least, eta = pep.declare_function(SmoothFunction, L=1.0), Expression(), 0.1
    x = pep.set_initial_point()
    pep.set_initial_condition(f(x) - least <= 1)
    e, h = 0 * x, 0 * x
    for t in range(4):
        g = f.gradient(x)
        pep.add_constraint(f(x) - least >= g**2 / 2)
        pep.set_performance_metric(g**2)
        if t < 3:
            h = h + message(pep, eta * e / SLOW + g - h, DELTA)
            x, e = x - SLOW * h, e + SLOW * (g - h)


def sgdm_workers(pep: Any) -> None:
    """EF21-SGDM, two steps of two workers with zeta = .8."""
    parts = [smooth_convex(pep) for _ in range(2)]
    f = (parts[0] + parts[1]) / 2
    star, x = f.stationary_point(), pep.set_initial_point()
    pep.set_initial_condition((x - star) ** 2 <= 1)
    for part in parts:
        pep.add_constraint(part.gradient(star) ** 2 <= 0.8**2)
    v, h = [part.gradient(x) for part in parts], [0 * x, 0 * x]
    for t in range(2):
        if t:
            v = [0.6 * old + 0.4 * part.gradient(x) for old, part in zip(v, parts, strict=True)]
        h = [old + message(pep, new - old, DELTA) for old, new in zip(h, v, strict=True)]
        x = x - BEST * (h[0] + h[1]) / 2
    pep.set_performance_metric(f(x) - f(star))


def nonsmooth_mean(pep: Any) -> None:
    """EF, three steps, slopes up to 1, f at the mean of the iterates."""
    from PEPit.functions import ConvexLipschitzFunction

    f = pep.declare_function(ConvexLipschitzFunction, M=1.0)
    star, x = f.stationary_point(), pep.set_initial_point()
    pep.set_initial_condition((x - star) ** 2 <= 1)
    e, total = 0 * x, x
    for _ in range(3):
        p = 0.5 * f.gradient(x) + e
        sent = message(pep, p, DELTA)
        x, e = x - sent, p - sent
        total = total + x
    pep.set_performance_metric(f(total / 4) - f(star))


def nonsmooth_workers(pep: Any) -> None:
    """EF, two steps of two workers, slopes up to 1.5, zeta = .7, the mean of f(x_t) - f*."""
    from PEPit.functions import ConvexLipschitzFunction

    parts = [pep.declare_function(ConvexLipschitzFunction, M=1.5) for _ in range(2)]
    f = (parts[0] + parts[1]) / 2
    star, x = f.stationary_point(), pep.set_initial_point()
    pep.set_initial_condition((x - star) ** 2 <= 1)
    for part in parts:
        pep.add_constraint(part.gradient(star) ** 2 <= 0.7**2)
    e, total = [0 * x, 0 * x], f(x)
    for _ in range(2):
        p = [0.4 * part.gradient(x) + memory for part, memory in zip(parts, e, strict=True)]
        sent = [message(pep, p_i, DELTA) for p_i in p]
        e = [p_i - c_i for p_i, c_i in zip(p, sent, strict=True)]
        x = x - (sent[0] + sent[1]) / 2
        total = total + f(x)
    pep.set_performance_metric(total / 3 - f(star))


def econtrol_workers(pep: Any) -> None:
    """EControl, two steps of two workers, L = 4, zeta = .5, |x_N - x*|^2 from f(x_0) - f* <= 1."""
    from PEPit.functions import SmoothStronglyConvexFunction

    parts = [pep.declare_function(SmoothStronglyConvexFunction, L=4.0, mu=4 * MU) for _ in range(2)]
    f, lr, eta = (parts[0] + parts[1]) / 2, (0.05, 0.04), 0.2
    star, x = f.stationary_point(), pep.set_initial_point()
    pep.set_initial_condition(f(x) - f(star) <= 1)
    for part in parts:
        pep.add_constraint(part.gradient(star) ** 2 <= 0.5**2)
    e, h = [0 * x, 0 * x], [0 * x, 0 * x]
    for step in lr:
        g = [part.gradient(x) for part in parts]
        for i in range(2):
            h[i] = h[i] + message(pep, eta * e[i] / step + g[i] - h[i], DELTA)
            e[i] = e[i] + step * (g[i] - h[i])
        x = x - step * (h[0] + h[1]) / 2
    pep.set_performance_metric((x - star) ** 2)


CASES: list[tuple[Any, str, dict[str, Any]]] = [
    (cgd, "cgd", {"lr": 0.9, "mu": MU}),
    (ef, "ef", {"lr": BEST, "mu": MU, "criterion": "x", "initial": "x"}),
    (
        ef21_convex,
        "ef21",
        {"lr": SLOW, "problem": "convex", "criterion": "average-f", "initial": "x"},
    ),
    (
        econtrol_nonconvex,
        "econtrol",
        {"lr": SLOW, "problem": "nonconvex", "criterion": "grad", "eta": 0.1},
    ),
    (
        sgdm_workers,
        "ef21-sgdm",
        {
            "steps": 2,
            "lr": BEST,
            "mu": MU,
            "initial": "x",
            "workers": 2,
            "zeta": 0.8,
            "momentum": 0.6,
        },
    ),
    (
        nonsmooth_mean,
        "ef",
        {"lr": 0.5, "problem": "nonsmooth", "criterion": "f-average", "initial": "x"},
    ),
    (
        nonsmooth_workers,
        "ef",
        {
            "steps": 2,
            "lr": 0.4,
            "L": 1.5,
            "problem": "nonsmooth",
            "criterion": "average-f",
            "initial": "x",
            "workers": 2,
            "zeta": 0.7,
        },
    ),
    (
        econtrol_workers,
        "econtrol",
        {
            "steps": 2,
            "lr": (0.05, 0.04),
            "L": 4.0,
            "mu": 4 * MU,
            "criterion": "x",
            "workers": 2,
            "zeta": 0.5,
            "eta": 0.2,
        },
    ),
]


@pytest.mark.parametrize(
    ("written_for_pepit", "method", "arguments"), CASES, ids=[case[0].__name__ for case in CASES]
)
def test_pepit_agrees(written_for_pepit, method, arguments):
    pepit = pytest.importorskip("PEPit")
    pep = pepit.PEP()
    written_for_pepit(pep)
    ours = worst_case(method, **({"steps": 3, "delta": DELTA} | arguments))  # type: ignore[arg-type]
    assert value(pep) == pytest.approx(ours.value, rel=1e-5)


@pytest.mark.parametrize("method", ["ef", "ef21"])
def test_long_runs_are_solved_too(method):
    """f(x_N) - f* falls from 10 to 20 steps, and at last by no more than the rate a step."""
    at_10, at_20 = (
        worst_case(method, steps=steps, lr=BEST, delta=DELTA, mu=MU).value for steps in (10, 20)
    )
    assert bounds.ef_rate(L=1.0, mu=MU, delta=DELTA) ** 10 < at_20 / at_10 < 1
