"""The saved results of a grid, cut by model and data, and the runs that are missing.

Accuracies of a history are fractions in [0, 1]; here, as in tables and pictures, they are percent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from efsgd.arrays import Array
from efsgd.figures.cifar.grid import Entry
from efsgd.figures.cifar.presets import label
from efsgd.figures.texts import for_file_name, printable
from efsgd.results import Result, load, place, spec_of

PERCENT = ("_accuracy",)  # the names of series that end so are shown in percent
RARE = ("train_", "virtual_")  # how the names of series begin that ``evaluate_every`` leaves out
SCORES = ("train_loss", "test_loss", "test_accuracy")
SERIES = (*SCORES, *(f"virtual_{name}" for name in SCORES), "phi_g", "phi_p")  # what is needed
LONGEST = 48  # letters of a name of data in titles and file names; it ends in a digest
# How torch.cuda.get_device_name begins; "AMD Ryzen 7 with Radeon Graphics" is a CPU.
GPU_NAMES = (
    "NVIDIA", "GeForce", "GRID", "Quadro", "TITAN", "Tesla", "AMD Instinct", "AMD Radeon", "Radeon",
)  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """The runs of one method at one batch size: those of the grid, and the R with a result."""

    batch: int
    method: str
    entries: tuple[Entry, ...]  # in the order of their seeds
    results: tuple[Result, ...]

    @property
    def label(self) -> str:
        """The name of the method in legends."""
        return label(self.method)

    @property
    def feeds_back(self) -> bool:
        """Whether its runs have a memory."""
        return self.entries[0].training.method.feeds_back

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of the results."""
        return tuple(int(result.spec["seed"]) for result in self.results)

    def series(self, name: str) -> Array:
        """A series of every run, (epochs, R), accuracies in percent.

        NaN after a divergence and where it was not measured.
        """
        values = np.stack([result[name] for result in self.results], axis=1)
        return values * 100.0 if name.endswith(PERCENT) else values

    def curve(self, name: str) -> tuple[Array, Array]:
        """The epochs after which a series was measured, (E,) from 1 on, and its values (E, R)."""
        run, rare = self.entries[0].training, name.startswith(RARE)
        measured = [epoch for epoch in range(run.epochs) if not rare or run.evaluated(epoch)]
        return np.array(measured) + 1, self.series(name)[measured]

    def finals(self, name: str = "test_accuracy") -> Array:
        """The value after the last epoch of every run, (R,); NaN for one that diverged."""
        last: Array = self.series(name)[-1] if self.results else np.zeros(0)
        return last

    def best(self, name: str = "test_accuracy") -> float:
        """The maximum over epochs of the mean over seeds, as the paper reports; NaN for no run."""
        values = self.at_best(name)
        return float(values.mean()) if len(values) else float("nan")

    def at_best(self, name: str = "test_accuracy") -> Array:
        """The values of every run, (R,), at the epoch with the greatest mean over seeds."""
        if not self.results:
            return np.zeros(0)
        series = self.series(name)
        mean = series.mean(axis=1)
        best: Array = series[0 if np.isnan(mean).all() else int(np.nanargmax(mean))]
        return best

    @property
    def diverged(self) -> int:
        """How many of its runs diverged."""
        return int(np.isnan(self.finals("test_loss")).sum())


