"""What the pictures of the theory share: how methods look, and verdicts about many worst cases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd.bounds import rates
from efsgd.figures.claims.extremes import worse
from efsgd.figures.claims.verdicts import Verdict, observation
from efsgd.figures.drawing import style
from efsgd.results import Result

if TYPE_CHECKING:
    from collections.abc import Iterable

    from efsgd.convex.lyapunov.one_step import Name

# Results are for L = R = f0 = 1. Formulas are evaluated in these units and scaled back, which the
# worst cases allow exactly, so that a wrong power of L, R or f0 shows.
L, R, F0 = 2.0, 3.0, 5.0
ROUNDED = 1 + 1e-12  # what a share may be that is at most 1
METHODS: tuple[Name, ...] = ("gd", "cgd", "ef", "ef21")
NAMES = {"gd": "GD, no compression", "cgd": "CGD, no feedback", "ef": "EF", "ef21": "EF21"}
LOOKS: dict[str, tuple[str, Any, str]] = {  # colour, line, marker, as in all pictures
    "gd": style.METHODS["SGD"],
    "cgd": style.METHODS["compressed SGD"],
    "ef": style.METHODS["EF"],
    "ef21": style.METHODS["EF21"],
}


def observe_error(text: str, results: Iterable[Result]) -> Verdict:
    """How far the worst cases may be from exact, relative to the value or to 1e-2 if that is more.

    That is the distance of the dual value from the value of an instance. It is no claim, as
    :func:`efsgd.convex.worst_case` gives no value that may be off by more than 1e-5.
    """
    errors = [np.ravel(r["error"] / np.maximum(r["value"], 1e-2)) for r in results]
    every = np.concatenate(errors)
    text = f"{text}: what may be off of any of {every.size} worst cases, relatively"
    return observation(text, "dual value and instance compared", f"{worse(0, every):.2g}")


def best_step(method: str, *, mu: float, delta: float) -> float:
    """The best step size of a method for L = 1, in closed form; that of GD has no delta."""
    return L * float(getattr(rates, f"{method}_step")(**_letters(method, mu, delta)))


def best_rate(method: str, *, mu: float, delta: float) -> float:
    """The rate at :func:`best_step`, in closed form."""
    return float(getattr(rates, f"{method}_rate")(**_letters(method, mu, delta)))


def _letters(method: str, mu: float, delta: float) -> dict[str, float]:
    return {"L": L, "mu": L * mu} | ({} if method == "gd" else {"delta": delta})
