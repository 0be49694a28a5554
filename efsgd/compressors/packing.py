"""Bits in, bytes out: the fields that messages are made of.

A :class:`Writer` collects fields, a :class:`Reader` takes them back in the same order. Every read
first checks that the payload still holds as many bytes as the field needs, so that a hostile length
never leads to a large allocation, and gives back the smallest integers that hold the field: few
messages may take more memory than the vector that they stand for. All numbers are little-endian;
every field starts on a byte.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from efsgd.arrays import CHUNK, Array, all_finite, pieces

TRITS = 5  # in a byte: 3^5 = 243
_POWERS = 3 ** np.arange(TRITS, dtype=np.uint8)
Shape = tuple[int, ...]


def index_width(d: int) -> int:
    """Bits that tell d positions apart: ceil(log2 d), 0 for d <= 1."""
    return max(d - 1, 0).bit_length()


def subset_bits(k: int, d: int) -> int:
    """Bits of a k-subset of d positions: k indices or one bit a position, whichever is less."""
    return min(k * index_width(d), d)


def trit_bits(d: int) -> int:
    """Bits of d entries out of {-1, 0, 1}, five to a byte."""
    return 8 * -(-d // TRITS)


class Writer:
    """Collects the fields of one message whose numbers have the given dtype."""

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = dtype
        self.parts: list[bytes | memoryview] = []

    def floats(self, values: Array) -> None:
        """Write finite numbers of the message's dtype."""
        if not np.isfinite(values).all():
            raise OverflowError(
                f"the message of this vector does not fit {self.dtype}: scale it down"
            )
        little = np.ascontiguousarray(values, self.dtype.newbyteorder("<"))
        self.parts.append(little.reshape(-1).view(np.uint8).data)

    def bits(self, flags: Array) -> None:
        """Write one bit for each boolean."""
        self.parts.append(np.packbits(flags.reshape(-1), bitorder="little").data)

    def trits(self, codes: Array) -> None:
        """Write entries out of {0, 1, 2}."""
        padded = np.zeros((-(-codes.size // TRITS), TRITS), np.uint8)
        padded.reshape(-1)[: codes.size] = codes.reshape(-1)
        self.parts.append(np.asarray((padded * _POWERS).sum(-1, dtype=np.uint8)).data)

    def codes(self, codes: Array, width: int) -> None:
        """Write non-negative integers below 2^width: whole bytes first, then the rest of each."""
        flat = codes.reshape(-1)
        for shift in range(0, width - 7, 8):
            self.parts.append(((flat >> shift) & 0xFF).astype(np.uint8).data)
        rest = width % 8
        if rest:
            groups = np.zeros((-(-flat.size // 8), 8), np.uint64)
            groups.reshape(-1)[: flat.size] = flat >> (width - rest)
            groups <<= np.arange(8, dtype=np.uint64) * np.uint64(rest)
            words = np.bitwise_or.reduce(groups, axis=1).astype("<u8")
            packed = words.view(np.uint8).reshape(-1, 8)[:, :rest].tobytes()
            self.parts.append(packed[: -(-flat.size * rest // 8)])

    def subset(self, indices: Array, d: int) -> None:
        """Write increasing positions (..., k) below d."""
        k = indices.shape[-1]
        if k * index_width(d) <= d:
            self.codes(indices, index_width(d))
        else:
            flags = np.zeros((*indices.shape[:-1], d), bool)
            np.put_along_axis(flags, indices, True, axis=-1)
            self.bits(flags)


class Reader:
    """Takes back the fields of one message; raises ValueError where the bytes cannot be one."""

    def __init__(self, payload: memoryview, dtype: np.dtype) -> None:
        self.payload = payload
        self.dtype = dtype

    def take(self, count: int) -> memoryview:
        """Return the next ``count`` bytes."""
        if count > len(self.payload):
            raise ValueError(
                f"the message is truncated: {count} more bytes expected, {len(self.payload)} left"
            )
        taken, self.payload = self.payload[:count], self.payload[count:]
        return taken

    def end(self) -> None:
        """Refuse bytes that no field accounts for."""
        if len(self.payload):
            raise ValueError(f"the message has {len(self.payload)} bytes too many")

    def floats(self, shape: Shape) -> Array:
        """Read finite numbers of the message's dtype."""
        raw = self.take(prod(shape) * self.dtype.itemsize)
        values = np.frombuffer(raw, self.dtype.newbyteorder("<")).astype(self.dtype).reshape(shape)
        if not all_finite(values):
            raise ValueError("the message holds NaN or inf, which no compressor sends")
        return values

    def packed_bits(self, count: int) -> Array:
        """Read ``count`` bits and leave them packed; those beyond ``count`` must be 0."""
        raw = np.frombuffer(self.take(-(-count // 8)), np.uint8)
        if count % 8 and raw[-1] >> (count % 8):
            raise ValueError("the message has bits set in its padding")
        return raw

    def bits(self, shape: Shape) -> Array:
        """Read booleans."""
        count = prod(shape)
        packed = self.packed_bits(count)
        flags = np.unpackbits(packed, count=count, bitorder="little")
        return flags.view(bool).reshape(shape)

    def trits(self, shape: Shape) -> Array:
        """Read entries out of {0, 1, 2}."""
        count = prod(shape)
        raw = np.frombuffer(self.take(-(-count // TRITS)), np.uint8)
        if raw.size and raw.max() >= 3**TRITS:
            raise ValueError(f"the message holds the byte {raw.max()}, but five trits end at 242")
        codes = (raw[:, None] // _POWERS % np.uint8(3)).reshape(-1)
        if codes[count:].any():
            raise ValueError("the message has trits set in its padding")
        return codes[:count].reshape(shape)

    def codes(self, shape: Shape, width: int) -> Array:
        """Read non-negative integers below 2^width, in the least unsigned dtype; int64 at last."""
        count, rest = prod(shape), width % 8
        planes = [np.frombuffer(self.take(count), np.uint8) for _ in range(width // 8)]
        planes += [self._small_codes(count, rest)] if rest else []
        codes = np.zeros(count, _dtype(width))
        for place, plane in enumerate(planes):
            codes |= plane.astype(codes.dtype) << (8 * place)
        return codes.reshape(shape)

    def _small_codes(self, count: int, width: int) -> Array:
        """Read ``count`` integers of fewer than 8 bits each, eight of them to ``width`` bytes."""
        raw = np.frombuffer(self.take(-(-count * width // 8)), np.uint8)
        codes = np.empty(-(-count // 8) * 8, np.uint8)
        at_once = CHUNK // 8  # groups of eight codes
        for start in range(0, codes.size // 8, at_once):
            packed = raw[start * width : (start + at_once) * width]
            codes[8 * start : 8 * (start + at_once)] = _split(packed, width)
        padding = raw.size * 8 - count * width
        if codes[count:].any() or (padding and raw[-1] >> (8 - padding)):
            raise ValueError("the message has bits set in its padding")
        return codes[:count]

    def subset(self, lead: Shape, k: int, d: int) -> Array:
        """Read k positions below d: increasing indices (*lead, k), or a mask (*lead, d)."""
        if k * index_width(d) <= d:
            indices = self.codes((*lead, k), index_width(d))
            falls = indices[..., 1:] <= indices[..., :-1]
            if indices.size and (indices.max() >= d or falls.any()):
                raise ValueError(f"the message's indices do not increase strictly below {d}")
            return indices
        flags = self.bits((*lead, d))
        if (np.count_nonzero(flags, axis=-1) != k).any():
            raise ValueError(f"the message does not mark {k} of {d} positions")
        return flags


def place(out: Array, positions: Array, values: Array) -> None:
    """Fill ``out`` (..., d) with zeros, and ``values`` (..., k) at what ``subset`` has read."""
    if positions.dtype == bool:
        place_marked(out, positions, values.reshape(-1))
        return
    out[...] = 0
    for rows in pieces(positions.shape[:-1]):
        np.put_along_axis(out[rows], positions[rows], values[rows], axis=-1)


def place_marked(out: Array, mask: Array, values: Array) -> None:
    """Fill ``out`` with zeros, and where ``mask`` is set, of the same shape, with ``values``."""
    out[...] = 0
    if out.flags.c_contiguous:
        out, mask = out.reshape(-1), mask.reshape(-1)
    start = 0
    for piece in pieces(mask.shape):
        marked = np.nonzero(mask[piece])
        out[piece][marked] = values[start : start + marked[0].size]
        start += marked[0].size


def fill_trits(out: Array, size: Array, trits: Array) -> None:
    """Fill ``out`` (..., d) with 0, ``size`` or -``size`` (..., 1) where ``trits`` are 0, 1, 2."""
    size = size + np.zeros((), size.dtype)  # it may be -0.0, and 0 times that would be, too
    for piece in pieces(trits.shape):
        codes = trits[piece]
        out[piece] = (codes == 1).view(np.int8) - (codes == 2).view(np.int8)
        out[piece] *= size[piece[: trits.ndim - 1]]


def _dtype(width: int) -> np.dtype[Any]:
    """The integers that hold ``width`` bits."""
    return np.dtype("u1" if width <= 8 else "u2" if width <= 16 else "u4" if width <= 32 else "i8")


def _split(packed: Array, width: int) -> Array:
    """The integers of ``width`` < 8 bits in bytes, eight of them in ``width`` bytes."""
    groups = -(-packed.size // width)
    filled = np.zeros(groups * width, np.uint8)
    filled[: packed.size] = packed
    words = np.zeros((groups, 8), np.uint8)
    words[:, :width] = filled.reshape(groups, width)
    shifts = np.arange(8, dtype=np.uint64) * np.uint64(width)
    codes: Array = (words.view("<u8") >> shifts) & np.uint64(2**width - 1)
    return codes.astype(np.uint8).reshape(-1)
