"""What :mod:`efsgd.deep.optim.triton_step` runs on the device, in Triton's language.

The functions below :func:`kernels` are not Python's to call: it hands them to Triton, and puts what
comes back in their places here, where they find each other and ``tl``. Names in capitals are
compiled in. ``held`` (6, n) holds the addresses of x, e, m and started, the sizes, and the first
chunk of each of n tensors, ``grads`` (n,) the addresses of g, ``owner`` the tensor of each chunk.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any, TypeAlias

import torch

# What these names mean to Triton, kernels() finds out.
tl: Any = None
Arg: TypeAlias = Any
constexpr: TypeAlias = Any


@cache
def kernels() -> dict[str, Any]:
    """The kernels that are launched, by name: ``kernels()[name][grid](...)``."""
    triton = import_module("triton")
    globals()["tl"] = import_module("triton.language")
    globals().update(Arg=tl.tensor, constexpr=tl.constexpr)
    for part in PARTS:
        globals()[part.__name__] = triton.jit(part)
    return {
        kernel.__name__: triton.jit(kernel, do_not_specialize=counts)
        for kernel, counts in LAUNCHED.items()
    }


def language(dtype: torch.dtype) -> Any:
    """A dtype of torch as Triton's."""
    kernels()
    return getattr(tl, str(dtype).removeprefix("torch."))


# ruff's format would give each of the many parameters below a line of its own
# fmt: off


def write(grads: Arg, first: Arg, addresses: Arg, N: constexpr) -> None:
    """Write N addresses, each one less than it is given, from number ``first`` of ``grads`` on."""
    for i in tl.static_range(N):
        tl.store(grads + first + i, addresses[i] - 1)


def chunk(
    grads: Arg, held: Arg, owner: Arg, partial: Arg, totals: Arg, begun: Arg, flags: Arg,
    n: Arg, chunks: Arg, first: Arg, lr: Arg, weight_decay: Arg, momentum: Arg, dampening: Arg,
    UPDATE: constexpr, CHECK: constexpr, KIND: constexpr, ZERO: constexpr,
    FEEDBACK: constexpr, WEIGHT_DECAY: constexpr, MOMENTUM: constexpr, DAMPENED: constexpr,
    NESTEROV: constexpr, MAXIMIZE: constexpr, LR_ON_DEVICE: constexpr,
    X: constexpr, E: constexpr, P: constexpr, ALIGNED: constexpr, CHUNK: constexpr,
) -> None:
    """Sum one chunk of a part, or UPDATE it where nothing was found by a CHECK."""
    c = first + tl.program_id(0)
    found = 0
    if UPDATE:
        c = first + tl.num_programs(0) - 1 - tl.program_id(0)
        if CHECK:
            found = tl.load(flags)
    elif c == 0:
        tl.store(flags, 0)
    i = tl.load(owner + c).to(tl.int64)
    size = tl.load(held + 4 * n + i)
    start = (c - tl.load(held + 5 * n + i)) * CHUNK
    step = lr
    if LR_ON_DEVICE:
        step = tl.load(lr).to(tl.float32)
    started = 1
    if DAMPENED:
        place = tl.load(held + 3 * n + i).to(tl.pointer_type(tl.uint8))
        if UPDATE:
            started = tl.load(begun + i)
            if found == 0 and start == 0:
                tl.store(place, 1)
        else:
            started = tl.load(place)
    if CHECK and UPDATE and found != 0 and start == 0:
        for q in tl.static_range(4):
            tl.store(totals + q * n + i, float("nan"))
    if found == 0:
        if start + CHUNK <= size:
            work(grads, held, partial, totals, n, chunks, c, i, start, size, step, weight_decay,
                 momentum, dampening, started, UPDATE, KIND, ZERO, FEEDBACK, WEIGHT_DECAY,
                 MOMENTUM, DAMPENED, NESTEROV, MAXIMIZE, X, E, P, ALIGNED, CHUNK, True)
        else:
            work(grads, held, partial, totals, n, chunks, c, i, start, size, step, weight_decay,
                 momentum, dampening, started, UPDATE, KIND, ZERO, FEEDBACK, WEIGHT_DECAY,
                 MOMENTUM, DAMPENED, NESTEROV, MAXIMIZE, X, E, P, ALIGNED, CHUNK, False)


def norms(
    held: Arg, partial: Arg, totals: Arg, begun: Arg, flags: Arg, n: Arg, chunks: Arg,
    BLOCK: constexpr,
) -> None:
    """Norms of one tensor from its chunks, and whether |g|_1 is finite.

    |g|_1, |p|_1, |g|_2, |p|_2 as ``advance`` reports them, and |p|_1 of what is compressed.
    """
    i = tl.program_id(0)
    begin = tl.load(held + 5 * n + i)
    end = chunks.to(tl.int64)
    if i + 1 < n:
        end = tl.load(held + 5 * n + i + 1)
    for q in tl.static_range(5):
        total = tl.zeros((BLOCK,), tl.float64)
        c = begin
        while c < end:
            places = c + tl.arange(0, BLOCK)
            c += BLOCK
            total += tl.load(partial + q * chunks + places, mask=places < end, other=0.0)
        length = tl.sum(total, axis=0)
        if q == 0:
            tl.atomic_max(flags, 1 - (length < float("inf")).to(tl.int32))
        if q == 2 or q == 3:
            length = tl.sqrt(length)
        tl.store(totals + q * n + i, length)
    address = tl.load(held + 3 * n + i)
    if address != 0:
        tl.store(begun + i, tl.load(address.to(tl.pointer_type(tl.uint8))))


