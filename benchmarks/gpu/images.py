"""Images a second of whole training steps, one training and several at once, and of evaluation.

Trainings at once have a stream and a CUDA graph each and take turns, as
`efsgd-figures cifar --parallel` runs them; the number is that of all together.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from data import images
from home import STATE
from measure import Context, failure, matmul_rate, table, write
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from efsgd.deep.data.dataset import Dataset
from efsgd.deep.models import build
from efsgd.deep.training import evaluate
from efsgd.deep.training.device import AHEAD, library_flags, own_stream
from efsgd.deep.training.interruptions import Check
from efsgd.deep.training.machine import Means
from efsgd.deep.training.parallel import at_once
from efsgd.deep.training.session import Session
from efsgd.deep.training.training import Training
from efsgd.figures.cifar.presets import METHODS

Setting = tuple[str, int]  # network and batch size
SETTINGS: tuple[Setting, ...] = (("vgg19", 128), ("vgg19", 8), ("resnet18", 128))
SMALL: tuple[Setting, ...] = (("resnet8", 8),)
SECONDS = 3.0  # of each measurement


def operations(network: str) -> int:
    """Of the forward and backward pass of one image: 2 for each product that is added."""
    model = build(network, 10)
    with FlopCounterMode(display=False) as counter:
        cross_entropy(
            model(torch.randn(2, 3, 32, 32)), torch.zeros(2, dtype=torch.int64)
        ).backward()
    return int(counter.get_total_flops()) // 2


def means_of(at: Context) -> Means:
    """What the probe found best, else what is left to each training to choose."""
    best = at.home.read(STATE).get("best") or {}
    return Means(at.device, graph=best.get("graph", at.cuda), form=best.get("form", "foreach"))


class Race:
    """Trainings that start counting once all are warm, and stop together."""

    def __init__(self, count: int, seconds: float) -> None:
        self.waiting, self.seconds = count, seconds
        self.steps = 0
        self.began: float | None = None
        self.ended = 0.0

    def run(self, session: Session, warm: int, check: Check) -> None:
        """The steps of one of them."""
        self._steps(session, check, lambda taken: taken < warm)
        session.leash.wait(check)
        self.waiting -= 1
        while self.waiting:
            check()
        self.began = self.began or time.perf_counter()
        end = self.began + self.seconds
        taken = self._steps(session, check, lambda taken: time.perf_counter() < end)
        self.steps += taken  # now: while it stepped, the others counted theirs
        session.leash.wait(check)
        self.ended = time.perf_counter()

    @staticmethod
    def _steps(session: Session, check: Check, more: Callable[[int], bool]) -> int:
        taken = 0
        while more(taken):
            session.first_step()
            session.leash.wait(check, AHEAD)
            check()
            taken += 1
        return taken


def speed(setting: Setting, data: Dataset, count: int, at: Context) -> float:
    """Images a second of so many trainings at once, EF-signSGD in bf16."""
    (model, batch), race = setting, Race(count, 0.2 if at.small else SECONDS)
    options: dict[str, Any] = {"model": model, "batch": batch, "precision": at.precision}

    def task(seed: int, check: Check) -> None:
        own = Training(method=METHODS["ef-signsgd"], lr=1e-3, data=data.name, seed=seed, **options)
        with own_stream(at.device):
            session = Session(own, data, means_of(at))
            session.feed.start(0)
            race.run(session, 1 if at.small else 10, check)

    with library_flags(at.precision, at.device):
        at_once([partial(task, seed) for seed in range(count)], count)
    assert race.began is not None
    return race.steps * batch / (race.ended - race.began)


def evaluated(model: str, data: Dataset, at: Context) -> float:
    """Images a second of an evaluation."""
    own = Training(
        method=METHODS["sgdm"], lr=1e-3, data=data.name, model=model, precision=at.precision
    )
    with own_stream(at.device), library_flags(at.precision, at.device):
        session = Session(own, data, means_of(at))
        for _ in range(2):  # the second one is warm
            began = time.perf_counter()
            judge = session.judges["test"]
            evaluate.evaluate(session.model, judge.epoch(0), session._cast, leash=session.leash)
    return len(judge.labels) / (time.perf_counter() - began)


def measured(setting: Setting, data: Dataset, at: Context) -> dict[str, Any]:
    """One at a time and several, or why there are no numbers."""
    found: dict[str, Any] = {"network": setting[0], "batch": setting[1], "at once": at.parallel}
    try:
        found["alone"] = speed(setting, data, 1, at)
        found["together"] = speed(setting, data, at.parallel, at)
        found["evaluation"] = evaluated(setting[0], data, at)
    except Exception as error:  # one setting that fails does not take the others along
        found["failed"] = failure(error)
    return found


def run(at: Context) -> bool:
    """Whether every setting ran."""
    data, rate, rows = images(at), matmul_rate(at), []
    for setting in SMALL if at.small else SETTINGS:
        rows.append(measured(setting, data, at))
        r = rows[-1]
        if "failed" not in r:
            r["share of bf16 rate"] = operations(r["network"]) * r["together"] / rate
        write(at, "images", {"bf16 operations per second": rate, "rows": rows})
    columns = ["network", "batch", "alone", f"{at.parallel} at once", "of bf16 rate", "evaluation"]
    table(f"Images a second of EF-signSGD in bf16; matrices {rate / 1e12:.4g} TFLOP/s", columns, [
        [r["network"], r["batch"], r["failed"], "", "", ""] if "failed" in r else
        [r["network"], r["batch"], f"{r['alone']:,.0f}", f"{r['together']:,.0f}",
         f"{100 * r['share of bf16 rate']:.1f} %", f"{r['evaluation']:,.0f}"]
        for r in rows
    ])  # fmt: skip
    return not any("failed" in r for r in rows)
