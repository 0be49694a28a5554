"""The kernels of :mod:`efsgd.deep.optim.forms.triton_step`, in Triton's language.

Importing this module imports Triton, which may not be installed: only ``triton_step`` imports it,
inside a function. Parameters in capitals are compiled in. ``tensors`` (6, n) int64 holds, of each
of n tensors, the addresses of x, e, m and started, the number of entries, and the first chunk;
``grads`` (n,) int64 the addresses of g; ``owner`` (chunks,) int32 the tensor of each chunk.
"""

# mypy: disallow-untyped-decorators=False

from __future__ import annotations

from importlib import import_module
from typing import Any, TypeAlias

triton: Any = import_module("triton")  # it has no types, and is not there on every platform
tl: Any = import_module("triton.language")
# Triton looks these two names up where they annotate a parameter.
Arg: TypeAlias = tl.tensor
constexpr: TypeAlias = tl.constexpr

# ruff's format would give each of the many parameters below a line of its own
# fmt: off


# -- the kernels that are launched ----------------------------------------------------------------

# A count that is not specialised compiles nothing anew, be it 1 or divisible by 16.


@triton.jit(do_not_specialize=["first"])
def write_addresses(grads: Arg, first: Arg, addresses: Arg, N: constexpr) -> None:
    """Write N addresses, each one less than it is given, to ``grads`` from entry ``first`` on."""
    for i in tl.static_range(N):
        tl.store(grads + first + i, addresses[i] - 1)


@triton.jit(do_not_specialize=["n", "chunks", "first"])
def step_chunk(
    grads: Arg, tensors: Arg, owner: Arg, partial: Arg, norms: Arg, started_before: Arg,
    nonfinite: Arg, n: Arg, chunks: Arg, first: Arg, lr: Arg, weight_decay: Arg, momentum: Arg,
    dampening: Arg, half: Arg, rounded: Arg, fixed: Arg, per_lr: Arg, constant: Arg,
    UPDATE: constexpr, CHECK: constexpr, KIND: constexpr, ZERO: constexpr, FEEDBACK: constexpr,
    WEIGHT_DECAY: constexpr, MOMENTUM: constexpr, DAMPENED: constexpr, NESTEROV: constexpr,
    MAXIMIZE: constexpr, LR_ON_DEVICE: constexpr, X: constexpr, E: constexpr, P: constexpr,
    ALIGNED: constexpr, CHUNK: constexpr,
) -> None:
    """Sum one chunk of a part, or UPDATE it, unless a CHECK has found what does not fit."""
    c = first + tl.program_id(0)
    skip = 0
    if UPDATE:
        c = first + tl.num_programs(0) - 1 - tl.program_id(0)
        if CHECK:
            skip = tl.load(nonfinite)
    elif c == 0:
        tl.store(nonfinite, 0)
    i = tl.load(owner + c).to(tl.int64)
    size = tl.load(tensors + 4 * n + i)
    start = (c - tl.load(tensors + 5 * n + i)) * CHUNK
    step_size = lr
    if LR_ON_DEVICE:
        step_size = tl.load(lr).to(tl.float32)
    started = 1
    if DAMPENED:
        flag = tl.load(tensors + 3 * n + i).to(tl.pointer_type(tl.uint8))
        if UPDATE:
            started = tl.load(started_before + i)
            if skip == 0 and start == 0:
                tl.store(flag, 1)
        else:
            started = tl.load(flag)
    if CHECK and UPDATE and skip != 0 and start == 0:
        for q in tl.static_range(4):
            tl.store(norms + q * n + i, float("nan"))
    if skip == 0:
        if start + CHUNK <= size:
            sum_or_update(grads, tensors, partial, norms, n, chunks, c, i, start, size, step_size,
                          weight_decay, momentum, dampening, half, rounded, fixed, per_lr,
                          constant, started, UPDATE, CHECK, KIND, ZERO, FEEDBACK, WEIGHT_DECAY,
                          MOMENTUM, DAMPENED, NESTEROV, MAXIMIZE, X, E, P, ALIGNED, CHUNK, True)
        else:
            sum_or_update(grads, tensors, partial, norms, n, chunks, c, i, start, size, step_size,
                          weight_decay, momentum, dampening, half, rounded, fixed, per_lr,
                          constant, started, UPDATE, CHECK, KIND, ZERO, FEEDBACK, WEIGHT_DECAY,
                          MOMENTUM, DAMPENED, NESTEROV, MAXIMIZE, X, E, P, ALIGNED, CHUNK, False)


