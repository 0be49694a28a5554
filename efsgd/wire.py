"""Messages: what one compressed vector looks like on the wire.

``c.encode(x)`` makes one and :func:`decode` reads it; :mod:`efsgd.compressors.frame` has the
layout. A message needs nothing else to be decoded. Nothing is allocated before the payload proved
long enough for it, and the dense vector only after the whole message was read and checked. However
its compressors are nested, decoding takes no more than four times the vector and the message.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from efsgd.arrays import Array
from efsgd.compressors import Compressor, compressor
from efsgd.compressors.frame import HEADER, LONGEST_SPEC, VERSION, unpack
from efsgd.compressors.packing import Reader

__all__ = ["HEADER", "LONGEST_SPEC", "VERSION", "decode"]


def decode(data: Any, *, out: Array | None = None, max_elements: int = 2**28) -> Array:
    """C(x) from its message, bit for bit what ``c.apply`` gave; shape (d,).

    ``out``, where given, must be a contiguous vector of the message's dtype and length, and is
    returned. Raises ValueError, with ``out`` as it was, for anything that is not a whole, undamaged
    message, that claims more than ``max_elements`` entries, or whose vector does not fit into
    memory; never allocates more than a small multiple of the vector and the message.
    """
    frame = unpack(memoryview(data).cast("B"))
    try:
        c = compressor(frame.spec)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"the message names no compressor: {error}") from None
    d, payload = frame.dimension_and_fields()
    if d > max_elements:
        raise ValueError(f"the message claims {d} entries: allow that with max_elements={d}")
    try:
        return _filled(c, d, Reader(payload, frame.dtype), out)
    except MemoryError:
        raise ValueError(
            f"the message's {d} entries do not fit into memory: lower max_elements to refuse them"
        ) from None


def _filled(c: Compressor, d: int, fields: Reader, out: Array | None) -> Array:
    """C(x), of d entries, from its fields; in ``out`` once nothing can be refused any more."""
    try:
        message = c._read(fields, (d,)) if d else None
    except OverflowError as error:
        raise ValueError(f"the message is not one of {c}: {error}") from None
    fields.end()
    if out is None:
        target = out = np.empty(d, fields.dtype)
    elif out.shape != (d,) or out.dtype != fields.dtype or not out.flags.c_contiguous:
        raise ValueError(
            f"out is {out.dtype}{out.shape}, but the message needs a contiguous "
            f"{fields.dtype}({d},)"
        )
    else:
        target = np.empty_like(out) if c._may_overflow else out
    if d:
        c._fill(target, message)
    if target is not out:
        out[...] = target
    return out
