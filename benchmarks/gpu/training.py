"""Trainings that compare the methods, planned by measured speeds to fit into the time left.

`train` runs the preset `short` of `efsgd-figures cifar` for as many epochs as fit; `more` runs of
the preset `paper` as many as can be completed. All methods of a seed run at once, seed 0 first, so
that each finished seed is a complete comparison. No checkpoint is written, as it would be too large
to fetch. Each epoch is added to rows.csv when it ends, each finished run to results.zip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from data import decoded_images
from measure import Context, failure, table
from output import MEASURED, RESULTS, ROWS, STATE
from planner import FEWEST_EPOCHS, Block, Planner, setting_of

from efsgd.deep.data.dataset import Dataset
from efsgd.deep.training.concurrent_trainings import at_once
from efsgd.deep.training.events import Measured, Progress
from efsgd.deep.training.history import NAMES
from efsgd.deep.training.interruptions import Check
from efsgd.deep.training.obtain import run_training
from efsgd.figures.cifar.grid import Choice, Entry, Source, grid, part_of, schedule, share
from efsgd.figures.cifar.paper import EPOCHS as PAPER_EPOCHS
from efsgd.figures.cifar.presets import PRESETS
from efsgd.figures.cifar.study import collect

ROOT = Path(__file__).resolve().parents[2]
EVALUATE_EVERY = 5  # epochs between two evaluations on training images and at x - e
COLUMNS = ("model", "data", "batch", "method", "seed", "epochs", *NAMES)


def train(context: Context) -> bool:
    """The short comparison, block by block; whether all runs that were started are done."""
    planner, data = Planner(context), load_images(context)
    context.output.update(MEASURED, {})  # a copy of the speeds that the plan follows
    choice = Choice(
        PRESETS["short"],
        data=(data.name,),
        evaluate_every=EVALUATE_EVERY,
        precision=context.precision,
    )
    if context.small:
        choice = replace(choice, models=("resnet8",), batches=(32,), evaluate_every=2)
    blocks = blocks_of(entries_of(choice, data))
    affordable = planner.affordable(blocks, data)
    done: list[Entry] = []
    started: list[Block] = []
    most = context.epochs or PAPER_EPOCHS
    for i, block in enumerate(blocks):
        # those that are not affordable come last, and get the time that remains by then
        sharing = [block]
        if block in affordable:
            sharing = [other for other in affordable if other in blocks[i:]]
        epochs = context.epochs or min(most, planner.epochs(sharing, data))
        if block is affordable[0]:  # it is never left out, and no other block gets more epochs
            most = epochs = max(1, epochs)
        elif epochs < FEWEST_EPOCHS and not context.epochs:
            print(f"left out, {epochs} epochs would fit: {', '.join(e.name for e in block)}")
            continue
        print(f"{epochs} epochs: {', '.join(entry.name for entry in block)}", flush=True)
        started.append(block)
        done += train_block(with_epochs(block, choice, epochs), data, planner)
    return report(started, done, context)


def more(context: Context) -> bool:
    """The missing runs of the paper's grid that fit; whether there were any and all are done."""
    planner, data = Planner(context), load_images(context)
    choice = Choice(
        PRESETS["paper"],
        data=(data.name,),
        epochs=context.epochs,
        precision=context.precision,
        evaluate_every=EVALUATE_EVERY,
    )
    if context.small:
        choice = replace(choice, models=("resnet8",), batches=(32,), evaluate_every=2)
    entries = share(entries_of(choice, data), part_of(context.share))
    existing = collect(entries, ROOT / "results" / "cifar")[0]
    planned = planner.runs_that_fit([e for e in entries if e not in existing], data)
    print(f"{len(existing)} of {len(entries)} are there, {len(planned)} fit", flush=True)
    done = train_block(planned, data, planner)
    return report(blocks_of(planned), done, context) and bool(done)


def load_images(context: Context) -> Dataset:
    """The decoded images; ValueError where there are none."""
    data = decoded_images(context)
    if data is None:
        raise ValueError("no data were decoded: name them with --data, and run the stage decode")
    return data


def entries_of(choice: Choice, data: Dataset) -> list[Entry]:
    """The runs of the grid on these data."""
    source = Source(data.name, data.name, len(data.y_train), len(data.y_test))
    return grid(choice, {data.name: source})


def blocks_of(entries: Sequence[Entry]) -> list[Block]:
    """The runs in groups of one network and batch size, in their order."""
    return [list(block) for _, block in groupby(entries, key=setting_of)]


def with_epochs(block: Block, choice: Choice, epochs: int) -> list[Entry]:
    """The same runs with ``epochs`` epochs, and drops in the proportions of the preset."""
    count, drops = schedule(choice.preset, epochs)
    return [
        replace(entry, training=replace(entry.training, epochs=count, drops=drops))
        for entry in block
    ]


def train_block(block: Block, data: Dataset, planner: Planner) -> list[Entry]:
    """Train these runs, several at once; those that were completed. Failures are printed."""
    done: list[Entry] = []
    context = planner.context
    best, directory = context.output.read(STATE).get("best") or {}, context.work / "results"

    def write_row(entry: Entry, event: Progress | Measured) -> None:
        if isinstance(event, Measured):
            context.output.append(ROWS, csv_row(entry, event), COLUMNS)

    def task(entry: Entry, check: Check) -> None:
        try:
            run_training(
                entry.training,
                data,
                directory,
                device=context.device,
                graph=best.get("graph"),
                form=best.get("form"),
                every=None,
                report=partial(write_row, entry),
                check=check,
            )
            done.append(entry)
            context.output.archive(RESULTS, list(directory.glob("training-*.npz")))
            print(f"done: {entry.name}", flush=True)
        except Exception as error:
            print(f"NOT done: {entry.name}: {failure(error)}", flush=True)

    at_once([partial(task, entry) for entry in block], planner.count)
    return done


def csv_row(entry: Entry, event: Measured) -> dict[str, Any]:
    """The line of rows.csv for an epoch."""
    run = entry.training
    return {
        "model": run.model,
        "data": run.data,
        "batch": run.batch,
        "method": entry.method,
        "seed": run.seed,
        "epochs": run.epochs,
        "epoch": event.epoch,
        **event.row,
    }


def report(blocks: Sequence[Block], done: Sequence[Entry], context: Context) -> bool:
    """Print the last epoch of each run that is done; whether all runs of the blocks are."""
    started = sum(map(len, blocks))
    results = collect(done, context.work / "results")[0]
    columns = ("test_accuracy", "virtual_test_accuracy", "phi_p", "images_per_second")
    cells = [[e.name, *(f"{results[e][name][-1]:.4g}" for name in columns)] for e in done]
    table(f"{len(done)} of {started} runs, last epoch", ["run", *columns], cells)
    return len(done) == started
