"""What a training loop needs around its step: events, time, signals, precision, CUDA graphs."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import NamedTuple

import torch
from torch import Tensor

from efsgd.deep.fused import compiler_missing
from efsgd.deep.history import Row

Step = Callable[[Tensor, Tensor], None]

WARM_UP = 3  # steps before a capture, as torch's documentation of CUDA graphs has it


class Progress(NamedTuple):
    """What is known after a step without waiting for the device."""

    epoch: int  # the one under way, 1..epochs
    epochs: int
    batch: int  # batches of it that are done, 1..batches
    batches: int
    images_per_second: float  # over the steps of this epoch


class Measured(NamedTuple):
    """What an epoch ends with: its row of the history."""

    epoch: int  # 1..epochs
    epochs: int
    row: Row


Report = Callable[[Progress | Measured], None]


class Stopwatch:
    """Seconds spent inside ``with``, those of earlier sessions included."""

    def __init__(self, seconds: float = 0.0) -> None:
        self._before = seconds
        self._since: float | None = None

    @property
    def seconds(self) -> float:
        """Until now."""
        running = 0.0 if self._since is None else time.perf_counter() - self._since
        return self._before + running

    def __enter__(self) -> Stopwatch:
        self._since = time.perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        self._before, self._since = self.seconds, None


# -- signals --------------------------------------------------------------------------------------


class Stopped(Exception):
    """Somebody asked to stop, and the state of the training can be saved as it is."""


class Stop:
    """Whether a signal asked to stop."""

    name = ""  # of the signal

    def check(self) -> None:
        """Raise Stopped if one did."""
        if self.name:
            raise Stopped


@contextmanager
def interruptions() -> Iterator[Stop]:
    """SIGINT and SIGTERM only leave a note inside; outside their handlers are as before.

    In another thread than the main one, which no signal reaches, this does nothing.
    """
    stop = Stop()

    def note(number: int, frame: FrameType | None) -> None:
        stop.name = signal.Signals(number).name

    mine = threading.current_thread() is threading.main_thread()
    numbers = [signal.SIGINT, signal.SIGTERM] if mine else []
    before = {number: signal.getsignal(number) for number in numbers}
    heard = [number for number, handler in before.items() if handler not in (None, signal.SIG_IGN)]
    try:
        for number in heard:
            signal.signal(number, note)
        yield stop
    finally:
        for number in heard:
            signal.signal(number, before[number])


# -- device and precision -------------------------------------------------------------------------


def usable(device: str | torch.device, precision: str, compile: bool, graph: bool) -> torch.device:
    """The device; ValueError where this machine or the device cannot do what is asked of it."""
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device must be cpu or cuda, not {device!r}") from error
    if found.type not in ("cpu", "cuda"):
        raise ValueError(f"device must be cpu or cuda, not {str(found)!r}")
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"there is no device {str(found)!r} here: use device='cpu'")
    if (dtype := torch.get_default_dtype()) != torch.float32:
        raise ValueError(
            f"torch's default dtype is {dtype}, and models are trained in float32: "
            "call torch.set_default_dtype(torch.float32) first"
        )
    if found.type == "cpu" and graph:
        raise ValueError(
            "graph=True captures a CUDA graph and cannot work on the CPU: leave it out"
        )
    if found.type == "cpu" and precision == "tf32":
        raise ValueError("precision 'tf32' is one of GPUs: use fp32 or bf16 on the CPU")
    if compile and (missing := compiler_missing(found)):
        raise ValueError(f"compile=True cannot work, {missing}: leave it out")
    return found


@contextmanager
def tf32(allowed: bool, device: torch.device) -> Iterator[None]:
    """Whether float32 products on CUDA may round to TF32; the flags are put back afterwards.

    Both ways are set, because cuDNN allows it by default. Nothing is touched on the CPU.
    """
    if device.type != "cuda":
        yield
        return
    cudnn = torch.backends.cudnn
    before = torch.get_float32_matmul_precision(), cudnn.allow_tf32
    try:
        torch.set_float32_matmul_precision("high" if allowed else "highest")
        cudnn.allow_tf32 = allowed
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        cudnn.allow_tf32 = before[1]


# -- CUDA graphs ----------------------------------------------------------------------------------


class Graphed:
    """A step on batches of one shape as a CUDA graph, captured once and then replayed.

    The first few steps run eagerly on a stream of their own, so that the capture finds every buffer
    in place; they are steps like all others. ``step`` must do all its work on the device, in
    tensors that stay where they are. ``generators`` holds those that it draws from, by device.
    """

    def __init__(self, step: Step, generators: Mapping[torch.device, torch.Generator]) -> None:
        self.step, self.generators = step, generators
        self.warm = 0
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, x: Tensor, y: Tensor) -> None:
        """Do the step for this batch."""
        if self.warm < WARM_UP:
            self._aside(x, y)
            self.warm += 1
            return
        if self.graph is None:
            self._capture(x, y)
        else:
            self.x.copy_(x)
            self.y.copy_(y)
        assert self.graph is not None
        self.graph.replay()

    def _aside(self, x: Tensor, y: Tensor) -> None:
        stream = torch.cuda.Stream(x.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(x.device))
        with torch.cuda.stream(stream):
            self.step(x, y)
        torch.cuda.current_stream(x.device).wait_stream(stream)

    def _capture(self, x: Tensor, y: Tensor) -> None:
        """Record the step, which does not run yet; its inputs are the buffers x and y."""
        self.x, self.y = x.clone(), y.clone()
        self.graph = torch.cuda.CUDAGraph()
        for generator in self.generators.values():
            self.graph.register_generator_state(generator)
        with torch.cuda.device(x.device), torch.cuda.graph(self.graph):
            self.step(self.x, self.y)
