"""What the benchmarks share: one thread, interleaved rounds, a table of ratios.

Import this before numpy, which reads the number of threads when it is loaded. The machine may be
busy and its clock may change, so every number is a ratio of two times of the same round; a table
has the median of the ratios over the rounds, the least and the greatest.
"""

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

ROUNDS = 15

Rounds = dict[str, list[float]]


def interleaved(tasks: dict[str, Callable[[], object]], rounds: int = ROUNDS) -> Rounds:
    """Seconds of each task in each round, after a round to warm up."""
    seconds: Rounds = {name: [] for name in tasks}
    for number in range(rounds + 1):
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            if number:
                seconds[name].append(time.perf_counter() - start)
    return seconds


@dataclass(frozen=True)
class Spread:
    """Median, least and greatest of some numbers."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        values = sorted(values)
        return cls(statistics.median(values), values[0], values[-1])

    @classmethod
    def ratio(cls, above: list[float], below: list[float]) -> "Spread":
        """The spread of the ratios of two lists, round by round."""
        return cls.of(a / b for a, b in zip(above, below, strict=True))

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.least:.3g} .. {self.most:.3g})"


def table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a title and rows under columns."""
    widths = [max(len(row[i]) for row in [columns, *rows]) for i in range(len(columns))]
    print(f"\n{title}")
    for row in [columns, ["-" * width for width in widths], *rows]:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )


def verdict(value: Spread, target: float, at_least: bool) -> str:
    """The target, and whether the median meets it."""
    met = value.median >= target if at_least else value.median <= target
    return f"{'>=' if at_least else '<='} {target:g}: {'met' if met else 'MISSED'}"


def machine() -> None:
    """Print the machine and the versions, without which a ratio means little."""
    from efsgd.results import made_by

    made = made_by()
    versions = ", ".join(f"{name} {made[name]}" for name in ("efsgd", "numpy", "scipy", "python"))
    print(
        f"{versions}; {made['platform']}; {_processor()}, {os.cpu_count()} cores, one thread used"
    )
    print(f"commit {made['git']}; every cell is median (min .. max) of {ROUNDS} rounds")


def _processor() -> str:
    """The name of the processor where the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine() or sys.platform
