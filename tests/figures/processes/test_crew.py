"""Workers that die, hang, run out of memory or lose their parent stop nobody and stay nowhere.

Without this file a worker that dies at a bad moment, or ignores that it is to end, could keep a
command waiting for ever; the parent's death could leave workers that compute for nobody.
"""

import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
import weakref
from multiprocessing import active_children

import numpy as np
import pytest
from project import python_path

from efsgd.figures.processes import failures, worker
from efsgd.figures.processes.crew import Call, Crew, workers
from efsgd.figures.processes.failures import Failure
from efsgd.temporary import ENDING, clear

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals")


def square(x):
    return x * x


def calls(*arguments):
    return [Call(f"call {a}", (a,)) for a in arguments]


def counting(n):
    for i in range(n):
        worker.tell((n, i))
    return n


def sleeping(path):
    """Sleep so that SIGTERM changes nothing: its exception is dropped in a callback."""

    class Thing:
        pass

    thing = Thing()
    reference = weakref.ref(thing, lambda _: time.sleep(600))
    path.touch()
    del thing  # the callback runs, and Python drops what is raised in it
    time.sleep(600)
    return reference


def dying(how):
    if how == "sleep":
        time.sleep(600)
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "half a message":
        os.write(worker._State.pipe.fileno(), (1000).to_bytes(4, "big") + b"half")
        os._exit(7)
    if how == "no memory":
        resource.setrlimit(resource.RLIMIT_AS, (2**33, resource.RLIM_INFINITY))
        np.ones(2**40)
    return threading.Lock()  # cannot be sent


def test_values_come_in_the_order_of_the_calls_and_messages_before_their_value():
    told = []
    threads = threading.active_count()
    with workers(2) as crew:
        assert crew.call_all(square, calls(*range(5))) == [0, 1, 4, 9, 16]
        assert threading.active_count() == threads  # of which one may fail to start
        ticks = []
        assert crew.call_all(counting, calls(3, 2), tick=ticks.append, hear=told.append) == [3, 2]
    assert sum(ticks) == 2
    assert [i for n, i in told if n == 3] == [0, 1, 2]
    assert [i for n, i in told if n == 2] == [0, 1]
    assert active_children() == []


@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [
        ("killed", ValueError, "call killed failed: a worker died (SIGKILL), of too little memory"),
        (
            "half a message",
            ValueError,
            "half a message failed: a worker died (exit code 7): try --jobs 1",
        ),
        ("no memory", ValueError, "call no memory ran out of memory: try --jobs 1"),
        ("a lock", RuntimeError, "cannot pickle '_thread.lock' object"),
    ],
)
def test_a_failure_is_one_sentence_and_ends_the_others(how, kind, words):
    others = ("sleep",) if how == "killed" else ()
    with pytest.raises(kind) as failed, workers(2) as crew:
        crew.call_all(dying, calls(*others, how))
    assert words in str(failed.value)
    assert "\n" not in str(failed.value)
    if kind is RuntimeError:
        assert "Traceback" in failed.value.__notes__[0]
    assert active_children() == []


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (MemoryError(), ValueError, "the work ran out of memory: try --jobs 1"),
        (OSError(12, "Cannot allocate memory"), ValueError, "ran out of memory: try --jobs 1"),
        (RuntimeError("can't start new thread"), ValueError, "ran out of memory: try --jobs 1"),
        (FileNotFoundError(2, "No such file", "data.txt"), ValueError, "No such file: 'data.txt'"),
        (OverflowError("too large"), ValueError, "too large"),
        (IndexError("a mistake"), RuntimeError, "IndexError: a mistake"),
    ],
)
def test_an_error_says_who_can_mend_it(error, kind, words):
    try:
        raise error
    except Exception as caught:
        raised = Failure.of(caught).error("the work")
    assert type(raised) is kind
    assert words in str(raised)


def test_a_memory_error_behind_another_error_is_found_and_circles_end():
    lost = KeyError("lost")
    lost.__context__ = MemoryError()
    assert failures.lacks_memory(lost)
    circle = ValueError("its own cause")
    circle.__cause__ = circle
    assert not failures.lacks_memory(circle)
    assert str(failures.failure("a, b", lost)) == "a, b ran out of memory"
    assert str(failures.failure("a", OSError("x\n y"))) == "a failed: OSError: x y"


def test_a_worker_that_loses_the_signal_is_killed(tmp_path):
    def interrupt(more):
        if (tmp_path / "begun").exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), workers(1, patience=0.3) as crew:
        crew.call_all(sleeping, [Call("sleeping", (tmp_path / "begun",))], tick=interrupt)
    assert active_children() == []


def failing_start():
    raise ValueError("no such device")


def test_a_worker_that_cannot_be_prepared_says_why(monkeypatch):
    with pytest.raises(ValueError, match="no such device"), workers(1, failing_start) as crew:
        crew.call_all(square, calls(2))

    def refuse(self):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("multiprocessing.context.SpawnProcess.start", refuse)
    crew = Crew(1, None, ())
    with pytest.raises(ValueError, match=r"call 2 failed: no worker .*unavailable.*--jobs 1"):
        crew.call_all(square, calls(2))


ORPHANS = """
import os, signal, sys
from efsgd.figures.processes.crew import Call, workers
from test_crew import sleeping
from pathlib import Path
if __name__ == "__main__":
    path = Path(sys.argv[1], "begun")
    with workers(1) as crew:
        def tick(more):
            if path.exists():
                os.kill(os.getpid(), getattr(signal, sys.argv[2]))
        crew.call_all(sleeping, [Call("", (path,))], tick=tick)
"""


def test_workers_do_not_outlive_their_parent(tmp_path):
    parents = {}
    for name in ("SIGKILL", "SIGTERM"):
        (tmp_path / name).mkdir()
        parents[name] = subprocess.Popen(
            [sys.executable, "-c", ORPHANS, str(tmp_path / name), name],
            env=os.environ | {"PYTHONPATH": python_path(__file__)},
            start_new_session=True,
        )
    end = time.monotonic() + 300
    for name, parent in parents.items():
        assert parent.wait(timeout=300) == -getattr(signal, name)
        while _lives(parent.pid) and time.monotonic() < end:
            time.sleep(0.05)
        assert not _lives(parent.pid)


def _lives(group):
    """Whether a process of this group lives; the tracker of multiprocessing is the last."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("mebibytes", [170, 190, 220, 250, 270, 290])
def test_too_little_memory_is_one_sentence_that_names_the_figure(tmp_path, mebibytes):
    """Libraries answer in many ways, up to a crash of Python; none leaves a command waiting."""
    words = ("convex", "--quick", "--jobs", "3", "counterexamples", "theorem-one")
    limit = (mebibytes * 2**20, resource.RLIM_INFINITY)
    done = subprocess.run(
        [sys.executable, "-m", "efsgd.figures.cli", *words],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": python_path(__file__)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, limit),
        capture_output=True,
        text=True,
        timeout=600,
    )
    if done.returncode == 1 and "import" in done.stderr:
        pytest.skip("too little even for NumPy")
    assert done.returncode in (0, 2)
    if done.returncode:
        start = r"Error: (counterexamples|theorem-one).*: try --jobs 1\n"
        assert re.fullmatch(start, done.stderr)
    clear(tmp_path / "results" / "convex", tmp_path / "figures-out")
    assert list(tmp_path.rglob(f"*{ENDING}")) == []
