"""Real training: the methods side by side, as many epochs as fit; what is done goes home.

`train` takes the preset `short` of `efsgd-figures cifar`, as many epochs as fit; `more` the preset
`paper`, the runs that fit whole. All methods of a seed run together, seed 0 first, so that each
finished seed is a whole comparison. Nothing goes on from a checkpoint: none is small enough to come
home. Every epoch is a line of rows.csv at once, every finished run a result in results.zip.
"""

from __future__ import annotations

import math
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
from measure import Context, failure, table

from efsgd.deep.data.dataset import Dataset
from efsgd.deep.training.events import Measured, Progress
from efsgd.deep.training.history import NAMES
from efsgd.deep.training.interruptions import Check
from efsgd.deep.training.obtain import run_training
from efsgd.deep.training.parallel import at_once
from efsgd.figures.cifar.grid import Choice, Entry, Source, grid, part_of, schedule, share
from efsgd.figures.cifar.paper import EPOCHS
from efsgd.figures.cifar.presets import PRESETS
from efsgd.figures.cifar.study import collect

ROOT = Path(__file__).resolve().parents[2]
FILL = 0.9  # of the time that the estimate may fill
OVERHEAD = 3.0  # seconds of a run besides its epochs: model, capture, cuDNN's trials
EVERY = 5  # epochs between two evaluations on training images and at x - e
RARELY = 0.15  # of the epochs that are evaluated besides: the first, the last, around drops
FEWEST = 8  # epochs: with fewer a second comparison says nothing
WANTED = 12  # epochs that two comparisons should have before there is a third
COLUMNS = ("model", "data", "batch", "method", "seed", "epochs", *NAMES)
Block = Sequence[Entry]  # runs of one network and batch size


def train(at: Context) -> bool:
    """The short comparison, block by block; whether all runs that were begun were done."""
    clock, data = Clock(at), needed(at)
    at.home.update(MEASURED, {})  # it comes home with what was planned by it
    choice = Choice(
        PRESETS["short"], data=(data.name,), evaluate_every=EVERY, precision=at.precision
    )
    if at.small:
        choice = replace(choice, models=("resnet8",), batches=(32,), evaluate_every=2)
    blocks = by_block(entries_of(choice, data))
    kept = clock.kept(blocks, data)
    done: list[Entry] = []
    begun: list[Block] = []
    most = at.epochs or EPOCHS
    for i, block in enumerate(blocks):
        # those that are not kept come last, and get what is left by then
        rest = [other for other in kept if other in blocks[i:]] if block in kept else [block]
        epochs = at.epochs or min(most, clock.epochs(rest, data))
        if block is kept[0]:  # the main comparison is never left out, and the others get no more
            most = epochs = max(1, epochs)
        elif epochs < FEWEST and not at.epochs:
            print(f"left out, {epochs} epochs would fit: {', '.join(e.name for e in block)}")
            continue
        print(f"{epochs} epochs: {', '.join(entry.name for entry in block)}", flush=True)
        begun.append(block)
        done += trained(lengthened(block, choice, epochs), data, clock)
    return report(begun, done, at)


def more(at: Context) -> bool:
    """The runs of the paper's grid that fit whole, less those that are there; whether one was."""
    clock, data = Clock(at), needed(at)
    own: dict[str, Any] = {"data": (data.name,), "precision": at.precision, "epochs": at.epochs}
    choice = Choice(PRESETS["paper"], evaluate_every=EVERY, **own)
    if at.small:
        choice = replace(choice, models=("resnet8",), batches=(32,), evaluate_every=2)
    entries = share(entries_of(choice, data), part_of(at.share))
    there = collect(entries, ROOT / "results" / "cifar")[0]
    todo = clock.fitting([e for e in entries if e not in there], data)
    print(f"{len(there)} of {len(entries)} are there, {len(todo)} fit", flush=True)
    done = trained(todo, data, clock)
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


def by_block(entries: Sequence[Entry]) -> list[Block]:
    """In their order."""
    return [list(own) for _, own in groupby(entries, key=kind_of)]


def kind_of(entry: Entry) -> images.Setting:
    """Network and batch size."""
    return entry.training.model, entry.training.batch


def lengthened(block: Block, choice: Choice, epochs: int) -> list[Entry]:
    """The same with so many epochs and the drops of the preset."""
    count, drops = schedule(choice.preset, epochs)
    return [
        replace(entry, training=replace(entry.training, epochs=count, drops=drops))
        for entry in block
    ]


