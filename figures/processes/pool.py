"""Obtain many results, in this process or by a crew of workers, with a bar on a terminal.

The same workers draw pictures afterwards: to start new ones takes longer than to draw a picture.
Each saves its own results, so whatever is finished is kept.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import click

from efsgd.figures.processes.crew import Call, Crew, workers
from efsgd.figures.processes.failures import failure
from efsgd.results import Result, Work, find, load, obtain, place

Task: TypeAlias = tuple[str, Work, Path]  # its name in messages, what to compute, the folder
Tick: TypeAlias = Callable[[int], None]  # called with how many more are done

PATIENCE = 2.0  # seconds before a progress bar appears


def obtain_all(
    works: Mapping[str, Work],
    directory: Path,
    *,
    again: bool = False,
    jobs: int = 1,
    crew: Crew | None = None,
) -> dict[Path, Result]:
    """The result of every work, by its file; equal work is done once, ``jobs`` at a time.

    With a ``crew`` of :func:`workers` these do it, whatever ``jobs`` says.

    A failure names its work in one sentence (:func:`efsgd.figures.processes.failures.failure`).
    After Ctrl-C the KeyboardInterrupt says what is kept.
    """
    by_path = {place(work, directory): (name, work) for name, work in works.items()}
    saved = {} if again else {path: find(work, directory) for path, (_, work) in by_path.items()}
    tasks = [(*by_path[path], directory) for path in by_path if saved.get(path) is None]
    tasks.sort(key=lambda task: -getattr(task[1], "cost", 0))  # the longest first
    with progress(len(tasks)) as tick:
        if crew is not None:
            _compute_by_workers(tasks, crew, tick)
        elif jobs == 1:
            _compute_here(tasks, tick)
        elif tasks:
            with workers(min(jobs, len(tasks))) as crew:
                _compute_by_workers(tasks, crew, tick)
    return {path: saved.get(path) or load(path) for path in by_path}


def _compute(name: str, work: Work, directory: Path) -> None:
    """Compute and save."""
    try:
        obtain(work, directory, again=True)
    except Exception as error:
        raise failure(name, error) from error


def _compute_here(tasks: Sequence[Task], tick: Tick) -> None:
    for done, task in enumerate(tasks):
        try:
            _compute(*task)
        except KeyboardInterrupt:
            raise _interrupted(done, tasks) from None
        tick(1)


def _compute_by_workers(tasks: Sequence[Task], crew: Crew, tick: Tick) -> None:
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        tick(more)

    try:
        crew.call_all(_compute, [Call(task[0], task) for task in tasks], tick=count)
    except KeyboardInterrupt:
        raise _interrupted(done, tasks) from None


def _interrupted(done: int, tasks: Sequence[Task]) -> KeyboardInterrupt:
    _, _, directory = tasks[0]
    return KeyboardInterrupt(
        f"interrupted: {done} of {len(tasks)} new results are kept in {directory}, "
        "and the same command goes on from there"
    )


@contextmanager
def progress(total: int) -> Iterator[Tick]:
    """A bar on stderr, only on a terminal and only after PATIENCE seconds."""
    start, done = time.monotonic(), 0
    bar: Any = None
    with ExitStack() as stack:

        def tick(more: int) -> None:
            nonlocal bar, done
            done += more
            if bar is not None:
                bar.update(more)
            elif sys.stderr.isatty() and time.monotonic() - start > PATIENCE:
                bar = stack.enter_context(
                    click.progressbar(length=total, label="computing", file=sys.stderr)
                )
                bar.update(done)

        yield tick
