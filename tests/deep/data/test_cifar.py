"""CIFAR from a local server, and torchvision: downloads, damaged archives, failing imports.

Without this file a torn download could be trained on, or a dead server waited for endlessly.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import re
import socket
import subprocess
import sys
import tarfile
import textwrap
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from messages import one_line  # noqa: E402

from efsgd.deep.data import cifar as vision  # noqa: E402
from efsgd.deep.data.dataset import load  # noqa: E402

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
        for folder in ("train_list", "test_list"):
            self.patch(folder, [[file, sums[file]] for file, _ in getattr(self.kind, folder)])
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
    """Serves a folder and records the requests."""

    def __init__(self, folder: Path) -> None:
        self.requests: list[str] = []
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
        self.server.requests.append(self.command)

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


both_data_sets = pytest.mark.parametrize("cifar", ["cifar10", "cifar100"], indirect=True)


@both_data_sets
def test_cifar_is_downloaded_once(
    cifar: Cifar, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new" / "data"
    first = load(cifar.name, folder)
    assert server.requests
    server.stop()
    second = load(cifar.name, folder, download=False)
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
    assert {path.name for path in folder.iterdir()} == {cifar.kind.filename, cifar.kind.base_folder}


def test_the_archive_or_the_folder_alone_is_enough(
    cifar: Cifar, server: Server, tmp_path: Path
) -> None:
    archive = tmp_path / cifar.kind.filename
    archive.write_bytes((cifar.served / cifar.kind.filename).read_bytes())
    first = load("cifar10", tmp_path, download=False)
    archive.unlink()
    assert load("cifar10", str(tmp_path), download=False).digest == first.digest
    assert server.requests == []


def test_what_a_killed_download_left_goes_with_the_next_load(cifar: Cifar, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    load("cifar10", folder)
    before = sorted(folder.iterdir())
    for name in ("download", "unpack"):
        left = folder / f".{name}.012345.efsgd"
        (left / "sub").mkdir(parents=True)
        (left / "sub" / "half").write_bytes(b"half")
    load("cifar10", folder, download=False)
    assert sorted(folder.iterdir()) == before


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
    folder = tmp_path / "home" / ".cache" / "efsgd"
    if variable:
        folder = tmp_path / "elsewhere"
        monkeypatch.setenv("EFSGD_DATA", str(folder))
    load("cifar10")
    assert (folder / cifar.kind.filename).exists()


REMEDIES = (
    "let it be downloaded once, put cifar-10-python.tar.gz or its folder cifar-10-batches-py "
    "there, or give a .npz file with x_train, y_train, x_test and y_test"
)


def test_no_data_and_no_network(cifar: Cifar, server: Server, tmp_path: Path) -> None:
    server.stop()
    with pytest.raises(FileNotFoundError) as error:
        load("cifar10", tmp_path / "data")
    message = one_line(error)
    assert message.startswith(f"there is no cifar10 in {tmp_path / 'data'}, and {cifar.kind.url}")
    assert message.endswith(f"refused>): {REMEDIES}")
    assert [*(tmp_path / "data").iterdir()] == []


def test_no_such_file_on_the_server(cifar: Cifar, tmp_path: Path) -> None:
    (cifar.served / cifar.kind.filename).unlink()
    with pytest.raises(FileNotFoundError, match=r"cannot be downloaded \(HTTP Error 404"):
        load("cifar10", tmp_path)


def test_a_server_that_says_nothing(
    cifar: Cifar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vision, "TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        cifar.patch("url", f"http://127.0.0.1:{silent.getsockname()[1]}/cifar")
        with pytest.raises(FileNotFoundError, match="timed out"):
            load("cifar10", tmp_path)
    assert socket.getdefaulttimeout() is None


def test_downloading_switched_off(cifar: Cifar, server: Server, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as error:
        load("cifar10", tmp_path / "data", download=False)
    missing = f"there is no cifar10 in {tmp_path / 'data'}, and downloading is switched off"
    assert one_line(error) == f"{missing}: {REMEDIES}"
    assert not (tmp_path / "data").exists()
    folder = tmp_path / "data" / cifar.kind.base_folder
    folder.mkdir(parents=True)
    with pytest.raises(
        FileNotFoundError, match=f"^{re.escape(str(folder))} is incomplete, and downloading is"
    ):
        load("cifar10", tmp_path / "data", download=False)
    assert server.requests == []


@both_data_sets
def test_a_download_with_a_wrong_checksum_is_not_kept(cifar: Cifar, tmp_path: Path) -> None:
    cifar.publish(cifar.archive(), checksum=md5(b"other"))
    with pytest.raises(ValueError, match="with a wrong checksum: try again, put cifar-10") as error:
        load(cifar.name, tmp_path / "data")
    assert cifar.kind.url in one_line(error)
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
    assert server.requests == []
    archive.unlink()
    assert len(load("cifar10", tmp_path).x_train) == 10


@pytest.mark.parametrize("damage", ["short", "garbled", "no tar", "empty"])
def test_a_damaged_archive_is_named(cifar: Cifar, tmp_path: Path, damage: str) -> None:
    """With the checksum of the damaged file, so that only unpacking it finds out."""
    complete = cifar.archive()
    middle = len(complete) // 2
    content = {
        "short": complete[:middle],
        "garbled": complete[:middle] + bytes(100) + complete[middle + 100 :],
        "no tar": b"<html>Please log in</html>",
        "empty": b"",
    }[damage]
    cifar.publish(content)
    with pytest.raises(ValueError, match="delete it, and it is fetched anew") as error:
        load("cifar10", tmp_path)
    assert one_line(error).startswith(str(tmp_path / cifar.kind.filename))


@pytest.mark.parametrize("unpacking", [False, True])
def test_a_folder_that_cannot_be_used_is_named(
    cifar: Cifar, tmp_path: Path, unpacking: bool
) -> None:
    """A file lies where a folder is to be made: for all, or for what the archive holds."""
    folder = tmp_path / "data"
    blocked = folder / cifar.kind.base_folder if unpacking else folder
    blocked.parent.mkdir(exist_ok=True)
    blocked.write_text("")
    with pytest.raises(OSError, match=r"make room there or choose another folder$") as error:
        load("cifar10", folder)
    reason = f"(File exists: {blocked})"
    assert one_line(error).startswith(f"cifar10 cannot be read from or put into {folder} {reason}")


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


# torchvision, and how its import may fail


def test_torchvision_is_there() -> None:
    first = vision.torchvision()
    assert issubclass(first.datasets.CIFAR100, first.datasets.CIFAR10)
    assert vision.torchvision() is first


def test_torchvision_for_another_torch(tmp_path: Path) -> None:
    """A stand-in that describes the two operators as torchvision does, with nothing behind them."""
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("from torchvision import kernels\nready = True\n")
    registration = "@torch.library.register_fake('torchvision::{}')\ndef f(a, b, c): return a\n"
    (package / "kernels.py").write_text(
        "import warnings\nimport torch\nwarnings.warn('no image extension')\n"
        + registration.format("nms")
        + registration.format("qnms")
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


def fail_import(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def import_fails() -> None:
        raise error

    monkeypatch.setattr(vision, "_imported", import_fails)


def test_torchvision_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fail_import(monkeypatch, ModuleNotFoundError("No module named it", name="torchvision"))
    with pytest.raises(ModuleNotFoundError, match=r'pip install "efsgd\[deep\]"$') as error:
        load("cifar10", tmp_path)
    one_line(error)


@pytest.mark.parametrize(
    "error", [RuntimeError("built for another CUDA"), ModuleNotFoundError("PIL", name="PIL")]
)
def test_other_errors_of_torchvision_pass(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    fail_import(monkeypatch, error)
    with pytest.raises(type(error)) as passed:
        vision.torchvision()
    assert passed.value is error
