"""Reading files that may be damaged, forged or endless: .npz archives and compressed text.

No file is trusted. Only regular files are opened, since a pipe may be waited for without end. An
array is made of the bytes that are there, whatever its header says. What is compressed expands up
to a limit. A digest behind an archive covers all of its bytes; the checksums in a zip archive
leave out its directory, whose damage can make readers lose a member or skip its bytes.
"""

from __future__ import annotations

import hashlib
import math
import os
import stat
import zipfile
from collections.abc import Container, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import IO

import numpy as np

from efsgd.arrays import Array

EXPANDED = 2**30  # bytes to which every file may expand
RATIO = 100  # how many times its own size a larger file may expand to
BLOCK = 2**20  # bytes that are read at once
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # all that numpy.savez writes
MEMBERS = 10_000  # of an archive; each takes time, however small it is
LONGEST = 100  # characters of a reason: a message never repeats a file
SEAL = b"efsgd sha256 "  # the beginning of a comment that goes on with DIGITS of a digest
DIGITS = 64  # hexadecimal ones of SHA-256
LAST_RECORD = 22  # bytes, of a zip archive without a comment


class Damaged(ValueError):
    """A file is not what it should be; says why in a few words, without its path."""


def reason(error: BaseException) -> str:
    """The first line of an error, cut off where it is long, or its type where it says nothing."""
    if isinstance(error, MemoryError):
        return "it does not fit into memory"
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return shortened(text.strip().partition("\n")[0].strip(" .")) or type(error).__name__


def shortened(text: str) -> str:
    """A text out of a file as part of a message: cut off where it is long, without controls."""
    text = text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
    return "".join(c if c.isprintable() else "?" for c in text)


@contextmanager
def parsing() -> Iterator[None]:
    """Raise Damaged for whatever goes wrong inside: no parser promises a list of exceptions."""
    try:
        yield
    except Damaged:
        raise
    except Exception as error:
        raise Damaged(reason(error)) from error


def open_regular(path: str | Path) -> BufferedReader:
    """Open a file for reading; Damaged for a pipe, socket or device, OSError for no file."""
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # open refuses a folder
        raise Damaged("it is a pipe or a device, not a regular file")
    return open(path, "rb")


def read_arrays(file: IO[bytes], names: Container[str] | None = None) -> dict[str, Array]:
    """The arrays of an .npz file by name, all or those of ``names`` that it has.

    Raises Damaged where it is no archive, and where one of these arrays is not whole, holds Python
    objects, is larger than a file of this size may expand to, or is compressed as numpy.savez never
    does: zipfile expands bzip2 and LZMA without a limit on the memory.
    """
    arrays: dict[str, Array] = {}
    with parsing(), zipfile.ZipFile(file) as archive:
        left = expansion_limit(file)
        if len(archive.infolist()) > MEMBERS:
            raise Damaged(f"it holds {len(archive.infolist())} arrays, and {MEMBERS} is the limit")
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if names is None or name in names:
                if info.compress_type not in METHODS:
                    raise Damaged(f"{shortened(name)} is neither stored nor deflated, as by savez")
                with archive.open(info) as member:
                    arrays[name] = _read_array(member, left)
                left -= arrays[name].nbytes
    return arrays


def member_names(file: IO[bytes]) -> str:
    """The names of the arrays in an .npz file, as part of a message."""
    with parsing(), zipfile.ZipFile(file) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        return shortened(", ".join(names)) or "nothing"


def expansion_limit(file: IO[bytes]) -> int:
    """How many bytes a file may expand to."""
    return max(EXPANDED, RATIO * file.seek(0, os.SEEK_END))


def too_large() -> Damaged:
    """The error to raise for a file that expands beyond :func:`expansion_limit`."""
    limit = f"{EXPANDED / 2**30:g} GiB and {RATIO} times its size"
    return Damaged(f"it would expand to more than {limit}, the limit for compressed files")


class Expanding:
    """A file that decompresses another, which the limit holds for; only ``read``."""

    def __init__(self, file: IO[bytes], limit: int) -> None:
        self.file, self.left = file, limit

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes; raises Damaged."""
        with parsing():
            piece = self.file.read(size)
        self.left -= len(piece)
        if self.left < 0:
            raise too_large()
        return piece


def _read_array(member: IO[bytes], limit: int) -> Array:
    """The array of an .npy file, which is read to its end: only there is the checksum compared."""
    version = np.lib.format.read_magic(member)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(member)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(member)
    else:
        raise Damaged(f"it has the format {version} of arrays, not (1, 0) or (2, 0)")
    if dtype.hasobject:
        raise Damaged("it holds Python objects")
    if not dtype.itemsize or min(shape, default=0) < 0:
        raise Damaged("an array in it has entries of no size, or a negative number of them")
    size = dtype.itemsize * math.prod(shape)
    if size > limit:
        raise too_large()
    content = bytearray()
    while piece := member.read(min(BLOCK, size + 1 - len(content))):
        content += piece
    if len(content) != size:
        raise Damaged("an array is shorter or longer than its header says")
    return np.ndarray(shape, dtype, content, order="F" if fortran else "C")


# -- a digest of the whole file --------------------------------------------------------------------


def write_sealed(file: IO[bytes], archive: memoryview) -> None:
    """Write a zip archive without a comment, and the digest of all before it as its comment.

    Every reader of zip archives skips it.
    """
    sha = hashlib.sha256()
    length = (len(SEAL) + DIGITS).to_bytes(2, "little")
    for part in (archive[: -len(length)], length, SEAL):
        sha.update(part)
        file.write(part)
    file.write(sha.hexdigest().encode())


def is_sealed(content: bytes) -> bool:
    """Whether a digest ends a zip archive; false where nothing follows its last record.

    Raises Damaged where the digest is that of other content, and for any other end.
    """
    covered = memoryview(content)[:-DIGITS]
    if covered[-len(SEAL) :] == SEAL:
        if hashlib.sha256(covered).hexdigest().encode() != content[-DIGITS:]:
            raise Damaged("its digest is that of other content")
        return True
    last = content[-LAST_RECORD:]
    if not (last.startswith(b"PK\x05\x06") and last.endswith(b"\0\0")):  # the comment's length
        raise Damaged("its end is missing, or it is no zip archive")
    return False
