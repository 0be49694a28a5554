"""The step of signs as a few Triton kernels over tables of pointers, all tensors in each launch.

A tensor is cut into chunks, one program each. First every chunk forms p and sums |g|, |p|, g^2 and
p^2; then the sums are added for each tensor, and the verdict of whether all is finite; then every
chunk, in reverse, so that the last ones are still cached, forms p again and writes x, e and m.
A step of k parts takes 2k + 2 launches, and one more for every 128 gradients that have moved.
The kernels are in :mod:`efsgd.deep.optim.triton_kernels`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from importlib.util import find_spec
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from efsgd.compressors.signs import ScaledSign, Sign
from efsgd.compressors.wrappers import Identity
from efsgd.deep.optim.step import Part
from efsgd.deep.optim.triton_kernels import kernels, language

KINDS = {Identity: 0, Sign: 1, ScaledSign: 2}
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
WRITTEN = 128  # pointers that one launch writes
TABLES = 16  # sets of tensors whose pointers are kept


# -- which steps it can take ----------------------------------------------------------------------


def supported(parts: Sequence[Part]) -> str | None:
    """Why these parts cannot be stepped here, or None; nothing is asked of the device."""
    kinds = {x.device for part in parts for x in part.lists.x}
    if len(kinds) != 1:
        return "the parameters are on several devices"
    return missing(next(iter(kinds)).type) or _first(_why_not, parts) or _first(_layout, parts)


def _first(reason: Callable[[Part], str | None], parts: Sequence[Part]) -> str | None:
    return next((why for why in map(reason, parts) if why), None)


@cache
def missing(device: str) -> str | None:
    """What Triton lacks on this type of device, or None."""
    if find_spec("triton") is None:
        return "Triton is not installed"
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"  # only in tests: it takes seconds
    return None if device == "cuda" or interpreted else f"Triton does not work on {device}"


def _why_not(part: Part) -> str | None:
    rule, numbers = part.rule, part.numbers
    if type(rule.compressor) not in KINDS:
        return f"there is no Triton kernel of {rule.compressor}"
    if rule.together and not isinstance(rule.compressor, Identity):
        return "all tensors of a group make one vector"
    if any(isinstance(number, Tensor) for number in numbers[1:]):
        return "a number other than lr is a tensor"
    if isinstance(numbers.lr, Tensor) and numbers.lr.device != part.lists.x[0].device:
        return "lr is on another device than its parameters"
    return None


def _layout(part: Part) -> str | None:
    """Tensors are taken in the order of memory, which must be that of x."""
    for x, g, e, m, started in zip(*part.lists, strict=True):
        strides = [(n, s) for n, s in zip(x.shape, x.stride(), strict=True) if n > 1]
        for y in (g, e, m):
            if y is None:
                continue
            if (y.shape, y.device) != (x.shape, x.device):
                return "a parameter has another shape or device than what is kept of it"
            if x.dtype not in DTYPES or y.dtype not in DTYPES:
                return f"there is no Triton kernel for {x.dtype} with {y.dtype}"
            if y.dtype != x.dtype and y is not e:
                return "a parameter has another dtype than its gradient or momentum"
            if y.stride() != x.stride() and strides != [
                (n, s) for n, s in zip(y.shape, y.stride(), strict=True) if n > 1
            ]:
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


def _dense(strides: list[tuple[int, int]]) -> bool:
    """Whether sizes and strides fill their memory once."""
    sizes = sorted(((s, n) for n, s in strides))
    expected = accumulate((n for _, n in sizes), lambda a, b: a * b, initial=1)
    return all(s == whole for (s, _), whole in zip(sizes, expected, strict=False))


# -- the step -------------------------------------------------------------------------------------


class UnsupportedError(Exception):
    """These parts cannot be stepped here. Nothing has changed; the text says why."""


class Table(NamedTuple):
    """Where the tensors of all parts lie, on the device."""

    held: Tensor  # (6, n) int64: addresses of x, e, m, started; number of entries; first chunk
    owner: Tensor  # (chunks,) int32, the tensor of each chunk
    counts: list[tuple[int, int]]  # tensors and chunks before each part, and in all
    grads: Tensor  # (n,) int64, addresses of g at the last step that was not captured
    written: list[tuple[int, ...]]  # those addresses
    aligned: bool  # whether x, e and m all begin at multiples of 16 bytes


class TritonStep:
    """Steps parts that are :func:`supported`, as :func:`efsgd.deep.optim.step.step` does.

    The pointers of a set of tensors are kept, so that later steps copy nothing from the host and
    wait for nothing. A step may be captured in a CUDA graph once one was taken without.
    """

    def __init__(self, chunk: int = 2048, warps: int = 8) -> None:
        """``chunk``, a power of two, is the number of entries that one program takes."""
        self.chunk, self.warps = chunk, warps
        self._tables: dict[Any, Table] = {}
        self._captured: list[Table] = []  # a graph holds their addresses

    def __reduce__(self) -> Any:
        """A copy steps other tensors."""
        return TritonStep, (self.chunk, self.warps)

    def step(self, parts: Sequence[Part], check: bool) -> tuple[Tensor | None, list[Tensor | None]]:
        """One step of every part, in place; returns whether it was taken, and their norms.

        Raises UnsupportedError, and RuntimeError inside a capture of tensors that no step has seen.
        """
        device = parts[0].lists.x[0].device
        if device.type != "cuda":
            return self._step(parts, check, False)
        with torch.cuda.device(device):
            return self._step(parts, check, torch.cuda.is_current_stream_capturing())

    def _step(
        self, parts: Sequence[Part], check: bool, capturing: bool
    ) -> tuple[Tensor | None, list[Tensor | None]]:
        table = self._table(parts, capturing)
        addresses = tuple(g.data_ptr() for part in parts for g in part.lists.g)
        grads = _grads(table, addresses, capturing)
        (n, chunks), device = table.counts[-1], grads.device
        partial = torch.empty((5, chunks), dtype=torch.float64, device=device)
        norms = torch.empty((5, n), dtype=torch.float64, device=device)
        begun = torch.empty(n, dtype=torch.uint8, device=device)
        flags = torch.empty(1, dtype=torch.int32, device=device)  # 1 for inf or NaN
        shared = (grads, table.held, table.owner, partial, norms, begun, flags)
        aligned = table.aligned and _aligned(addresses)
        options = {"CHECK": check, "ALIGNED": aligned, "CHUNK": self.chunk, "num_warps": self.warps}
        own = [_own(part) | options for part in parts]
        for i in range(len(parts)):
            self._launch(table, i, parts[i], shared, own[i] | {"UPDATE": False})
        kernels()["norms"][(n,)](table.held, partial, norms, begun, flags, n, chunks, BLOCK=256)
        for i in range(len(parts)):
            self._launch(table, i, parts[i], shared, own[i] | {"UPDATE": True})
        bounds = [first for first, _ in table.counts]
        told = [norms[:4, a:b] for a, b in pairwise(bounds)]
        for part in parts:
            torch.autograd.graph.increment_version(part.lists.x)
        measured = [t if p.rule.measure else None for t, p in zip(told, parts, strict=True)]
        return (flags[0] == 0 if check else None), measured

    def _launch(self, table: Table, i: int, part: Part, shared: Any, own: dict[str, Any]) -> None:
        first, after = table.counts[i][1], table.counts[i + 1][1]
        size = (*table.counts[-1], first)
        numbers = [a if isinstance(a, Tensor) else float(a) for a in part.numbers]
        kernels()["chunk"][(after - first,)](*shared, *size, *numbers, **own)

    def _table(self, parts: Sequence[Part], capturing: bool) -> Table:
        key = tuple(_looks(part) for part in parts)
        table = self._tables.get(key)
        why = supported(parts) if table is None else _first(_why_not, parts)
        if why:
            raise UnsupportedError(why)
        if table is None:
            if capturing:
                raise RuntimeError("these tensors were never stepped: step once before a capture")
            table = self._made(parts)
        self._tables.pop(key, None)
        self._tables[key] = table  # the last one used is the last one dropped
        if capturing and all(table is not other for other in self._captured):
            self._captured.append(table)
        while len(self._tables) > TABLES:
            del self._tables[next(iter(self._tables))]
        return table

    def _made(self, parts: Sequence[Part]) -> Table:
        device = parts[0].lists.x[0].device
        columns = [
            (*(0 if y is None else y.data_ptr() for y in (x, e, m, started)), x.numel())
            for part in parts
            for x, _, e, m, started in zip(*part.lists, strict=True)
        ]
        pieces = [-(-column[-1] // self.chunk) for column in columns]
        first = list(accumulate(pieces, initial=0))
        bounds = list(accumulate((len(part.lists.x) for part in parts), initial=0))
        rows = [*zip(*columns, strict=True), first[:-1]]
        owner = torch.arange(len(pieces), dtype=torch.int32)
        owner = owner.repeat_interleave(torch.tensor(pieces))
        held = torch.tensor(rows, dtype=torch.int64)
        if device.type == "cuda":  # pinned: then the host need not wait
            held, owner = (y.pin_memory().to(device, non_blocking=True) for y in (held, owner))
        counts = [(bound, first[bound]) for bound in bounds]
        aligned = all(_aligned(column) for column in rows[:3])
        return Table(held, owner, counts, torch.empty_like(held[0]), [()], aligned)


def _aligned(addresses: Iterable[int]) -> bool:
    return not any(address % 16 for address in addresses)


def _looks(part: Part) -> tuple[Any, ...]:
    """Where tensors lie, and all that is asked of them; at each step, so it must be cheap."""
    x, g, e, m, started = ([y for y in ys if y is not None] for ys in part.lists)
    formed = [*x, *g, *e, *m]
    return (
        *[y is None for ys in part.lists[2:] for y in ys],
        *[y.data_ptr() for y in [*x, *e, *m, *started]],
        *[(y.shape, y.device) for y in formed],
        *[y.dtype for y in formed],
        *[y.is_contiguous() or y.stride() for y in formed],
    )


def _grads(table: Table, addresses: tuple[int, ...], capturing: bool) -> Tensor:
    """The addresses of the gradients, written by a kernel: a graph then repeats the writing."""
    if not capturing and table.written[0] == addresses:
        return table.grads
    grads = torch.empty_like(table.grads) if capturing else table.grads
    for at in range(0, len(addresses), WRITTEN):
        # odd ones: where some were divisible by 16, each pattern of them would be compiled anew
        some = tuple(address + 1 for address in addresses[at : at + WRITTEN])
        kernels()["write"][(1,)](grads, at, some, N=len(some), num_warps=1)
    if not capturing:
        table.written[0] = addresses
    return grads


def _own(part: Part) -> dict[str, Any]:
    """What is compiled in, for a part."""
    lists, rule = part.lists, part.rule
    x, e = lists.x[0].dtype, lists.e[0].dtype if lists.e[0] is not None else lists.x[0].dtype
    c = rule.compressor
    names = ("feedback", "weight_decay", "momentum", "nesterov", "maximize")
    flags = {name.upper(): bool(getattr(rule, name)) for name in names}
    types = {"X": x, "E": e, "P": torch.promote_types(x, e)}
    return flags | {
        **{name: language(dtype) for name, dtype in types.items()},
        "KIND": KINDS[type(c)],
        "ZERO": c.zero if isinstance(c, Sign | ScaledSign) else 0,
        "DAMPENED": lists.started[0] is not None,
        "LR_ON_DEVICE": isinstance(part.numbers.lr, Tensor),
    }
