"""Train, or find what was trained before: checkpoints, signals, and the result file."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from efsgd import results
from efsgd.archives import reason
from efsgd.arrays import Array
from efsgd.deep.data.dataset import Dataset
from efsgd.deep.training import checkpoint as checkpoints
from efsgd.deep.training.choice import chosen
from efsgd.deep.training.device import own_stream
from efsgd.deep.training.events import Report
from efsgd.deep.training.interruptions import Check, Stopped, interruptions
from efsgd.deep.training.machine import Form, together, usable
from efsgd.deep.training.session import Session
from efsgd.deep.training.training import Training
from efsgd.provenance import Json, as_text, made_by, spec_of
from efsgd.results import Result

EVERY = 60.0  # seconds between two checkpoints


def train(
    training: Training,
    dataset: Dataset,
    *,
    device: str | torch.device = "cpu",
    compile: bool = False,
    graph: bool | None = None,
    form: Form | None = None,
    checkpoint: str | Path | None = None,
    every: float = EVERY,
    report: Report | None = None,
    check: Check | None = None,
) -> dict[str, Array]:
    """Train, and return the history, arrays (epochs,) by name.

    Their names are in :mod:`efsgd.deep.training.history`.

    ``compile`` runs the model through torch.compile, ``graph`` (CUDA only) the whole step as one
    CUDA graph, ``form`` is that of the optimiser's step: "loop", "foreach", "compiled" or "triton".
    None takes the first that works on that device of what should be fastest there, and logs it
    (:mod:`efsgd.deep.training.choice`).

    ``checkpoint`` is written every so many seconds and at the end, and continued if it is there;
    the caller removes it (:func:`efsgd.deep.training.checkpoint.finish`) once the history is
    saved. ``report`` is called after every step and every epoch, ``check`` also while the device is
    waited for. SIGINT and SIGTERM, or a ``check`` that raises :class:`efsgd.deep.training.Stopped`,
    complete the step, write the checkpoint and raise KeyboardInterrupt, which says how to go on.
    """
    how: dict[str, Any] = {"device": device, "compile": compile, "graph": graph, "form": form}
    keeping = Keeping(None if checkpoint is None else Path(checkpoint), every)
    return _trained(training, dataset, how, keeping, report, check).history


@dataclass
class Keeping:
    """Where the checkpoints of a training lie, and how many seconds are between them."""

    path: Path | None  # None keeps nothing
    every: float

    def __post_init__(self) -> None:
        """Refuse what is no time."""
        if not self.every >= 0:
            raise ValueError(f"every must be seconds, at least 0, not {self.every}")
        self._last = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether the next one should be written."""
        return self.path is not None and time.monotonic() - self._last >= self.every

    def save(self, training: Training, data: str, session: Session) -> None:
        """Write one, on data of that digest."""
        if self.path is not None:
            checkpoints.save(self.path, as_text(spec_of(training)), data, session.state())
        self._last = time.monotonic()


def _trained(
    training: Training,
    dataset: Dataset,
    how: dict[str, Any],
    keeping: Keeping,
    report: Report | None,
    check: Check | None,
) -> Session:
    """The session at its end."""
    means, images = usable(precision=training.precision, **how), training.chosen(dataset)
    path, stopped = keeping.path, None
    with own_stream(means.device):
        session = Session(training, images, chosen(training, images, means))
        if path is not None:
            state = checkpoints.load(path, as_text(spec_of(training)), dataset.digest)
            _continue(session, path, state)

        def keep() -> None:
            if session.done or keeping.due:
                keeping.save(training, dataset.digest, session)

        with interruptions() as stop:

            def between() -> object:
                stop.check()
                return check() if check else None

            try:
                session.run(between, report or (lambda event: None), keep)
            except Stopped as error:
                stopped = str(error) or "a request"
                keeping.save(training, dataset.digest, session)
    if stopped is not None:
        raise KeyboardInterrupt(_farewell(session, stopped, path))
    return session


def _continue(session: Session, path: Path, state: checkpoints.State | None) -> None:
    if state is None:
        return
    try:
        session.restore(state)
    except checkpoints.DAMAGE as error:
        why = f"does not fit this model ({reason(error).strip(' .:')})"
        raise checkpoints.refused(path, why) from error


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
    graph: bool | None = None,
    form: Form | None = None,
    every: float | None = EVERY,
    report: Report | None = None,
    check: Check | None = None,
    again: bool = False,
) -> Result:
    """The saved result of a training, be it stale (:func:`is_stale`), or a new one.

    A new one, made where there is none or with ``again``, continues DIRECTORY/checkpoints/<key>.pt,
    which goes once the result is saved; ``every=None`` keeps no checkpoint. The other arguments are
    those of :func:`train`.
    Raises ValueError for a result of other data of the same name.
    """
    path, spec = results.place(training, directory), spec_of(training)
    kept = checkpoints.place(training, directory)
    found = None if again else _saved(path, spec)
    if found is not None:
        if found.made_by.get("data") not in (None, dataset.digest):  # obtain notes no digest
            told = f"{path} is of other data named {dataset.name!r}"
            raise ValueError(f"{told}: use another directory")
        with suppress(OSError):  # it is still there where a kill came between save and finish
            checkpoints.finish(kept)
        return found
    how: dict[str, Any] = {"device": device, "compile": compile, "graph": graph, "form": form}
    keeping = Keeping(None, 0) if every is None else Keeping(kept, every)
    session = _trained(training, dataset, how, keeping, report, check)
    arrays = session.history
    made = made_by(training) | together(session.machines) | {"data": dataset.digest}
    made |= {"code": session.code, "seconds": round(float(np.nansum(arrays["seconds"])), 3)}
    results.save(path, arrays, spec, made)
    checkpoints.finish(kept)
    return Result(dict(sorted(arrays.items())), spec, made, path)


def is_stale(result: Result, training: Training) -> bool:
    """Whether other code than today's made a result of this training, or a part of it."""
    now = made_by(training)["code"]
    return now is None or result.made_by.get("code") != now


def _saved(path: Path, spec: Json) -> Result | None:
    try:
        found = results.load(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # a damaged file is no result
        return None
    return found if found.spec == spec else None