@triton.jit(do_not_specialize=["n", "chunks"])
def reduce_norms(
    tensors: Arg, partial: Arg, norms: Arg, started_before: Arg, nonfinite: Arg, n: Arg,
    chunks: Arg, BLOCK: constexpr,
) -> None:
    """Norms of one tensor from the sums of its chunks, and whether all of it fits.

    Rows of ``norms`` (5, n): |g|_1, |p|_1, |g|_2, |p|_2 as ``advance`` reports them, and |p|_1 of
    what is compressed.
    """
    i = tl.program_id(0)
    begin = tl.load(tensors + 5 * n + i)
    end = chunks.to(tl.int64)
    if i + 1 < n:
        end = tl.load(tensors + 5 * n + i + 1)
    for q in tl.static_range(6):
        sums = tl.zeros((BLOCK,), tl.float64)
        c = begin
        while c < end:
            places = c + tl.arange(0, BLOCK)
            c += BLOCK
            sums += tl.load(partial + q * chunks + places, mask=places < end, other=0.0)
        norm = tl.sum(sums, axis=0)
        if q == 2 or q == 3:
            norm = tl.sqrt(norm)
        if q < 5:
            tl.store(norms + q * n + i, norm)
        else:
            tl.atomic_max(nonfinite, (norm > 0).to(tl.int32))
    address = tl.load(tensors + 3 * n + i)
    if address != 0:
        tl.store(started_before + i, tl.load(address.to(tl.pointer_type(tl.uint8))))


# -- what they call -------------------------------------------------------------------------------


@triton.jit
def pointers(address: Arg, offsets: Arg, T: constexpr, ALIGNED: constexpr) -> Arg:
    """Pointers to the entries at these offsets of the tensor at an address."""
    places = address.to(tl.pointer_type(T)) + offsets
    if ALIGNED:
        places = tl.multiple_of(places, 16)
    return places


@triton.jit
def load_chunk(
    addresses: Arg, i: Arg, offsets: Arg, size: Arg, T: constexpr, ALIGNED: constexpr,
    WHOLE: constexpr,
) -> Arg:
    """Entries of tensor i of a row of addresses, in float32, 0 beyond the end."""
    places = pointers(tl.load(addresses + i), offsets, T, ALIGNED)
    entries = tl.load(places) if WHOLE else tl.load(places, mask=offsets < size, other=0.0)
    return entries.to(tl.float32)


@triton.jit
def store_chunk(
    addresses: Arg, i: Arg, offsets: Arg, size: Arg, entries: Arg, T: constexpr, ALIGNED: constexpr,
    WHOLE: constexpr,
) -> None:
    """Overwrite those entries."""
    places = pointers(tl.load(addresses + i), offsets, T, ALIGNED)
    if WHOLE:
        tl.store(places, entries.to(T))
    else:
        tl.store(places, entries.to(T), mask=offsets < size)