# -- parts of them --------------------------------------------------------------------------------


def at(address: Arg, offsets: Arg, T: constexpr, ALIGNED: constexpr) -> Arg:
    """Pointers to the entries at these offsets of the tensor at an address."""
    pointers = address.to(tl.pointer_type(T)) + offsets
    if ALIGNED:
        pointers = tl.multiple_of(pointers, 16)
    return pointers


def entries(
    table: Arg, i: Arg, offsets: Arg, size: Arg, T: constexpr, ALIGNED: constexpr, WHOLE: constexpr
) -> Arg:
    """Entries of tensor i of a row of addresses, in float32, 0 beyond the end."""
    pointers = at(tl.load(table + i), offsets, T, ALIGNED)
    found = tl.load(pointers) if WHOLE else tl.load(pointers, mask=offsets < size, other=0.0)
    return found.to(tl.float32)


def write_chunk(
    table: Arg, i: Arg, offsets: Arg, size: Arg, fresh: Arg, T: constexpr, ALIGNED: constexpr,
    WHOLE: constexpr,
) -> None:
    """Overwrite those entries."""
    pointers = at(tl.load(table + i), offsets, T, ALIGNED)
    if WHOLE:
        tl.store(pointers, fresh.to(T))
    else:
        tl.store(pointers, fresh.to(T), mask=offsets < size)


def work(
    grads: Arg, held: Arg, partial: Arg, totals: Arg, n: Arg, chunks: Arg, c: Arg, i: Arg,
    start: Arg, size: Arg, lr: Arg, weight_decay: Arg, momentum: Arg, dampening: Arg,
    started: Arg, UPDATE: constexpr, KIND: constexpr, ZERO: constexpr,
    FEEDBACK: constexpr, WEIGHT_DECAY: constexpr, MOMENTUM: constexpr, DAMPENED: constexpr,
    NESTEROV: constexpr, MAXIMIZE: constexpr, X: constexpr, E: constexpr, P: constexpr,
    ALIGNED: constexpr, CHUNK: constexpr, WHOLE: constexpr,
) -> None:
    """The sums of a chunk, or its new x, e and m; float32 is rounded wherever ``step`` rounds."""
    offsets = start + tl.arange(0, CHUNK)
    g = entries(grads, i, offsets, size, X, ALIGNED, WHOLE)
    d = g
    if MAXIMIZE:
        d = -d
    if UPDATE or WEIGHT_DECAY:
        x = entries(held, i, offsets, size, X, ALIGNED, WHOLE)
    if WEIGHT_DECAY:
        d = (d + weight_decay * x).to(X).to(tl.float32)
    if MOMENTUM:
        m = entries(held + 2 * n, i, offsets, size, X, ALIGNED, WHOLE)
        kept = (momentum * m).to(X).to(tl.float32)
        fresh = (kept + (1.0 - dampening) * d).to(X).to(tl.float32)
        if DAMPENED:
            fresh = tl.where(started != 0, fresh, d)  # the first one is the gradient
        if UPDATE:
            write_chunk(held + 2 * n, i, offsets, size, fresh, X, ALIGNED, WHOLE)
        d = (d + momentum * fresh).to(X).to(tl.float32) if NESTEROV else fresh
    p = d
    if FEEDBACK:
        e = entries(held + n, i, offsets, size, E, ALIGNED, WHOLE)
        p = (e + lr * d).to(P).to(tl.float32)
    if UPDATE:
        sent = p
        if KIND > 0:
            total = tl.load(totals + 4 * n + i)
            length = (total / size.to(tl.float64)).to(tl.float32)
            if KIND == 1:
                length = (total != 0).to(tl.float32)
            if ZERO:
                sent = tl.where(p < 0, -length, length)
            else:
                sent = ((p > 0).to(tl.float32) - (p < 0).to(tl.float32)) * length
            sent = sent.to(P).to(tl.float32)
        if FEEDBACK:
            write_chunk(held, i, offsets, size, x - sent, X, ALIGNED, WHOLE)
            write_chunk(held + n, i, offsets, size, p - sent, E, ALIGNED, WHOLE)
        else:
            write_chunk(held, i, offsets, size, x - lr * sent, X, ALIGNED, WHOLE)
    else:
        u = g.to(tl.float64)
        v = p.to(tl.float64)
        length = tl.sum(tl.abs(v), axis=0)
        unit = 1.0 if FEEDBACK else lr  # p is reported in units of x
        tl.store(partial + c, tl.sum(tl.abs(u), axis=0))
        tl.store(partial + chunks + c, unit * length)
        tl.store(partial + 4 * chunks + c, length)
        tl.store(partial + 2 * chunks + c, tl.sum(u * u, axis=0))
        tl.store(partial + 3 * chunks + c, unit * unit * tl.sum(v * v, axis=0))
# fmt: on

PARTS = (at, entries, write_chunk, work)
LAUNCHED = {  # and the counts for which nothing is compiled anew, be they 1 or divisible by 16
    write: ["first"],
    chunk: ["n", "chunks", "first"],
    norms: ["n", "chunks"],
}
