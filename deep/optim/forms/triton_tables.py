"""Where the tensors of a step lie in memory, as the tables that the Triton kernels read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from efsgd.deep.optim.parts import Part

DTYPES = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(eq=False)
class Table:
    """The addresses of the tensors of all parts, on their device."""

    tensors: Tensor  # (6, n) int64: addresses of x, e, m, started; number of entries; first chunk
    owner: Tensor  # (chunks,) int32, the tensor of each chunk
    counts: list[tuple[int, int]]  # tensors and chunks before each part, and in all
    aligned: bool  # whether x, e and m all begin at multiples of 16 bytes
    grads: Tensor  # (n,) int64, addresses of g at the last step that was not captured
    written: tuple[int, ...] = ()  # those addresses


def table_of(parts: Sequence[Part], chunk: int) -> Table:
    """The table of these parts, cut into chunks of so many entries; the host does not wait."""
    device = parts[0].lists.x[0].device
    columns = [
        (*(0 if y is None else y.data_ptr() for y in (x, e, m, started)), x.numel())
        for part in parts
        for x, _, e, m, started in zip(*part.lists, strict=True)
    ]
    chunks = [-(-column[-1] // chunk) for column in columns]
    first = list(accumulate(chunks, initial=0))
    bounds = list(accumulate((len(part.lists.x) for part in parts), initial=0))
    rows = [*zip(*columns, strict=True), first[:-1]]
    owner = torch.arange(len(chunks), dtype=torch.int32)
    owner = owner.repeat_interleave(torch.tensor(chunks))
    tensors = torch.tensor(rows, dtype=torch.int64)
    if device.type == "cuda":  # pinned: then the host need not wait
        tensors, owner = (y.pin_memory().to(device, non_blocking=True) for y in (tensors, owner))
    return Table(
        tensors=tensors,
        owner=owner,
        counts=[(bound, first[bound]) for bound in bounds],
        aligned=all(aligned(addresses) for addresses in rows[:3]),
        grads=torch.empty_like(tensors[0]),
    )


def aligned(addresses: Iterable[int]) -> bool:
    """Whether all are multiples of 16 bytes."""
    return not any(address % 16 for address in addresses)


def key_of(part: Part) -> tuple[Any, ...]:
    """Where the tensors of a part lie, and their layouts; at each step, so it must be cheap."""
    x, g, e, m, started = ([y for y in ys if y is not None] for ys in part.lists)
    tensors = [*x, *g, *e, *m]
    return (
        *[y is None for ys in part.lists[2:] for y in ys],
        *[y.data_ptr() for y in [*x, *e, *m, *started]],
        *[(y.shape, y.device) for y in tensors],
        *[y.dtype for y in tensors],
        *[y.is_contiguous() or y.stride() for y in tensors],
    )


def refused_layout(part: Part) -> str | None:
    """Why the kernels cannot read these tensors, or None: memory must be filled as x fills it."""
    for x, g, e, m, started in zip(*part.lists, strict=True):
        strides = _strides(x)
        for y in (g, e, m):
            if y is None:
                continue
            if (y.shape, y.device) != (x.shape, x.device):
                return "a parameter has another shape or device than what is kept of it"
            if x.dtype not in DTYPES or y.dtype not in DTYPES:
                return f"there is no Triton kernel for {x.dtype} with {y.dtype}"
            if y.dtype != x.dtype and y is not e:
                return "a parameter has another dtype than its gradient or momentum"
            if y.stride() != x.stride() and strides != _strides(y):
                return "a gradient lies in memory in another order than its parameter"
        if not x.is_contiguous() and not _dense(strides):
            return "a parameter has gaps in memory"
        if started is not None and started.dtype != torch.bool:
            return f"whether momentum has started is {started.dtype}"
    dtypes = {
        (x.dtype, e.dtype if e is not None else None)
        for x, e in zip(part.lists.x, part.lists.e, strict=True)
    }
    return "the parameters of a group have several dtypes" if len(dtypes) > 1 else None


def _strides(x: Tensor) -> list[tuple[int, int]]:
    """Size and stride of each axis that has more than one entry."""
    return [(n, s) for n, s in zip(x.shape, x.stride(), strict=True) if n > 1]


def _dense(strides: list[tuple[int, int]]) -> bool:
    """Whether sizes and strides fill their memory once."""
    ascending = sorted((s, n) for n, s in strides)
    expected = accumulate((n for _, n in ascending), lambda a, b: a * b, initial=1)
    return all(s == whole for (s, _), whole in zip(ascending, expected, strict=False))
