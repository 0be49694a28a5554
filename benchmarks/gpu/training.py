"""Real training: the methods side by side, as many epochs as fit; what is done goes home.

`train` takes the preset `short` of `efsgd-figures cifar`, as many epochs as fit; `more` the preset
`paper`, the runs that fit whole. All methods of a seed run together, seed 0 first, so that each
finished seed is a whole comparison. Nothing goes on from a checkpoint: none is small enough to come
home. Every epoch is a line of rows.csv at once, every finished run a result in results.zip.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import images
from data import loaded
from home import MEASURED, RESULTS, ROWS, STATE
from measure import Context, table

from efsgd.deep.data import Dataset
from efsgd.deep.history import NAMES
from efsgd.deep.loop import Check, Measured, Progress
from efsgd.deep.obtain import run_training
from efsgd.deep.parallel import at_once
from efsgd.figures.cifar_grid import Choice, Entry, Source, grid, part_of, schedule, share
from efsgd.figures.cifar_presets import PRESETS
from efsgd.figures.cifar_results import collect
from efsgd.figures.paper import EPOCHS

ROOT = Path(__file__).resolve().parents[2]
FILL = 0.85  # of the time that the estimate may fill
EVERY = 5  # epochs between two evaluations on training images and at x - e
FEWEST = 8  # epochs: with fewer a comparison says nothing
COLUMNS = ("model", "data", "batch", "method", "seed", "epochs", *NAMES)


def train(at: Context) -> bool:
    """The short comparison, block by block; whether all of its runs were done."""
    clock, data = Clock(at), needed(at)
    choice = Choice(
        PRESETS["short"], data=(data.name,), evaluate_every=EVERY, precision=at.precision
    )
    if at.small:
        choice = replace(choice, models=("resnet8",), batches=(32,), evaluate_every=2)
    blocks = by_block(entries_of(choice, data))
    done, most = [], at.epochs or EPOCHS
    for i, block in enumerate(blocks):
        epochs = at.epochs or min(most, clock.epochs(blocks[i:], data, at))
        if epochs < (1 if at.small else FEWEST):
            print(f"left out, {epochs} epochs would fit: {', '.join(e.name for e in block)}")
            continue
        if i == 0:
            most = epochs  # the others get no more: batch sizes are compared
        print(f"{epochs} epochs: {', '.join(entry.name for entry in block)}", flush=True)
        done += trained(lengthened(block, choice, epochs), data, at)
    return report(blocks, done, at)


def more(at: Context) -> bool:
    """The runs of the paper's grid that fit whole, less those that are there; whether one was."""
    clock, data = Clock(at), needed(at)
    own: dict[str, Any] = {"data": (data.name,), "precision": at.precision, "epochs": at.epochs}
    choice = Choice(PRESETS["paper"], evaluate_every=EVERY, **own)
    if at.small:
        choice = replace(choice, models=("resnet8",), batches=(32,), evaluate_every=2)
    entries = share(entries_of(choice, data), part_of(at.share))
    there = collect(entries, ROOT / "results" / "cifar")[0]
    todo = clock.fitting([e for e in entries if e not in there], data, at)
    print(f"{len(there)} of {len(entries)} are there, {len(todo)} fit", flush=True)
    done = trained(todo, data, at)
    return report(by_block(todo), done, at) and bool(done)


def needed(at: Context) -> Dataset:
    """The images; ValueError where no stage has found any."""
    data = loaded(at)
    if data is None:
        raise ValueError("no data were decoded: name them with --data, and run the stage decode")
    return data


def entries_of(choice: Choice, data: Dataset) -> list[Entry]:
    """The grid on these data."""
    source = Source(data.name, data.name, len(data.y_train), len(data.y_test))
    return grid(choice, {data.name: source})


