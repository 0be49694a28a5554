"""One training of the paper's deep experiments: a value, what it measures, and its result file."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from efsgd import results
from efsgd.arrays import Array
from efsgd.base import positive, whole
from efsgd.deep import checkpoint as checkpoints
from efsgd.deep import models
from efsgd.deep.data import BY_NAME, Dataset, load
from efsgd.deep.loop import Report, Stopped, interruptions
from efsgd.deep.machine import together
from efsgd.deep.session import Session
from efsgd.methods import Method
from efsgd.provenance import Json, as_text, key, made_by, spec_of
from efsgd.results import Result

# Whose sources decide whether a result is up to date; efsgd only names methods and compressors.
PACKAGES = ("efsgd.deep",)
PRECISIONS = ("fp32", "tf32", "bf16")
LEAST = {"batch": 2, "epochs": 1, "seed": 0, "validation": 0, "train_size": 2, "test_size": 1}
MOST = {"epochs": 10**6, "seed": 2**63 - 1}  # a history in memory; seeds of 64 bits, signed
LARGEST = torch.finfo(torch.float32).max  # of step sizes: the weights are float32


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training as a value: with the machine, its compiler and versions it decides the history.

    ``data`` is the name of a :class:`Dataset`. ``lr`` is used as it is (see :func:`scaled_lr`) and
    divided by 10 at the start of each epoch of ``drops``, the first epoch being 0. ``train_size``
    and ``test_size`` keep the first so many images, None all; with ``validation`` the last so many
    training images, which are then not trained on, take the place of the test images.
    """

    packages: ClassVar[tuple[str, ...]] = PACKAGES

    method: Method
    lr: float
    model: str = "vgg19"
    data: str = "cifar10"
    batch: int = 128
    epochs: int = 200
    drops: tuple[int, ...] = (100, 150)
    seed: int = 0
    precision: str = "fp32"
    train_size: int | None = None
    test_size: int | None = None
    validation: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        if not isinstance(self.method, Method):
            raise ValueError(f"method must be one such as efsgd.EFSGD(), not {self.method!r}")
        for name, known in (("model", models.NAMES), ("precision", PRECISIONS)):
            if getattr(self, name) not in known:
                told = f"{name} must be one of {', '.join(known)}"
                raise ValueError(f"{told}, not {getattr(self, name)!r}")
        if not isinstance(self.data, str) or not self.data or self.data.endswith(".npz"):
            raise ValueError(
                f"data must be the name of a dataset, not {self.data!r}: "
                "for a file it is efsgd.deep.data.load(path).name"
            )
        for name, least in LEAST.items():
            value = getattr(self, name)
            if value is not None or name not in ("train_size", "test_size"):
                value = whole(name, value, MOST.get(name, math.inf), least=least)
                object.__setattr__(self, name, value)
        if not isinstance(self.drops, tuple | list):
            raise ValueError(f"drops must be a tuple of epochs, not {self.drops}: (100,) is one")
        lr: Any = self.lr
        if not isinstance(lr, int | float | np.integer | np.floating) or lr > LARGEST:
            raise ValueError(f"lr must be positive and a number of float32, not {lr!r}")
        # 1 and 1.0, a list and a tuple are one training.
        object.__setattr__(self, "lr", positive("lr", self.lr))
        object.__setattr__(self, "drops", tuple(whole("drops", drop) for drop in self.drops))
        if any(a >= b for a, b in zip(self.drops, self.drops[1:], strict=False)):
            raise ValueError(f"drops must be increasing epochs, not {self.drops}")

    def lr_at(self, epoch: int) -> float:
        """The step size of an epoch, 0 being the first: lr/10 for each drop that it has passed."""
        return float(self.lr / 10 ** sum(drop <= epoch for drop in self.drops))

    def compute(self) -> dict[str, Array]:
        """Train on the CPU, on the data of that name; the history that :func:`train` returns."""
        if self.data not in BY_NAME:
            raise ValueError(
                f"the data {self.data!r} come from a file, which their name does not find again: "
                "load it and call train(training, dataset)"
            )
        return train(self, load(self.data))

    def chosen(self, dataset: Dataset) -> Dataset:
        """The images that are trained and tested on; ValueError where there are not as many."""
        if dataset.name != self.data:
            raise ValueError(
                f"the training is of the data {self.data!r}, not {dataset.name!r}: "
                f"give it data={dataset.name!r}"
            )
        if self.validation:
            dataset = dataset.validation_split(self.validation)
        return dataset.subset(self.train_size, self.test_size)


def scaled_lr(lr_at_128: float, batch: int) -> float:
    """The step size at a batch size: proportional to it, as the paper scales it."""
    return lr_at_128 * batch / 128


