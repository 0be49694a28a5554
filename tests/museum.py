"""What the halls of the bug museum share; docs/bug-museum.md tells their stories."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from project import ROOT

Shown = Callable[..., Any]
Check = Callable[[Shown], None]


@dataclass(frozen=True)
class Exhibit:
    """A bug on a few lines, ours, and one check that passes on ours and fails on the bug."""

    title: str
    bug: Shown
    ours: Shown
    check: Check

    def passes(self) -> None:
        self.check(self.ours)

    def fails(self) -> None:
        with pytest.raises(AssertionError):
            self.check(self.bug)


class Hall:
    """The exhibits of one test file, in the order in which they stand there."""

    def __init__(self, file: str) -> None:
        self.file = Path(file).name
        self.exhibits: list[Exhibit] = []

    def exhibit(self, title: str, bug: Shown, ours: Shown) -> Callable[[Check], Check]:
        def add(check: Check) -> Check:
            self.exhibits.append(Exhibit(title, bug, ours, check))
            return check

        return add

    @property
    def titles(self) -> list[str]:
        return [exhibit.title for exhibit in self.exhibits]

    def each(self, test: Callable[[Exhibit], None]) -> Any:
        """Run a test for every exhibit so far."""
        return pytest.mark.parametrize("exhibit", self.exhibits, ids=self.titles)(test)

    def stories(self) -> list[str]:
        """The titles that the page tells of, in the part whose heading names the file."""
        text = (ROOT / "docs" / "bug-museum.md").read_text(encoding="utf-8")
        (part,) = [p for p in text.split("\n## ") if f"tests/{self.file}" in p.split("\n")[0]]
        return [title.replace("\\|", "|") for title in re.findall(r"\*\*(.+?)\*\*", part)]
