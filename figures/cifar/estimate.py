"""How long a grid takes on this machine, from ten measured steps of each kind of run.

A kind is a model with its data, a batch size and a method: its runs take equally long.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from efsgd.figures.cifar.grid import Entry
from efsgd.figures.cifar.presets import label
from efsgd.figures.cifar.run import Datasets, Machine
from efsgd.figures.cifar.study import makers, repeatable
from efsgd.results import Result

STEPS = 10
EVALUATED = 500  # images of the measured evaluation
CLASSES = {"cifar10": 10, "cifar100": 100}


def plan(
    entries: Sequence[Entry],
    done: Collection[Entry],
    other_code: Mapping[Entry, Result],
    machine: Machine,
) -> Iterator[str]:
    """The grid, one line a run with its step size, then the hours of each kind and their sum.

    The grid comes before anything is measured. ``other_code`` has the results of those done that
    other code than today's made. Nothing is measured for runs that are done, and nothing without
    the device. Several processes are assumed not to slow each other down; each has one thread, so
    one thread is what is measured for them. What several runs at a time in one process gain is not
    measured.
    """
    width = max((len(entry.name) for entry in entries), default=0)
    for entry in entries:
        state = _done(other_code.get(entry)) if entry in done else "to do"
        yield f"{entry.name:<{width}}  lr {entry.training.lr:<9.4g}  {state}"
    todo = [entry for entry in entries if entry not in done]
    counts = f"{len(entries)} runs: {len(entries) - len(todo)} done, {len(todo)} to do"
    if todo and machine.elsewhere:
        yield f"{counts}; their hours cannot be measured here, without {machine.device}"
        return
    by_kind: dict[str, list[Entry]] = {}
    for entry in todo:
        by_kind.setdefault(_kind(entry), []).append(entry)
    if by_kind:
        yield f"measuring {STEPS} steps of each of {len(by_kind)} kinds of runs"
    workers, total = max(1, min(machine.workers, len(todo))), 0.0
    measured = _measured(by_kind, machine, 1 if workers > 1 else None)
    for number, (kind, each) in enumerate(measured, 1):
        runs = by_kind[kind]
        total += each * len(runs)
        yield f"{number}/{len(by_kind)}  {kind}: {each:.3g} h a run, {len(runs)} to do"
    yield (
        f"{counts} in {total:.3g} h{_at_once(total, workers, min(machine.parallel, len(todo)))} "
        f"on {machine.device} (from {STEPS} measured steps of each kind)"
    )


def _kind(entry: Entry) -> str:
    """What runs that take equally long have in common."""
    return f"{'/'.join(entry.pair)}, batch {entry.training.batch}, {label(entry.method)}"


def _measured(
    by_kind: Mapping[str, Sequence[Entry]], machine: Machine, threads: int | None
) -> Iterator[tuple[str, float]]:
    """The hours of a run of each kind, as soon as they are measured.

    After Ctrl-C a KeyboardInterrupt that says how many are.
    """
    datasets = Datasets(machine.data_dir)
    for done, (kind, (entry, *_)) in enumerate(by_kind.items()):
        try:
            with _threads(threads):
                each = hours(entry, machine, datasets)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"interrupted: the grid above is whole, the hours of {done} of {len(by_kind)} "
                "kinds of runs are measured, and nothing was written"
            ) from None
        yield kind, each


def _done(of_other_code: Result | None) -> str:
    if of_other_code is None:
        return "done"
    stale = "stale: " if repeatable(of_other_code) else ""
    return f"done, {stale}made by {makers([of_other_code])}"


def _at_once(total: float, workers: int, parallel: int) -> str:
    """The hours where several runs are trained at a time; ``total`` is of one after the other."""
    if workers > 1:
        return f", {total / workers:.3g} h with {workers} at a time"
    if parallel > 1:
        return f" one after the other, an upper estimate for {parallel} at a time in one process,"
    return ""


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Let torch use this number of threads in this block; None leaves it."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def hours(entry: Entry, machine: Machine, datasets: Datasets) -> float:
    """Hours of the whole run, from an epoch of ten steps after one to warm up, on random images."""
    run, source = entry.training, entry.source
    training = run.train_size or source.train - run.validation
    test = run.test_size or run.validation or source.test
    full = _iterates(entry) * (test + min(test, training))  # images; else the test images at x
    full_epochs = sum(run.evaluated(epoch) for epoch in range(run.epochs))
    step, evaluation = _speed(entry, machine, datasets)
    images = full_epochs * full + (run.epochs - full_epochs) * test
    return float(run.epochs * training * step + images * evaluation) / 3600


def _iterates(entry: Entry) -> int:
    """At how many points images are evaluated: x, and with a memory x - e."""
    return 2 if entry.training.method.feeds_back else 1


def _speed(entry: Entry, machine: Machine, datasets: Datasets) -> tuple[float, float]:
    """Seconds for an image that is trained on, and for one that is evaluated."""
    from efsgd.deep.data.dataset import Dataset
    from efsgd.deep.training.obtain import train

    run, source = entry.training, entry.source
    classes = CLASSES.get(source.location) or datasets.get(source.location).classes
    rng, trained = np.random.default_rng(0), max(STEPS * run.batch, 2)
    dataset = Dataset(
        run.data,
        x_train=rng.integers(0, 256, (trained, 32, 32, 3), np.uint8),
        y_train=np.arange(trained) % classes,
        x_test=rng.integers(0, 256, (EVALUATED, 32, 32, 3), np.uint8),
        y_test=np.arange(EVALUATED) % classes,
        classes=classes,
    )
    history = train(
        replace(run, epochs=2, drops=(), train_size=None, test_size=None, validation=0, lr=1e-6),
        dataset,
        device=machine.device,
        compile=machine.compile,
        graph=machine.graph,
        form=machine.form,
    )
    step = 1 / history["images_per_second"][1]
    images = _iterates(entry) * (EVALUATED + min(EVALUATED, trained))  # of the last epoch
    return step, (history["seconds"][1] - trained * step) / images
