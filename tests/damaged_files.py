"""Files that are damaged or forged, for the tests of everything that reads files."""

from __future__ import annotations

import io
import random
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from efsgd.archives import write_sealed

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
SMALL, LARGE = 75, 5000  # mutants of each reader: in every run, and in the slow tests
NUMBERS = (b"-1", b"99999999999999999999", b"1e999", b"True", b"(((", b"'|O'", b"L", b"\\x", b"nan")
mutant_counts = pytest.mark.parametrize(
    "count", [SMALL, pytest.param(LARGE, marks=pytest.mark.slow)]
)


def archive(arrays: dict[str, Any]) -> bytes:
    """An .npz file."""
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


def sealed(content: bytes) -> bytes:
    """An archive with its digest."""
    file = io.BytesIO()
    write_sealed(file, memoryview(content))
    return file.getvalue()


def with_flipped_bit(content: bytes, bit: int) -> bytes:
    """The content with one bit changed."""
    damaged = bytearray(content)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def mutants(content: bytes, count: int) -> Iterator[bytes]:
    """Damaged copies; of a zip archive, half have damaged members and checksums that are right."""
    rng = random.Random(0)
    for i in range(count):
        if content.startswith(b"PK") and i % 2:
            yield _with_damaged_members(content, rng)
        else:
            yield _damaged(content, rng)


def _with_damaged_members(content: bytes, rng: random.Random) -> bytes:
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            member = old.read(name)
            if rng.random() < 0.5:
                header = rng.choice((len(member), 128))  # an .npy file begins with as many bytes
                member = _damaged(member[:header], rng) + member[header:]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about a name that is there twice
                new.writestr(
                    rng.choice((name, name, name, "x.npy", "y")), member, rng.choice(METHODS)
                )
    return changed.getvalue() if rng.random() < 0.5 else _damaged(changed.getvalue(), rng)


def _damaged(content: bytes, rng: random.Random) -> bytes:
    """One to three of: a flipped bit, bytes cut, doubled, overwritten, a number replaced."""
    damaged = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        start = rng.randrange(len(damaged) + 1)
        end = min(start + rng.choice((1, 4, 40)), len(damaged))
        match rng.randrange(6):
            case 0 if start < end:
                damaged[start] ^= 1 << rng.randrange(8)
            case 1:
                del damaged[start:end]
            case 2:
                del damaged[start:]
            case 3:
                damaged[start:end] = rng.choice((b"\0", b"\xff")) * (end - start)
            case 4:
                damaged[start:start] = damaged[start:end]
            case _:
                damaged[start:end] = rng.choice(NUMBERS)
    return bytes(damaged)


def check_all_are_read_or_refused(
    read: Callable[[Path], Any], path: Path, contents: Iterator[bytes]
) -> None:
    """Every content is read, or refused in one short sentence that names the file."""
    refused = 0
    for content in contents:
        path.write_bytes(content)
        try:
            read(path)
        except ValueError as error:
            message = str(error)
            assert str(path) in message
            assert message.isprintable()
            assert len(message) < len(str(path)) + 400
            refused += 1
    assert refused, "nothing was damaged"
