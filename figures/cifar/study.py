"""What there is of a grid: the saved runs of one model on one data set, and which are missing.

Accuracies of a history are shares in [0, 1]; here, as in tables and pictures, they are percent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from efsgd.arrays import Array
from efsgd.figures.cifar.grid import Entry
from efsgd.figures.cifar.presets import label
from efsgd.results import Result, load, place, spec_of

PERCENT = ("_accuracy",)  # the names of series that end so are shown in percent
RARE = ("train_", "virtual_")  # how the names of series begin that ``evaluate_every`` leaves out
SHOWN = ("train_loss", "test_loss", "test_accuracy")
SERIES = (*SHOWN, *(f"virtual_{name}" for name in SHOWN), "phi_g", "phi_p")  # what is needed
LONGEST = 48  # letters of a name of data in titles and file names; it ends in a digest


@dataclass(frozen=True)
class Cell:
    """The runs of one method at one batch size: S of them wanted, R of them there."""

    batch: int
    method: str
    wanted: tuple[Entry, ...]  # in the order of their seeds
    results: tuple[Result, ...]

    @property
    def label(self) -> str:
        """What a legend calls the method."""
        return label(self.method)

    @property
    def feeds_back(self) -> bool:
        """Whether its runs have a memory."""
        return self.wanted[0].training.method.feeds_back

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of the runs that are there."""
        return tuple(int(result.spec["seed"]) for result in self.results)

    def series(self, name: str) -> Array:
        """A series of every run, (epochs, R), accuracies in percent.

        NaN after a divergence and where it was not measured.
        """
        values = np.stack([result[name] for result in self.results], axis=1)
        return values * 100.0 if name.endswith(PERCENT) else values

    def curve(self, name: str) -> tuple[Array, Array]:
        """The epochs after which a series was measured, (E,) from 1 on, and its values (E, R)."""
        run, rare = self.wanted[0].training, name.startswith(RARE)
        at = [epoch for epoch in range(run.epochs) if not rare or run.evaluated(epoch)]
        return np.array(at) + 1, self.series(name)[at]

    def finals(self, name: str = "test_accuracy") -> Array:
        """The value after the last epoch of every run, (R,); NaN for one that diverged."""
        last: Array = self.series(name)[-1] if self.results else np.zeros(0)
        return last

    def best(self, name: str = "test_accuracy") -> float:
        """The maximum over epochs of the mean over seeds, as the paper reports; NaN for no run."""
        if not self.results:
            return float("nan")
        mean = self.series(name).mean(axis=1)
        return float("nan") if np.isnan(mean).all() else float(np.nanmax(mean))

    @property
    def diverged(self) -> int:
        """How many of its runs diverged."""
        return int(np.isnan(self.finals("test_loss")).sum())


@dataclass(frozen=True)
class Study:
    """Everything there is of one model on one data set."""

    model: str
    data: str
    entries: tuple[Entry, ...]
    found: Mapping[Entry, Result]
    stale: frozenset[Entry] = frozenset()  # made by other code than this

    @property
    def short(self) -> str:
        """The name of the data, of a longer one the last LONGEST letters."""
        return self.data[-LONGEST:]

    @property
    def slug(self) -> str:
        """What its files are called: "vgg19-cifar10"."""
        return f"{self.model}-{self.short}"

    @property
    def title(self) -> str:
        """What its pictures say: "vgg19 on cifar10"."""
        return f"{self.model} on {self.short}"

    @cached_property
    def batches(self) -> tuple[int, ...]:
        """In the order of the grid."""
        return tuple(dict.fromkeys(e.training.batch for e in self.entries))

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """In the order of the grid."""
        return tuple(dict.fromkeys(e.method for e in self.entries))

    @property
    def missing(self) -> list[Entry]:
        """The runs of the grid without a result."""
        return [entry for entry in self.entries if entry not in self.found]

    def cell(self, batch: int, method: str) -> Cell:
        """The runs of one method at one batch size; without any for what is not in the grid."""
        wanted = tuple(e for e in self.entries if (e.training.batch, e.method) == (batch, method))
        return Cell(batch, method, wanted, tuple(self.found[e] for e in wanted if e in self.found))

    def cells(self, batch: int | None = None) -> list[Cell]:
        """All of them, or those of a batch size, in the order of the grid."""
        batches = self.batches if batch is None else (batch,)
        cells = [self.cell(b, method) for b in batches for method in self.methods]
        return [cell for cell in cells if cell.wanted]


def studies(
    entries: Iterable[Entry], found: Mapping[Entry, Result], stale: Iterable[Entry] = ()
) -> list[Study]:
    """The grid cut by model and data, in its own order; only those with at least one result."""
    pairs: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        pairs.setdefault(entry.pair, []).append(entry)
    cut = [
        Study(
            *(model, data, tuple(own), {e: found[e] for e in own if e in found}),
            frozenset(set(stale) & set(own)),
        )
        for (model, data), own in pairs.items()
    ]
    return [study for study in cut if study.found]


def collect(entries: Sequence[Entry], directory: Path) -> tuple[dict[Entry, Result], list[str]]:
    """The saved results of a grid, and a sentence for each file that cannot be used."""
    found, complaints = {}, []
    for entry in entries:
        path = place(entry.training, directory)
        try:
            result = load(path)
        except FileNotFoundError:
            continue
        except ValueError as error:
            complaints.append(f"{entry.name} counts as missing: {error}")
            continue
        if result.spec != spec_of(entry.training):
            complaints.append(f"{entry.name} counts as missing: {path} holds another run")
        elif torn := _torn(result, entry.training.epochs):
            told = f"{path} holds no {torn} of {entry.training.epochs} epochs"
            complaints.append(f"{entry.name} counts as missing: {told}")
        else:
            found[entry] = result
    return found, complaints


def _torn(result: Result, epochs: int) -> str:
    """The series that a result lacks or has in another length, empty if none."""
    shapes = {name: array.shape for name, array in result.arrays.items()}
    lacking = [name for name in SERIES if shapes.get(name) != (epochs,)]
    return ", ".join(lacking)


def stale(found: Mapping[Entry, Result]) -> list[Entry]:
    """The runs that other code made: still shown, and marked so. Versions may differ."""
    from efsgd.deep.training import is_stale

    return [entry for entry, result in found.items() if is_stale(result, entry.training)]
