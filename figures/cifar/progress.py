"""How far the training of a grid is: one bar on a terminal, else one line an epoch, on stderr."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

import click

from efsgd.figures.cifar.grid import Entry

# Columns of the terminal; a bar that wraps would leave a row behind at each update.
BAR = 8  # the bar itself
BAR_AND_LABELS = BAR + 38  # label, bar, percent and time left
LEAST_FOR_NUMBERS = 30  # with less room there are lines instead of a bar


class Progress(NamedTuple):
    """An epoch of a run is over or, without an epoch, the run itself."""

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


Show: TypeAlias = Callable[[Progress], None]


@contextmanager
def progress(todo: Sequence[Entry]) -> Iterator[Show]:
    """A function to call with the progress of these runs; it shows it."""
    room = shutil.get_terminal_size().columns - BAR_AND_LABELS
    if not sys.stderr.isatty() or room < LEAST_FOR_NUMBERS:
        yield _line
        return
    counted = dict.fromkeys(todo, 0)  # epochs that the bar has counted
    total, finished = sum(entry.training.epochs for entry in todo), 0
    progress_bar: Any = click.progressbar(
        length=total,
        file=sys.stderr,
        width=BAR,
        item_show_func=lambda last: f"{last.numbers}, {last.entry.name}"[:room] if last else "",
    )
    with progress_bar as bar:
        bar.label = f"run 1 of {len(todo)}"

        def show(now: Progress) -> None:
            nonlocal finished
            epochs = now.entry.training.epochs if now.epoch is None else now.epoch
            finished += now.epoch is None
            bar.label = f"run {min(finished + 1, len(todo))} of {len(todo)}"
            bar.update(epochs - counted[now.entry], now if now.epoch else bar.current_item)
            counted[now.entry] = epochs

        yield show


def _line(now: Progress) -> None:
    if now.epoch is not None:
        click.echo(str(now), err=True)
