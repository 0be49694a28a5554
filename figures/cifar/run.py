"""Train the runs of a grid, one after the other or in worker processes; each leaves its own file.

Whatever is finished is kept, and what is interrupted goes on from its checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from efsgd.figures.cifar.grid import SIZES, Choice, Entry, Source, is_name, pairs
from efsgd.figures.cifar.progress import Progress, Show, progress
from efsgd.figures.processes.crew import Call, workers
from efsgd.figures.processes.failures import failure
from efsgd.figures.processes.worker import tell
from efsgd.results import place

if TYPE_CHECKING:
    from efsgd.deep.data.dataset import Dataset
    from efsgd.deep.training.execution import Form
    from efsgd.deep.training.interruptions import Check

SAVING = 60.0  # seconds that a worker has for the end of its step and its checkpoint


@dataclass(frozen=True)
class Machine:
    """Where and how runs are trained, which is no part of their specs."""

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
        from efsgd.deep.training.execution import checked_execution

        checked_execution(self.device, precision, self.compile, self.graph, self.form)

    @property
    def elsewhere(self) -> bool:
        """Whether the device is a GPU that this machine does not have."""
        import torch

        try:
            device = torch.device(self.device)
        except RuntimeError:  # no device at all
            return False
        return device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()

    @property
    def workers(self) -> int:
        """How many processes; a GPU serves one at a time, and so do trainings side by side."""
        return self.jobs if self.device == "cpu" and self.parallel == 1 else 1


@dataclass
class Datasets:
    """Loads data sets from a directory and keeps the last one, as they are large."""

    directory: Path | None
    loaded: dict[str, Dataset] = field(default_factory=dict)

    def get(self, location: str) -> Dataset:
        """The data of that name or file; ValueError or OSError in one sentence if there is none."""
        from efsgd.deep.data.dataset import load

        if location not in self.loaded:
            self.loaded = {location: load(location, self.directory)}
        return self.loaded[location]

    def source(self, location: str) -> Source:
        """Name and sizes of the data; those of CIFAR are known without loading it."""
        if location in SIZES:
            train, test = SIZES[location]
            return Source(location, name=location, train=train, test=test)
        dataset = self.get(location)
        return Source(
            location, name=dataset.name, train=len(dataset.y_train), test=len(dataset.y_test)
        )

    def sources(self, choice: Choice, draw: bool = False) -> dict[str, Source]:
        """The data of a grid by what the options call them; a file is read for its name and sizes.

        To draw, the name is enough: it finds the results where the images are not on this machine.
        """
        locations = dict.fromkeys(location for _, location in pairs(choice))
        if not draw:
            return {location: self.source(location) for location in locations}
        return {
            location: Source.named(location) if is_name(location) else self.source(location)
            for location in locations
        }


def train_all(todo: Sequence[Entry], machine: Machine, datasets: Datasets) -> None:
    """Train these runs and save each result.

    A failure names its run in one sentence: ValueError, but RuntimeError where it is a bug. After
    Ctrl-C the KeyboardInterrupt says what is kept.
    """
    for location in dict.fromkeys(entry.source.location for entry in todo):
        datasets.get(location)  # fails before any training, and downloads in one process only
    if machine.again:
        _remove_results(todo, machine.directory)
    with progress(todo) as show:
        if machine.parallel > 1:
            _train_side_by_side(todo, machine, datasets, show)
        elif min(machine.workers, len(todo)) <= 1:
            _train_one_by_one(todo, machine, datasets, show)
        else:
            _train_by_workers(todo, machine, show)


def _remove_results(todo: Sequence[Entry], directory: Path) -> None:
    """Remove results and checkpoints, so that after Ctrl-C it is known what is still to be done."""
    from efsgd.deep.training import checkpoint

    for entry in todo:
        place(entry.training, directory).unlink(missing_ok=True)
        checkpoint.finish(checkpoint.place(entry.training, directory))


def _train(
    entry: Entry, machine: Machine, datasets: Datasets, show: Show, check: Check | None = None
) -> None:
    """Train one run; a failure names it in one sentence."""
    from efsgd.deep.training.obtain import run_training

    def report(event: Any) -> None:
        if hasattr(event, "row"):  # the end of an epoch
            show(
                Progress(
                    entry,
                    epoch=event.epoch,
                    loss=event.row["running_loss"],
                    accuracy=event.row["test_accuracy"],
                    speed=event.row["images_per_second"],
                )
            )

    try:
        run_training(
            entry.training,
            datasets.get(entry.source.location),
            machine.directory,
            device=machine.device,
            compile=machine.compile,
            graph=machine.graph,
            form=machine.form,
            report=report,
            check=check,
        )
    except Exception as error:
        raise failure(entry.name, error) from error
    show(Progress(entry))


def _train_one_by_one(
    todo: Sequence[Entry], machine: Machine, datasets: Datasets, show: Show
) -> None:
    for done, entry in enumerate(todo):
        try:
            _train(entry, machine, datasets, show)
        except KeyboardInterrupt:
            raise _interrupted(done, todo, machine) from None


def _train_side_by_side(
    todo: Sequence[Entry], machine: Machine, datasets: Datasets, show: Show
) -> None:
    from efsgd.deep.training.concurrent_trainings import at_once

    done = 0

    def task(entry: Entry, check: Check) -> None:
        nonlocal done
        _train(entry, machine, datasets, show, check)
        done += 1

    try:
        at_once([partial(task, entry) for entry in todo], machine.parallel)
    except KeyboardInterrupt:
        raise _interrupted(done, todo, machine) from None


def _train_by_workers(todo: Sequence[Entry], machine: Machine, show: Show) -> None:
    done = 0

    def tick(more: int) -> None:
        nonlocal done
        done += more

    jobs, calls = min(machine.jobs, len(todo)), [Call(entry.name, (entry,)) for entry in todo]
    with workers(jobs, _prepare_worker, machine, patience=SAVING) as crew:
        try:
            crew.call_all(_train_in_worker, calls, tick=tick, hear=show)
        except KeyboardInterrupt:
            raise _interrupted(done, todo, machine) from None


def _interrupted(done: int, todo: Sequence[Entry], machine: Machine) -> KeyboardInterrupt:
    command = "the same command without --again" if machine.again else "the same command"
    return KeyboardInterrupt(
        f"interrupted: {done} of {len(todo)} runs were finished, those under way keep their "
        f"checkpoints in {machine.directory}, and {command} goes on from there"
    )


# -- in a worker ---------------------------------------------------------------------------------

_worker: dict[str, Any] = {}  # what _prepare_worker was called with, and its data sets


def _prepare_worker(machine: Machine) -> None:
    import torch

    torch.set_num_threads(1)
    _worker.update(machine=machine, datasets=Datasets(machine.data_dir))


def _train_in_worker(entry: Entry) -> None:
    _train(entry, _worker["machine"], _worker["datasets"], tell)
