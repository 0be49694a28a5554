"""CIFAR-10 and CIFAR-100 through torchvision; no other module imports it.

The files and checksums are torchvision's, but an interrupted download leaves nothing half-written:
the archive is downloaded and unpacked in a temporary folder, and moved once its checksum is right.
"""

from __future__ import annotations

import gzip
import importlib
import os
import socket
import sys
import tarfile
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import torch

from efsgd.arrays import Array
from efsgd.temporary import clear, temporary_folder

__all__ = ["CIFAR", "cifar", "torchvision"]

CIFAR = {"cifar10": "CIFAR10", "cifar100": "CIFAR100"}  # our name -> torchvision's class
UNKNOWN = "operator torchvision::nms does not exist"  # what _declare remedies
SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
TIMEOUT = 30.0  # seconds without a byte from the server
_declared: list[torch.library.Library] = []  # referenced, as a schema is deleted with its Library


def torchvision() -> Any:
    """The module torchvision, even if it was built for another torch (see _declare).

    Raises ModuleNotFoundError with the remedy where it is not installed.
    """
    try:
        return _imported()
    except ModuleNotFoundError as error:
        if error.name != "torchvision":
            raise
        message = 'CIFAR needs torchvision, which is not installed: pip install "efsgd[deep]"'
        raise ModuleNotFoundError(message, name="torchvision") from error
    except RuntimeError as error:
        if UNKNOWN not in str(error):
            raise
    _declare()
    return _imported()


def _imported() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about its image extension, which CIFAR does not need
        return importlib.import_module("torchvision")


def _declare() -> None:
    """Declare the operators that torchvision describes while it is imported.

    A torchvision built for CUDA cannot load its operators beside a torch without CUDA, and its
    import then fails where it describes nms and qnms. Empty schemas of both let it finish, and its
    data sets need no more.
    """
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for operator in ("nms", "qnms"):
        library.define(operator + SCHEMA)  # type: ignore[no-untyped-call]
    _declared.append(library)
    for module in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[module]  # left by the import that failed


def cifar(name: str, directory: Path, download: bool) -> tuple[dict[str, Array], int]:
    """The arrays of "cifar10" or "cifar100", and the number of classes.

    They are read from ``directory``, unpacked or as torchvision's archive, or else downloaded to
    it. Raises FileNotFoundError where they are missing and cannot be downloaded, ValueError that
    names a damaged archive, OSError for a folder that cannot be used.
    """
    kind = getattr(torchvision().datasets, CIFAR[name])
    clear(directory)
    try:
        sets = _sets(name, kind, directory, download)
    except OSError as error:
        if error.strerror is None:  # raised here with a message of ours, not by the system
            raise
        path = directory if error.filename is None else error.filename
        raise OSError(
            f"{name} cannot be read from or put into {directory} ({error.strerror}: {path}): "
            "make room there or choose another folder"
        ) from error
    arrays: dict[str, Array] = {}
    for part, images in zip(("train", "test"), sets, strict=True):
        arrays[f"x_{part}"] = np.ascontiguousarray(images.data)
        arrays[f"y_{part}"] = np.asarray(images.targets, np.int64)
    return arrays, len(sets[0].classes)


def _sets(name: str, kind: Any, directory: Path, download: bool) -> list[Any]:
    """torchvision's training and test set, unpacked and downloaded first where necessary."""
    sets = _read(kind, directory)
    if sets is None:
        archive = directory / kind.filename
        if not archive.exists():
            _download(name, kind, directory, download)
        _unpack(kind, archive)
        sets = _read(kind, directory)
        if sets is None:
            raise ValueError(f"{archive} does not hold {name}: delete it, and it is fetched anew")
    return sets


def _read(kind: Any, directory: Path) -> list[Any] | None:
    """torchvision's training and test set; None if a file is missing or has a wrong checksum."""
    try:
        return [kind(directory, train=train) for train in (True, False)]
    except RuntimeError:
        return None


def _download(name: str, kind: Any, directory: Path, download: bool) -> None:
    """Download the archive to ``directory``, where it appears only once it is complete."""
    utils = torchvision().datasets.utils
    folder = directory / kind.base_folder
    missing = f"there is no {name} in {directory}"
    if folder.exists():
        missing = f"{folder} is incomplete"
    by_hand = (
        f"put {kind.filename} or its folder {kind.base_folder} there, "
        "or give a .npz file with x_train, y_train, x_test and y_test"
    )
    remedy = f"let it be downloaded once, {by_hand}"
    if not download:
        raise FileNotFoundError(f"{missing}, and downloading is switched off: {remedy}")
    directory.mkdir(parents=True, exist_ok=True)
    with temporary_folder(directory, "download") as temporary:
        try:
            with _timeout(), redirect_stdout(sys.stderr):
                utils.download_url(kind.url, temporary, kind.filename)
        except (OSError, RuntimeError, HTTPException) as error:
            reason = " ".join(str(error).split())
            failure = f"{missing}, and {kind.url} cannot be downloaded ({reason})"
            raise FileNotFoundError(f"{failure}: {remedy}") from error
        fetched = temporary / kind.filename
        if not utils.check_integrity(fetched, kind.tgz_md5):
            raise ValueError(f"{kind.url} sent a file with a wrong checksum: try again, {by_hand}")
        os.replace(fetched, directory / kind.filename)


@contextmanager
def _timeout() -> Iterator[None]:
    """Set a timeout for sockets, without which a silent server would be waited for endlessly."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT if before is None else before)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _unpack(kind: Any, archive: Path) -> None:
    """Unpack in a temporary folder and move file by file: others may be reading the target."""
    utils = torchvision().datasets.utils
    if not utils.check_integrity(archive, kind.tgz_md5):
        raise ValueError(f"{archive} has a wrong checksum: delete it, and it is fetched anew")
    with temporary_folder(archive.parent, "unpack") as temporary:
        try:
            with tarfile.open(archive, "r:gz") as tar:
                tar.extractall(temporary, filter="data")
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(
                f"{archive} is damaged ({error}): delete it, and it is fetched anew"
            ) from error
        folder = archive.parent / kind.base_folder
        folder.mkdir(exist_ok=True)
        for path in (temporary / kind.base_folder).glob("*"):
            os.replace(path, folder / path.name)
