"""Images a second of training steps, for one training and several at once, and of evaluation.

Trainings at once have a stream and a CUDA graph each and take turns, as
`efsgd-figures cifar --parallel` runs them; the speed is that of all together.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from data import images_or_standin
from measure import Context, failure, matmul_rate, table, write
from output import STATE
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from efsgd.deep.data.dataset import Dataset
from efsgd.deep.models import build
from efsgd.deep.training import evaluate
from efsgd.deep.training.concurrent_trainings import at_once
from efsgd.deep.training.device import MAX_IN_FLIGHT, library_flags, own_stream
from efsgd.deep.training.execution import Execution
from efsgd.deep.training.interruptions import Check
from efsgd.deep.training.session import Session
from efsgd.deep.training.training import Training
from efsgd.figures.cifar.presets import METHODS

Setting = tuple[str, int]  # network and batch size
SETTINGS: tuple[Setting, ...] = (("vgg19", 128), ("vgg19", 8), ("resnet18", 128))
SMALL: tuple[Setting, ...] = (("resnet8", 8),)
SECONDS = 3.0  # of each measurement


def operations(network: str) -> int:
    """Floating-point operations of a forward and backward pass of one image."""
    model = build(network, 10)
    with FlopCounterMode(display=False) as counter:
        cross_entropy(
            model(torch.randn(2, 3, 32, 32)), torch.zeros(2, dtype=torch.int64)
        ).backward()
    return int(counter.get_total_flops()) // 2


def execution_of(context: Context) -> Execution:
    """The fastest execution that the probe has found, else "foreach" and on CUDA a graph."""
    best = context.output.read(STATE).get("best") or {}
    return Execution(
        context.device, graph=best.get("graph", context.cuda), form=best.get("form", "foreach")
    )


class Race:
    """Counts the steps of trainings at once, over a time that begins once all are warm."""

    def __init__(self, count: int, seconds: float) -> None:
        self.warming_up, self.seconds = count, seconds
        self.steps = 0
        self.start: float | None = None
        self.end = 0.0

    def run(self, session: Session, warm: int, check: Check) -> None:
        """Take the steps of one training."""
        self._take_steps(session, check, lambda count: count < warm)
        session.in_flight.wait(check)
        self.warming_up -= 1
        while self.warming_up:
            check()
        self.start = self.start or time.perf_counter()
        end = self.start + self.seconds
        count = self._take_steps(session, check, lambda count: time.perf_counter() < end)
        self.steps += count  # not before the steps: the others add theirs meanwhile
        session.in_flight.wait(check)
        self.end = time.perf_counter()

    @staticmethod
    def _take_steps(session: Session, check: Check, more: Callable[[int], bool]) -> int:
        count = 0
        while more(count):
            session.first_step()
            session.in_flight.wait(check, MAX_IN_FLIGHT)
            check()
            count += 1
        return count


def training_speed(setting: Setting, data: Dataset, count: int, context: Context) -> float:
    """Images a second of ``count`` trainings at once, EF-signSGD in bf16."""
    (model, batch), race = setting, Race(count, 0.2 if context.small else SECONDS)

    def task(seed: int, check: Check) -> None:
        training = Training(
            method=METHODS["ef-signsgd"],
            lr=1e-3,
            model=model,
            data=data.name,
            batch=batch,
            seed=seed,
            precision=context.precision,
        )
        with own_stream(context.device):
            session = Session(training, data, execution_of(context))
            session.feed.start(0)
            race.run(session, 1 if context.small else 10, check)

    with library_flags(context.precision, context.device):
        at_once([partial(task, seed) for seed in range(count)], count)
    assert race.start is not None
    return race.steps * batch / (race.end - race.start)


def evaluation_speed(model: str, data: Dataset, context: Context) -> float:
    """Images a second of an evaluation."""
    training = Training(
        method=METHODS["sgdm"], lr=1e-3, data=data.name, model=model, precision=context.precision
    )
    with own_stream(context.device), library_flags(context.precision, context.device):
        session = Session(training, data, execution_of(context))
        loader, in_flight = session.evaluation_loaders["test"], session.in_flight
        for _ in range(2):  # the first one warms up
            start = time.perf_counter()
            batches = loader.epoch(0)
            evaluate.evaluate(session.model, batches, session.autocast, in_flight=in_flight)
    return len(loader.labels) / (time.perf_counter() - start)


def measure_speeds(setting: Setting, data: Dataset, context: Context) -> dict[str, Any]:
    """Speeds of one training, of several and of evaluation, or the failure."""
    model, batch = setting
    row: dict[str, Any] = {"network": model, "batch": batch, "at once": context.parallel}
    try:
        row["alone"] = training_speed(setting, data, 1, context)
        row["together"] = training_speed(setting, data, context.parallel, context)
        row["evaluation"] = evaluation_speed(model, data, context)
    except Exception as error:  # the other settings may work
        row["failed"] = failure(error)
    return row


def run(context: Context) -> bool:
    """Measure every setting; whether all of them ran."""
    data, rate, rows = images_or_standin(context), matmul_rate(context), []
    for setting in SMALL if context.small else SETTINGS:
        row = measure_speeds(setting, data, context)
        if "failed" not in row:
            row["share of bf16 rate"] = operations(row["network"]) * row["together"] / rate
        rows.append(row)
        write(context, "images", {"bf16 operations per second": rate, "rows": rows})
    columns = [
        "network",
        "batch",
        "alone",
        f"{context.parallel} at once",
        "of bf16 rate",
        "evaluation",
    ]
    table(f"Images a second of EF-signSGD in bf16; matrices {rate / 1e12:.4g} TFLOP/s", columns, [
        [r["network"], r["batch"], r["failed"], "", "", ""] if "failed" in r else
        [r["network"], r["batch"], f"{r['alone']:,.0f}", f"{r['together']:,.0f}",
         f"{100 * r['share of bf16 rate']:.1f} %", f"{r['evaluation']:,.0f}"]
        for r in rows
    ])  # fmt: skip
    return not any("failed" in r for r in rows)