def by_block(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Runs of one network and batch size."""
    return [list(own) for _, own in groupby(entries, key=kind_of)]


def kind_of(entry: Entry) -> images.Setting:
    """Network and batch size."""
    return entry.training.model, entry.training.batch


def lengthened(block: Sequence[Entry], choice: Choice, epochs: int) -> list[Entry]:
    """The same with so many epochs and the drops of the preset."""
    count, drops = schedule(choice.preset, epochs)
    return [
        replace(entry, training=replace(entry.training, epochs=count, drops=drops))
        for entry in block
    ]


class Clock:
    """How much time is left, and what fits into it, by measured speeds."""

    def __init__(self, at: Context) -> None:
        self.end = time.monotonic() + at.seconds
        self.speeds: dict[images.Setting, tuple[float, float]] = {}  # of steps, of evaluation

    def left(self) -> float:
        """Seconds that runs may fill."""
        return FILL * (self.end - time.monotonic())

    def epochs(self, blocks: Sequence[Sequence[Entry]], data: Dataset, at: Context) -> int:
        """That all of these runs can have."""
        cost = sum(self.cost(entry, data, at) for block in blocks for entry in block)
        return int(self.left() / cost)

    def fitting(self, entries: Sequence[Entry], data: Dataset, at: Context) -> list[Entry]:
        """The first of them, as many as fit whole."""
        found: list[Entry] = []
        used = 0.0
        for entry in entries:
            used += entry.training.epochs * self.cost(entry, data, at)
            if used > self.left():
                break
            found.append(entry)
        return found

    def cost(self, entry: Entry, data: Dataset, at: Context) -> float:
        """Seconds of an epoch of a run, its share of what several at once take."""
        steps, evaluation = self._speed(kind_of(entry), data, at)
        tests, rare = len(data.y_test), 1 / entry.training.evaluate_every
        judged = tests * (1 + rare * (3 if entry.training.method.feeds_back else 1))
        return len(data.y_train) / steps + judged / evaluation

    def _speed(self, kind: images.Setting, data: Dataset, at: Context) -> tuple[float, float]:
        if kind not in self.speeds:
            rows = at.home.read(MEASURED).get("images", {}).get("rows", [])
            known = [r for r in rows if (r["network"], r["batch"]) == kind and "failed" not in r]
            # of another number at once, or of none: a few seconds tell
            row = next((r for r in known if r["at once"] == at.parallel), None)
            row = row or images.measured(kind, data, at)
            if "failed" in row:
                raise RuntimeError(f"{kind} cannot be trained: {row['failed']}")
            self.speeds[kind] = row["together"], row["evaluation"]
        return self.speeds[kind]


def trained(block: Sequence[Entry], data: Dataset, at: Context) -> list[Entry]:
    """Train these runs, several at once; those that were done, whatever ended it."""
    done: list[Entry] = []
    best = at.home.read(STATE).get("best") or {}

    def task(entry: Entry, check: Check) -> None:
        def row(event: Progress | Measured) -> None:
            if isinstance(event, Measured):
                at.home.append(ROWS, line(entry, event), COLUMNS)

        run_training(
            entry.training,
            data,
            at.work / "results",
            device=at.device,
            graph=best.get("graph"),
            form=best.get("form"),
            every=None,
            report=row,
            check=check,
        )
        done.append(entry)
        at.home.archive(RESULTS, list((at.work / "results").glob("training-*.npz")))
        print(f"done: {entry.name}", flush=True)

    try:
        at_once([partial(task, entry) for entry in block], at.parallel)
    except Exception as error:  # the runs that are done stay, and the next block is tried
        print(f"NOT trained: {error}", flush=True)
    return done


def line(entry: Entry, event: Measured) -> dict[str, Any]:
    """What an epoch adds to rows.csv."""
    run = entry.training
    own = {"model": run.model, "data": run.data, "batch": run.batch, "method": entry.method}
    return own | {"seed": run.seed, "epochs": run.epochs, "epoch": event.epoch, **event.row}


def report(blocks: Sequence[Sequence[Entry]], done: Sequence[Entry], at: Context) -> bool:
    """Print the last epoch of each run that is done; whether all are."""
    wanted = sum(map(len, blocks))
    found = collect(done, at.work / "results")[0]
    columns = ("test_accuracy", "virtual_test_accuracy", "phi_p", "images_per_second")
    cells = [[e.name, *(f"{found[e][name][-1]:.4g}" for name in columns)] for e in done]
    table(f"{len(done)} of {wanted} runs, last epoch", ["run", *columns], cells)
    return len(done) == wanted
