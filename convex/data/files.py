"""Data of one's own: LIBSVM text (plain, .gz, .bz2, .xz) or .npz with X and y, split and scaled.

A :class:`DataFile` is a value: it names a file, its SHA-256 and what is done to it, so that a run
on it has a spec, and any process can load it. Sparse data stays sparse: it is scaled but never
centred.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from efsgd.archives import (
    Damaged,
    Expanding,
    expansion_limit,
    member_names,
    open_regular,
    read_arrays,
)
from efsgd.arrays import Array
from efsgd.convex.data import libsvm
from efsgd.convex.data.delimited import refuse_delimited
from efsgd.convex.data.preprocessing import (
    same_columns,
    smaller_sparse,
    standardised,
    with_ones,
)
from efsgd.convex.problems.least_squares import LeastSquares
from efsgd.convex.problems.linear_map import Matrix, is_sparse
from efsgd.convex.problems.linear_model import Samples
from efsgd.convex.problems.logistic import LogisticRegression

Loss = Literal["squares", "logistic"]

EXTREME = 1e20  # largest entry: beyond it or below 1/EXTREME squares overflow or underflow


@dataclass(frozen=True)
class DataFile:
    """A data file, its split and its preprocessing; :func:`data_file` makes one.

    ``test`` is the share of rows held out, chosen by ``seed`` and rounded to whole rows; with
    ``test_path`` all its rows are the test set instead. ``intercept`` appends a column of ones,
    penalised as the others. ``standardise`` divides each feature by its standard deviation over the
    training rows; features of dense data are centred first, and so are the targets y of dense data
    that have more than two values.
    """

    path: str
    sha256: str
    test: float = 0.2
    seed: int = 0
    standardise: bool = False
    intercept: bool = False
    test_path: str | None = None
    test_sha256: str | None = None

    def __post_init__(self) -> None:
        """Refuse a share that leaves nothing to train on."""
        if not 0 <= self.test < 1:
            raise ValueError(f"the test share must lie in [0, 1), not {self.test}: try 0.2")

    def load(self, *, classes: bool = False) -> Samples:
        """The rows, read anew; with ``classes`` y names the class of each row and is never centred.

        Raises ValueError where the file has changed or is malformed.
        """
        X, y = _unchanged(self.path, self.sha256)
        if self.test_path is None:
            train, test = split(len(y), self.test, self.seed)
            parts = [(X[train], y[train]), (X[test], y[test])][: 1 + bool(len(test))]
        else:
            parts = same_columns((X, y), _unchanged(self.test_path, str(self.test_sha256)))
        if self.standardise:
            parts = standardised(parts, centre_targets=not classes)
        if self.intercept:
            parts = [(with_ones(X), y) for X, y in parts]
        (X, y), *test_part = parts
        X_test, y_test = test_part[0] if test_part else (None, None)
        return Samples(X=X, y=y, X_test=X_test, y_test=y_test)


def data_file(path: str | Path, **options: Any) -> DataFile:
    """The file at ``path`` as a value; options are the fields of :class:`DataFile`.

    ``test`` may be the path of a test file. Raises OSError for no file.
    """
    test = options.pop("test", 0.2)
    if isinstance(test, str | Path):
        options |= {"test": 0.0, "test_path": str(test), "test_sha256": _sha256(test)}
    else:
        options["test"] = float(test)
    return DataFile(str(path), _sha256(path), **options)


def read(path: str | Path) -> tuple[Matrix, Array]:
    """X (n, d) and y (n,) of a file; X is CSR where that takes less memory than an array.

    Raises ValueError with one sentence that names the file, and the line where there is one;
    OSError for no file.
    """
    with _opened(path) as file:
        if not (magic := file.read(6)):
            raise ValueError(f"{path} is empty: name a file with data")
        file.seek(0)
        if magic.startswith(b"PK"):
            X, y = _read_npz(file, path)
        else:
            X, y = _read_text(file, magic, path)
            X = X if smaller_sparse(X.nnz, *X.shape) else X.toarray()
    stored: Any = X.data if is_sparse(X) else X
    for name, entries in (("X", stored), ("y", y)):
        largest = max(entries.max(initial=0.0), -entries.min(initial=0.0))
        if largest and not 1 / EXTREME <= largest <= EXTREME:
            raise ValueError(
                f"{path}: the largest entry of {name} is {largest:g}, too extreme to compute with: "
                f"rescale {name}"
            )
    return X, y


def split(n: int, share: float, seed: int) -> tuple[Array, Array]:
    """The rows 0, ..., n-1 for training and for testing, each in order.

    Raises ValueError where the share leaves no row for one of them.
    """
    n_test = int(share * n + 0.5)
    if share and not 0 < n_test < n:
        raise ValueError(
            f"a test share of {share:g} of {n} rows leaves {n - n_test} to train on and {n_test} "
            "to test: use another share, or 0"
        )
    order = np.random.default_rng(seed).permutation(n)
    return np.sort(order[n_test:]), np.sort(order[:n_test])


def two_classes(y: Array, where: str) -> Array:
    """The labels of y (n,) as -1.0, the smaller one, and +1.0.

    Raises ValueError, naming ``where`` they come from, if there are not exactly two.
    """
    classes = np.unique(y)
    if len(classes) != 2:
        labels = ", ".join(f"{c:.15g}" for c in classes[:4]) + ", ..." * (len(classes) > 4)
        raise ValueError(
            f"{where} has {len(classes)} different labels ({labels}), and logistic regression "
            "needs two classes: keep two of them or use least squares"
        )
    return np.where(y == classes[1], 1.0, -1.0)


@lru_cache(maxsize=1)
def loaded(source: DataFile, *, classes: bool = False) -> Samples:
    """``source.load(classes=classes)``; the last one is cached."""
    return source.load(classes=classes)


@lru_cache(maxsize=1)
def problem(source: DataFile, loss: Loss, l2: float) -> LeastSquares | LogisticRegression:
    """The problem on a file; the last one is cached, with its prepared matrices and optimum."""
    rows = loaded(source, classes=loss == "logistic")
    if loss == "squares":
        return LeastSquares(rows.X, rows.y, rows.X_test, rows.y_test)
    y = rows.y if rows.y_test is None else np.concatenate((rows.y, rows.y_test))
    paths = source.path + (f" with {source.test_path}" if source.test_path else "")
    labels = two_classes(y, paths)
    train = labels[: len(rows.y)]
    if len(np.unique(train)) < 2:
        raise ValueError(
            f"{source.path}: all {len(train)} training rows have the label {rows.y[0]:.15g}: "
            "train on both, by another seed or test share"
        )
    test = None if rows.y_test is None else labels[len(rows.y) :]
    return LogisticRegression(rows.X, train, rows.X_test, test, l2=l2)


def _sha256(path: str | Path) -> str:
    """The hexadecimal digest of a file."""
    with _opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _opened(path: str | Path) -> BufferedReader:
    """The file, open for reading; ValueError for a pipe, which cannot be read twice."""
    try:
        return open_regular(path)
    except Damaged as error:
        raise ValueError(f"{path} cannot be read ({error}): save it in a file first") from error


def _unchanged(path: str, sha256: str) -> tuple[Matrix, Array]:
    """:func:`read`; ValueError where the file has another digest."""
    if _sha256(path) != sha256:
        raise ValueError(f"{path} has changed since it was first read: start again")
    return read(path)


def _read_text(file: IO[bytes], magic: bytes, path: str | Path) -> tuple[Any, Array]:
    """X and y of LIBSVM text, decompressed if ``magic``, its first bytes, are those of a format."""
    import bz2
    import gzip
    import lzma

    openers = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
    opener: Any = next((o for start, o in openers.items() if magic.startswith(start)), None)
    if opener is None:
        refuse_delimited(file, path)
        return libsvm.parse(file, str(path))
    limit = expansion_limit(file)
    file.seek(0)
    try:
        with opener(file) as text:
            refuse_delimited(text, path)
            return libsvm.parse(Expanding(text, limit), str(path))
    except Damaged as error:
        raise ValueError(f"{path} is truncated or damaged ({error}): fetch it again") from error


def _read_npz(file: IO[bytes], path: str | Path) -> tuple[Matrix, Array]:
    """X and y of an .npz archive, in float64."""
    try:
        arrays = read_arrays(file, ("X", "y"))
        names = member_names(file)
    except Damaged as error:
        raise ValueError(
            f"{path} is damaged or holds no numbers ({error}): save it with np.savez(path, X=X, "
            "y=y), and sparse data as LIBSVM text"
        ) from error
    if len(arrays) < 2:
        raise ValueError(
            f"{path} holds {names}: save it with np.savez(path, X=X, y=y), and sparse data as "
            "LIBSVM text"
        )
    X, y = arrays["X"], arrays["y"]
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    try:
        Samples(X=X, y=y)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if not X.shape[1]:
        raise ValueError(f"{path}: X has no columns: give it at least one feature")
    with np.errstate(over="ignore"):  # of long doubles, which are then refused as too large
        return X.astype(np.float64), y.astype(np.float64)
