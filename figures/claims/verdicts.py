"""What a figure says about the paper: claims that hold or fail, and observations that do neither.

The kind of a claim picks the comparison: tight ==, an upper bound <=, a lower bound >=, and in
expectation four standard errors.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Relation: TypeAlias = Literal["<", "<=", "==", ">=", ">"]
Row: TypeAlias = dict[str, Any]  # what verdicts.json holds, see Verdict.row

RELATIONS = {
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    ">=": operator.ge,
    ">": operator.gt,
}


@dataclass(frozen=True)
class Verdict:
    """One line of the table. ``passed`` is None for an observation, which never fails."""

    claim: str
    source: str  # section of the paper, or "derived here"
    expected: str
    measured: str
    passed: bool | None

    @property
    def kind(self) -> str:
        """ "claim" or "observation"."""
        return "observation" if self.passed is None else "claim"

    @property
    def word(self) -> str:
        """What the table prints: pass, FAIL or observation."""
        return "observation" if self.passed is None else "pass" if self.passed else "FAIL"

    def row(self, figure: str) -> Row:
        """The row of verdicts.json, but for what judged it."""
        return {
            "figure": figure,
            "kind": self.kind,
            "claim": self.claim,
            "source": self.source,
            "expected": self.expected,
            "measured": self.measured,
            "pass": None if self.passed is None else bool(self.passed),
        }


def claim(text: str, source: str, measured: float, relation: Relation, bound: float) -> Verdict:
    """A claim that a number stands in a relation to a bound; NaN fails."""
    passed = bool(RELATIONS[relation](measured, bound))
    return Verdict(
        claim=text,
        source=source,
        expected=f"{relation} {_number(bound)}",
        measured=_number(measured),
        passed=passed,
    )


def claim_mean(
    text: str, source: str, mean: float, error: float, expected: float, times: float = 4.0
) -> Verdict:
    """A claim in expectation: the mean is within ``times`` standard errors of what is expected."""
    passed = bool(abs(mean - expected) <= times * error)
    return Verdict(
        claim=text,
        source=source,
        expected=f"{_number(expected)} within {times:g} s.e.",
        measured=f"{_number(mean)} +- {_number(error)}",
        passed=passed,
    )


def claim_between(text: str, source: str, measured: float, least: float, most: float) -> Verdict:
    """A claim that a number lies in an interval; NaN fails."""
    passed = bool(least <= measured <= most)
    expected = f"{least:g} to {most:g}"
    return Verdict(text, source, expected, f"{measured:.6g}", passed)


def does_not_hold(text: str, source: str, measured: str, shown: bool) -> Verdict:
    """A claim of the paper that is known false; it passes if a counterexample was ``shown``."""
    return Verdict(
        claim=text,
        source=source,
        expected="does not hold",
        measured=measured,
        passed=bool(shown),
    )


def observation(text: str, source: str, measured: str, expected: str = "-") -> Verdict:
    """Something worth seeing that is no claim; it never changes the exit code."""
    return Verdict(claim=text, source=source, expected=expected, measured=measured, passed=None)


def _number(value: float) -> str:
    if 0 < abs(value - 1) < 1e-6:
        return f"1 {'+' if value > 1 else '-'} {abs(value - 1):.1e}"
    return f"{value:.6g}"
