"""Two processes of one gloo group, which a test asks to call a function of its module."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch.multiprocessing
from torch import distributed

SECONDS = 240  # of patience with a busy machine


def serve(rank: int, meeting: str, connection: Connection) -> None:
    """Call what the test asks for, until it is killed."""
    if sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"  # the name of the host may lead nowhere
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{meeting}", rank=rank, world_size=2)
    while True:
        function, arguments = connection.recv()
        try:
            connection.send((True, function(*arguments)))
        except Exception:
            connection.send((False, traceback.format_exc()))


@contextmanager
def two_processes(directory: Path) -> Iterator[Callable[..., list[Any]]]:
    """Gives a function that calls another one on both, and returns what each returned."""
    context = torch.multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(2)]
    processes = [
        context.Process(target=serve, args=(rank, str(directory / "meeting"), pipe[1]), daemon=True)
        for rank, pipe in enumerate(pipes)
    ]

    def call(function: Callable[..., Any], *arguments: Any) -> list[Any]:
        for mine, _ in pipes:
            mine.send((function, arguments))
        outcomes = []
        for mine, _ in pipes:
            assert mine.poll(SECONDS), "a process does not answer"
            outcomes.append(mine.recv())
        failures = [text for good, text in outcomes if not good]
        assert not failures, "\n".join(failures)
        return [value for _, value in outcomes]

    try:
        for process in processes:
            process.start()
        yield call
    finally:
        for process in processes:
            process.kill()
