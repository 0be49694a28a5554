"""Tables of plain text that follow the width of the terminal.

A table whose words would have to be cut becomes one block a row instead.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import click

NO_TERMINAL = 100  # columns for a file or a pipe
NARROWEST, WIDEST = 40, 140  # columns that lines are made for
UNCUT = 48  # letters of a word, such as the name of a file, that a column always has room for
GAP = "  "  # between two columns


def columns(no_terminal: int = NO_TERMINAL) -> int:
    """The columns of the terminal, or ``no_terminal``."""
    size = shutil.get_terminal_size((no_terminal, 24))
    return min(max(size.columns, NARROWEST), max(WIDEST, no_terminal))


@dataclass(frozen=True)
class Layout:
    """How wide each column of a table is; ``widths`` is None where there is too little room."""

    heads: tuple[str, ...]
    widths: tuple[int, ...] | None
    room: int

    @classmethod
    def of(
        cls, heads: Sequence[str], rows: Sequence[Sequence[str]], room: int | None = None
    ) -> Layout:
        """The layout for these rows in ``room`` columns, by default those of the terminal."""
        room = columns() if room is None else room
        cells = list(zip(heads, *rows, strict=True))
        return cls(tuple(heads), _widths(cells, room - len(GAP) * (len(heads) - 1)), room)

    def head(self) -> str:
        """The line of the heads, empty where each row is a block that names them."""
        return self._joined(self.heads) if self.widths else ""

    def lines(self, row: Sequence[str], colour: str | None = None) -> list[str]:
        """The lines of a row; ``colour`` is that of its first cell."""
        if self.widths is None:
            return self._block(row, colour)
        cells = [wrapped(text, room=w) for text, w in zip(row, self.widths, strict=True)]
        return [
            self._joined([cell[i] if i < len(cell) else "" for cell in cells], colour)
            for i in range(max(map(len, cells)))
        ]

    def _joined(self, cells: Sequence[str], colour: str | None = None) -> str:
        padded = [f"{cell:<{w}}" for cell, w in zip(cells, self.widths or (), strict=True)]
        padded[0] = click.style(padded[0], fg=colour) if colour else padded[0]
        return GAP.join(padded).rstrip()

    def _block(self, row: Sequence[str], colour: str | None) -> list[str]:
        """The first cell on a line of its own, below it the others with their heads."""
        first = wrapped(row[0], room=self.room)
        lines = [click.style(line, fg=colour) if colour else line for line in first]
        margin = max(map(len, self.heads[1:])) + 2 * len(GAP)
        for head, cell in zip(self.heads[1:], row[1:], strict=True):
            start = f"{GAP}{head}".ljust(margin)
            head_line, *rest = wrapped(cell, room=self.room - margin)
            lines += [start + head_line, *(" " * margin + line for line in rest)]
        return lines


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], room: int | None = None) -> str:
    """The rows under their heads, as text without a line break at its end."""
    layout = Layout.of(heads, rows, room)
    lines = [line for row in rows for line in layout.lines(row)]
    return "\n".join([layout.head(), *lines] if layout.widths else lines)


def wrapped(text: str, *, indent: str = "", room: int | None = None) -> list[str]:
    """The lines of a text, at least one, all but the first indented.

    Names of files and numbers are not broken at hyphens; a word that is too long is broken.
    """
    width = columns() if room is None else room
    return textwrap.wrap(text, width, subsequent_indent=indent, break_on_hyphens=False) or [""]


def _widths(cells: Sequence[Sequence[str]], room: int) -> tuple[int, ...] | None:
    """The width of each column, where ``cells`` has the texts of one column after the other.

    Those that use the least of their width give way first, so that rows take few lines; None where
    even the longest words do not fit side by side.
    """
    widths = [max(1, *map(len, column)) for column in cells]
    means = [sum(map(len, column)) / len(column) for column in cells]
    least = [_longest_word(column) for column in cells]
    while sum(widths) > room:
        wide = [i for i, width in enumerate(widths) if width > least[i]]
        if not wide:
            return None
        fill = {i: min(1.0, round(means[i] / widths[i], 1)) for i in wide}
        widths[min(wide, key=lambda i: (fill[i], -widths[i]))] -= 1
    return tuple(widths)


def _longest_word(texts: Sequence[str]) -> int:
    """The length of the longest word, but at most UNCUT."""
    return min(UNCUT, max((len(word) for text in texts for word in text.split()), default=1))
