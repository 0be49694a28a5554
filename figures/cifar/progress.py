"""How far a grid has come: one bar on a terminal, one line an epoch elsewhere, on stderr."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

import click

from efsgd.figures.cifar.grid import Entry

# In columns of the terminal, which a bar that wraps would fill:
BAR = 8  # the bar itself
BESIDE = BAR + 38  # label, bar, percent and time left
LEAST = 30  # for the news; with less there are lines instead


class News(NamedTuple):
    """An epoch of a run is over, or without an epoch the run itself."""

    entry: Entry
    epoch: int | None = None
    loss: float = math.nan  # over the minibatches of the epoch
    accuracy: float = math.nan  # on the test images, a share
    speed: float = math.nan  # images per second

    @property
    def numbers(self) -> str:
        """What was measured."""
        return f"loss {self.loss:.4g}, accuracy {100 * self.accuracy:.2f} %, {self.speed:.0f}/s"

    def __str__(self) -> str:
        epochs = self.entry.training.epochs
        return f"{self.entry.name}: epoch {self.epoch}/{epochs}, {self.numbers}"


Show: TypeAlias = Callable[[News], None]


@contextmanager
def progress(todo: Sequence[Entry]) -> Iterator[Show]:
    """What to call with the news of these runs."""
    room = shutil.get_terminal_size().columns - BESIDE
    if not sys.stderr.isatty() or room < LEAST:
        yield _line
        return
    behind = dict.fromkeys(todo, 0)  # epochs that the bar has counted
    total, finished = sum(entry.training.epochs for entry in todo), 0
    shown: Any = click.progressbar(
        length=total,
        file=sys.stderr,
        width=BAR,
        item_show_func=lambda news: f"{news.numbers}, {news.entry.name}"[:room] if news else "",
    )
    with shown as bar:
        bar.label = f"run 1 of {len(todo)}"

        def show(news: News) -> None:
            nonlocal finished
            at = news.entry.training.epochs if news.epoch is None else news.epoch
            finished += news.epoch is None
            bar.label = f"run {min(finished + 1, len(todo))} of {len(todo)}"
            bar.update(at - behind[news.entry], news if news.epoch else bar.current_item)
            behind[news.entry] = at

        yield show


def _line(news: News) -> None:
    if news.epoch is not None:
        click.echo(str(news), err=True)
