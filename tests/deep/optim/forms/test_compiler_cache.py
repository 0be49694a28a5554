"""Compiled code is run, so it is kept where nobody else can write to.

Without this file another user of a machine could have code run, by making the folder that torch
would take first.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from optimisers import parameters, take_steps

from efsgd.deep import EFSGD
from efsgd.deep.optim.forms import compiled, triton_step
from efsgd.deep.optim.forms.compiler_cache import is_own, own_compiler_cache, own_triton_cache

pytestmark = pytest.mark.skipif(not hasattr(os, "getuid"), reason="no owners and modes")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home folder, in which nothing is kept yet, and the usual umask."""
    umask = os.umask(0o022)
    place = folder(tmp_path / "home", 0o755)
    monkeypatch.setenv("HOME", str(place))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for variable in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "TRITON_HOME"):
        monkeypatch.setenv(variable, "")  # so that what a test sets there is undone
        monkeypatch.delenv(variable)
    yield place
    os.umask(umask)


def folder(place: Path, mode: int) -> Path:
    place.mkdir()
    place.chmod(mode)
    return place


@pytest.mark.parametrize(
    ("mode", "own"), [(0o700, True), (0o755, True), (0o707, False), (0o1777, False)]
)
def test_a_folder_is_the_users_own_by_its_mode(tmp_path: Path, mode: int, own: bool) -> None:
    assert is_own(folder(tmp_path / "cache", mode)) == own


@pytest.mark.parametrize(("mode", "own"), [(0o755, True), (0o777, False), (0o1777, True)])
def test_the_way_to_it_counts(tmp_path: Path, mode: int, own: bool) -> None:
    """In a sticky folder, as the temporary one is, nobody can put another in its place."""
    above = folder(tmp_path / "shared", mode)
    assert is_own(folder(above / "cache", 0o700)) == own


def test_what_will_be_made_in_it_counts(tmp_path: Path) -> None:
    """Others who may enter a folder can change what is made there without a umask."""
    entered, closed = folder(tmp_path / "entered", 0o755), folder(tmp_path / "closed", 0o700)
    os.umask(0)
    assert not is_own(entered)
    assert is_own(closed)
    assert is_own(folder(entered / "closed", 0o700))
    assert os.umask(0o022) == 0  # as it was


