"""Image data sets as arrays: CIFAR-10, CIFAR-100, any ``.npz`` file, or a synthetic stand-in."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from functools import cached_property
from math import sqrt
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from efsgd.archives import Damaged, open_regular, read_arrays, reason
from efsgd.arrays import Array
from efsgd.deep.data import cifar

__all__ = ["Dataset", "Moments", "load"]

BY_NAME = (*cifar.CIFAR, "standin")
ARRAYS = ("x_train", "y_train", "x_test", "y_test")
MOST_CLASSES = 2**16  # more is a mistake in the labels; the last layer would fill the memory
BLOCK = 1024  # images that are summed at once, in integers


class Moments(NamedTuple):
    """Mean and standard deviation of each channel, of pixels in [0, 1]."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Colour images of 32x32 pixels and their labels.

    Raises ValueError with the name of an array that has the wrong shape or dtype, is empty, or
    holds a label outside 0..classes-1.
    """

    name: str  # "cifar10", "cifar100", "standin", or the stem of a file and its digest
    x_train: Array  # (N, 32, 32, 3) uint8
    y_train: Array  # (N,) int64
    x_test: Array
    y_test: Array
    classes: int

    def __post_init__(self) -> None:
        for part in ("train", "test"):
            x, y = getattr(self, f"x_{part}"), getattr(self, f"y_{part}")
            _check(f"x_{part}", x, np.dtype(np.uint8), (32, 32, 3))
            _check(f"y_{part}", y, np.dtype(np.int64), ())
            if len(x) != len(y):
                counts = f"x_{part} has {len(x)} images but y_{part} {len(y)} labels"
                raise ValueError(f"{counts}: give each image its label")
            if not (y.min() >= 0 and y.max() < self.classes):
                labels = f"y_{part} holds labels from {y.min()} to {y.max()}"
                raise ValueError(f"{labels}: number the {self.classes} classes from 0")

    @cached_property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, of the four arrays and the number of classes."""
        digest = hashlib.sha256(f"{self.classes}".encode())
        for name in ARRAYS:
            array = np.ascontiguousarray(getattr(self, name))
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            digest.update(array.data)
        return digest.hexdigest()

    @cached_property
    def moments(self) -> Moments:
        """Those of the training set, from exact sums; std is 1 for a constant channel."""
        n = self.x_train[..., 0].size
        sums, squares = np.zeros(3, np.int64), np.zeros(3, np.int64)
        for start in range(0, len(self.x_train), BLOCK):
            pixels = self.x_train[start : start + BLOCK].reshape(-1, 32 * 32 * 3).astype(np.int64)
            sums += pixels.sum(0).reshape(-1, 3).sum(0)
            squares += np.einsum("ij,ij->j", pixels, pixels).reshape(-1, 3).sum(0)
        channels = list(zip(map(int, sums), map(int, squares), strict=True))  # exact
        mean = [first / (255 * n) for first, _ in channels]
        std = [sqrt(n * second - first**2) / (255 * n) or 1.0 for first, second in channels]
        return Moments((mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))

    def subset(self, train: int | None = None, test: int | None = None) -> Dataset:
        """The first ``train`` and the first ``test`` images; None keeps all."""
        arrays: dict[str, Any] = {}
        for part, count in (("train", train), ("test", test)):
            x, y = getattr(self, f"x_{part}"), getattr(self, f"y_{part}")
            if count is None:
                continue
            if not 1 <= count <= len(x):
                available = f"{self.name} has {len(x)} {part} images"
                raise ValueError(
                    f"{available}: a subset of {count} needs a count from 1 to {len(x)}"
                )
            arrays |= {f"x_{part}": x[:count], f"y_{part}": y[:count]}
        return replace(self, **arrays) if arrays else self  # which has its digest cached

    def validation_split(self, n: int) -> Dataset:
        """The last ``n`` training images as the test set, the others as the training set."""
        rest = len(self.x_train) - n
        if n < 1 or rest < 1:
            available = f"{self.name} has {len(self.x_train)} training images"
            raise ValueError(f"{available}: leave some beside a validation set of {n}, at least 1")
        return replace(
            self,
            x_train=self.x_train[:rest],
            y_train=self.y_train[:rest],
            x_test=self.x_train[rest:],
            y_test=self.y_train[rest:],
        )


