"""What killed writers leave in a folder, and how it goes without harm to writers that are alive.

Without this file a kill could leave a file or an unpacked archive for ever, or one command could
remove what another is writing.
"""

import errno
import os
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from efsgd import temporary
from efsgd.temporary import clear, replacing, temporary_folder

KILLED = """
import os, sys
from pathlib import Path
from efsgd.temporary import replacing, temporary_folder
folder = Path(sys.argv[1])
with replacing(folder / "a.npz") as file, temporary_folder(folder, "unpack") as unpacked:
    file.write(bytes(9999))
    (unpacked / "sub").mkdir()
    (unpacked / "sub" / "image").write_bytes(bytes(9999))
    os._exit(9)
"""


@pytest.fixture
def left(tmp_path):
    """A folder with what a killed writer left: a file and a folder."""
    folder = tmp_path / "left"
    folder.mkdir()
    assert subprocess.run([sys.executable, "-c", KILLED, folder]).returncode == 9
    assert len([*folder.iterdir()]) == 2
    return folder


def test_what_a_killed_writer_left_goes_with_the_next_start_or_write(left):
    others = {left / name for name in (".a.npz.mine", ".a.0123456.efsgd", "a.012345.efsgd")}
    for path in others:
        path.touch()
    clear(left, left / "nowhere")
    assert {*left.iterdir()} == others
    assert subprocess.run([sys.executable, "-c", KILLED, left]).returncode == 9
    with replacing(left / "b.npz") as file:
        file.write(b"b")
    assert {*left.iterdir()} == others | {left / "b.npz"}


def test_what_a_living_writer_has_begun_stays(tmp_path):
    with replacing(tmp_path / "a") as file, temporary_folder(tmp_path, "unpack") as unpacked:
        file.write(b"a")
        (unpacked / "image").touch()
        clear(tmp_path)
        with replacing(tmp_path / "a") as other:
            other.write(b"b")
        assert (unpacked / "image").exists()
    assert (tmp_path / "a").read_bytes() == b"a"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_file_that_is_cleared_before_it_is_locked_is_made_anew(tmp_path, monkeypatch):
    """Another process may come between the two; what it clears away is new and empty."""
    made = []

    def cleared_once(path, wait, lock=temporary.lock):
        made.append(path)
        if len(made) == 1:
            path.unlink()
        return lock(path, wait)

    monkeypatch.setattr(temporary, "lock", cleared_once)
    with replacing(tmp_path / "a") as file:
        file.write(b"a")
    assert len(set(made)) == 2
    assert (tmp_path / "a").read_bytes() == b"a"


@pytest.fixture(params=["no lock on this file system", "no lock on this system"])
def no_locks(request, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    if "file system" in request.param:
        monkeypatch.setattr(temporary.fcntl, "flock", fail)
    else:
        monkeypatch.setattr(temporary, "CAN_LOCK", False)


@pytest.mark.usefixtures("no_locks")
def test_age_decides_where_nothing_can_be_locked(left, monkeypatch):
    """By the clock of the files: that of this machine may be hours ahead."""
    monkeypatch.setattr(time, "time", lambda before=time.time: before() + 9000)
    clear(left)
    file, folder = sorted(left.iterdir())
    ages = {file: 3000, folder: 4000, folder / "sub": 4000, folder / "sub" / "image": 3000}
    for path, age in ages.items():
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    clear(left)
    assert {*left.iterdir()} == {file, folder}
    for path in (file, folder / "sub" / "image"):
        os.utime(path, (path.stat().st_mtime - 1000,) * 2)
    clear(left)
    assert [*left.iterdir()] == []
    with replacing(left / "b") as new, temporary_folder(left, "unpack"):
        new.write(b"b")
    assert [path.name for path in left.iterdir()] == ["b"]


def test_a_folder_goes_also_after_an_error(tmp_path):
    with suppress(KeyError), temporary_folder(tmp_path, "unpack") as unpacked:
        (unpacked / "image").touch()
        raise KeyError
    assert [*tmp_path.iterdir()] == []