def test_a_link_counts_by_where_it_leads(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(folder(tmp_path / "open", 0o777))
    assert not is_own(link)
    other = tmp_path / "other"
    other.symlink_to(folder(tmp_path / "closed", 0o700))
    assert is_own(other)


def test_the_folder_of_another_user_is_not_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = folder(tmp_path / "cache", 0o755)
    (tmp_path / "link").symlink_to(made)
    owner = made.stat().st_uid
    lstat = Path.lstat

    class Theirs:
        """The folder as if another user had made it."""

        def __init__(self, status: os.stat_result) -> None:
            self.st_uid, self.st_gid, self.st_mode = owner + 1, status.st_gid, status.st_mode

    def seen(place: Path) -> object:
        status = lstat(place)
        return Theirs(status) if place in (made, tmp_path / "link") else status

    monkeypatch.setattr(Path, "lstat", seen)
    assert not is_own(made)
    assert not is_own(tmp_path / "link")


@pytest.mark.parametrize(
    ("variable", "choose", "name"),
    [
        ("TORCHINDUCTOR_CACHE_DIR", own_compiler_cache, "torchinductor"),
        ("TRITON_CACHE_DIR", own_triton_cache, "triton"),
    ],
)
def test_an_open_folder_is_replaced_and_an_own_one_kept(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    variable: str,
    choose: object,
    name: str,
) -> None:
    assert callable(choose)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    kept = folder(tmp_path / "kept", 0o700)
    monkeypatch.setenv(variable, str(kept))
    choose()
    assert os.environ[variable] == str(kept)
    assert not caplog.records
    shared = folder(tmp_path / "shared", 0o777)
    monkeypatch.setenv(variable, str(shared))
    own = tmp_path / "caches" / "efsgd-compiled" / name
    choose()
    assert os.environ[variable] == str(own)
    assert own.stat().st_mode & 0o777 == 0o700
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("efsgd.deep", logging.WARNING)
    assert record.message == f"others can write to {shared}: EFSGD keeps compiled code in {own}"


def test_every_folder_that_is_made_is_closed_to_the_group(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.umask(0o002)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(folder(tmp_path / "shared", 0o777)))
    own_compiler_cache()
    own = home / ".cache" / "efsgd-compiled" / "torchinductor"
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(own)
    own_triton_cache()
    made = [place for place in home.rglob("*") if place.is_dir()]
    assert {own, own.parent, own.parent.parent, home / ".triton" / "cache"} <= {*made}
    assert {place.stat().st_mode & 0o777 for place in made} == {0o700}


def test_where_others_write_to_the_cache_folder_the_home_folder_serves(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder(home / ".cache", 0o777)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(folder(tmp_path / "shared", 0o777)))
    own_compiler_cache()
    own = home / ".efsgd-compiled" / "torchinductor"
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(own)
    assert is_own(own)


def test_with_a_gpu_the_default_of_triton_counts_too(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Triton's code for the device is loaded from there before torch sets another folder."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(folder(home / "own", 0o700)))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    own_compiler_cache()
    assert "TRITON_CACHE_DIR" not in os.environ
    (home / ".triton" / "cache").chmod(0o777)
    own_compiler_cache()
    own = home / ".cache" / "efsgd-compiled" / "triton"
    assert os.environ["TRITON_CACHE_DIR"] == str(own)


# A step that is compiled, and the paths below a folder that it reads, makes or names to a compiler.
WATCHED_STEP = """
import sys
watched = {"open": 0, "os.mkdir": 0, "os.scandir": 0, "ctypes.dlopen": 0, "subprocess.Popen": 1}
def watch(event, arguments):
    if event in watched and sys.argv[1] + "/" in str(arguments[watched[event]]):
        print(event, arguments[watched[event]])
sys.addaudithook(watch)
import torch
from efsgd.deep import EFSGD
x = torch.nn.Parameter(torch.ones(8))
x.grad = torch.ones(8)
optimizer = EFSGD([x], 0.1, fused=True)
optimizer.step()
print(optimizer.form)
"""


@pytest.mark.slow
@pytest.mark.parametrize("chosen", [False, True])
def test_a_compiled_step_uses_nothing_of_a_default_folder_that_others_can_write_to(
    tmp_path: Path, home: Path, chosen: bool
) -> None:
    """Neither with the folder that EFSGD takes instead, nor with one that the user has chosen."""
    if reason := compiled.compiler_missing(torch.device("cpu")):
        pytest.skip(reason)
    default = folder(folder(tmp_path / "temporary", 0o700) / "torchinductor_me", 0o777)
    variables = {"TMPDIR": str(default.parent), "USER": "me", "LOGNAME": "me"}
    variables["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # all in the process that is watched
    if chosen:
        variables["TORCHINDUCTOR_CACHE_DIR"] = str(folder(home / "chosen", 0o700))
    left = {k: v for k, v in os.environ.items() if k != "EFSGD_COMPILE"}
    command = [sys.executable, "-W", "ignore", "-c", WATCHED_STEP, str(default)]
    done = subprocess.run(
        command, env=left | variables, capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout.splitlines() == ["compiled"]
    assert not [*default.iterdir()]
    place = home / "chosen" if chosen else home / ".cache" / "efsgd-compiled" / "torchinductor"
    assert [*place.rglob("*.so")]


def test_no_header_is_compiled_in_advance(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would lie in torch's default folder; the fast part of the test above."""
    name, options = "cpp_cache_precompile_headers", torch._inductor.list_options()
    for measure in (False, True):
        assert compiled._options(measure).get(name, name not in options) is (name not in options)
    old = [option for option in options if option != name]  # torch 2.6 refuses what it lacks
    monkeypatch.setattr(torch._inductor, "list_options", lambda: old)
    assert {*compiled._options(False)} <= {*old}


@pytest.fixture
def no_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shared = folder(tmp_path / "shared", 0o777)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(shared))
    monkeypatch.setenv("TRITON_CACHE_DIR", str(shared))
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared))
    monkeypatch.setenv("HOME", str(shared))
    return shared


def test_without_an_own_folder_nothing_is_compiled(
    no_own_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("EFSGD_COMPILE", raising=False)
    monkeypatch.setattr(compiled, "WORTHWHILE", 1)
    monkeypatch.setattr(compiled, "compiler_missing", lambda device: None)
    xs = parameters([(13,)])
    optimizer = EFSGD(xs, 0.1)
    take_steps(optimizer, xs, 2)
    assert optimizer.form == "loop"
    (record,) = caplog.records
    assert f"others can write to {no_own_folder}, and to" in record.message
    assert "set TORCHINDUCTOR_CACHE_DIR to a folder of your own" in record.message


def test_without_an_own_folder_triton_is_refused(
    no_own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    triton_step.missing.cache_clear()
    reason = triton_step.missing("cuda")
    triton_step.missing.cache_clear()
    assert reason is not None
    assert "set TRITON_CACHE_DIR to a folder of your own" in reason