@triton.jit
def sum_or_update(
    grads: Arg, tensors: Arg, partial: Arg, norms: Arg, n: Arg, chunks: Arg, c: Arg, i: Arg,
    start: Arg, size: Arg, lr: Arg, weight_decay: Arg, momentum: Arg, dampening: Arg, half: Arg,
    rounded: Arg, fixed: Arg, per_lr: Arg, constant: Arg, started: Arg, UPDATE: constexpr,
    CHECK: constexpr, KIND: constexpr, ZERO: constexpr, FEEDBACK: constexpr,
    WEIGHT_DECAY: constexpr, MOMENTUM: constexpr, DAMPENED: constexpr, NESTEROV: constexpr,
    MAXIMIZE: constexpr, X: constexpr, E: constexpr, P: constexpr, ALIGNED: constexpr,
    CHUNK: constexpr, WHOLE: constexpr,
) -> None:
    """The sums of a chunk, or its new x, e and m; float32 is rounded wherever ``step`` rounds."""
    offsets = start + tl.arange(0, CHUNK)
    g = load_chunk(grads, i, offsets, size, X, ALIGNED, WHOLE)
    d = g
    if MAXIMIZE:
        d = -d
    if UPDATE or WEIGHT_DECAY or CHECK:
        x = load_chunk(tensors, i, offsets, size, X, ALIGNED, WHOLE)
    if WEIGHT_DECAY:
        d = (d + weight_decay * x).to(X).to(tl.float32)
    summed = d
    if MOMENTUM:
        m = load_chunk(tensors + 2 * n, i, offsets, size, X, ALIGNED, WHOLE)
        decayed = (momentum * m).to(X).to(tl.float32)
        new_m = (decayed + (1.0 - dampening) * d).to(X).to(tl.float32)
        if DAMPENED:
            new_m = tl.where(started != 0, new_m, d)  # the first one is the gradient
        if UPDATE:
            store_chunk(tensors + 2 * n, i, offsets, size, new_m, X, ALIGNED, WHOLE)
        d = (d + momentum * new_m).to(X).to(tl.float32) if NESTEROV else new_m
    p = d
    if FEEDBACK:
        e = load_chunk(tensors + n, i, offsets, size, E, ALIGNED, WHOLE)
        p = (e + lr * d).to(P).to(tl.float32)
    if UPDATE:
        sent = p
        if KIND > 0:
            norm = tl.load(norms + 4 * n + i)
            scale = (norm / size.to(tl.float64)).to(tl.float32)
            if KIND == 1:
                scale = (norm != 0).to(tl.float32)
            if ZERO:
                sent = tl.where(p < 0, -scale, scale)
            else:
                sent = ((p > 0).to(tl.float32) - (p < 0).to(tl.float32)) * scale
            sent = sent.to(P).to(tl.float32)
        if FEEDBACK:
            store_chunk(tensors, i, offsets, size, x - sent, X, ALIGNED, WHOLE)
            store_chunk(tensors + n, i, offsets, size, p - sent, E, ALIGNED, WHOLE)
        else:
            store_chunk(tensors, i, offsets, size, x - lr * sent, X, ALIGNED, WHOLE)
    else:
        g64 = g.to(tl.float64)
        p64 = p.to(tl.float64)
        norm = tl.sum(tl.abs(p64), axis=0)
        unit = 1.0 if FEEDBACK else lr  # p is reported in units of x
        tl.store(partial + c, tl.sum(tl.abs(g64), axis=0))
        tl.store(partial + chunks + c, unit * norm)
        tl.store(partial + 4 * chunks + c, norm)
        tl.store(partial + 2 * chunks + c, tl.sum(g64 * g64, axis=0))
        tl.store(partial + 3 * chunks + c, unit * unit * tl.sum(p64 * p64, axis=0))
        outside = 0.0
        if CHECK:  # as ``limits.fits``; what is NaN is not at most anything
            fit = tl.abs(x) <= half
            if WEIGHT_DECAY:
                fit &= tl.abs(summed) * rounded <= half
            if MOMENTUM:
                fit &= tl.abs(new_m) <= half
            if FEEDBACK:
                fit &= tl.abs(p) * fixed + constant <= half
            else:
                fit &= tl.abs(p) * fixed <= half
                fit &= tl.abs(p) * per_lr * tl.abs(lr) + constant * tl.abs(lr) <= half
            outside = tl.sum(tl.where(fit, 0.0, 1.0), axis=0)
        tl.store(partial + 5 * chunks + c, outside)
# fmt: on
