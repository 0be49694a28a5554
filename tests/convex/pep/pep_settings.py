"""What the tests of worst cases share: the methods, step sizes and further parameters."""

from __future__ import annotations

import math
from typing import get_args

from efsgd import bounds
from efsgd.convex.pep.setting import Name

MU = 0.1
METHODS = get_args(Name)


def q_of(delta: float) -> float:
    """sqrt(1-delta)."""
    return math.sqrt(1 - delta)


def best_step(method: str, delta: float = 1.0) -> float:
    """The optimal step size for L = 1 and mu = MU."""
    if method == "gd":
        return bounds.gd_step(L=1.0, mu=MU)
    rule = bounds.cgd_step if method == "cgd" else bounds.ef_step
    return rule(L=1.0, mu=MU, delta=delta)


def slow_step(delta: float) -> float:
    """1/(K L) with L = 1."""
    return (1 - q_of(delta)) / (1 + q_of(delta))


def options(method: str, delta: float) -> dict[str, float]:
    """The arguments of the method beside its step size."""
    if method == "gd":
        return {}
    if method == "ef21-sgdm":
        return {"delta": delta, "momentum": 0.5}
    if method == "econtrol":
        return {"delta": delta, "eta": 0.5 * slow_step(delta)}
    return {"delta": delta}
