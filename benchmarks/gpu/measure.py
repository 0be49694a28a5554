"""What the sections share: clocks, launches and waits counted, graphs, tables, the chip's rates."""

import json
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from home import MEASURED, Home
from on_gpu import WAITED, synchronisation

from efsgd.deep.training.device import own_stream
from efsgd.deep.training.graph import capturing

Task = Callable[[], Any]


@dataclass(frozen=True)
class Context:
    """Where and how a stage runs."""

    OPTIONS: ClassVar = ("data", "decoder", "expect", "share", "epochs", "parallel")

    device: torch.device
    home: Home  # what comes home
    work: Path  # what does not
    small: bool  # tiny sizes, only to see that it works
    until: float  # by the monotonic clock, the time that it has
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

    def wait(self) -> None:
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


def timed(task: Task, at: Context, repeats: int, warm: int) -> Times:
    """By CUDA events around each call, on the CPU by the clock."""
    for _ in range(warm):
        task()
    at.wait()
    if not at.cuda:
        return _times([_on_the_cpu(task) for _ in range(repeats)])
    marks = [
        (torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True))
        for _ in range(repeats)
    ]
    for before, after in marks:
        before.record()
        task()
        after.record()
    at.wait()
    return _times([before.elapsed_time(after) for before, after in marks])


def _on_the_cpu(task: Task) -> float:
    start = time.perf_counter()
    task()
    return 1e3 * (time.perf_counter() - start)


def _times(values: list[float]) -> Times:
    return Times(statistics.median(values), min(values), max(values))


def launches(task: Task, at: Context) -> int | None:
    """Kernels (and copies) that one call puts on the device; None on the CPU."""
    if not at.cuda:
        return None
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    task()
    at.wait()
    with torch.profiler.profile(activities=activities) as seen:
        task()
        at.wait()
    kind = torch.autograd.DeviceType.CUDA
    work = [event for event in seen.events() if event.device_type == kind]
    # the name of the optimiser's step is also shown on the device, where it spans its kernels
    return sum(not e.name.startswith(("Optimizer.", "ProfilerStep")) for e in work)


def waits(task: Task, at: Context) -> int | None:
    """How often the host waits for the device in one call, as far as torch sees; None on the CPU.

    What is only done at the first call is not counted.
    """
    if not at.cuda:
        return None
    task()
    at.wait()
    with warnings.catch_warnings(record=True) as seen, synchronisation("warn"):
        warnings.simplefilter("always")
        task()
    return sum(WAITED in str(warning.message) for warning in seen)


class Captured:
    """A task as a CUDA graph, which reads and writes what the task holds: so it is held, too."""

    def __init__(self, task: Task, warm: int = 3) -> None:
        self.task, self.graph = task, torch.cuda.CUDAGraph()
        with own_stream(torch.device("cuda")):
            for _ in range(warm):
                task()
            with capturing(self.graph):
                self.result = task()

    def __call__(self) -> Any:
        """Do the task; its result is always the same object."""
        self.graph.replay()
        return self.result


def matmul_rate(at: Context) -> float:
    """Operations a second of a bf16 product of square matrices, on normal numbers."""
    n = 256 if at.small else 8192
    generator = torch.Generator(at.device).manual_seed(0)
    a, b = (torch.randn(n, n, generator=generator, device=at.device).bfloat16() for _ in range(2))
    return 2 * n**3 / (1e-3 * timed(lambda: a @ b, at, repeats=20, warm=5).median)


def copy_rate(at: Context) -> float:
    """Bytes a second read and written by a copy within the device."""
    a = torch.ones((1 if at.small else 1024) * 2**20, device=at.device)
    b = torch.empty_like(a)
    return 2 * 4 * a.numel() / (1e-3 * timed(lambda: b.copy_(a), at, repeats=20, warm=5).median)


def machine(at: Context) -> dict[str, Any]:
    """What the numbers were measured on."""
    from efsgd.results import made_by

    made = {name: made_by()[name] for name in ("efsgd", "git", "numpy", "python", "platform")}
    name = torch.cuda.get_device_name(at.device) if at.cuda else "CPU"
    try:
        import triton

        version = triton.__version__
    except ImportError:
        version = None
    return made | {"torch": torch.__version__, "triton": version, "device": name}


def failure(error: BaseException) -> str:
    """What went wrong, in one line."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def table(title: str, columns: list[str], rows: list[list[Any]]) -> None:
    """Print a title and rows under columns."""
    cells = [columns, *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    print(f"\n{title}")
    for row in cells:
        print("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip())
    print(end="", flush=True)


def write(at: Context, name: str, values: dict[str, Any]) -> None:
    """Put the values of a section, with the machine, beside those of the others."""

    def plain(value: Any) -> Any:
        return asdict(value) if isinstance(value, Times) else str(value)

    own = json.loads(json.dumps({"machine": machine(at)} | values, default=plain))
    at.home.update(MEASURED, {name: own})