def _check(name: str, array: Array, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    if array.dtype != dtype or array.ndim == 0 or array.shape[1:] != shape:
        required = f"{dtype} of shape ({', '.join(map(str, ('N', *shape)))}{'' if shape else ','})"
        actual = f"{array.dtype} of shape {array.shape}"
        raise ValueError(f"{name} is {actual}, not {required}: convert it first")
    if len(array) == 0:
        raise ValueError(f"{name} is empty: give at least one image and its label")


def load(what: str | Path, directory: str | Path | None = None, download: bool = True) -> Dataset:
    """The data set "cifar10", "cifar100" or "standin", or that of a file ``FILE.npz``.

    CIFAR is read from ``directory``, by default the environment variable EFSGD_DATA or
    ~/.cache/efsgd; where it is missing it is downloaded to it, unless ``download`` is false. A file
    holds x_train and x_test (N, 32, 32, 3) uint8, y_train and y_test (N,) integers from 0, and may
    hold an array ``classes`` with one entry for each class (else their number is the largest label
    plus 1).
    Raises FileNotFoundError where there is no data, OSError for a folder that cannot be read or
    written, ValueError for data that cannot be used.
    """
    if what in cifar.CIFAR:
        folder = directory or os.environ.get("EFSGD_DATA") or Path("~/.cache/efsgd")
        arrays, classes = cifar.cifar(str(what), _expanded(folder), download)
        return Dataset(str(what), **arrays, classes=classes)
    if what == "standin":
        return _standin()
    if Path(what).suffix == ".npz":
        return _from_file(_expanded(what))
    known = ", ".join(BY_NAME)
    raise ValueError(f"no data set is called {str(what)!r}: choose {known} or a file FILE.npz")


def _expanded(path: str | Path) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{path} names the home of a user who has none: write it out") from error


def _from_file(path: Path) -> Dataset:
    arrays = _arrays_of(path)
    missing = [name for name in ARRAYS if name not in arrays]
    if missing:
        raise ValueError(f"{path} holds no {', '.join(missing)}: save it with {', '.join(ARRAYS)}")
    names = arrays.pop("classes", None)
    if names is not None and names.ndim != 1:
        raise ValueError(
            f"{path}: classes has shape {names.shape}, not (classes,): name each class"
        )
    classes = 0 if names is None else len(names)
    for name in ("y_train", "y_test"):
        if arrays[name].dtype.kind in "iu" and arrays[name].size:
            if names is None:
                classes = max(classes, int(arrays[name].max()) + 1)
            arrays[name] = arrays[name].astype(np.int64)
    if names is None and classes > MOST_CLASSES:
        raise ValueError(f"{path} holds the label {classes - 1}: number the classes 0, 1, 2, ...")
    try:
        dataset = Dataset(path.stem, **arrays, classes=classes)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return replace(dataset, name=f"{path.stem}-{dataset.digest[:12]}")


def _arrays_of(path: Path) -> dict[str, Array]:
    """The members of the file that make up a data set."""
    try:
        with open_regular(path) as file:
            return read_arrays(file, (*ARRAYS, "classes"))
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"there is no file {path}: name one with {', '.join(ARRAYS)}, or load cifar10"
        ) from error
    except (OSError, Damaged) as error:
        raise ValueError(
            f"{path} is damaged or no .npz file ({reason(error)}): save it anew with numpy.savez"
        ) from error


def _standin(train: int = 2000, test: int = 500, seed: int = 0) -> Dataset:
    """Ten smooth patterns, shifted, plus noise; in integers, so that all machines make the same."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(-80, 81, (10, 4, 4, 3))  # a periodic grid, one point every 8 pixels
    pixel = np.arange(32)
    point, weight = pixel // 8, pixel % 8  # bilinear interpolation, in eighths
    column, row = weight[:, None], weight[:, None, None]
    wide = coarse[:, :, point] * (8 - column) + coarse[:, :, (point + 1) % 4] * column
    patterns = (wide[:, point] * (8 - row) + wide[:, (point + 1) % 4] * row) // 64 + 128
    n = train + test
    y = np.arange(n) % 10  # so that a subset holds every class
    down, right = ((pixel + rng.integers(-3, 4, (n, 1))) % 32 for _ in range(2))
    x = patterns.astype(np.int16)[y[:, None, None], down[:, :, None], right[:, None, :]]
    x = np.clip(x + rng.integers(-100, 101, x.shape, np.int16), 0, 255).astype(np.uint8)
    return Dataset("standin", x[:train], y[:train], x[train:], y[train:], 10)
