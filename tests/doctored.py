"""Results with a few numbers changed, for tests that a claim fails on results which break it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from efsgd.results import Result, Work, spec_of

Results = dict[str, Result]
Change = Callable[[Any], Any]  # of a copy of an array, which it may change in place


def computed(work: Work) -> Result:
    """The result of a work, whose arrays cannot be written to."""
    arrays = work.compute()
    for array in arrays.values():
        array.setflags(write=False)
    return Result(arrays, spec_of(work), {}, Path(f"{type(work).__name__.lower()}.npz"))


def doctored(results: Mapping[str, Result], pattern: str, changes: Mapping[str, Change]) -> Results:
    """The results with arrays, by name, of all those changed whose name matches the pattern."""
    matching = {name: result for name, result in results.items() if re.fullmatch(pattern, name)}
    assert matching, f"no result is called {pattern}"
    changed = {}
    for name, result in matching.items():
        arrays = {array: change(result[array].copy()) for array, change in changes.items()}
        assert all(arrays[array].shape == result[array].shape for array in arrays)
        changed[name] = replace(result, arrays=result.arrays | arrays)
    return dict(results) | changed


def put(value: Any, *where: Any) -> Change:
    """Some entries replaced, all of them without an index."""

    def change(array: Any) -> Any:
        array[where] = value
        return array

    return change


def add(value: float, *where: Any) -> Change:
    """Some entries shifted."""

    def change(array: Any) -> Any:
        array[where] += value
        return array

    return change


def scale(factor: float, *where: Any) -> Change:
    """Some entries scaled."""

    def change(array: Any) -> Any:
        array[where] *= factor
        return array

    return change


@dataclass(frozen=True)
class Broken:
    """A claim, and what to do to which array of which result so that it just does not hold.

    ``pattern`` finds its text and no other of the picture; ``implied`` finds the claims that cannot
    hold where this one does not.
    """

    pattern: str
    result: str
    array: str
    change: Change
    implied: tuple[str, ...] = ()

    def doctored(self, results: Mapping[str, Result]) -> Results:
        """The results with this claim broken."""
        return doctored(results, re.escape(self.result), {self.array: self.change})

    def finds(self, claim: str) -> bool:
        """Whether a text is that of the claim."""
        return re.search(self.pattern, claim) is not None
