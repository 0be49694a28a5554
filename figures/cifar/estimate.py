"""How long a grid takes on this machine, from ten measured steps of each kind of run."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from efsgd.figures.cifar.grid import Entry
from efsgd.figures.cifar.run import Machine, Shelf

STEPS = 10
JUDGED = 500  # images of the measured evaluation
CLASSES = {"cifar10": 10, "cifar100": 100}


def plan(
    entries: Sequence[Entry], done: Collection[Entry], stale: Collection[Entry], machine: Machine
) -> Iterator[str]:
    """The grid, one line a run with its step size and its hours, and their sum.

    Nothing is measured for runs that are done. Several processes are assumed not to slow each
    other down; each has one thread, so one thread is what is measured for them. What several runs
    at a time in one process gain is not measured.
    """
    shelf, known = Shelf(machine.data_dir), dict[tuple[str, str, int, str], float]()
    width = max((len(entry.name) for entry in entries), default=0)
    left, total = sum(entry not in done for entry in entries), 0.0
    workers = max(1, min(machine.workers, left))
    for entry in entries:
        about = f"{entry.name:<{width}}  lr {entry.training.lr:<9.4g}"
        if entry in done:
            yield f"{about}  {'done, stale: made by other code' if entry in stale else 'done'}"
            continue
        kind = (*entry.pair, entry.training.batch, entry.method)
        if kind not in known:
            with _threads(1 if workers > 1 else None):
                known[kind] = hours(entry, machine, shelf)
        total += known[kind]
        yield f"{about}  {known[kind]:.3g} h"
    yield (
        f"{len(entries)} runs: {len(entries) - left} done, {left} to do in {total:.3g} h"
        f"{_at_once(total, workers, min(machine.parallel, left))} "
        f"on {machine.device} (from {STEPS} measured steps of each kind)"
    )


def _at_once(total: float, workers: int, parallel: int) -> str:
    """What several runs at a time make of the hours of one after the other."""
    if workers > 1:
        return f", {total / workers:.3g} h with {workers} at a time"
    if parallel > 1:
        return f" one after the other, an upper estimate for {parallel} at a time in one process,"
    return ""


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """So many threads of torch in this block, None for as many as there are."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def hours(entry: Entry, machine: Machine, shelf: Shelf) -> float:
    """Of the whole run, from an epoch of ten steps after one to warm up, on random images."""
    run, source = entry.training, entry.source
    training = run.train_size or source.train - run.validation
    test = run.test_size or run.validation or source.test
    everything = _iterates(entry) * (test + min(test, training))  # images
    evaluated = sum(run.evaluated(epoch) for epoch in range(run.epochs))
    step, evaluation = _speed(entry, machine, shelf)
    judged = evaluated * everything + (run.epochs - evaluated) * test  # else the test images at x
    return float(run.epochs * training * step + judged * evaluation) / 3600


def _iterates(entry: Entry) -> int:
    """At how many points images are evaluated: x, and with a memory x - e."""
    return 2 if entry.training.method.feeds_back else 1


def _speed(entry: Entry, machine: Machine, shelf: Shelf) -> tuple[float, float]:
    """Seconds for an image that is trained on, and for one that is evaluated."""
    from efsgd.deep.data.dataset import Dataset
    from efsgd.deep.training.obtain import train

    run, source = entry.training, entry.source
    classes = CLASSES.get(source.what) or shelf.get(source.what).classes
    rng, counts = np.random.default_rng(0), (max(STEPS * run.batch, 2), JUDGED)
    x, y = zip(
        *((rng.integers(0, 256, (n, 32, 32, 3), np.uint8), np.arange(n) % classes) for n in counts),
        strict=True,
    )
    dataset = Dataset(run.data, x[0], y[0], x[1], y[1], classes)
    short = replace(run, epochs=2, drops=(), train_size=None, test_size=None, validation=0, lr=1e-6)
    how: dict[str, Any] = {"device": machine.device, "compile": machine.compile}
    how |= {"graph": machine.graph, "form": machine.form}
    history = train(short, dataset, **how)
    step = 1 / history["images_per_second"][1]
    judged = _iterates(entry) * (JUDGED + min(JUDGED, counts[0]))  # the last epoch is evaluated
    return step, (history["seconds"][1] - counts[0] * step) / judged
