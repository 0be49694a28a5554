"""Reading files that may be damaged: what that raises, and the reason in a few words."""

from __future__ import annotations

import struct
import zipfile
import zlib

import numpy as np

from efsgd.arrays import Array

# What zipfile, zlib and NumPy raise for files that are not what they should be.
DAMAGE = (
    EOFError,
    MemoryError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


def reason(error: BaseException) -> str:
    """The first line of an error without its full stop, or its type where it says nothing."""
    return str(error).partition("\n")[0].strip(" .") or type(error).__name__


def read_array(archive: zipfile.ZipFile, name: str) -> Array:
    """The array of one member of an .npz file; raises one of ``DAMAGE`` where it is not whole."""
    with archive.open(name) as member:
        array: Array = np.lib.format.read_array(member, allow_pickle=False)
        if member.read(1):  # reading to the end also compares the checksum
            raise ValueError(f"{name} is longer than its header says")
    return array