@dataclass(frozen=True)
class Study:
    """The runs of one model on one data set."""

    model: str
    data: str
    entries: tuple[Entry, ...]
    results: Mapping[Entry, Result]
    other_code: frozenset[Entry] = frozenset()  # whose results other code than today's made
    grid: str = ""  # what distinguishes it from other grids on the same model and data

    @property
    def data_label(self) -> str:
        """The name of the data, of a longer one the last LONGEST letters."""
        return printable(self.data)[-LONGEST:]

    @property
    def file_stem(self) -> str:
        """What the names of its files have in common: "vgg19-cifar10-paper"."""
        words = filter(None, (self.model, self.data[-LONGEST:], self.grid))
        return for_file_name("-".join(words), longest=200)

    @property
    def title(self) -> str:
        """The title of its pictures: "vgg19 on cifar10"."""
        return f"{self.model} on {self.data_label}"

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
        return [entry for entry in self.entries if entry not in self.results]

    @property
    def of_other_code(self) -> list[Result]:
        """The results that other code than today's made."""
        return [result for entry, result in self.results.items() if entry in self.other_code]

    @property
    def stale(self) -> bool:
        """Whether this machine could make one of those again with today's code."""
        return any(map(repeatable, self.of_other_code))

    def cell(self, batch: int, method: str) -> Cell:
        """The runs of one method at one batch size; without any for what is not in the grid."""
        entries = tuple(e for e in self.entries if (e.training.batch, e.method) == (batch, method))
        results = tuple(self.results[e] for e in entries if e in self.results)
        return Cell(batch, method, entries, results)

    def cells(self, batch: int | None = None) -> list[Cell]:
        """All of them, or those of a batch size, in the order of the grid."""
        batches = self.batches if batch is None else (batch,)
        cells = [self.cell(b, method) for b in batches for method in self.methods]
        return [cell for cell in cells if cell.entries]


def studies(
    entries: Iterable[Entry],
    results: Mapping[Entry, Result],
    other_code: Iterable[Entry] = (),
    grid: str = "",
) -> list[Study]:
    """The ``grid`` cut by model and data, in its own order; only those with a result."""
    by_pair: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        by_pair.setdefault(entry.pair, []).append(entry)
    all_studies = [
        Study(
            model=model,
            data=data,
            entries=tuple(runs),
            results={entry: results[entry] for entry in runs if entry in results},
            other_code=frozenset(other_code) & frozenset(runs),
            grid=grid,
        )
        for (model, data), runs in by_pair.items()
    ]
    return [study for study in all_studies if study.results]


def collect(entries: Sequence[Entry], directory: Path) -> tuple[dict[Entry, Result], list[str]]:
    """The saved results of a grid, and a sentence for each file that cannot be used."""
    results, complaints = {}, []
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
        elif lacking := _lacking(result, entry.training.epochs):
            complaints.append(
                f"{entry.name} counts as missing: {path} holds no {lacking} of "
                f"{entry.training.epochs} epochs"
            )
        else:
            results[entry] = result
    return results, complaints


def _lacking(result: Result, epochs: int) -> str:
    """The series that a result lacks or has in another length, empty if none."""
    shapes = {name: array.shape for name, array in result.arrays.items()}
    return ", ".join(name for name in SERIES if shapes.get(name) != (epochs,))


# -- what made a result ---------------------------------------------------------------------------


def of_other_code(results: Mapping[Entry, Result]) -> dict[Entry, Result]:
    """The results that other code than today's made: valid evidence, shown with what made them."""
    from efsgd.deep.training import is_stale

    return {e: result for e, result in results.items() if is_stale(result, e.training)}


def makers(results: Iterable[Result]) -> str:
    """The code that made results: "commit b87c458", "commits 1a2b3c4, b87c458" or "other code".

    The last stands for results that name no commit, or that several versions had a part in.
    """
    records = [result.made_by for result in results]
    by_result = [record.get("git") if record.get("code") else None for record in records]
    commits = sorted({commit for commit in by_result if commit})
    words = [f"commit{'s' if len(commits) > 1 else ''} {', '.join(commits)}"] if commits else []
    return " and ".join(words if all(by_result) else [*words, "other code"])


def repeatable(result: Result) -> bool:
    """Whether this machine can make a result again: it has a CPU, but perhaps no GPU."""
    if not by_gpu(result.made_by):
        return True
    import torch

    return torch.cuda.is_available()


def by_gpu(made_by: Mapping[str, Any]) -> bool:
    """Whether a GPU made a result or a part of it, as far as ``made_by`` tells.

    The record has only the name of the device; a CUDA graph or a Triton kernel implies a GPU.
    """
    if True in recorded(made_by, "graph") or "triton" in recorded(made_by, "form"):
        return True
    return any(str(name).startswith(GPU_NAMES) for name in recorded(made_by, "device"))


def recorded(made_by: Mapping[str, Any], name: str) -> list[Any]:
    """The values of a name in ``made_by``: several where an interrupted training changed it."""
    values = made_by.get(name, [])
    return values if isinstance(values, list) else [values]
