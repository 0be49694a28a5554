"""The memory e of all parameters: its norm, and the virtual iterate x - e."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.optim import Optimizer

from efsgd.deep.optim.norms import length


def memories(optimizer: Optimizer) -> list[tuple[Tensor, Tensor]]:
    """The parameters x that have a memory e, as pairs (x, e)."""
    parameters = [x for group in optimizer.param_groups for x in group["params"]]
    states = [(x, optimizer.state.get(x, {})) for x in parameters]
    return [(x, state["memory"]) for x, state in states if "memory" in state]


def norm(pairs: Sequence[tuple[Tensor, Tensor]], device: torch.device) -> Tensor:
    """|e|_2 over all of them: 0-dim float64 on this device."""
    zero = torch.zeros((), dtype=torch.float64, device=device)
    norms = [length(e, 2).to(device) for _, e in pairs]
    total: Tensor = torch.linalg.vector_norm(torch.stack([zero, *norms]))
    return total


@contextmanager
def displaced(pairs: Sequence[tuple[Tensor, Tensor]]) -> Iterator[None]:
    """Inside the block each x holds x - e; then x again, to the bit."""
    before = [x.detach().clone() for x, _ in pairs]
    try:
        with torch.no_grad():
            for x, e in pairs:
                x.copy_(x - e)
        yield
    finally:
        with torch.no_grad():
            for (x, _), iterate in zip(pairs, before, strict=True):
                x.copy_(iterate)
