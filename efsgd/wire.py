"""Messages: what one compressed vector looks like on the wire.

A message is ``b"EF"``, a version, the dtype (4 or 8), a CRC-32 of all that follows and precedes it,
the spec of the compressor (length and ASCII text), d (LEB128), then the compressor's fields. It
needs nothing else to be decoded. Nothing is allocated before the payload proved long enough for it,
and the dense vector only after the whole message was read and checked.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np

from efsgd.arrays import Array, Generator, as_vectors
from efsgd.base import Compressor, compressor
from efsgd.packing import Reader, Writer

VERSION = 1
HEADER = 128  # bytes that header and padding never exceed
LONGEST_SPEC = 96
_START = struct.Struct("<2sBBI")  # magic, version, item size, checksum
_DTYPES: dict[int, np.dtype] = {4: np.dtype(np.float32), 8: np.dtype(np.float64)}


def encode(c: Compressor, x: Any, rng: Generator | None = None, drawn: Any = None) -> bytes:
    """The message for one vector (d,); see :meth:`Compressor.encode`."""
    x = as_vectors(x)
    if x.ndim != 1:
        raise ValueError(f"encode takes one vector (d,), not the shape {x.shape}: loop over rows")
    spec = _spec(c)
    out = Writer(x.dtype)
    if x.size:
        drawn = c.draw(x.shape, rng) if drawn is None else drawn
        with np.errstate(over="ignore", invalid="ignore"):
            c._write(out, x, drawn)
    parts = [bytes([len(spec)]) + spec + _varint(x.size), *out.parts]
    checksum = _checksum(VERSION, x.itemsize, *parts)
    return b"".join([_START.pack(b"EF", VERSION, x.itemsize, checksum), *parts])


def _spec(c: Compressor) -> bytes:
    """The spec of c, which must be short and name c to whoever decodes."""
    spec = str(c)
    try:
        named = compressor(spec) == c
    except ValueError:
        named = False
    if not named or not spec.isascii() or len(spec) > LONGEST_SPEC:
        raise ValueError(
            f"no spec of at most {LONGEST_SPEC} ASCII characters names this compressor (it says "
            f"{spec!r}): give its class, and that of every compressor inside, a spec and few fields"
        )
    return spec.encode("ascii")


def decode(data: Any, *, out: Array | None = None, max_elements: int = 2**28) -> Array:
    """C(x) from its message, bit for bit what ``c.apply`` gave; shape (d,).

    ``out``, where given, must be a contiguous vector of the message's dtype and length, and is
    returned. Raises ValueError for anything that is not a whole, undamaged message, or that claims
    more than ``max_elements`` entries; never allocates more than a valid message needs.
    """
    c, d, dtype, payload = _open(memoryview(data).cast("B"))
    if d > max_elements:
        raise ValueError(f"the message claims {d} entries: allow that with max_elements={d}")
    fields = Reader(payload, dtype)
    try:
        message = c._read(fields, (d,)) if d else None
    except OverflowError as error:
        raise ValueError(f"the message is not one of {c}: {error}") from None
    fields.end()
    if out is None:
        out = np.empty(d, dtype)
    elif out.shape != (d,) or out.dtype != dtype or not out.flags.c_contiguous:
        raise ValueError(
            f"out is {out.dtype}{out.shape}, but the message needs a contiguous {dtype}({d},)"
        )
    if d:
        c._fill(out, message)
    return out


def _open(data: memoryview) -> tuple[Compressor, int, np.dtype, memoryview]:
    """Check the header; return the compressor, d, the dtype and the payload."""
    if len(data) < _START.size + 2:
        raise ValueError(f"{len(data)} bytes are too few for a message")
    magic, version, item, checksum = _START.unpack_from(data)
    if magic != b"EF":
        raise ValueError(f"this is not a message of efsgd: it starts with {magic!r}, not b'EF'")
    if not 1 <= version <= VERSION:
        raise ValueError(f"the message has version {version}, this efsgd reads up to {VERSION}")
    if item not in _DTYPES:
        raise ValueError(f"the message has numbers of {item} bytes, not 4 or 8")
    body = data[_START.size :]
    if _checksum(version, item, body) != checksum:
        raise ValueError("the message is damaged: its checksum does not match, send it again")
    end = 1 + body[0]
    try:
        c = compressor(bytes(body[1:end]).decode("ascii"))
    except (ValueError, OverflowError) as error:
        raise ValueError(f"the message names no compressor: {error}") from None
    d, payload = _read_varint(body[end:])
    return c, d, _DTYPES[item], payload


def _checksum(version: int, item: int, *parts: bytes | memoryview) -> int:
    checksum = zlib.crc32(bytes([version, item]))
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    return checksum


def _varint(value: int) -> bytes:
    digits = bytearray()
    while value >= 128:
        digits.append(value % 128 + 128)
        value //= 128
    return bytes([*digits, value])


def _read_varint(data: memoryview) -> tuple[int, memoryview]:
    value = 0
    for place, byte in enumerate(data[:9]):
        value += (byte & 127) << (7 * place)
        if byte < 128:
            return value, data[place + 1 :]
    raise ValueError("the message's dimension does not end")
