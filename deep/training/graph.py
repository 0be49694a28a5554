"""A training step as a CUDA graph: the host launches all of its kernels with one call."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Lock

import torch

WARM_UP = 3  # steps before a capture, as torch's documentation of CUDA graphs has it

_capture_lock = Lock()  # only one thread may capture at a time


class Graphed:
    """A step as a CUDA graph, captured once and then replayed, on the current stream.

    The first ``WARM_UP`` calls run it eagerly, so that the capture finds every buffer allocated;
    they are training steps like all others. The current stream must not be the default one, which
    cannot be captured (:func:`efsgd.deep.training.device.own_stream`). ``step`` must do all its
    work on the device, in tensors that stay at their addresses. ``generators`` are the random
    generators that it draws from, by device.
    """

    def __init__(
        self, step: Callable[[], None], generators: Mapping[torch.device, torch.Generator]
    ) -> None:
        self.step, self.generators = step, generators
        self.eager_steps = 0
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        """Do the step: eagerly, or by a replay."""
        if self.eager_steps < WARM_UP:
            self.step()
            self.eager_steps += 1
            return
        if self.graph is None:
            self.graph = self._capture()
        self.graph.replay()

    def _capture(self) -> torch.cuda.CUDAGraph:
        """Record the step; it runs only when the graph is replayed."""
        graph = torch.cuda.CUDAGraph()
        for generator in self.generators.values():
            graph.register_generator_state(generator)
        with capturing(graph):
            self.step()
        return graph


@contextmanager
def capturing(graph: torch.cuda.CUDAGraph) -> Iterator[None]:
    """Record into ``graph`` the work that the block gives to the current stream.

    Calls of other threads to the device do not invalidate the capture. Garbage is collected before
    it (since 2.11 torch no longer does so) and not during it, as freeing device memory would
    invalidate it.
    """
    collects_garbage = gc.isenabled()
    with _capture_lock:
        torch.cuda.synchronize()
        gc.collect()
        gc.disable()
        try:
            stream = torch.cuda.current_stream()
            # torch's default would be one stream for all graphs, and with it one cuBLAS workspace
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                yield
        finally:
            if collects_garbage:
                gc.enable()
