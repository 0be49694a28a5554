"""The small print of pictures and tables: data, seeds, machine, code, and what is missing."""

from __future__ import annotations

from collections.abc import Iterable

from efsgd.figures.cifar import paper
from efsgd.figures.cifar.grid import UNKNOWN
from efsgd.figures.cifar.study import Cell, Study, makers, recorded
from efsgd.results import Result


def caption(study: Study) -> str:
    """Data, seeds, device, precision, epochs, what is measured rarely, and other code's share."""
    first = study.entries[0].training
    images = [f"{'all' if n > UNKNOWN // 2 else n} {part}" for n, part in _images(study)]
    parts = [f"{study.data_label} ({', '.join(images)} images)", f"n = {_seeds(study)}"]
    machine = [_devices(study.results.values()), first.precision]
    if is_short(study):
        parts += [f"short schedule: {first.epochs} of the paper's {paper.EPOCHS} epochs", *machine]
    else:
        parts += [*machine, f"{first.epochs} epoch{'s' if first.epochs != 1 else ''}"]
    if first.evaluate_every > 1:
        parts.append(f"train loss and x - e every {first.evaluate_every} epochs")
    if others := study.of_other_code:
        made = f"{len(others)} of {len(study.results)} runs made by {makers(others)}"
        parts.append(f"stale: {made}" if study.stale else made)
    return ", ".join(parts)


def is_short(study: Study) -> bool:
    """Whether the paper trained this model longer, so that its numbers beside ours need a note."""
    run = study.entries[0].training
    known = study.model in {model for model, _ in paper.PAIRS}
    return known and run.epochs < paper.EPOCHS and not run.validation


def _seeds(study: Study) -> str:
    """ "3 seeds"; of a grid that differs by batch size "3 seeds at batch 128 and 1 at batch 8"."""
    in_grid = {len({entry.training.seed for entry in cell.entries}) for cell in study.cells()}
    if len(in_grid) == 1:
        return _number(study.cells(), "seed")
    first, *others = study.batches
    numbers = [f"{_number(study.cells(first), 'seed')} at batch {first}"]
    numbers += [f"{_number(study.cells(batch))} at batch {batch}" for batch in others]
    return " and ".join(numbers)


def _number(cells: Iterable[Cell], noun: str = "") -> str:
    """How many seeds have results: "3", "1 to 3", "3 seeds"."""
    counts = sorted({len(set(cell.seeds)) for cell in cells})
    number = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{number} {noun}{'s' if counts[-1] != 1 else ''}" if noun else number


def _images(study: Study) -> list[tuple[int, str]]:
    source, training = study.entries[0].source, study.entries[0].training
    return [
        (training.train_size or source.train - training.validation, "training"),
        (
            training.test_size or training.validation or source.test,
            "validation" if training.validation else "test",
        ),
    ]


def _devices(results: Iterable[Result]) -> str:
    names = [name for result in results for name in recorded(result.made_by, "device") or ["?"]]
    return " and ".join(sorted({" ".join(str(name).split()) for name in names}))


def incomplete(study: Study) -> list[str]:
    """One line for each method and batch size that lacks runs."""
    return [
        f"batch {cell.batch}, {cell.label}: {len(cell.results)} of {len(cell.entries)} runs"
        for cell in study.cells()
        if len(cell.results) < len(cell.entries)
    ]
