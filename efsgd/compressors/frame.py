"""The header of a message: magic, version, dtype, checksum, spec and dimension.

A message is ``b"EF"``, a version, the dtype (4 or 8), a CRC-32 of all that follows and precedes it,
the spec of the compressor (length and ASCII text), d (LEB128), then the compressor's fields.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

VERSION = 1
HEADER = 128  # bytes that header and padding never exceed
LONGEST_SPEC = 96  # characters; it bounds how deep compressors can be nested
_START = struct.Struct("<2sBBI")  # magic, version, item size, checksum
_DTYPES: dict[int, np.dtype] = {4: np.dtype(np.float32), 8: np.dtype(np.float64)}


class Frame(NamedTuple):
    """A message whose checksum was right, not yet read beyond its spec."""

    spec: str
    dtype: np.dtype
    body: memoryview  # d, then the compressor's fields

    def dimension_and_fields(self) -> tuple[int, memoryview]:
        """The dimension d, and the fields of the compressor; ValueError where d does not end."""
        return _read_varint(self.body)


def pack(spec: bytes, d: int, dtype: np.dtype, parts: Sequence[bytes | memoryview]) -> bytes:
    """The message of a compressor's spec, the dimension d and its fields ``parts``."""
    parts = [bytes([len(spec)]) + spec + _varint(d), *parts]
    checksum = _checksum(VERSION, dtype.itemsize, *parts)
    return b"".join([_START.pack(b"EF", VERSION, dtype.itemsize, checksum), *parts])


def unpack(data: memoryview) -> Frame:
    """The frame of a message; ValueError where it is none, of a later version, or damaged."""
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
        spec = bytes(body[1:end]).decode("ascii")
    except UnicodeDecodeError as error:
        raise ValueError(f"the message names no compressor: {error}") from None
    if len(spec) > LONGEST_SPEC:  # no encoder writes one, and each wrapper named in it takes time
        raise ValueError(f"the message's spec is longer than {LONGEST_SPEC} characters")
    return Frame(spec, _DTYPES[item], body[end:])


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
