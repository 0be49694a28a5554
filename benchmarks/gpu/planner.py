"""Which runs fit into the time left, by the speeds that the stage images has measured."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import images
from measure import Context
from output import MEASURED, STATE

from efsgd.deep.data.dataset import Dataset
from efsgd.figures.cifar.grid import Entry

USABLE_SHARE = 0.9  # of the remaining time, for estimates may be too low
OVERHEAD = 3.0  # seconds of a run besides its epochs: model, capture, cuDNN's trials
RARE_SHARE = 0.15  # of the epochs that are evaluated besides: the first, the last, around drops
FEWEST_EPOCHS = 8  # of a block; with fewer a second comparison is not worth its time
EPOCHS_FOR_THREE = 12  # of all blocks; with fewer there is no third comparison
Block = Sequence[Entry]  # runs of one network and batch size


def setting_of(entry: Entry) -> images.Setting:
    """Network and batch size."""
    return entry.training.model, entry.training.batch


class Planner:
    """Plans the runs that fit into the time left, and how many run at once, by measured speeds."""

    def __init__(self, context: Context) -> None:
        self.context, self.count = context, context.parallel
        self.speeds: dict[images.Setting, dict[str, float]] = {}
        status = context.output.read(STATE).get("check", {}).get("images", {}).get("status", "")
        if status.startswith(("stopped", "killed")) and not self.rows():
            print(f"one training at a time: the images of several were {status}", flush=True)
            self.count = 1

    def rows(self) -> list[dict[str, Any]]:
        """The speeds that the stage images has measured."""
        section = self.context.output.read(MEASURED).get("images", {})
        return [row for row in section.get("rows", []) if "failed" not in row]

    def remaining(self) -> float:
        """Seconds that runs may take."""
        return USABLE_SHARE * (self.context.deadline - time.monotonic())

    def affordable(self, blocks: Sequence[Block], data: Dataset) -> list[Block]:
        """The first blocks, as many as can all have enough epochs; at least one."""
        first = [block for block in blocks if self.speed(block[0], data)] or [blocks[0]]
        while len(first) > 1:
            if self.epochs(first, data) >= (FEWEST_EPOCHS if len(first) == 2 else EPOCHS_FOR_THREE):
                break
            first.pop()
        return first

    def epochs(self, blocks: Sequence[Block], data: Dataset) -> int:
        """The epochs that all of these runs can have; 0 where one cannot be trained at all."""
        runs = [entry for block in blocks for entry in block]
        cost = sum(self.cost(entry, data) for entry in runs)
        return int((self.remaining() - OVERHEAD * len(runs)) / cost) if cost < math.inf else 0

    def runs_that_fit(self, entries: Sequence[Entry], data: Dataset) -> list[Entry]:
        """The first runs, as many as can be completed; a last, smaller group costs as alone."""
        for count in range(len(entries), 0, -1):
            in_full_groups = count - count % self.count
            seconds = sum(
                OVERHEAD + e.training.epochs * self.cost(e, data, alone=i >= in_full_groups)
                for i, e in enumerate(entries[:count])
            )
            if seconds <= self.remaining():
                return list(entries[:count])
        return []

    def cost(self, entry: Entry, data: Dataset, alone: bool = False) -> float:
        """Seconds of an epoch of a run: its share of several at once, or alone."""
        speed = self.speed(entry, data)
        if not speed:
            return math.inf
        alone = alone or self.count == 1
        run, test_images = entry.training, len(data.y_test)
        rare = min(1.0, RARE_SHARE + 1 / run.evaluate_every)
        evaluated = test_images * (1 + rare * (3 if run.method.feeds_back else 1))
        steps = speed["alone" if alone else "together"]
        return len(data.y_train) / steps + evaluated / speed["evaluation"]

    def speed(self, entry: Entry, data: Dataset) -> dict[str, float]:
        """Images a second alone, together and in evaluation; empty where it does not run."""
        setting = setting_of(entry)
        if setting not in self.speeds:
            known = [row for row in self.rows() if (row["network"], row["batch"]) == setting]
            # measured now where it was not, or with another number at once
            row = next((r for r in known if r["at once"] == self.context.parallel), None)
            row = row or images.measure_speeds(setting, data, self.context)
            self.speeds[setting] = {} if "failed" in row else row
            if "failed" in row:
                print(f"{setting} cannot be trained: {row['failed']}", flush=True)
            elif row["together"] <= row["alone"]:
                print(f"one training at a time: {setting} is no faster with several", flush=True)
                self.count = 1
        return self.speeds[setting]
