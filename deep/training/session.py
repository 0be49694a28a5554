"""A training under way: its steps, its evaluation after each epoch, and its state in between."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from efsgd.deep import models
from efsgd.deep.data.dataset import Dataset
from efsgd.deep.data.loader import Feed, Loader
from efsgd.deep.optim.optimiser import EFSGD
from efsgd.deep.training import evaluate, history, saved_state
from efsgd.deep.training.device import MAX_IN_FLIGHT, InFlight, library_flags
from efsgd.deep.training.events import Measured, Progress, Report, Stopwatch
from efsgd.deep.training.execution import FORMS, Execution
from efsgd.deep.training.graph import Graphed
from efsgd.deep.training.history import Row
from efsgd.deep.training.interruptions import Check
from efsgd.deep.training.machine import Lineage
from efsgd.deep.training.running_means import RunningMeans
from efsgd.provenance import made_by

if TYPE_CHECKING:
    from efsgd.deep.training.training import Training


class Session:
    """Model, optimiser and data of one training on one device, and how far it has come.

    On CUDA it belongs to the stream that is current when it is made; with ``execution.graph`` that
    must not be the default one.
    """

    def __init__(
        self, training: Training, data: Dataset, execution: Execution | None = None
    ) -> None:
        execution = execution or Execution(torch.device("cpu"))
        self.training, self.execution, self.device = training, execution, execution.device
        self._load_data(data)
        self.model = self._build_model(data.classes)
        self.forward = torch.compile(self.model) if execution.compile else self.model
        self.optimizer = EFSGD.of(
            training.method,
            self.model.parameters(),
            training.lr,
            capturable=bool(execution.graph),
            measure=True,
            seed=training.seed,
            **FORMS[execution.form],
        )
        self.full_step = self._full_step
        if execution.graph:
            self.full_step = Graphed(self._full_step, self.optimizer.generators)
        self.lineage = Lineage(execution, made_by(training)["code"])
        self.means = RunningMeans(self.device)
        self.epoch = self.batch = 0  # epochs that are done; batches of the next one that are done
        self.skipped = 0  # steps that the optimiser skipped in the epochs that are done
        self.diverged = False
        self.epoch_watch, self.steps_watch = Stopwatch(), Stopwatch()
        self.history = history.empty(training.epochs)

    @property
    def _layout(self) -> torch.memory_format:
        bf16 = self.training.precision == "bf16"
        return torch.channels_last if bf16 else torch.contiguous_format

    def _build_model(self, classes: int) -> nn.Module:
        model = models.build(self.training.model, classes, self.training.seed)
        model.to(memory_format=self._layout)  # type: ignore[call-overload]
        return model.to(self.device).train()

    def _load_data(self, data: Dataset) -> None:
        shared: dict[str, Any] = {"mean": data.moments.mean, "std": data.moments.std}
        shared |= {"device": self.device, "memory_format": self._layout}
        batch, seed = self.training.batch, self.training.seed
        self.loader = Loader(data.x_train, data.y_train, batch=batch, seed=seed, **shared)
        self.feed, self.in_flight = Feed(self.loader), InFlight(self.device)
        self.batches = self.loader.batches()
        self.images = min(len(data.y_train), self.batches * batch)  # of an epoch
        shared |= {"batch": evaluate.BATCH, "augment": False}
        n = len(data.y_test)
        self.evaluation_loaders = {
            "train": Loader(data.x_train[:n], data.y_train[:n], **shared),
            "test": Loader(data.x_test, data.y_test, **shared),
        }

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return self.diverged or self.epoch == self.training.epochs

    def run(self, check: Check, report: Report, save: Callable[[], None]) -> None:
        """Train to the end; ``report`` and ``save`` are called after each step and each epoch.

        ``check`` is called between steps, between batches of the evaluation and while waiting for
        the device. All of them may raise.
        """
        while not self.done:
            with self.epoch_watch, library_flags(self.training.precision, self.device):
                with torch.enable_grad():
                    self._train(check, report, save)
                row = self._measure(check)
            self._end_epoch(row)
            save()
            report(Measured(self.epoch, self.training.epochs, row))
            check()

    def _train(self, check: Check, report: Report, save: Callable[[], None]) -> None:
        """The remaining steps of an epoch; none waits for its own result."""
        self._set_lr(self.training.lr_at(self.epoch))
        self.feed.start(self.epoch, self.batch)
        size = self.training.batch
        with self.steps_watch:
            while self.batch < self.batches:
                self.step()
                self.in_flight.wait(check, MAX_IN_FLIGHT)
                images = min(self.batch * size, self.images)
                progress = Progress(
                    epoch=self.epoch + 1,
                    epochs=self.training.epochs,
                    batch=self.batch,
                    batches=self.batches,
                    images_per_second=images / self.steps_watch.seconds,
                )
                report(progress)
                save()
                check()
            self.in_flight.wait(check)

    def step(self) -> None:
        """The next step of the epoch, for which the feed must have been started."""
        remaining = self.images - self.batch * self.training.batch
        if remaining >= self.training.batch:
            self.full_step()
        else:  # once an epoch: not worth compiling or capturing
            self._step(self.model, *self.feed.batch(remaining))
        self.batch += 1
        self.in_flight.record()
        if self.lineage.form != self.optimizer.form:
            self.lineage.record(self.optimizer.form)

    def first_step(self) -> None:
        """Take a step on the first batch of the epoch, again: to try it or to time it."""
        self.batch = 0
        self.feed.done.zero_()
        self.step()

    def _full_step(self) -> None:
        self._step(self.forward, *self.feed.batch(self.training.batch))

    def _step(self, model: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> None:
        """One step of the optimiser, added to the means; only work on tensors, to be captured."""
        self.optimizer.zero_grad(set_to_none=True)
        with self.autocast():
            logits = model(x)
            loss = cross_entropy(logits, y)
        torch.autograd.backward(loss)
        self.optimizer.step()
        with torch.no_grad():
            phi = self.optimizer.density()
            correct = (logits.argmax(dim=1) == y).sum()
            self.means.add(loss, correct, len(y), phi.g, phi.p)

    def autocast(self) -> torch.autocast:
        """The context of a forward pass: bfloat16 where that is the training's precision."""
        # Without its cache, in which a captured step must leave nothing; no weight is cast twice.
        bf16 = self.training.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=bf16, cache_enabled=False)

    def _set_lr(self, lr: float) -> None:
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(lr)  # a captured step reads it there
            else:
                group["lr"] = lr

    def _measure(self, check: Check) -> Row:
        """The row of the epoch whose steps are done."""
        if not self.lineage.form:  # the steps were those of an earlier session
            self.lineage.record(self.optimizer.form)
        row: Row = {"lr": self.training.lr_at(self.epoch)}
        row |= self.means.row()
        row["skipped"] = int(self.optimizer.skipped) - self.skipped
        row["memory_norm"] = float(self.optimizer.memory_norm())
        everything = self.training.evaluated(self.epoch)
        scores = self._scores(check, ("train", "test") if everything else ("test",))
        row |= scores
        if everything and self.training.method.feeds_back:
            with self.optimizer.virtual_iterate():
                scores = self._scores(check, ("train", "test"))
        if everything:
            row |= {f"virtual_{name}": score for name, score in scores.items()}
        row["images_per_second"] = self.images / self.steps_watch.seconds
        return row | {"seconds": self.epoch_watch.seconds}

    def _scores(self, check: Check, parts: Sequence[str]) -> Row:
        """Loss and accuracy on each of these parts of the data."""
        row: Row = {}
        for part in parts:
            batches = self.evaluation_loaders[part].epoch(0)
            score = evaluate.evaluate(self.model, batches, self.autocast, check, self.in_flight)
            row |= {f"{part}_loss": score.loss, f"{part}_accuracy": score.accuracy}
        return row

    def _end_epoch(self, row: Row) -> None:
        history.record(self.history, self.epoch, row)
        mostly_skipped = 2 * row["skipped"] > self.batches
        self.diverged = mostly_skipped or not math.isfinite(row["test_loss"])
        self.epoch, self.batch = self.epoch + 1, 0
        self.skipped += int(row["skipped"])
        self.epoch_watch, self.steps_watch = Stopwatch(), Stopwatch()
        self.means.reset()

    def state(self) -> dict[str, Any]:
        """Everything that changes, as plain tensors, numbers and strings."""
        return {
            "epoch": self.epoch,
            "batch": self.batch,
            "diverged": self.diverged,
            "code": self.lineage.code,
            "machines": self.lineage.machines,
            "model": dict(self.model.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "sums": self.means.sums,
            "counts": self.means.counts,
            "skipped": int(self.optimizer.skipped) - self.skipped,  # in this epoch
            "seconds": [self.epoch_watch.seconds, self.steps_watch.seconds],
            "history": {name: torch.from_numpy(a) for name, a in self.history.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state; what this raises for an invalid one may be any exception."""
        saved_state.check(state, self.state(), self.training.epochs, self.batches)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.means.restore(state["sums"], state["counts"])
        self.epoch, self.batch, self.diverged = state["epoch"], state["batch"], state["diverged"]
        begun = self.epoch > 0 or self.batch > 0
        self.lineage.restore(state["code"], state["machines"], begun, self.done)
        self.skipped = int(self.optimizer.skipped) - state["skipped"]
        self.epoch_watch, self.steps_watch = (Stopwatch(s) for s in state["seconds"])
        for name, values in self.history.items():
            values[:] = state["history"][name].numpy()
