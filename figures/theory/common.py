"""What the pictures of the theory share: how methods look, and claims about many worst cases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd.arrays import Array
from efsgd.bounds import rates
from efsgd.figures.claims.verdicts import Verdict, claim
from efsgd.figures.drawing import style
from efsgd.results import Result

if TYPE_CHECKING:
    from collections.abc import Iterable

    from efsgd.convex.lyapunov.one_step import Name

METHODS: tuple[Name, ...] = ("gd", "cgd", "ef", "ef21")
NAMES = {"gd": "GD, no compression", "cgd": "CGD, no feedback", "ef": "EF", "ef21": "EF21"}
LOOKS: dict[str, tuple[str, Any, str]] = {  # colour, line, marker, as in all pictures
    "gd": style.METHODS["SGD"],
    "cgd": style.METHODS["compressed SGD"],
    "ef": style.METHODS["EF"],
    "ef21": style.METHODS["EF21"],
}


def worse(so_far: float, values: Array) -> float:
    """The largest of all; NaN if one is, so that no claim passes on it."""
    return float(np.max([so_far, *np.ravel(values)]))


def claim_solved(text: str, results: Iterable[Result]) -> Verdict:
    """The claim that the solver's error is small, relative to the value or to 1e-2 if that is more.

    The error of a worst case is the distance of its dual value from the value of an instance.
    """
    errors = [result["error"] / np.maximum(result["value"], 1e-2) for result in results]
    error = worse(0, np.concatenate(errors))
    source = "dual value and instance compared"
    return claim(f"{text}: what may be off of any", source, error, "<=", 1e-5)


def best_step(method: str, *, mu: float, delta: float) -> float:
    """The best step size of a method for L = 1, in closed form; that of GD has no delta."""
    return float(getattr(rates, f"{method}_step")(**_letters(method, mu, delta)))


def best_rate(method: str, *, mu: float, delta: float) -> float:
    """The rate at :func:`best_step`, in closed form."""
    return float(getattr(rates, f"{method}_rate")(**_letters(method, mu, delta)))


def _letters(method: str, mu: float, delta: float) -> dict[str, float]:
    return {"L": 1.0, "mu": mu} | ({} if method == "gd" else {"delta": delta})
