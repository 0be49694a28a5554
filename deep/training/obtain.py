"""Run trainings: with checkpoints, stopped by signals, their results saved and found again."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from efsgd import results
from efsgd.archives import Damaged, parsing
from efsgd.arrays import Array
from efsgd.deep.data.dataset import Dataset
from efsgd.deep.training import checkpoint as checkpoints
from efsgd.deep.training.choice import choose
from efsgd.deep.training.device import own_stream
from efsgd.deep.training.events import Report
from efsgd.deep.training.execution import Execution, Form, checked_execution
from efsgd.deep.training.interruptions import Check, Stopped, deferred_signals
from efsgd.deep.training.machine import merge_machines
from efsgd.deep.training.session import Session
from efsgd.deep.training.training import Training
from efsgd.freshness import digest
from efsgd.provenance import Json, as_text, made_by, spec_of
from efsgd.results import Result
from efsgd.temporary import clear

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
    Where ``graph`` or ``form`` is None, the fastest that works on the device is chosen and logged
    (:mod:`efsgd.deep.training.choice`).

    The file ``checkpoint`` is written every ``every`` seconds and at the end, and the training
    goes on from it where it exists; the caller removes it
    (:func:`efsgd.deep.training.checkpoint.finish`) once the history is saved. ``report`` is called
    after every step and every epoch, ``check`` also while waiting for the device. SIGINT and
    SIGTERM, or a ``check`` that raises :class:`efsgd.deep.training.Stopped`, complete the step,
    write the checkpoint and raise KeyboardInterrupt, which says how to go on.
    """
    checkpoint_file = CheckpointFile(None if checkpoint is None else Path(checkpoint), every)
    execution = checked_execution(device, training.precision, compile, graph, form)
    return _run(training, dataset, execution, checkpoint_file, report, check).history


@dataclass
class CheckpointFile:
    """A checkpoint that is written again every ``every`` seconds."""

    path: Path | None  # None: nothing is written
    every: float

    def __post_init__(self) -> None:
        """Raise ValueError for a negative interval or NaN."""
        if not self.every >= 0:
            raise ValueError(f"every must be seconds, at least 0, not {self.every}")
        self._last = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether it should be written again."""
        return self.path is not None and time.monotonic() - self._last >= self.every

    def save(self, session: Session, data: str) -> None:
        """Write the state of a session on data with the digest ``data``."""
        if self.path is not None:
            spec = as_text(spec_of(session.training))
            checkpoints.save(self.path, spec, data, session.state())
        self._last = time.monotonic()


def _run(
    training: Training,
    dataset: Dataset,
    execution: Execution,
    checkpoint: CheckpointFile,
    report: Report | None,
    check: Check | None,
) -> Session:
    """The session at its end; KeyboardInterrupt where it was stopped before."""
    images, stopped_by = training.chosen(dataset), None
    with own_stream(execution.device):
        session = Session(training, images, choose(training, images, execution))
        if checkpoint.path is not None:
            _restore(session, checkpoint.path, dataset.digest)

        def save() -> None:
            if session.done or checkpoint.due:
                checkpoint.save(session, dataset.digest)

        with deferred_signals() as request:

            def check_both() -> object:
                request.check()
                return check() if check else None

            try:
                session.run(check_both, report or (lambda event: None), save)
            except Stopped as error:
                stopped_by = str(error) or "a request"
                checkpoint.save(session, dataset.digest)
    if stopped_by is not None:
        raise KeyboardInterrupt(_stopped_message(session, stopped_by, checkpoint.path))
    return session


def _restore(session: Session, path: Path, data: str) -> None:
    """Go back to the state of a checkpoint, if there is one."""
    state = checkpoints.load(path, as_text(spec_of(session.training)), data)
    if state is None:
        return
    try:
        with parsing():
            session.restore(state)
    except Damaged as error:
        why = f"does not fit this model ({str(error).strip(' .:')})"
        raise checkpoints.refusal(path, why) from error


def _stopped_message(session: Session, stopped_by: str, path: Path | None) -> str:
    """What stopped a training, how far it had come, and how to go on."""
    progress = f"after {session.epoch} of {session.training.epochs} epochs"
    if session.batch:
        progress += f" and {session.batch} of {session.batches} batches"
    text = f"{stopped_by} stopped the training {progress}"
    if path is None:
        return f"{text}, and nothing was saved: give it a checkpoint"
    return f"{text}: {path} holds it, the same command goes on there"


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
    """The saved result of a training, even if it is stale (:func:`is_stale`), or a new one.

    A new one is made where there is none, or with ``again``. Its training goes on from the
    checkpoint DIRECTORY/checkpoints/<key>.pt where there is one, which is removed once the result
    is saved; ``every=None`` writes no checkpoint and reads none. The other arguments are those of
    :func:`train`.
    Raises ValueError for a result of other data of the same name.
    """
    path, spec = results.place(training, directory), spec_of(training)
    checkpoint_path = checkpoints.place(training, directory)
    clear(path.parent, checkpoint_path.parent)
    saved = None if again else _saved(path, spec)
    if saved is not None:
        if saved.made_by.get("data") not in (None, dataset.digest):  # obtain notes no digest
            raise ValueError(
                f"{path} is of other data named {dataset.name!r}: use another directory"
            )
        with suppress(OSError):  # it still exists where a kill came between save and finish
            checkpoints.finish(checkpoint_path)
        return saved
    checkpoint = CheckpointFile(None if every is None else checkpoint_path, every or 0.0)
    execution = checked_execution(device, training.precision, compile, graph, form)
    session = _run(training, dataset, execution, checkpoint, report, check)
    arrays, lineage = session.history, session.lineage
    made = made_by(training) | merge_machines(lineage.machines) | {"data": dataset.digest}
    made |= {"code": lineage.code, "seconds": round(float(np.nansum(arrays["seconds"])), 3)}
    results.save(path, arrays, spec, made)
    checkpoints.finish(checkpoint_path)
    return Result(dict(sorted(arrays.items())), spec, made, path)


def is_stale(result: Result, training: Training) -> bool:
    """Whether a result of this training was made, in part or whole, by other code than today's."""
    now = digest(training)
    return now is None or result.made_by.get("code") != now


def _saved(path: Path, spec: Json) -> Result | None:
    try:
        result = results.load(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # a damaged file is no result
        return None
    return result if result.spec == spec else None