def train(
    training: Training,
    dataset: Dataset,
    *,
    device: str | torch.device = "cpu",
    compile: bool = False,
    graph: bool = False,
    checkpoint: str | Path | None = None,
    every: int = 1,
    report: Report | None = None,
) -> dict[str, Array]:
    """Train, and return the history: arrays (epochs,) by name, see :mod:`efsgd.deep.history`.

    ``compile`` runs the model through torch.compile, ``graph`` (CUDA only) the whole step as one
    CUDA graph. ``checkpoint`` is written every so many epochs and at the end, and continued if it
    is there; the caller removes it (:func:`efsgd.deep.checkpoint.finish`) once the history is
    saved. ``report`` is called after every step and every epoch. SIGINT and SIGTERM complete the
    step, write the checkpoint and raise KeyboardInterrupt, which says how to go on.
    """
    how: dict[str, Any] = {"device": device, "compile": compile, "graph": graph}
    return _trained(training, dataset, how, checkpoint, every, report).history


def _trained(
    training: Training,
    dataset: Dataset,
    how: dict[str, Any],
    checkpoint: str | Path | None,
    every: int,
    report: Report | None,
) -> Session:
    """The session at its end."""
    whole("every", every)
    session = Session(training, training.chosen(dataset), **how)
    spec, path = as_text(spec_of(training)), None if checkpoint is None else Path(checkpoint)
    if path is not None:
        _continue(session, path, checkpoints.load(path, spec, dataset.digest))

    def save() -> None:
        if path is not None:
            checkpoints.save(path, spec, dataset.digest, session.state())

    def keep() -> None:
        if session.done or session.epoch % every == 0:
            save()

    with interruptions() as stop:
        try:
            session.run(stop.check, report or (lambda event: None), keep)
        except Stopped:
            save()
    if stop.name:
        raise KeyboardInterrupt(_farewell(session, stop.name, path))
    return session


def _continue(session: Session, path: Path, state: checkpoints.State | None) -> None:
    if state is None:
        return
    try:
        session.restore(state)
    except checkpoints.DAMAGE as error:
        reason = str(error).partition("\n")[0].strip(" .:")
        raise checkpoints.refused(path, f"does not fit this model ({reason})") from error


def _farewell(session: Session, name: str, path: Path | None) -> str:
    done = f"after {session.epoch} of {session.training.epochs} epochs"
    if session.batch:
        done += f" and {session.batch} of {session.batches} batches"
    if path is None:
        return f"{name} stopped the training {done}, and nothing was saved: give it a checkpoint"
    return f"{name} stopped the training {done}: {path} holds it, the same command goes on there"


def run_training(
    training: Training,
    dataset: Dataset,
    directory: str | Path,
    *,
    device: str | torch.device = "cpu",
    compile: bool = False,
    graph: bool = False,
    every: int = 1,
    report: Report | None = None,
    again: bool = False,
) -> Result:
    """The saved result of a training, be it stale (:func:`is_stale`), or a new one.

    A new one, made where there is none or with ``again``, continues DIRECTORY/checkpoints/<key>.pt,
    which goes once the result is saved. The other arguments are those of :func:`train`.
    Raises ValueError for a result of other data of the same name.
    """
    path, spec = results.place(training, directory), spec_of(training)
    kept = Path(directory) / "checkpoints" / f"{key(spec)}.pt"
    found = None if again else _saved(path, spec)
    if found is not None:
        if found.made_by.get("data") not in (None, dataset.digest):  # obtain notes no digest
            told = f"{path} is of other data named {dataset.name!r}"
            raise ValueError(f"{told}: use another directory")
        with suppress(OSError):  # it is still there where a kill came between save and finish
            checkpoints.finish(kept)
        return found
    how: dict[str, Any] = {"device": device, "compile": compile, "graph": graph}
    session = _trained(training, dataset, how, kept, every, report)
    arrays = session.history
    made = made_by(training) | together(session.machines) | {"data": dataset.digest}
    made |= {"code": session.code, "seconds": round(float(np.nansum(arrays["seconds"])), 3)}
    results.save(path, arrays, spec, made)
    checkpoints.finish(kept)
    return Result(dict(sorted(arrays.items())), spec, made, path)


def is_stale(result: Result, training: Training | None = None) -> bool:
    """Whether other code than today's made a result, or a part; a figure of it then says so.

    ``training`` is needed only where the method's compressor is a class of your own: its file then
    counts as well.
    """
    now = made_by(training, PACKAGES)["code"]
    return now is None or result.made_by.get("code") != now


def _saved(path: Path, spec: Json) -> Result | None:
    try:
        found = results.load(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # a damaged file is no result
        return None
    return found if found.spec == spec else None
