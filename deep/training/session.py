"""A training under way: what it steps, what it measures, and its state between two steps."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from efsgd.deep import models
from efsgd.deep.data.dataset import Dataset
from efsgd.deep.data.loader import Feed, Loader
from efsgd.deep.optim.optimiser import EFSGD
from efsgd.deep.training import evaluate, history
from efsgd.deep.training.device import AHEAD, Leash, library_flags
from efsgd.deep.training.events import Measured, Progress, Report, Stopwatch
from efsgd.deep.training.graph import Graphed
from efsgd.deep.training.history import MEANS, Row
from efsgd.deep.training.interruptions import Check
from efsgd.deep.training.machine import FORMS, Means, difference, machine
from efsgd.provenance import Json, made_by

if TYPE_CHECKING:
    from efsgd.deep.training.training import Training

log = logging.getLogger("efsgd.deep")


class Session:
    """Model, optimiser and data of one training on one device, and how far it has come.

    On CUDA it belongs to the stream that is current when it is made; with ``means.graph`` that must
    not be the default one.
    """

    def __init__(self, training: Training, data: Dataset, means: Means | None = None) -> None:
        means = Means(torch.device("cpu")) if means is None else means
        self.training, self.means, self.device = training, means, means.device
        self._load_data(data)
        model = models.build(training.model, data.classes, training.seed)
        model.to(memory_format=self._layout)  # type: ignore[call-overload]
        self.model = model.to(self.device).train()
        self.forward = torch.compile(self.model) if means.compile else self.model
        self.optimizer = EFSGD.of(
            training.method,
            self.model.parameters(),
            training.lr,
            capturable=bool(means.graph),
            measure=True,
            seed=training.seed,
            **FORMS[means.form],
        )
        step = self._full_step
        self.full_step = Graphed(step, self.optimizer.generators) if means.graph else step
        self.code = made_by(training)["code"]  # None once several had a part in it
        self.machines: list[Json] = []  # those that had a part, in the order of their last step
        self.form = ""  # of the optimiser's last step, once this session has taken one
        self._start()

    def _start(self) -> None:
        self.sums = torch.zeros(len(MEANS), dtype=torch.float64, device=self.device)
        self.counts = torch.zeros_like(self.sums)
        self.epoch = self.batch = self.skipped = 0  # skipped: in the epochs that are done
        self.diverged = False
        self.whole, self.steps = Stopwatch(), Stopwatch()
        self.history = history.empty(self.training.epochs)

    @property
    def _layout(self) -> torch.memory_format:
        bf16 = self.training.precision == "bf16"
        return torch.channels_last if bf16 else torch.contiguous_format

    def _load_data(self, data: Dataset) -> None:
        shared: dict[str, Any] = {"mean": data.moments.mean, "std": data.moments.std}
        shared |= {"device": self.device, "memory_format": self._layout}
        batch, seed = self.training.batch, self.training.seed
        self.loader = Loader(data.x_train, data.y_train, batch=batch, seed=seed, **shared)
        self.feed, self.leash = Feed(self.loader), Leash(self.device)
        self.batches = self.loader.batches()
        self.images = min(len(data.y_train), self.batches * batch)
        shared |= {"batch": evaluate.BATCH, "augment": False}
        n = len(data.y_test)
        self.judges = {
            "train": Loader(data.x_train[:n], data.y_train[:n], **shared),
            "test": Loader(data.x_test, data.y_test, **shared),
        }

    # -- training --------------------------------------------------------------------------------

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return self.diverged or self.epoch == self.training.epochs

    def run(self, check: Check, report: Report, save: Callable[[], None]) -> None:
        """Go on to the end; ``save`` and ``report`` are called after each step and each epoch.

        ``check`` is called between steps, between batches of the evaluation and while the device is
        waited for. All of them may raise.
        """
        while not self.done:
            with self.whole, library_flags(self.training.precision, self.device):
                with torch.enable_grad():
                    self._train(check, report, save)
                row = self._measured(check)
            self._end_epoch(row)
            save()
            report(Measured(self.epoch, self.training.epochs, row))
            check()

    def _train(self, check: Check, report: Report, save: Callable[[], None]) -> None:
        """The steps of an epoch that are left; none waits for what the device has not done yet."""
        self._set_lr(self.training.lr_at(self.epoch))
        self.feed.start(self.epoch, self.batch)
        size = self.training.batch
        with self.steps:
            while self.batch < self.batches:
                self.step()
                self.leash.wait(check, AHEAD)
                rate = min(self.batch * size, self.images) / self.steps.seconds
                here = (self.epoch + 1, self.training.epochs, self.batch, self.batches)
                report(Progress(*here, rate))
                save()
                check()
            self.leash.wait(check)

    def step(self) -> None:
        """The next step of the epoch, for which the feed must have been started."""
        left = self.images - self.batch * self.training.batch
        if left >= self.training.batch:
            self.full_step()
        else:  # once an epoch: not worth compiling or capturing
            self._step(self.model, *self.feed.batch(left))
        self.batch += 1
        self.leash.mark()
        if self.form != self.optimizer.form:
            self._take_part()

    def first_step(self) -> None:
        """The first step of the epoch once more, to try it or to time it."""
        self.batch = 0
        self.feed.done.zero_()
        self.step()

    def _full_step(self) -> None:
        self._step(self.forward, *self.feed.batch(self.training.batch))

    def _step(self, model: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> None:
        """One step of the optimiser, and what it adds to the sums; nothing but work on tensors."""
        self.optimizer.zero_grad(set_to_none=True)
        with self._cast():
            logits = model(x)
            loss = cross_entropy(logits, y)
        torch.autograd.backward(loss)
        self.optimizer.step()
        with torch.no_grad():
            phi, images = self.optimizer.density(), len(y)
            right = (logits.argmax(dim=1) == y).sum()
            finite = torch.stack([loss, loss, phi.g, phi.p]).isfinite().double()
            values = torch.stack([loss * images, right, phi.g, phi.p]).double()
            self.sums += values.nan_to_num(0.0, 0.0, 0.0) * finite
            self.counts[:2].add_(finite[:2], alpha=images)
            self.counts[2:].add_(finite[2:])

    def _cast(self) -> torch.autocast:
        # Without its cache, in which a captured step must leave nothing; no weight is cast twice.
        enabled = self.training.precision == "bf16"
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=enabled, cache_enabled=False
        )

    def _set_lr(self, lr: float) -> None:
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(lr)  # a captured step reads it there
            else:
                group["lr"] = lr

    # -- measuring -------------------------------------------------------------------------------

    def _measured(self, check: Check) -> Row:
        """The row of the epoch whose steps are done."""
        if not self.form:  # the steps were those of an earlier session
            self._take_part()
        row: Row = {"lr": self.training.lr_at(self.epoch)}
        row |= dict(zip(MEANS, (self.sums / self.counts).tolist(), strict=True))
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
        row["images_per_second"] = self.images / self.steps.seconds
        return row | {"seconds": self.whole.seconds}

    def _scores(self, check: Check, parts: Sequence[str]) -> Row:
        """Loss and accuracy on each of these parts of the data."""
        row: Row = {}
        for part in parts:
            batches = self.judges[part].epoch(0)
            score = evaluate.evaluate(self.model, batches, self._cast, check, self.leash)
            row |= {f"{part}_loss": score.loss, f"{part}_accuracy": score.accuracy}
        return row

    def _end_epoch(self, row: Row) -> None:
        history.record(self.history, self.epoch, row)
        lost = 2 * row["skipped"] > self.batches
        self.diverged = lost or not math.isfinite(row["test_loss"])
        self.epoch, self.batch = self.epoch + 1, 0
        self.skipped += int(row["skipped"])
        self.whole, self.steps = Stopwatch(), Stopwatch()
        self.sums.zero_()
        self.counts.zero_()

    # -- between two steps -----------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything that changes, as plain tensors, numbers and strings."""
        return {
            **{"epoch": self.epoch, "batch": self.batch, "diverged": self.diverged},
            **{"code": self.code, "machines": self.machines},
            "model": dict(self.model.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            **{"sums": self.sums, "counts": self.counts},
            "skipped": int(self.optimizer.skipped) - self.skipped,  # in this epoch
            "seconds": [self.whole.seconds, self.steps.seconds],
            "history": {name: torch.from_numpy(a) for name, a in self.history.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state; raises one of ``checkpoint.DAMAGE`` for what is none."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.sums.copy_(state["sums"])
        self.counts.copy_(state["counts"])
        self.epoch, self.batch = int(state["epoch"]), int(state["batch"])
        self.diverged = bool(state["diverged"])
        self._came_from(state["code"], state["machines"])
        self.skipped = int(self.optimizer.skipped) - int(state["skipped"])
        self.whole, self.steps = (Stopwatch(float(seconds)) for seconds in state["seconds"])
        for name, values in self.history.items():
            values[:] = state["history"][name].numpy()

    def _came_from(self, code: str | None, machines: list[Json]) -> None:
        """Remember what had a part before; what finds nothing left to do has none."""
        names = machine(self.means, "").keys()
        none = not machines and (self.epoch or self.batch)
        if none or any(part.keys() != names for part in machines):
            raise ValueError("it names no machine")
        self.machines = machines
        self.code = code if self.done or code == self.code else None

    def _take_part(self) -> None:
        """Note what this session runs on, once a step has shown the form that it takes."""
        self.form = self.optimizer.form
        here = machine(self.means, self.form or self.machines[-1]["form"])
        if self.machines and (changed := difference(self.machines[-1], here)):
            log.info("the training goes on with %s: its last bits may differ", changed)
        self.machines = [part for part in self.machines if part != here] + [here]
