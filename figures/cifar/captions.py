"""The small print of pictures and tables: what they were made of, and what they lack."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from efsgd.figures.cifar import paper
from efsgd.figures.cifar.grid import UNKNOWN
from efsgd.figures.cifar.study import Cell, Study
from efsgd.results import Result


def caption(study: Study) -> str:
    """Data, seeds, device, precision, epochs, what is not measured after each; what is stale."""
    results = list(study.found.values())
    first = study.entries[0].training
    images = [f"{'all' if n > UNKNOWN // 2 else n} {what}" for n, what in _images(study)]
    said = [f"{study.short} ({', '.join(images)} images)", f"n = {_seeds(study)}"]
    machines = [_devices(results), first.precision]
    if is_short(study):
        said += [f"short schedule: {first.epochs} of the paper's {paper.EPOCHS} epochs", *machines]
    else:
        said += [*machines, f"{first.epochs} epoch{'s' if first.epochs != 1 else ''}"]
    if first.evaluate_every > 1:
        said.append(f"train loss and x - e every {first.evaluate_every} epochs")
    if study.stale:
        said.append(f"stale: {len(study.stale)} of {len(results)} runs made by other code")
    return ", ".join(said)


def is_short(study: Study) -> bool:
    """Whether the paper trained this model longer, which its numbers beside ours do not say."""
    run = study.entries[0].training
    known = study.model in {model for model, _ in paper.PAIRS}
    return known and run.epochs < paper.EPOCHS and not run.validation


def _seeds(study: Study) -> str:
    """ "3 seeds"; of a grid that differs by batch size "3 seeds at batch 128 and 1 at batch 8"."""
    wanted = {len({entry.training.seed for entry in cell.wanted}) for cell in study.cells()}
    if len(wanted) == 1:
        return _number(study.cells(), "seed")
    first, *others = study.batches
    told = [f"{_number(study.cells(first), 'seed')} at batch {first}"]
    told += [f"{_number(study.cells(batch))} at batch {batch}" for batch in others]
    return " and ".join(told)


def _number(cells: Iterable[Cell], of: str = "") -> str:
    """How many seeds are there: "3", "1 to 3", "3 seeds"."""
    seeds = sorted({len(set(cell.seeds)) for cell in cells})
    number = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    return f"{number} {of}{'s' if seeds[-1] != 1 else ''}" if of else number


def _images(study: Study) -> list[tuple[int, str]]:
    source, training = study.entries[0].source, study.entries[0].training
    return [
        (training.train_size or source.train - training.validation, "training"),
        (
            training.test_size or training.validation or source.test,
            "validation" if training.validation else "test",
        ),
    ]


def _devices(results: Sequence[Result]) -> str:
    told = [result.made_by.get("device", "?") for result in results]
    each = [name for device in told for name in (device if isinstance(device, list) else [device])]
    return " and ".join(sorted({" ".join(str(name).split()) for name in each}))


def incomplete(study: Study) -> list[str]:
    """One line for each method and batch size that lacks runs."""
    return [
        f"batch {cell.batch}, {cell.label}: {len(cell.results)} of {len(cell.wanted)} runs"
        for cell in study.cells()
        if len(cell.results) < len(cell.wanted)
    ]
