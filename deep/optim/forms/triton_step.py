"""The step of signs as a few Triton kernels over tables of pointers, all tensors in each launch.

A tensor is cut into chunks, one program each. First every chunk forms p and sums |g|, |p|, g^2 and
p^2; then the sums are added for each tensor, and it is decided whether all fits; then every
chunk, in reverse, so that the last ones are still cached, forms p again and writes x, e and m.
A step of k parts takes 2k + 2 launches, and one more for every 128 gradients that have moved.
The kernels are in :mod:`efsgd.deep.optim.forms.triton_kernels`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from efsgd.compressors.signs import ScaledSign, Sign
from efsgd.compressors.wrappers import Identity
from efsgd.deep.optim.forms.compiler_cache import own_triton_cache
from efsgd.deep.optim.forms.triton_tables import Table, aligned, key_of, refused_layout, table_of
from efsgd.deep.optim.limits import kind_of, weights
from efsgd.deep.optim.parts import Part

KINDS = {Identity: 0, Sign: 1, ScaledSign: 2}
WRITTEN = 128  # pointers that one launch writes
TABLES = 16  # sets of tensors whose pointers are kept


def kernels() -> Any:
    """The module of the kernels; it imports Triton, which may not be installed."""
    from efsgd.deep.optim.forms import triton_kernels

    return triton_kernels


# -- which steps it can take ----------------------------------------------------------------------


def supported(parts: Sequence[Part]) -> str | None:
    """Why these parts cannot be stepped here, or None; nothing is asked of the device."""
    devices = {x.device for part in parts for x in part.lists.x}
    if len(devices) != 1:
        return "the parameters are on several devices"
    lacking = missing(next(iter(devices)).type)
    return lacking or _first(_refused_rule, parts) or _first(refused_layout, parts)


def _first(refusal: Callable[[Part], str | None], parts: Sequence[Part]) -> str | None:
    return next((reason for reason in map(refusal, parts) if reason), None)


@cache
def missing(device: str) -> str | None:
    """What Triton lacks on this type of device, or None."""
    if find_spec("triton") is None:
        return "Triton is not installed"
    if os.environ.get("TRITON_INTERPRET") == "1":  # only in tests: it takes seconds
        return None
    if device != "cuda":
        return f"Triton does not work on {device}"
    try:
        own_triton_cache()
    except PermissionError as error:
        return str(error)
    return None


def _refused_rule(part: Part) -> str | None:
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


# -- the step -------------------------------------------------------------------------------------


class UnsupportedError(Exception):
    """These parts cannot be stepped here. Nothing has changed; the text says why."""


class TritonStep:
    """Steps parts that are :func:`supported`, as :func:`efsgd.deep.optim.step.step` does.

    The pointers of a set of tensors are kept, so that later steps copy nothing from the host and
    wait for nothing. A step may be captured in a CUDA graph once one was taken without.
    """

    def __init__(self, chunk: int = 2048, warps: int = 8) -> None:
        """``chunk``, a power of two, is the number of entries that one program takes."""
        self.chunk, self.warps = chunk, warps
        self.tables: dict[Any, Table] = {}  # by where the tensors lie; the oldest first
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
        n, chunks = table.counts[-1]
        buffers = _buffers(table)
        shared = {
            **buffers,
            "grads": _grads(table, addresses, capturing),
            "owner": table.owner,
            "CHECK": check,
            "ALIGNED": table.aligned and aligned(addresses),
            "CHUNK": self.chunk,
            "num_warps": self.warps,
        }
        arguments = [shared | _numbers(part) | _constants(part) for part in parts]
        for i in range(len(parts)):
            _launch(table, i, arguments[i], update=False)
        kernels().reduce_norms[(n,)](**buffers, n=n, chunks=chunks, BLOCK=256)
        for i in range(len(parts)):
            _launch(table, i, arguments[i], update=True)
        for part in parts:
            torch.autograd.graph.increment_version(part.lists.x)
        bounds = pairwise(first for first, _ in table.counts)
        measured = [
            buffers["norms"][:4, a:b] if part.rule.measure else None
            for part, (a, b) in zip(parts, bounds, strict=True)
        ]
        return (buffers["nonfinite"][0] == 0 if check else None), measured

    def _table(self, parts: Sequence[Part], capturing: bool) -> Table:
        key = tuple(key_of(part) for part in parts)
        table = self.tables.get(key)
        reason = supported(parts) if table is None else _first(_refused_rule, parts)
        if reason:
            raise UnsupportedError(reason)
        if table is None:
            if capturing:
                raise RuntimeError("these tensors were never stepped: step once before a capture")
            table = table_of(parts, self.chunk)
        self.tables.pop(key, None)
        self.tables[key] = table  # the last one used is the last one dropped
        if capturing and all(table is not other for other in self._captured):
            self._captured.append(table)
        while len(self.tables) > TABLES:
            del self.tables[next(iter(self.tables))]
        return table


def _buffers(table: Table) -> dict[str, Tensor]:
    """The arguments of the kernel that sums up each tensor, all but the table new."""
    (n, chunks), device = table.counts[-1], table.tensors.device
    return {
        "tensors": table.tensors,
        "partial": torch.empty((6, chunks), dtype=torch.float64, device=device),
        "norms": torch.empty((5, n), dtype=torch.float64, device=device),
        "started_before": torch.empty(n, dtype=torch.uint8, device=device),
        "nonfinite": torch.empty(
            1, dtype=torch.int32, device=device
        ),  # 1 where some of it does not fit
    }


def _launch(table: Table, i: int, arguments: dict[str, Any], update: bool) -> None:
    """Sum, or update, every chunk of part i."""
    first, after = table.counts[i][1], table.counts[i + 1][1]
    n, chunks = table.counts[-1]
    kernel = kernels().step_chunk[(after - first,)]
    kernel(**arguments, n=n, chunks=chunks, first=first, UPDATE=update)


def _grads(table: Table, addresses: tuple[int, ...], capturing: bool) -> Tensor:
    """The addresses of the gradients, written by a kernel: a graph then repeats the writing."""
    if not capturing and table.written == addresses:
        return table.grads
    grads = torch.empty_like(table.grads) if capturing else table.grads
    for first in range(0, len(addresses), WRITTEN):
        # odd ones: where some were divisible by 16, each pattern of them would be compiled anew
        odd = tuple(address + 1 for address in addresses[first : first + WRITTEN])
        kernels().write_addresses[(1,)](grads, first, odd, N=len(odd), num_warps=1)
    if not capturing:
        table.written = addresses
    return grads


def _numbers(part: Part) -> dict[str, Any]:
    """The numbers of a part as the kernel takes them."""
    numbers = part.numbers._asdict().items()
    limits = weights(part.rule, kind_of(part, 0), (1,))  # these compressors do not enlarge entries
    return {
        **{name: a if isinstance(a, Tensor) else float(a) for name, a in numbers},
        **limits._asdict(),
    }


def _constants(part: Part) -> dict[str, Any]:
    """What is compiled in, for a part."""
    lists, rule, tl = part.lists, part.rule, kernels().tl
    x, e = lists.x[0].dtype, lists.e[0].dtype if lists.e[0] is not None else lists.x[0].dtype
    types = {"X": x, "E": e, "P": torch.promote_types(x, e)}
    c = rule.compressor
    names = ("feedback", "weight_decay", "momentum", "nesterov", "maximize")
    return {
        **{name.upper(): bool(getattr(rule, name)) for name in names},
        **{name: getattr(tl, str(dtype).removeprefix("torch.")) for name, dtype in types.items()},
        "KIND": KINDS[type(c)],
        "ZERO": c.zero if isinstance(c, Sign | ScaledSign) else 0,
        "DAMPENED": lists.started[0] is not None,
        "LR_ON_DEVICE": isinstance(part.numbers.lr, Tensor),
    }
