"""A step captured in a CUDA graph, which the host then launches as one."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Lock

import torch

WARM_UP = 3  # steps before a capture, as torch's documentation of CUDA graphs has it

_one_at_a_time = Lock()  # threads must not capture at once


class Graphed:
    """A step as a CUDA graph, captured once and then replayed, on the current stream.

    The first few steps run eagerly, so that the capture finds every buffer in place; they are steps
    like all others. The current stream must not be the default one, which cannot be captured
    (:func:`efsgd.deep.training.device.own_stream`). ``step`` must do all its work on the device, in
    tensors that stay where they are. ``generators`` holds those that it draws from, by device.
    """

    def __init__(
        self, step: Callable[[], None], generators: Mapping[torch.device, torch.Generator]
    ) -> None:
        self.step, self.generators = step, generators
        self.warm = 0
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        """Do the step."""
        if self.warm < WARM_UP:
            self.step()
            self.warm += 1
            return
        if self.graph is None:
            self.graph = self._captured()
        self.graph.replay()

    def _captured(self) -> torch.cuda.CUDAGraph:
        """The step, which does not run yet."""
        graph = torch.cuda.CUDAGraph()
        for generator in self.generators.values():
            graph.register_generator_state(generator)
        with capturing(graph):
            self.step()
        return graph


@contextmanager
def capturing(graph: torch.cuda.CUDAGraph) -> Iterator[None]:
    """Record into a graph what the block gives to the current stream.

    What other threads ask of the device meanwhile does not spoil it, and nothing is freed in it by
    the collection of garbage: before it, because torch 2.11 no longer does so itself.
    """
    collects = gc.isenabled()
    with _one_at_a_time:
        torch.cuda.synchronize()
        gc.collect()
        gc.disable()
        try:
            stream = torch.cuda.current_stream()
            # each graph on a stream of its own: cuBLAS has one workspace for each stream
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                yield
        finally:
            if collects:
                gc.enable()
