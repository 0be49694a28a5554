"""Streams that are closed or full, and the exit code of each way to end.

Without this file a full log could stop hours of training, and a failure that is no failed claim
could end with the exit code of one.
"""

import errno
import io
import os
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner
from project import python_path

from efsgd.figures import entry
from efsgd.figures.cli import Commands

posix = pytest.mark.skipif(os.name != "posix", reason="/dev/full")
LIST = "from efsgd.figures import cli; cli.main(['list'])"
COMPUTING = """
import contextlib, os, sys
from efsgd.figures import cli
from efsgd.figures.processes import pool
from efsgd.figures.cifar import progress

@cli.main.command()
def compute():
    pool.PATIENCE = -1
    sys.stderr.isatty = lambda: True  # so there is a bar
    with pool.progress(2) as tick:
        tick(1)
        tick(1)
    progress._line(progress.Progress(Entry(), epoch=1))
    with open("result", "w") as file:
        file.write(f"{file.fileno()}")
        file.flush()
        for number in (1, 2):
            with contextlib.suppress(OSError):
                os.write(number, b"a library prints")
    sys.exit(int(sys.argv[1]))

class Entry:
    name = "a run"
    training = type("Training", (), {"epochs": 9})

cli.main(["compute"])
"""


def closed_pipe():
    read, write = os.pipe()
    os.close(read)
    return write


def full():
    return os.open("/dev/full", os.O_WRONLY)


def run(
    folder,
    code,
    *arguments,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    closed=(),
    **environment,
):
    def close():
        for number in closed:
            os.close(number)

    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": python_path(__file__)} | environment,
        stdout=stdout() if callable(stdout) else stdout,
        stderr=stderr() if callable(stderr) else stderr,
        preexec_fn=close if closed else None,
        text=True,
    )


@posix
@pytest.mark.parametrize(
    ("stdout", "code", "words"),
    [
        (closed_pipe, 141, ""),
        (full, 2, "Error: cannot print (No space left on device): print to another place\n"),
    ],
)
@pytest.mark.parametrize("unbuffered", ["", "1"])  # else Python writes the rest last, and exits 120
def test_what_is_printed_may_find_no_reader_and_no_room(tmp_path, stdout, code, words, unbuffered):
    done = run(tmp_path, LIST, stdout=stdout, PYTHONUNBUFFERED=unbuffered)
    assert (done.returncode, done.stderr) == (code, words)


@posix
@pytest.mark.parametrize(
    ("streams", "code"),
    [
        ({"stderr": full}, 0),
        ({"stderr": closed_pipe}, 1),
        ({"closed": (2,)}, 0),
        ({"closed": (0, 1, 2)}, 1),
    ],
)
def test_progress_is_never_a_reason_to_fail(tmp_path, streams, code):
    """And what a library prints does not go into a file that took the number of the stream."""
    assert run(tmp_path, COMPUTING, str(code), **streams).returncode == code
    assert (tmp_path / "result").read_text() in ("3", "4", "5", "6", "7", "8", "9")


def test_an_error_that_nobody_can_read_keeps_its_code(tmp_path):
    code = "from efsgd.figures import cli; cli.main(['nonsense'])"
    assert run(tmp_path, code, stderr=closed_pipe).returncode == 2


def failing(error):
    @click.group(cls=Commands)
    def main():
        pass

    @main.command()
    def work():
        raise error

    return CliRunner().invoke(main, ["work"])


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (ValueError("too large"), 2, "Error: too large\n"),
        (ValueError("a\nb\x1b[2J\udcff"), 2, "Error: a\\nb\\x1b[2J\\udcff\n"),
        (OSError("cannot write x: make room"), 2, "Error: cannot write x: make room\n"),
        (FileNotFoundError(2, "gone", "f"), 2, "Error: cannot use f (gone): name another\n"),
        (MemoryError(), 2, "Error: out of memory: free some, or take a machine that has more\n"),
        (MemoryError("a, b ran out of memory"), 2, "Error: a, b ran out of memory: free some, "),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), 2, "Error: out of memory: free some, "),
        (RuntimeError("can't start new thread"), 2, "Error: out of memory: free some, "),
        (KeyboardInterrupt("interrupted: 1 of 2"), 130, "Error: interrupted: 1 of 2\n"),
        (BrokenPipeError(32, "Broken pipe"), 141, ""),
        (SystemExit(1), 1, ""),
    ],
)
def test_each_end_has_its_code(error, code, words):
    done = failing(error)
    assert done.exit_code == code
    assert done.stderr.startswith(words)
    assert done.stderr.count("\n") == (words != "")


@pytest.mark.parametrize(
    "error", [IndexError("ours"), RuntimeError("ours"), AssertionError("ours")]
)
def test_a_bug_has_a_code_of_its_own_and_a_traceback(error):
    done = failing(error)
    assert done.exit_code == 3
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert done.stderr.endswith(f"{type(error).__name__}: ours\n")
    assert "in work" in done.stderr


def test_a_stream_drops_or_explains_what_it_cannot_write():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert entry.Stream(stream, needed=True).write("价\udcff") == 2
    stream.seek(0)
    assert stream.read() == "\\u4ef7\\udcff"
    stream.close()
    assert entry.Stream(stream, needed=False).write("x") == 1
    with pytest.raises(OSError, match=r"cannot print \(I/O operation on closed file"):
        entry.Stream(stream, needed=True).write("x")


STARTED = """
import sys
from importlib.abc import MetaPathFinder

class Failing(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "efsgd.figures.cli":
            raise {error}

sys.meta_path.insert(0, Failing())
import efsgd_figures

efsgd_figures.main()
"""


@pytest.mark.parametrize(
    ("error", "code", "last"),
    [
        ("MemoryError", 2, "Error: too little memory to start: free some"),
        ("ImportError('x.so: failed to map segment from shared object')", 2, "Error: too little "),
        ("KeyboardInterrupt", 130, "Error: interrupted"),
        ("ImportError('no numpy')", 3, "ImportError: no numpy"),
        ("SyntaxError('ours')", 3, "SyntaxError: ours"),
    ],
)
def test_what_fails_while_modules_load_has_its_code_too(tmp_path, error, code, last):
    done = run(tmp_path, STARTED.format(error=error))
    assert done.returncode == code
    *trace, end = done.stderr.splitlines()
    assert end.startswith(last)
    assert bool(trace) == (code == 3)


def test_the_starter_runs_the_command(tmp_path):
    done = run(tmp_path, "import efsgd_figures; efsgd_figures.main()")
    assert done.returncode == 2
    assert done.stderr.startswith("Usage: efsgd-figures [OPTIONS] COMMAND")