class Clock:
    """How much time is left, how many trainings run at once, and what fits, by measured speeds."""

    def __init__(self, at: Context) -> None:
        self.at, self.count = at, at.parallel
        self.speeds: dict[images.Setting, dict[str, float]] = {}
        told = at.home.read(STATE).get("check", {}).get("images", {}).get("status", "")
        if told.startswith(("stopped", "killed")) and not self.rows():
            print(f"one training at a time: the images of several were {told}", flush=True)
            self.count = 1

    def rows(self) -> list[dict[str, Any]]:
        """What the stage images has measured."""
        found: list[dict[str, Any]] = self.at.home.read(MEASURED).get("images", {}).get("rows", [])
        return [row for row in found if "failed" not in row]

    def left(self) -> float:
        """Seconds that runs may fill."""
        return FILL * (self.at.until - time.monotonic())

    def kept(self, blocks: Sequence[Block], data: Dataset) -> list[Block]:
        """The first of them, so many that all get the epochs without which they say nothing."""
        kept = [block for block in blocks if self.speed(block[0], data)] or [blocks[0]]
        while len(kept) > 1 and self.epochs(kept, data) < (FEWEST if len(kept) == 2 else WANTED):
            kept.pop()
        return kept

    def epochs(self, blocks: Sequence[Block], data: Dataset) -> int:
        """That all of these runs can have; 0 where one cannot be trained at all."""
        runs = [entry for block in blocks for entry in block]
        cost = sum(self.cost(entry, data) for entry in runs)
        return int((self.left() - OVERHEAD * len(runs)) / cost) if cost < math.inf else 0

    def fitting(self, entries: Sequence[Entry], data: Dataset) -> list[Entry]:
        """The first of them, as many as fit whole; the last ones run with fewer beside them."""
        for count in range(len(entries), 0, -1):
            full = count - count % self.count
            seconds = sum(
                OVERHEAD + e.training.epochs * self.cost(e, data, alone=i >= full)
                for i, e in enumerate(entries[:count])
            )
            if seconds <= self.left():
                return list(entries[:count])
        return []

    def cost(self, entry: Entry, data: Dataset, alone: bool = False) -> float:
        """Seconds of an epoch of a run: its share of what several at once take, or of one alone."""
        speed = self.speed(entry, data)
        if not speed:
            return math.inf
        alone = alone or self.count == 1
        run, tests = entry.training, len(data.y_test)
        rare = min(1.0, RARELY + 1 / run.evaluate_every)
        judged = tests * (1 + rare * (3 if run.method.feeds_back else 1))
        steps = speed["alone" if alone else "together"]
        return len(data.y_train) / steps + judged / speed["evaluation"]

    def speed(self, entry: Entry, data: Dataset) -> dict[str, float]:
        """Images a second alone, together and of an evaluation; empty where it does not run."""
        kind = kind_of(entry)
        if kind not in self.speeds:
            known = [row for row in self.rows() if (row["network"], row["batch"]) == kind]
            # of another number at once, or of none: a few seconds tell
            row = next((r for r in known if r["at once"] == self.at.parallel), None)
            row = row or images.measured(kind, data, self.at)
            self.speeds[kind] = {} if "failed" in row else row
            if "failed" in row:
                print(f"{kind} cannot be trained: {row['failed']}", flush=True)
            elif row["together"] <= row["alone"]:
                print(f"one training at a time: {kind} is no faster with several", flush=True)
                self.count = 1
        return self.speeds[kind]


def trained(block: Block, data: Dataset, clock: Clock) -> list[Entry]:
    """Train these runs, several at once; those that were done. One that fails is told and left."""
    done: list[Entry] = []
    at = clock.at
    best = at.home.read(STATE).get("best") or {}

    def row(entry: Entry, event: Progress | Measured) -> None:
        if isinstance(event, Measured):
            at.home.append(ROWS, line(entry, event), COLUMNS)

    def task(entry: Entry, check: Check) -> None:
        how = {"graph": best.get("graph"), "form": best.get("form"), "device": at.device}
        places = (entry.training, data, at.work / "results")
        try:
            run_training(*places, every=None, report=partial(row, entry), check=check, **how)
            done.append(entry)
            at.home.archive(RESULTS, list((at.work / "results").glob("training-*.npz")))
            print(f"done: {entry.name}", flush=True)
        except Exception as error:
            print(f"NOT done: {entry.name}: {failure(error)}", flush=True)

    at_once([partial(task, entry) for entry in block], clock.count)
    return done


def line(entry: Entry, event: Measured) -> dict[str, Any]:
    """What an epoch adds to rows.csv."""
    run = entry.training
    own = {"model": run.model, "data": run.data, "batch": run.batch, "method": entry.method}
    return own | {"seed": run.seed, "epochs": run.epochs, "epoch": event.epoch, **event.row}


def report(blocks: Sequence[Block], done: Sequence[Entry], at: Context) -> bool:
    """Print the last epoch of each run that is done; whether all of these blocks are."""
    wanted = sum(map(len, blocks))
    found = collect(done, at.work / "results")[0]
    columns = ("test_accuracy", "virtual_test_accuracy", "phi_p", "images_per_second")
    cells = [[e.name, *(f"{found[e][name][-1]:.4g}" for name in columns)] for e in done]
    table(f"{len(done)} of {wanted} runs, last epoch", ["run", *columns], cells)
    return len(done) == wanted
