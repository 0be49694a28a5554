"""What the tests and the benchmarks ask of CUDA: whether the host waits for the device."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

import torch

# What torch says once in each process, as soon as the mode below is set, after it has set it.
NOTICE = "Synchronization debug mode is a prototype feature"
WAITED = "called a synchronizing CUDA operation"  # what a wait is reported as


def no_synchronisation() -> AbstractContextManager[None]:
    """Inside, whatever makes the host wait for the device raises RuntimeError."""
    return synchronisation("error")


@contextmanager
def synchronisation(mode: Literal["warn", "error"]) -> Iterator[None]:
    """Inside, torch says so, in this way, where the host waits for the device."""
    before = torch.cuda.get_sync_debug_mode()
    try:
        _set(mode)
        yield
    finally:
        _set(before)


def _set(mode: int | str) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", NOTICE)
        torch.cuda.set_sync_debug_mode(mode)
