"""Every method with several workers equals its plain loop to 1e-12: iterates, memories, bytes.

Without this file a missing 1/n, a shared memory or a wrong fragment could pass for a method.
"""

from __future__ import annotations

import inspect

import pytest
from plain_workers import PLAIN
from team_cases import CASES, METHODS, Case, faults_of
from team_mutants import MUTANTS

import efsgd
from efsgd.methods import Method


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_run_is_its_plain_loop(case: Case) -> None:
    assert not faults_of(case)


def test_every_method_has_a_plain_loop_and_a_case() -> None:
    exported = {
        name
        for name in efsgd.methods.__all__
        if inspect.isclass(made := getattr(efsgd.methods, name)) and issubclass(made, Method)
    } - {"Method", "Feedback"}
    assert exported == set(PLAIN) == {type(method).__name__ for method, _ in METHODS.values()}


# One mutant, one run that notices it, and what of it differs.
NOTICED = {
    "the sum, not the mean": ("EF; three", "x"),
    "up, not down": ("SGD; alone", "x"),
    "|S| counted as n": ("EF; half", "x"),
    "estimates of the present only": ("EF21; half", "x"),
    "one memory for all workers": ("EF; three", "e"),
    "the server forgets": ("two-sided EF; three", "x"),
    "a loss that its sender does not learn of": ("EF; lost", "e"),
    "the absent go on": ("DIANA; silent", "h"),
    "inner momentum starts anew each round": ("DiLoCo; three", "x"),
    "participation with replacement": ("SGD; half", "x"),
    "what is lost arrives": ("SGD; lost", "x"),
    "one draw for all workers": ("EF, random; three", "x"),
    "downlink applied twice": ("naive downlink; three", "x"),
    "weights ignored": ("EF21; four, weighted", "x"),
    "a tie goes up": ("vote; four, weighted", "x"),
    "bytes of the absent": ("EF; half", "bytes_up"),
    "fragments of other entries": ("fragments, 3 of 4; three", "x"),
    "fragments at another time": ("fragments, 2 of 5; three", "x"),
    "DIANA with alpha = 1": ("DIANA; three", "h"),
    "MARINA with a coin of each worker": ("MARINA; three", "x"),
    "DASHA with a = 0": ("DASHA; three", "h"),
    "gradient EF, the absent keep old units": ("gradient EF, lr drops; half", "x"),
    "PowerSGD, workers count alike": ("PowerSGD; four, weighted", "x"),
    "PowerSGD, a basis for the first worker": ("PowerSGD; three", "x"),
    "PowerSGD starts anew at each step": ("PowerSGD, rank 2; three", "x"),
    "a mean of messages that add comes whole": ("local, PowerSGD; three", "bytes_down"),
}


def test_every_mutant_has_who_notices_it() -> None:
    assert set(NOTICED) == set(MUTANTS)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_broken_engine_is_noticed(mutant: str) -> None:
    name, what = NOTICED[mutant]
    (case,) = (case for case in CASES if str(case) == name)
    with MUTANTS[mutant]():
        broken = faults_of(case)
    assert any(fault.startswith(f"{case}: {what}") for fault in broken), broken
    assert not faults_of(case)
