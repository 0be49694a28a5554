"""Train the runs of a grid, one after the other or in worker processes; each leaves its own file.

Whatever is finished is kept, and what is interrupted goes on from its checkpoint.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from os import _exit
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from efsgd.figures import pool
from efsgd.figures.cifar.grid import SIZES, Entry, Source
from efsgd.figures.cifar.progress import News, Show, progress
from efsgd.results import place

if TYPE_CHECKING:
    from efsgd.deep.data.dataset import Dataset
    from efsgd.deep.training.interruptions import Check
    from efsgd.deep.training.machine import Form

Tell: TypeAlias = Callable[[News], None]


@dataclass(frozen=True)
class Machine:
    """Where and how runs are trained; no part of what they are."""

    directory: Path  # of the results
    data_dir: Path | None = None
    device: str = "cpu"
    compile: bool = False
    graph: bool | None = None
    form: Form | None = None
    jobs: int = 1
    parallel: int = 1  # trainings at once in one process
    again: bool = False

    def check(self, precision: str) -> None:
        """Raise ValueError for a device or an option that this machine does not have."""
        from efsgd.deep.training.machine import usable

        usable(self.device, precision, self.compile, self.graph, self.form)

    @property
    def workers(self) -> int:
        """How many processes; a GPU serves one at a time, and so do trainings side by side."""
        return self.jobs if self.device == "cpu" and self.parallel == 1 else 1


@dataclass
class Shelf:
    """The data sets that were loaded, each once."""

    directory: Path | None
    loaded: dict[str, Dataset] = field(default_factory=dict)

    def get(self, what: str) -> Dataset:
        """The data of that name or file; ValueError or OSError in one sentence if there is none."""
        from efsgd.deep.data.dataset import load

        if what not in self.loaded:
            self.loaded = {what: load(what, self.directory)}  # the last one only: they are large
        return self.loaded[what]

    def source(self, what: str) -> Source:
        """What a grid has to know of it; CIFAR is known without being there."""
        if what in SIZES:
            return Source(what, what, *SIZES[what])
        dataset = self.get(what)
        return Source(what, dataset.name, len(dataset.y_train), len(dataset.y_test))


def train_all(todo: Sequence[Entry], machine: Machine, shelf: Shelf) -> None:
    """Train these runs and save each result.

    A failure names its run in one sentence: ValueError, but RuntimeError where it is a bug. After
    Ctrl-C the KeyboardInterrupt says what is kept.
    """
    for what in dict.fromkeys(entry.source.what for entry in todo):
        shelf.get(what)  # what cannot be loaded is told now, and downloaded by one process
    if machine.again:
        _forget(todo, machine.directory)
    with progress(todo) as show:
        if machine.parallel > 1:
            _side_by_side(todo, machine, shelf, show)
        elif min(machine.workers, len(todo)) <= 1:
            _here(todo, machine, shelf, show)
        else:
            _spread(todo, machine, show)


def _forget(todo: Sequence[Entry], directory: Path) -> None:
    """Remove results and checkpoints, so that after Ctrl-C it is known what is still to be done."""
    from efsgd.deep.training import checkpoint

    for entry in todo:
        place(entry.training, directory).unlink(missing_ok=True)
        checkpoint.finish(checkpoint.place(entry.training, directory))


def _train(
    entry: Entry, machine: Machine, shelf: Shelf, tell: Tell, check: Check | None = None
) -> None:
    """Train one run; any failure becomes one sentence that survives the way to the parent."""
    from efsgd.deep.training.obtain import run_training

    def report(event: Any) -> None:
        if hasattr(event, "row"):  # the end of an epoch
            row = event.row
            speed = row["images_per_second"]
            tell(News(entry, event.epoch, row["running_loss"], row["test_accuracy"], speed))

    try:
        run_training(
            *(entry.training, shelf.get(entry.source.what), machine.directory),
            device=machine.device,
            compile=machine.compile,
            graph=machine.graph,
            form=machine.form,
            report=report,
            check=check,
        )
    except Exception as error:
        kind = ValueError if isinstance(error, pool.EXPECTED) else RuntimeError
        reason = " ".join(str(error).split())
        raise kind(f"{entry.name} failed: {type(error).__name__}: {reason}") from error
    tell(News(entry))


def _here(todo: Sequence[Entry], machine: Machine, shelf: Shelf, show: Show) -> None:
    for done, entry in enumerate(todo):
        try:
            _train(entry, machine, shelf, show)
        except KeyboardInterrupt:
            raise _interrupted(done, todo, machine) from None


def _side_by_side(todo: Sequence[Entry], machine: Machine, shelf: Shelf, show: Show) -> None:
    from efsgd.deep.training.parallel import at_once

    done = 0

    def task(entry: Entry, check: Check) -> None:
        nonlocal done
        _train(entry, machine, shelf, show, check)
        done += 1

    try:
        at_once([partial(task, entry) for entry in todo], machine.parallel)
    except KeyboardInterrupt:
        raise _interrupted(done, todo, machine) from None


def _spread(todo: Sequence[Entry], machine: Machine, show: Show) -> None:
    done = 0
    news: Any = get_context("spawn").Queue()

    def tick(more: int) -> None:
        nonlocal done
        _pass_on(news, show)
        done += more

    with pool.workers(min(machine.jobs, len(todo)), _prepare, news, machine) as crew:
        try:
            pool.each(crew, _work, [(entry,) for entry in todo], tick)
            _pass_on(news, show)  # what came after the last result
        except KeyboardInterrupt:
            raise _interrupted(done, todo, machine) from None


def _pass_on(news: Any, show: Show) -> None:
    while True:
        try:
            show(news.get_nowait())
        except queue.Empty:
            return


def _interrupted(done: int, todo: Sequence[Entry], machine: Machine) -> KeyboardInterrupt:
    command = "the same command without --again" if machine.again else "the same command"
    return KeyboardInterrupt(
        f"interrupted: {done} of {len(todo)} runs were finished, those under way keep their "
        f"checkpoints in {machine.directory}, and {command} goes on from there"
    )


# -- in a worker ---------------------------------------------------------------------------------

_worker: dict[str, Any] = {}  # what this process was started with


def _prepare(news: Any, machine: Machine) -> None:
    import torch

    pool.start_worker()
    torch.set_num_threads(1)
    _worker.update(news=news, machine=machine, shelf=Shelf(machine.data_dir))


def _work(entry: Entry) -> None:
    try:
        _train(entry, _worker["machine"], _worker["shelf"], _worker["news"].put)
    except (KeyboardInterrupt, SystemExit):  # terminated, and no further run is wanted
        _exit(1)
