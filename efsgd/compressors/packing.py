"""Bits in, bytes out: the fields that messages are made of.

A :class:`Writer` collects fields, a :class:`Reader` takes them back in the same order. Every read
first checks that the payload still holds as many bytes as the field needs, so that a hostile length
never leads to a large allocation. All numbers are little-endian; every field starts on a byte.
"""

from __future__ import annotations

from math import prod

import numpy as np

from efsgd.arrays import Array

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
        if not np.isfinite(values).all():
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
        """Read non-negative integers below 2^width, as int64."""
        count = prod(shape)
        rest = width % 8
        planes = [
            np.frombuffer(self.take(count), np.uint8).astype(np.int64) << shift
            for shift in range(0, width - 7, 8)
        ]
        if rest:
            planes.append(self._small_codes(count, rest) << (width - rest))
        return sum(planes, np.zeros(count, np.int64)).reshape(shape)

    def _small_codes(self, count: int, width: int) -> Array:
        """Read ``count`` integers of fewer than 8 bits each, eight of them to ``width`` bytes."""
        raw = np.frombuffer(self.take(-(-count * width // 8)), np.uint8)
        groups = -(-count // 8)
        words = np.zeros((groups, 8), np.uint8)
        filled = np.zeros(groups * width, np.uint8)
        filled[: raw.size] = raw
        words[:, :width] = filled.reshape(groups, width)
        shifts = np.arange(8, dtype=np.uint64) * np.uint64(width)
        split = (words.view("<u8") >> shifts) & np.uint64(2**width - 1)
        codes: Array = split.astype(np.int64).reshape(-1)
        padding = raw.size * 8 - count * width
        if codes[count:].any() or (padding and raw[-1] >> (8 - padding)):
            raise ValueError("the message has bits set in its padding")
        return codes[:count]

    def subset(self, lead: Shape, k: int, d: int) -> Array:
        """Read increasing positions below d, shape (*lead, k)."""
        if k * index_width(d) <= d:
            indices = self.codes((*lead, k), index_width(d))
            if indices.size and (indices.max() >= d or (np.diff(indices, axis=-1) <= 0).any()):
                raise ValueError(f"the message's indices do not increase strictly below {d}")
            return indices
        flags = self.bits((*lead, d))
        if (flags.sum(-1) != k).any():
            raise ValueError(f"the message does not mark {k} of {d} positions")
        return np.nonzero(flags)[-1].reshape(*lead, k)
