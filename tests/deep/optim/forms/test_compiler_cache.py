"""Compiled code is run, so it is kept where nobody else can write to.

Without this file another user of a machine could have code run, by making the folder that torch
would take first.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
from optimisers import parameters, take_steps

from efsgd.deep import EFSGD
from efsgd.deep.optim.forms import compiled, triton_step
from efsgd.deep.optim.forms.compiler_cache import is_own, own_compiler_cache, own_triton_cache

pytestmark = pytest.mark.skipif(not hasattr(os, "getuid"), reason="no owners and modes")


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
    own = tmp_path / "caches" / "efsgd" / "compiled" / name
    choose()
    assert os.environ[variable] == str(own)
    assert own.stat().st_mode & 0o777 == 0o700
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("efsgd.deep", logging.WARNING)
    assert record.message == f"others can write to {shared}: EFSGD keeps compiled code in {own}"


@pytest.fixture
def no_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shared = folder(tmp_path / "shared", 0o777)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(shared))
    monkeypatch.setenv("TRITON_CACHE_DIR", str(shared))
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared))
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
    assert f"others can write to {no_own_folder} and to" in record.message
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
