"""A training under way: what it steps, what it measures, and its state between two steps."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from efsgd.deep import evaluate, history, models
from efsgd.deep.data import Dataset
from efsgd.deep.history import MEANS, SCORES, Row
from efsgd.deep.loader import Loader
from efsgd.deep.loop import Graphed, Measured, Progress, Report, Stopwatch, tf32, usable
from efsgd.deep.machine import difference, machine
from efsgd.deep.optimiser import EFSGD
from efsgd.provenance import Json, made_by

if TYPE_CHECKING:
    from efsgd.deep.training import Training

log = logging.getLogger("efsgd.deep")


class Session:
    """Model, optimiser and data of one training on one device, and how far it has come.

    Raises ValueError for an option that this machine or device does not have.
    """

    def __init__(
        self,
        training: Training,
        data: Dataset,
        device: str | torch.device = "cpu",
        compile: bool = False,
        graph: bool = False,
    ) -> None:
        self.training = training
        self.device = usable(device, training.precision, compile, graph)
        self._load_data(data)
        model = models.build(training.model, data.classes, training.seed)
        model.to(memory_format=self._layout)  # type: ignore[call-overload]
        self.model = model.to(self.device).train()
        self.forward = torch.compile(self.model) if compile else self.model
        self.optimizer = EFSGD.of(
            training.method,
            self.model.parameters(),
            training.lr,
            capturable=graph,
            measure=True,
            seed=training.seed,
        )
        step = self._full_step
        self.full_step = Graphed(step, self.optimizer.generators) if graph else step
        self.code = made_by(training)["code"]  # None once several had a part in it
        self.machines = [machine(self.device, compile, graph)]  # this one is the last
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
        self.batches = self.loader.batches()
        self.images = min(len(data.y_train), self.batches * batch)
        shared |= {"batch": evaluate.BATCH, "augment": False}
        n = len(data.y_test)
        self.judges = [
            Loader(x[:n], y[:n], **shared)
            for x, y in ((data.x_train, data.y_train), (data.x_test, data.y_test))
        ]

    # -- training --------------------------------------------------------------------------------

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return self.diverged or self.epoch == self.training.epochs

    def run(self, check: Callable[[], None], report: Report, save: Callable[[], None]) -> None:
        """Go on to the end; ``save`` is called after each epoch, ``report`` after each step too.

        ``check`` is called between steps and batches of the evaluation. All of them may raise.
        """
        while not self.done:
            allowed = self.training.precision == "tf32"
            with self.whole, tf32(allowed, self.device), torch.enable_grad():
                self._train(check, report)
                row = self._measured(check)
            self._end_epoch(row)
            save()
            report(Measured(self.epoch, self.training.epochs, row))
            check()

    def _train(self, check: Callable[[], None], report: Report) -> None:
        """The steps of an epoch that are left; the host does not wait for the device in between."""
        self._set_lr(self.training.lr_at(self.epoch))
        size = self.training.batch
        with self.steps:
            for x, y in self.loader.epoch(self.epoch, start=self.batch):
                if len(y) == size:
                    self.full_step(x, y)
                else:  # once an epoch: not worth compiling or capturing
                    self._step(self.model, x, y)
                self.batch += 1
                rate = min(self.batch * size, self.images) / self.steps.seconds
                here = (self.epoch + 1, self.training.epochs, self.batch, self.batches)
                report(Progress(*here, rate))
                check()
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)

    def _full_step(self, x: Tensor, y: Tensor) -> None:
        self._step(self.forward, x, y)

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

    def _measured(self, check: Callable[[], None]) -> Row:
        """The row of the epoch whose steps are done."""
        row: Row = {"lr": self.training.lr_at(self.epoch)}
        row |= dict(zip(MEANS, (self.sums / self.counts).tolist(), strict=True))
        row["skipped"] = int(self.optimizer.skipped) - self.skipped
        row["memory_norm"] = float(self.optimizer.memory_norm())
        scores = self._scores(check)
        row |= scores
        if self.training.method.feeds_back:
            with self.optimizer.virtual_iterate():
                scores = self._scores(check)
        row |= {f"virtual_{name}": score for name, score in scores.items()}
        row["images_per_second"] = self.images / self.steps.seconds
        return row | {"seconds": self.whole.seconds}

    def _scores(self, check: Callable[[], None]) -> Row:
        train, test = (
            evaluate.evaluate(self.model, judge.epoch(0), self._cast, check)
            for judge in self.judges
        )
        return dict(zip(SCORES, (*train, *test), strict=True))

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
        """Go back to a state; raises one of efsgd.deep.checkpoint.DAMAGE for what is none."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.sums.copy_(state["sums"])
        self.counts.copy_(state["counts"])
        self.epoch, self.batch = int(state["epoch"]), int(state["batch"])
        self.diverged = bool(state["diverged"])
        self._move_from(state["code"], state["machines"])
        self.skipped = int(self.optimizer.skipped) - int(state["skipped"])
        self.whole, self.steps = (Stopwatch(float(seconds)) for seconds in state["seconds"])
        for name, values in self.history.items():
            values[:] = state["history"][name].numpy()

    def _move_from(self, code: str | None, machines: list[Json]) -> None:
        """Remember what had a part before; what finds nothing left to do has none."""
        here = self.machines[-1]
        if not machines or any(part.keys() != here.keys() for part in machines):
            raise ValueError("it names no machine")
        if self.done:
            self.code, self.machines = code, machines
            return
        if changed := difference(machines[-1], here):
            log.info("the training goes on with %s: its last bits may differ", changed)
        self.code = self.code if code == self.code else None
        self.machines = [part for part in machines if part != here] + [here]
