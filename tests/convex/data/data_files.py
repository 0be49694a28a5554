"""What the tests of data files share: a LIBSVM text, its meaning, and files of any content."""

from __future__ import annotations

import bz2
import gzip
import lzma
from pathlib import Path
from typing import Any

import numpy as np

from efsgd.arrays import Array

TEXT = b"+1 1:0.5 3:2 # a comment\n\n# another 4:5\n-1\r\n-1 2:-1e-3\n1\t4:7"  # no last newline
X_OF_TEXT = np.array([[0.5, 0, 2, 0], [0, 0, 0, 0], [0, -1e-3, 0, 0], [0, 0, 0, 7]])
Y_OF_TEXT = [1, -1, -1, 1]
COMPRESSIONS = {"txt": bytes, "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


def dense(X: Any) -> Array:
    """X as an array."""
    array: Array = X.toarray() if hasattr(X, "toarray") else X
    return array


def written(path: Path, content: bytes) -> Path:
    """The path, with this content in its file."""
    path.write_bytes(content)
    return path


def saved(path: Path, **arrays: Any) -> Path:
    """The path, with these arrays in an .npz archive."""
    np.savez(path, **arrays)
    return path


def text_of(X: Any, y: Any) -> bytes:
    """The rows as LIBSVM text, zeros left out."""
    lines = []
    for label, row in zip(y, X, strict=True):
        words = [repr(float(label)), *(f"{j + 1}:{v!r}" for j, v in enumerate(row.tolist()) if v)]
        lines.append(" ".join(words))
    return "\n".join(lines).encode()
