"""Arguments and solutions that are refused, with what the error says.

Without this file a solution that is not optimal could be returned as a worst case, and arguments
out of range could end in the solver instead of in a sentence.
"""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pep_settings import MU

from efsgd.convex import worst_case
from efsgd.convex.pep import dual
from efsgd.convex.pep.setting import Setting, step_sizes

VALID: dict[str, Any] = {"method": "ef", "steps": 2, "lr": 0.3, "delta": 0.5, "mu": MU}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "adam"}, "method must be one of gd, cgd"),
        ({"problem": "quadratic"}, "problem must be one of strongly-convex"),
        ({"criterion": "loss"}, "criterion must be one of f, x, grad, average-f, f-average"),
        ({"initial": "grad"}, "initial must be one of f, x"),
        ({"steps": 0}, "steps must be a whole number"),
        ({"steps": 2.5}, "steps must be a whole number"),
        ({"steps": 61}, "is the most that takes a minute"),
        ({"lr": 0.0}, "lr must be positive"),
        ({"lr": -1}, "lr must be positive"),
        ({"lr": math.nan}, "lr must be positive"),
        ({"lr": "0.3"}, "lr must be a number or one number a step"),
        ({"lr": True}, "lr must be a number or one number a step"),
        ({"lr": (0.1, 0.2, 0.3)}, "lr names 3 step sizes for 2 steps"),
        ({"lr": (0.1, -0.2)}, "lr must be positive"),
        ({"delta": 0.0}, "delta must be in"),
        ({"delta": 1.5}, "delta must be in"),
        ({"delta": None}, "'ef' needs the delta of its compressor"),
        ({"method": "gd"}, "leave delta=0.5 out"),
        ({"L": 0.0}, "L must be positive"),
        ({"mu": 0.0}, "problem='convex' is mu = 0"),
        ({"mu": 1.0}, "mu must lie in"),
        ({"mu": -0.1}, "mu must lie in"),
        ({"problem": "convex"}, "mu=0.1 is for problem='strongly-convex' only"),
        ({"problem": "nonsmooth"}, "mu=0.1 is for problem='strongly-convex' only"),
        ({"workers": 0}, "workers must be a whole number"),
        ({"zeta": 1.0}, "needs workers=2 or more"),
        ({"workers": 2, "zeta": -1.0}, "zeta must be at least 0"),
        ({"workers": 2, "zeta": math.inf}, "zeta must be at least 0"),
        ({"workers": 2, "problem": "nonconvex", "mu": 0.0}, "needs a convex problem"),
        ({"momentum": 0.9}, "momentum=0.9 is for 'ef21-sgdm' only"),
        ({"eta": 0.1}, "eta=0.1 is for 'econtrol' only"),
        ({"method": "ef21-sgdm"}, "needs momentum"),
        ({"method": "econtrol"}, "needs eta"),
        ({"method": "ef21-sgdm", "momentum": 1.0}, "momentum must lie in"),
        ({"method": "econtrol", "eta": 1.5}, "eta must lie in"),
        ({"problem": "convex", "mu": 0.0}, "take initial='x'"),
        ({"method": np.array([1.0, 2.0])}, "method must be one of gd, cgd"),
        ({"criterion": np.array([1.0, 2.0])}, "criterion must be one of f, x"),
        ({"steps": 10**15}, "steps must be a whole number 1, 2, ..., 64"),
        ({"lr": [[0.1], [0.2, 0.3]]}, "lr must be a number or one number a step"),
        ({"workers": 10**15}, "is the most that takes a minute"),
        ({"lr": np.array(0.1)}, "lr must be a number or one number a step"),
        ({"lr": np.full((2, 2), 0.1)}, "lr must be a number or one number a step"),
        ({"lr": 1e-300}, r"lr must lie in \[1e-12, 1e\+12\] for L = 1, not 1e-300"),
        ({"lr": 1e300}, "lr must lie in"),
        ({"delta": "0.5"}, "delta must be a single number, not '0.5'"),
        ({"delta": np.array([0.1, 0.2])}, "delta must be a single number"),
        ({"method": "gd", "delta": np.array([1.0, 1.0])}, "delta must be a single number"),
        ({"L": None}, "L must be a single number, not None"),
        ({"L": 1j}, "L must be a single number, not 1j"),
        ({"L": 1e200, "lr": 1e-200}, "L must lie in"),
        ({"mu": "0.1"}, "mu must be a single number, not '0.1'"),
        ({"workers": 2, "zeta": None}, "zeta must be a single number, not None"),
        ({"workers": 2, "zeta": True}, "zeta must be a single number, not True"),
        ({"workers": 2, "zeta": 1e300}, "zeta must lie in"),
        ({"method": "ef21-sgdm", "momentum": {}}, "momentum must be a single number"),
        ({"method": "ef21-sgdm", "momentum": "0.5"}, "momentum must be a single number"),
        ({"method": "econtrol", "eta": []}, "eta must be a single number"),
        ({"problem": "nonsmooth", "mu": 0.0, "criterion": "average-f"}, "take initial='x'"),
    ],
)
def test_refused_in_one_sentence(changes, message):
    arguments = VALID | changes
    with pytest.raises(ValueError, match=message):
        worst_case(arguments.pop("method"), **arguments)


def test_an_unbounded_worst_case_says_so():
    with pytest.raises(RuntimeError, match="the worst case is unbounded"):
        worst_case("ef", steps=2, lr=0.3, delta=0.5, problem="nonconvex", criterion="x")


@pytest.mark.parametrize("field", ["x", "z"])
def test_a_solution_that_does_not_hold_is_refused(field, monkeypatch):
    """Multipliers or a Gram matrix that are 1e-4 off, from a solver that says "Solved"."""
    solver = dual._clarabel

    def inaccurate(*arguments):
        raw = solver(*arguments)
        solution = {"status": raw.status, "x": np.array(raw.x), "z": np.array(raw.z)}
        solution[field] = solution[field] * (1 + 1e-4)
        return SimpleNamespace(**solution)

    monkeypatch.setattr(dual, "_clarabel", inaccurate)
    with pytest.raises(RuntimeError, match="from exact, and"):
        worst_case("ef", steps=2, lr=0.3, delta=0.5, mu=MU)


@pytest.mark.parametrize("status", ["AlmostSolved", "MaxIterations", "NumericalError"])
def test_no_other_status_is_accepted(status, monkeypatch):
    monkeypatch.setattr(dual, "_clarabel", lambda *arguments: SimpleNamespace(status=status))
    with pytest.raises(RuntimeError, match=f"with status {status}, not optimal"):
        worst_case("ef", steps=2, lr=0.3, delta=0.5, mu=MU)


def test_step_sizes_are_one_number_a_step():
    assert step_sizes(0.5, 3) == (0.5, 0.5, 0.5)
    assert step_sizes(np.array([1, 2]), 2) == (1.0, 2.0)


def test_the_setting_is_a_value():
    worst = worst_case("gd", steps=1, lr=1, mu=MU)
    assert isinstance(worst.setting, Setting)
    assert hash(worst.setting) == hash(replace(worst.setting))
    assert worst.seconds > 0
