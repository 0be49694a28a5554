"""What the stages share: timing, counts of launches and waits, CUDA graphs, rates, tables."""

import json
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from on_gpu import WAITED, synchronisation
from output import MEASURED, OutputFolder

from efsgd.deep.training.device import own_stream
from efsgd.deep.training.graph import capturing

Task = Callable[[], Any]


@dataclass(frozen=True)
class Context:
    """Where and how a stage runs."""

    OPTIONS: ClassVar = ("data", "decoder", "expect", "share", "epochs", "parallel")

    device: torch.device
    output: OutputFolder  # for the files that come back from the machine
    work: Path  # for those that do not
    small: bool  # tiny sizes, to rehearse
    deadline: float  # of the stage, by the monotonic clock
    data: str | None = None
    decoder: Path | None = None
    expect: str | None = None
    share: str = "1/1"
    epochs: int | None = None
    parallel: int = 4

    @property
    def precision(self) -> str:
        """Of the trainings; not every CPU is fast in bf16."""
        return "fp32" if self.small else "bf16"

    @property
    def cuda(self) -> bool:
        return self.device.type == "cuda"

    def synchronise(self) -> None:
        if self.cuda:
            torch.cuda.synchronize(self.device)


@dataclass(frozen=True)
class Times:
    """Median, least and greatest milliseconds of a task."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.least:.3g} .. {self.most:.3g})"


def timed(task: Task, context: Context, repeats: int, warm: int) -> Times:
    """Milliseconds of a call: by CUDA events, on the CPU by the clock."""
    for _ in range(warm):
        task()
    context.synchronise()
    if not context.cuda:
        return _times([_cpu_milliseconds(task) for _ in range(repeats)])
    events = [
        (torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True))
        for _ in range(repeats)
    ]
    for before, after in events:
        before.record()
        task()
        after.record()
    context.synchronise()
    return _times([before.elapsed_time(after) for before, after in events])


def _cpu_milliseconds(task: Task) -> float:
    start = time.perf_counter()
    task()
    return 1e3 * (time.perf_counter() - start)


def _times(values: list[float]) -> Times:
    return Times(statistics.median(values), min(values), max(values))


def launches(task: Task, context: Context) -> int | None:
    """Kernels (and copies) that one call puts on the device; None on the CPU."""
    if not context.cuda:
        return None
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    task()
    context.synchronise()
    with torch.profiler.profile(activities=activities) as profile:
        task()
        context.synchronise()
    kind = torch.autograd.DeviceType.CUDA
    on_device = [event for event in profile.events() if event.device_type == kind]
    # the ranges of the optimiser's step and the profiler's are also listed there, and no kernels
    return sum(not e.name.startswith(("Optimizer.", "ProfilerStep")) for e in on_device)


def waits(task: Task, context: Context) -> int | None:
    """How often torch reports that the host waits for the device in one call; None on the CPU.

    A call before it is not counted, as it may have waits of its own.
    """
    if not context.cuda:
        return None
    task()
    context.synchronise()
    with warnings.catch_warnings(record=True) as caught, synchronisation("warn"):
        warnings.simplefilter("always")
        task()
    return sum(WAITED in str(warning.message) for warning in caught)


class Captured:
    """A task as a CUDA graph; keeps the task, whose tensors the graph reads and writes."""

    def __init__(self, task: Task, warm: int = 3) -> None:
        self.task, self.graph = task, torch.cuda.CUDAGraph()
        with own_stream(torch.device("cuda")):
            for _ in range(warm):
                task()
            with capturing(self.graph):
                self.result = task()

    def __call__(self) -> Any:
        """Replay the task; its result is always the same object, overwritten."""
        self.graph.replay()
        return self.result


def matmul_rate(context: Context) -> float:
    """Operations a second of a bf16 product of square matrices, on normal numbers."""
    n = 256 if context.small else 8192
    generator = torch.Generator(context.device).manual_seed(0)
    a, b = (
        torch.randn(n, n, generator=generator, device=context.device).bfloat16() for _ in range(2)
    )
    return 2 * n**3 / (1e-3 * timed(lambda: a @ b, context, repeats=20, warm=5).median)


def copy_rate(context: Context) -> float:
    """Bytes a second read and written by a copy within the device."""
    a = torch.ones((1 if context.small else 1024) * 2**20, device=context.device)
    b = torch.empty_like(a)
    return (
        2 * 4 * a.numel() / (1e-3 * timed(lambda: b.copy_(a), context, repeats=20, warm=5).median)
    )


def machine(context: Context) -> dict[str, Any]:
    """The device, the versions and the commit of a measurement."""
    from efsgd.results import made_by

    made = {name: made_by()[name] for name in ("efsgd", "git", "numpy", "python", "platform")}
    name = torch.cuda.get_device_name(context.device) if context.cuda else "CPU"
    try:
        import triton

        version = triton.__version__
    except ImportError:
        version = None
    return made | {"torch": torch.__version__, "triton": version, "device": name}


def failure(error: BaseException) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def table(title: str, columns: list[str], rows: list[list[Any]]) -> None:
    """Print a title and rows under columns."""
    cells = [columns, *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    print(f"\n{title}")
    for row in cells:
        print("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip())
    print(end="", flush=True)


def write(context: Context, name: str, values: dict[str, Any]) -> None:
    """Add the values of a section, with the machine, to measured.json."""

    def plain(value: Any) -> Any:
        return asdict(value) if isinstance(value, Times) else str(value)

    section = json.loads(json.dumps({"machine": machine(context)} | values, default=plain))
    context.output.update(MEASURED, {name: section})
