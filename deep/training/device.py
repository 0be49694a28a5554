"""What a training asks of its device: a stream, how far to be ahead of it, the libraries' flags."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from efsgd.deep.training.interruptions import Check

AHEAD = 16  # steps that the host may be ahead of the device
PAUSE = 1e-4  # seconds between two looks at whether the device has got so far


@contextmanager
def own_stream(device: torch.device) -> Iterator[None]:
    """A stream of its own on CUDA: for trainings side by side, and to capture."""
    if device.type != "cuda":
        yield
        return
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        yield
    torch.cuda.current_stream(device).wait_stream(stream)


class Leash:
    """How far the host is ahead of the current stream of a device; on the CPU never."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.marks: deque[torch.cuda.Event] = deque()

    def mark(self) -> None:
        """Another step was given to the device."""
        if self.device.type == "cuda":
            mark = torch.cuda.Event()  # type: ignore[no-untyped-call]
            mark.record(torch.cuda.current_stream(self.device))
            self.marks.append(mark)

    def wait(self, check: Check, ahead: int = 0) -> None:
        """Until at most so many of them are left to do; ``check`` is called meanwhile."""
        while len(self.marks) > ahead:
            while not self.marks[0].query():  # type: ignore[no-untyped-call]
                if not check():
                    time.sleep(PAUSE)
            self.marks.popleft()


@contextmanager
def library_flags(precision: str, device: torch.device) -> Iterator[None]:
    """What cuBLAS and cuDNN may do on CUDA; the flags of torch are put back afterwards.

    float32 products round to TF32 where the precision is "tf32" and nowhere else, though cuDNN
    does so by default; and cuDNN tries its algorithms and takes the fastest. Trainings at once
    must have one precision. Nothing is touched on the CPU.
    """
    if device.type != "cuda":
        yield
        return
    with _flags_guard:
        # where another training of this process is inside, what that one found is put back
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
