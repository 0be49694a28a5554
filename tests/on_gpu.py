"""Detects, for tests and benchmarks, that the host waits for a CUDA device."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

import torch

# torch warns so once in each process, after it has set the mode below.
NOTICE = "Synchronization debug mode is a prototype feature"
WAITED = "called a synchronizing CUDA operation"  # torch's report of a wait


def no_synchronisation() -> AbstractContextManager[None]:
    """Inside, an operation that makes the host wait for the device raises RuntimeError."""
    return synchronisation("error")


@contextmanager
def synchronisation(mode: Literal["warn", "error"]) -> Iterator[None]:
    """Inside, torch warns or raises RuntimeError where the host waits for the device."""
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
