"""The device under a training: its stream, the steps in flight on it, its libraries' flags."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from efsgd.deep.training.interruptions import Check

MAX_IN_FLIGHT = 16  # steps that the host may have launched and the device not finished
POLL = 1e-4  # seconds between two looks at whether the device has finished a step


@contextmanager
def own_stream(device: torch.device) -> Iterator[None]:
    """Run the block on a new CUDA stream, behind the work that the current stream was given.

    Afterwards the current stream waits for the new one. Trainings in several threads need a stream
    each, and the default one cannot be captured in a CUDA graph. Does nothing on the CPU.
    """
    if device.type != "cuda":
        yield
        return
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        yield
    torch.cuda.current_stream(device).wait_stream(stream)


class InFlight:
    """The steps that were launched on a device's current stream and may not be finished.

    On the CPU, where each step is finished when its call returns, there are none.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.events: deque[torch.cuda.Event] = deque()  # one behind each step, oldest first

    def record(self) -> None:
        """Count one more step, whose work the stream has just been given."""
        if self.device.type == "cuda":
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record(torch.cuda.current_stream(self.device))
            self.events.append(event)

    def wait(self, check: Check, most: int = 0) -> None:
        """Wait until at most ``most`` steps are in flight; ``check`` is called meanwhile."""
        while len(self.events) > most:
            while not self.events[0].query():  # type: ignore[no-untyped-call]
                if not check():
                    time.sleep(POLL)
            self.events.popleft()


@contextmanager
def library_flags(precision: str, device: torch.device) -> Iterator[None]:
    """What cuBLAS and cuDNN may do on CUDA; the flags of torch are put back afterwards.

    float32 products round to TF32 where the precision is "tf32" and nowhere else, though cuDNN
    does so by default; and cuDNN times its algorithms and takes the fastest. The flags belong to
    the process, so trainings that run at once must have one precision. Nothing is touched on the
    CPU.
    """
    if device.type != "cuda":
        yield
        return
    with _flags_guard:
        # a training that starts beside another one must put back what that one found
        _flags_before.append(_flags_before[0] if _flags_before else _flags())
        allowed = precision == "tf32"
        _set_flags("high" if allowed else "highest", allowed, True)
    try:
        yield
    finally:
        with _flags_guard:
            before = _flags_before.pop()
            if not _flags_before:
                _set_flags(*before)


_flags_guard = threading.Lock()
_flags_before: list[tuple[str, bool, bool]] = []  # one entry for each training that is inside


def _flags() -> tuple[str, bool, bool]:
    cudnn = torch.backends.cudnn
    return torch.get_float32_matmul_precision(), cudnn.allow_tf32, cudnn.benchmark


def _set_flags(matmul: str, tf32: bool, benchmark: bool) -> None:
    torch.set_float32_matmul_precision(matmul)
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = tf32, benchmark
