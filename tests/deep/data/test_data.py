"""Data sets: CIFAR from a server of our own, files of all kinds, and the stand-in."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import re
import socket
import subprocess
import sys
import tarfile
import textwrap
import threading
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from efsgd.deep import models  # noqa: E402
from efsgd.deep.data import cifar as vision  # noqa: E402
from efsgd.deep.data.dataset import ARRAYS, Dataset, load  # noqa: E402
from efsgd.deep.data.loader import Loader  # noqa: E402

FILES = {  # of torchvision's archives, and the images of each here
    "cifar10": {**{f"data_batch_{i}": 2 for i in range(1, 6)}, "test_batch": 3},
    "cifar100": {"train": 7, "test": 3},
}


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


class Cifar:
    """A tiny CIFAR behind a server on this machine, in place of torchvision's."""

    def __init__(self, name: str, served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.name, self.served = name, served
        self.kind: Any = getattr(vision.torchvision().datasets, vision.CIFAR[name])
        self.patch = partial(monkeypatch.setattr, self.kind)
        rng = np.random.default_rng(0)
        self.parts = {  # as the archives have them: each row a channel after the other
            file: (rng.integers(0, 256, (n, 3072), dtype=np.uint8), rng.integers(0, 10, n).tolist())
            for file, n in FILES[name].items()
        }
        self.publish(self.archive())

    def archive(self) -> bytes:
        labels = "labels" if self.name == "cifar10" else "fine_labels"
        names = [f"class {i}" for i in range(int(self.name.removeprefix("cifar")))]
        contents = {self.kind.meta["filename"]: pickle.dumps({self.kind.meta["key"]: names})}
        for file, (x, y) in self.parts.items():
            contents[file] = pickle.dumps({"data": x, labels: y})
        sums = {file: md5(content) for file, content in contents.items()}
        for place in ("train_list", "test_list"):
            self.patch(place, [[file, sums[file]] for file, _ in getattr(self.kind, place)])
        self.patch("meta", self.kind.meta | {"md5": sums[self.kind.meta["filename"]]})
        return packed({f"{self.kind.base_folder}/{file}": c for file, c in contents.items()})

    def publish(self, content: bytes, checksum: str | None = None) -> None:
        self.patch("tgz_md5", checksum or md5(content))
        (self.served / self.kind.filename).write_bytes(content)

    def expected(self, files: list[str]) -> tuple[np.ndarray, list[int]]:
        x = np.concatenate([self.parts[file][0] for file in files])
        labels = [label for file in files for label in self.parts[file][1]]
        return x.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels


def packed(contents: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


class Server(ThreadingHTTPServer):
    """Serves a folder and keeps what was asked for."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def stop(self) -> None:
        if self.thread.is_alive():
            self.shutdown()
            self.thread.join()
            self.server_close()


class Quiet(SimpleHTTPRequestHandler):
    server: Server

    def log_request(self, code: object = "-", size: object = "-") -> None:
        self.server.asked.append(self.command)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")  # where there is a proxy, it does not know this server
    folder = tmp_path / "served"
    folder.mkdir()
    started = Server(folder)
    yield started
    started.stop()


@pytest.fixture
def cifar(
    request: pytest.FixtureRequest,
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Cifar:
    published = Cifar(getattr(request, "param", "cifar10"), tmp_path / "served", monkeypatch)
    monkeypatch.setattr(
        published.kind, "url", f"http://127.0.0.1:{server.server_port}/{published.kind.filename}"
    )
    return published


both = pytest.mark.parametrize("cifar", ["cifar10", "cifar100"], indirect=True)


@both
def test_cifar_is_downloaded_once(
    cifar: Cifar, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "new" / "data"
    first = load(cifar.name, place)
    assert server.asked
    server.stop()
    second = load(cifar.name, place, download=False)
    assert capsys.readouterr().out == ""
    *train, test = FILES[cifar.name]
    for dataset in (first, second):
        assert dataset.name == cifar.name
        assert dataset.classes == int(cifar.name.removeprefix("cifar"))
        for part, files in (("train", train), ("test", [test])):
            x, y = cifar.expected(files)
            np.testing.assert_array_equal(getattr(dataset, f"x_{part}"), x)
            np.testing.assert_array_equal(getattr(dataset, f"y_{part}"), y)
    assert first.digest == second.digest
    assert {path.name for path in place.iterdir()} == {cifar.kind.filename, cifar.kind.base_folder}


def test_the_archive_or_the_folder_alone_is_enough(
    cifar: Cifar, server: Server, tmp_path: Path
) -> None:
    archive = tmp_path / cifar.kind.filename
    archive.write_bytes((cifar.served / cifar.kind.filename).read_bytes())
    first = load("cifar10", tmp_path, download=False)
    archive.unlink()
    assert load("cifar10", str(tmp_path), download=False).digest == first.digest
    assert server.asked == []


def test_a_damaged_folder_is_unpacked_anew(cifar: Cifar, tmp_path: Path) -> None:
    first = load("cifar10", tmp_path)
    (tmp_path / cifar.kind.base_folder / "data_batch_3").write_bytes(b"torn")
    assert load("cifar10", tmp_path, download=False).digest == first.digest


@pytest.mark.parametrize("variable", [True, False])
def test_the_default_directory(
    cifar: Cifar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: bool
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("EFSGD_DATA", raising=False)
    place = tmp_path / "home" / ".cache" / "efsgd"
    if variable:
        place = tmp_path / "elsewhere"
        monkeypatch.setenv("EFSGD_DATA", str(place))
    load("cifar10")
    assert (place / cifar.kind.filename).exists()


WAYS = (
    "let it be downloaded once, put cifar-10-python.tar.gz or its folder cifar-10-batches-py "
    "there, or give a .npz file with x_train, y_train, x_test and y_test"
)


def said(error: pytest.ExceptionInfo[Exception]) -> str:
    """The message, which is a single line."""
    message = str(error.value)
    assert message
    assert "\n" not in message
    return message


def test_no_data_and_no_network(cifar: Cifar, server: Server, tmp_path: Path) -> None:
    server.stop()
    with pytest.raises(FileNotFoundError) as error:
        load("cifar10", tmp_path / "data")
    message = said(error)
    assert message.startswith(f"there is no cifar10 in {tmp_path / 'data'}, and {cifar.kind.url}")
    assert message.endswith(f"refused>): {WAYS}")
    assert [*(tmp_path / "data").iterdir()] == []


def test_no_such_file_on_the_server(cifar: Cifar, tmp_path: Path) -> None:
    (cifar.served / cifar.kind.filename).unlink()
    with pytest.raises(FileNotFoundError, match=r"cannot be downloaded \(HTTP Error 404"):
        load("cifar10", tmp_path)


def test_a_server_that_says_nothing(
    cifar: Cifar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vision, "PATIENCE", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        cifar.patch("url", f"http://127.0.0.1:{silent.getsockname()[1]}/cifar")
        with pytest.raises(FileNotFoundError, match="timed out"):
            load("cifar10", tmp_path)
    assert socket.getdefaulttimeout() is None


def test_downloading_switched_off(cifar: Cifar, server: Server, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as error:
        load("cifar10", tmp_path / "data", download=False)
    found = f"there is no cifar10 in {tmp_path / 'data'}, and downloading is switched off"
    assert said(error) == f"{found}: {WAYS}"
    assert not (tmp_path / "data").exists()
    folder = tmp_path / "data" / cifar.kind.base_folder
    folder.mkdir(parents=True)
    with pytest.raises(
        FileNotFoundError, match=f"^{re.escape(str(folder))} is incomplete, and downloading is"
    ):
        load("cifar10", tmp_path / "data", download=False)
    assert server.asked == []


@both
def test_a_download_with_a_wrong_checksum_is_not_kept(cifar: Cifar, tmp_path: Path) -> None:
    cifar.publish(cifar.archive(), checksum=md5(b"other"))
    with pytest.raises(ValueError, match="with a wrong checksum: try again, put cifar-10") as error:
        load(cifar.name, tmp_path / "data")
    assert cifar.kind.url in said(error)
    assert [*(tmp_path / "data").iterdir()] == []


@pytest.mark.parametrize("download", [True, False])
def test_an_archive_with_a_wrong_checksum_is_named(
    cifar: Cifar, server: Server, tmp_path: Path, download: bool
) -> None:
    archive = tmp_path / cifar.kind.filename
    archive.write_bytes((cifar.served / cifar.kind.filename).read_bytes()[:-100])
    with pytest.raises(
        ValueError, match=f"^{re.escape(str(archive))} has a wrong checksum: delete it"
    ):
        load("cifar10", tmp_path, download)
    assert server.asked == []
    archive.unlink()
    assert len(load("cifar10", tmp_path).x_train) == 10


@pytest.mark.parametrize("damage", ["short", "garbled", "no tar", "empty"])
def test_a_damaged_archive_is_named(cifar: Cifar, tmp_path: Path, damage: str) -> None:
    """With the checksum of the damaged file, so that only unpacking it finds out."""
    whole = cifar.archive()
    middle = len(whole) // 2
    content = {
        "short": whole[:middle],
        "garbled": whole[:middle] + bytes(100) + whole[middle + 100 :],
        "no tar": b"<html>Please log in</html>",
        "empty": b"",
    }[damage]
    cifar.publish(content)
    with pytest.raises(ValueError, match="delete it, and it is fetched anew") as error:
        load("cifar10", tmp_path)
    assert said(error).startswith(str(tmp_path / cifar.kind.filename))


@pytest.mark.parametrize("unpacking", [False, True])
def test_a_folder_that_cannot_be_used_is_named(
    cifar: Cifar, tmp_path: Path, unpacking: bool
) -> None:
    """A file lies where a folder is to be made: for all, or for what the archive holds."""
    place = tmp_path / "data"
    blocked = place / cifar.kind.base_folder if unpacking else place
    blocked.parent.mkdir(exist_ok=True)
    blocked.write_text("")
    with pytest.raises(OSError, match=r"make room there or choose another folder$") as error:
        load("cifar10", place)
    reason = f"(File exists: {blocked})"
    assert said(error).startswith(f"cifar10 cannot be read from or put into {place} {reason}")


def test_what_the_network_says_is_put_on_one_line(
    cifar: Cifar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """urllib tells of an endless redirection in three lines."""

    def failing(*arguments: object) -> None:
        raise OSError("infinite loop.\nThe last message was:\nFound")

    monkeypatch.setattr(vision.torchvision().datasets.utils, "download_url", failing)
    with pytest.raises(FileNotFoundError, match=r"\(infinite loop\. The last message was: Found\)"):
        load("cifar10", tmp_path)


def test_an_archive_of_something_else_is_named(cifar: Cifar, tmp_path: Path) -> None:
    cifar.publish(packed({"readme": b"hello"}))
    with pytest.raises(ValueError, match=r"tar\.gz does not hold cifar10: delete it"):
        load("cifar10", tmp_path)


# torchvision, and ways in which it does not import


def test_torchvision_is_there() -> None:
    first = vision.torchvision()
    assert issubclass(first.datasets.CIFAR100, first.datasets.CIFAR10)
    assert vision.torchvision() is first


def test_torchvision_for_another_torch(tmp_path: Path) -> None:
    """A stand-in that describes the two operators as torchvision does, with nothing behind them."""
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("from torchvision import kernels\nready = True\n")
    described = "@torch.library.register_fake('torchvision::{}')\ndef f(a, b, c): return a\n"
    (package / "kernels.py").write_text(
        "import warnings\nimport torch\nwarnings.warn('no image extension')\n"
        + described.format("nms")
        + described.format("qnms")
    )
    program = f"""
        import sys, warnings
        from efsgd.deep.data import cifar as vision
        sys.path.insert(0, {str(tmp_path)!r})
        before = [*warnings.filters]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                import torchvision
            except RuntimeError as error:
                assert str(error) == vision.UNKNOWN, error
            else:
                raise AssertionError("the stand-in does not fail")
        assert vision.torchvision().ready
        import torchvision
        assert torchvision.ready and vision.torchvision() is torchvision
        assert warnings.filters == before
    """
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(program)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert ran.returncode == 0, ran.stderr


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def imported() -> None:
        raise error

    monkeypatch.setattr(vision, "_imported", imported)


def test_torchvision_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    failing(monkeypatch, ModuleNotFoundError("No module named it", name="torchvision"))
    with pytest.raises(ModuleNotFoundError, match=r'pip install "efsgd\[deep\]"$') as error:
        load("cifar10", tmp_path)
    said(error)


@pytest.mark.parametrize(
    "error", [RuntimeError("built for another CUDA"), ModuleNotFoundError("PIL", name="PIL")]
)
def test_other_errors_of_torchvision_pass(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    failing(monkeypatch, error)
    with pytest.raises(type(error)) as passed:
        vision.torchvision()
    assert passed.value is error


# Files


def arrays(train: int = 6, test: int = 4, **changed: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    given: dict[str, Any] = {
        "x_train": rng.integers(0, 256, (train, 32, 32, 3), dtype=np.uint8),
        "y_train": np.arange(train) % 3,
        "x_test": rng.integers(0, 256, (test, 32, 32, 3), dtype=np.uint8),
        "y_test": np.arange(test) % 3,
    }
    return {name: array for name, array in (given | changed).items() if array is not None}


def saved(folder: Path, **changed: Any) -> Path:
    path = folder / "mine.npz"
    np.savez(path, **arrays(**changed))
    return path


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("dtype", ["uint8", "int32", ">i8"])
def test_a_file(tmp_path: Path, dtype: str, compressed: bool) -> None:
    given = arrays()
    given |= {name: given[name].astype(dtype) for name in ("y_train", "y_test")}
    path = tmp_path / "mine.npz"
    (np.savez_compressed if compressed else np.savez)(path, **given, unrelated=np.array(3))
    dataset = load(path)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(dataset, name), given[name])
    assert dataset.y_train.dtype == dataset.y_test.dtype == np.dtype(np.int64)
    assert dataset.classes == 3
    assert dataset.name == f"mine-{dataset.digest[:12]}"
    assert load(str(path)).digest == dataset.digest


def test_the_largest_label_of_both_parts_counts_the_classes(tmp_path: Path) -> None:
    assert load(saved(tmp_path, y_test=np.array([0, 1, 7, 2]))).classes == 8


@pytest.mark.parametrize("names", [np.array(list("abcd")), np.arange(4)])
def test_a_file_may_name_its_classes(tmp_path: Path, names: np.ndarray) -> None:
    assert load(saved(tmp_path, classes=names)).classes == 4


NOT_UINT8 = r"x_train is float64 of shape \(6, 32, 32, 3\), not uint8 of shape \(N, 32, 32, 3\)"


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"x_test": None}, "holds no x_test: save it with x_train, y_train, x_test, y_test"),
        ({"y_train": None, "y_test": None}, "holds no y_train, y_test"),
        ({"x_train": np.zeros((6, 32, 32, 3))}, NOT_UINT8),
        (
            {"x_test": np.zeros((4, 3, 32, 32), np.uint8)},
            r"x_test is .*\(4, 3, 32, 32\), not uint8",
        ),
        ({"x_test": np.array(3, np.uint8)}, r"x_test is uint8 of shape \(\), not uint8 of"),
        ({"y_train": np.arange(6.0)}, r"y_train is float64 of shape \(6,\), not int64 of .*\(N,\)"),
        ({"y_test": np.zeros((4, 1), int)}, r"y_test is int64 of shape \(4, 1\), not int64 of"),
        ({"y_test": np.array(list("abcd"))}, "y_test is <U1 of shape"),
        ({"y_test": np.arange(3)}, "x_test has 4 images but y_test 3 labels"),
        ({"y_train": np.arange(-1, 5)}, "y_train holds labels from -1 to 4: number the 5 classes"),
        (
            {"y_train": np.array([0, 1, 2, 0, 1, 2**16])},
            "holds the label 65536: number the classes",
        ),
        ({"y_test": np.full(4, 2**63, np.uint64)}, "holds the label 9223372036854775808: number"),
        ({"classes": np.arange(2)}, "y_train holds labels from 0 to 2: number the 2 classes"),
        ({"classes": np.array(3)}, r"classes has shape \(\), not \(classes,\)"),
        ({"train": 0}, "x_train is empty"),
        ({"test": 0}, "x_test is empty"),
        ({"train": 0, "test": 0}, "x_train is empty"),
        ({"x_train": np.array([None])}, "damaged or no .npz file .Object arrays cannot be loaded"),
    ],
)
def test_a_file_that_cannot_be_used(
    tmp_path: Path, changed: dict[str, Any], complaint: str
) -> None:
    path = saved(tmp_path, **changed)
    with pytest.raises(ValueError, match=complaint) as error:
        load(path)
    assert said(error).startswith(str(path))


def test_a_file_is_not_allowed_to_run_code(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    saved(tmp_path, classes=np.array([Trap()], dtype=object))
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
        load(tmp_path / "mine.npz")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9, 0.999])
def test_a_torn_file(tmp_path: Path, kept: float) -> None:
    path = saved(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(
        ValueError, match=f"^{re.escape(str(path))} is damaged or no .npz file"
    ) as error:
        load(path)
    said(error)


@pytest.mark.parametrize("compressed", [True, False])
def test_a_file_with_a_changed_byte(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / "mine.npz"
    (np.savez_compressed if compressed else np.savez)(path, **arrays())
    content = bytearray(path.read_bytes())
    content[3000] ^= 1  # in the pixels of x_train, whose six images are 18 kB
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))} is damaged or no .npz file"):
        load(path)


def test_one_array_is_no_npz(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    with open(path, "wb") as file:
        np.save(file, np.arange(3))
    with pytest.raises(ValueError, match=r"no \.npz file \(File is not a zip file\): save"):
        load(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"^there is no file .*none.npz: name one with x_tr"
    ):
        load(tmp_path / "none.npz")


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, make: Any) -> None:
    """Nobody writes into the pipe: who opened it to read would wait for ever."""
    make(tmp_path / "mine.npz")
    with pytest.raises(
        ValueError, match=r"mine\.npz is damaged or no .npz file \(it is a folder, a"
    ):
        load(tmp_path / "mine.npz")


@pytest.mark.parametrize("what", ["~nobody-of-this-name/mine.npz", "cifar10"])
def test_a_home_that_is_not_known(what: str) -> None:
    with pytest.raises(
        ValueError, match=r"^~nobody-of-this-name.* names the home of a user"
    ) as info:
        load(what, "~nobody-of-this-name")
    said(info)


@pytest.mark.parametrize("what", ["cifar11", "CIFAR10", "images.npy", Path("cifar-10-batches-py")])
def test_an_unknown_name(what: str | Path) -> None:
    with pytest.raises(ValueError, match="choose cifar10, cifar100, standin or a file") as error:
        load(what)
    assert repr(str(what)) in said(error)


# The value


def test_the_digest_changes_with_every_array_and_with_nothing_else() -> None:
    given = arrays()
    dataset = Dataset("a", **given, classes=3)
    changed = [replace(dataset, classes=4)]
    for name in ARRAYS:
        other = given[name].copy()
        other.flat[-1] = (other.flat[-1] + 1) % 3
        changed.append(replace(dataset, **{name: other}))
    assert len({d.digest for d in (dataset, *changed)}) == 6
    assert replace(dataset, name="b").digest == dataset.digest
    fortran = {name: np.asfortranarray(array) for name, array in given.items()}
    assert Dataset("a", **fortran, classes=3).digest == dataset.digest


def test_moments_are_those_of_the_pixels_in_float64() -> None:
    dataset = load("standin")
    pixels = dataset.x_train.astype(np.float64) / 255
    # Sums of 2 million numbers of at most 1 by pairs: far below 1e-12.
    np.testing.assert_allclose(dataset.moments.mean, pixels.mean((0, 1, 2)), atol=1e-12)
    np.testing.assert_allclose(dataset.moments.std, pixels.std((0, 1, 2)), atol=1e-12)


def test_moments_by_hand() -> None:
    """Channel 0 is half 0 and half 255, channel 1 is always 51, channel 2 is 255 in one of 4."""
    x = np.zeros((4, 32, 32, 3), np.uint8)
    x[:2, ..., 0], x[..., 1], x[0, ..., 2] = 255, 51, 255
    dataset = Dataset("a", x, np.arange(4), x, np.arange(4), 4)
    assert dataset.moments.mean == (1 / 2, 1 / 5, 1 / 4)
    # Rounded to float64 before, in and after the root.
    np.testing.assert_allclose(dataset.moments.std, (1 / 2, 1.0, (3 / 16) ** 0.5), rtol=4e-16)


def test_the_normalised_training_set_has_mean_0_and_std_1() -> None:
    dataset = load("standin").subset(train=300)
    x_train, y_train = dataset.x_train, dataset.y_train
    whole = Loader(x_train, y_train, batch=300, augment=False, **dataset.moments._asdict())
    ((pixels, _),) = whole.epoch(0)
    # Each entry is off by its float32 roundings, 1e-6 at most (test_loader.py).
    np.testing.assert_allclose(pixels.double().mean((0, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(pixels.double().std((0, 2, 3), correction=0), 1, atol=2e-6)


def test_a_subset_is_the_first_images() -> None:
    whole = Dataset("a", **arrays(), classes=3)
    part = whole.subset(4, 1)
    for name in ("x_train", "y_train"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[:4])
    for name in ("x_test", "y_test"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[:1])
    assert (part.classes, part.name) == (3, "a")
    assert part.digest != whole.digest
    assert whole.subset().digest == whole.subset(6, 4).digest == whole.digest
    assert len(whole.subset(test=2).x_train) == 6


@pytest.mark.parametrize(
    ("counts", "complaint"),
    [
        ((7, 4), "a has 6 train images: a subset of 7 needs a count from 1 to 6"),
        ((6, 5), "a has 4 test images: a subset of 5 needs"),
        ((0, 1), "a subset of 0 needs"),
        ((-1, 1), "a subset of -1 needs"),
    ],
)
def test_a_subset_of_more_than_there_is(counts: tuple[int, int], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Dataset("a", **arrays(), classes=3).subset(*counts)


def test_a_validation_split_takes_the_last_training_images() -> None:
    whole = Dataset("a", **arrays(), classes=3)
    split = whole.validation_split(2)
    np.testing.assert_array_equal(split.x_train, whole.x_train[:4])
    np.testing.assert_array_equal(split.y_train, whole.y_train[:4])
    np.testing.assert_array_equal(split.x_test, whole.x_train[4:])
    np.testing.assert_array_equal(split.y_test, whole.y_train[4:])
    for n in (0, 6, -1):
        with pytest.raises(ValueError, match=f"validation set of {n}, at least 1"):
            whole.validation_split(n)


def test_a_data_set_is_frozen() -> None:
    dataset = Dataset("a", **arrays(), classes=3)
    with pytest.raises(FrozenInstanceError):
        dataset.classes = 4  # type: ignore[misc]


# The stand-in


def test_the_stand_in_is_the_same_every_time_and_balanced() -> None:
    dataset, again = load("standin"), load("standin")
    assert dataset.digest == again.digest
    assert (len(dataset.x_train), len(dataset.x_test), dataset.classes) == (2000, 500, 10)
    assert np.bincount(dataset.y_train).tolist() == [200] * 10
    assert np.bincount(dataset.y_test).tolist() == [50] * 10
    assert set(dataset.subset(10, 10).y_train) == set(range(10))
    assert not (dataset.x_train[:500] == dataset.x_test).all((1, 2, 3)).any()


def test_a_small_network_learns_the_stand_in() -> None:
    """Guessing is right one time in ten; two epochs of a narrow ResNet8 beat that three times."""
    dataset = load("standin").subset(train=1000)
    moments = dataset.moments._asdict()
    train = Loader(dataset.x_train, dataset.y_train, batch=20, **moments)
    test = Loader(dataset.x_test, dataset.y_test, batch=500, augment=False, **moments)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        network = models.resnet8(dataset.classes, width=8)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for t in range(2):
        for x, y in train.epoch(t):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(network(x), y).backward()
            optimiser.step()
    network.eval()
    ((x, y),) = test.epoch(0)
    with torch.no_grad():
        assert (network(x).argmax(1) == y).double().mean() > 0.3
