"""Stopping and going on: by signals, kills and checks, with the same bits as without a stop.

Without this file a resumed training could differ from one that was never stopped.
"""

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
from project import python_path

torch = pytest.importorskip("torch")

from small_trainings import (  # noqa: E402
    DATA,
    EFM,
    PAPER,
    RANDOM,
    frozen,
    one_thread,
    small,
    stopping,
    timeless,
)

from efsgd.deep.training import evaluate, events, obtain  # noqa: E402
from efsgd.deep.training.history import NAMES, TIMES  # noqa: E402
from efsgd.deep.training.obtain import run_training, train  # noqa: E402


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_says_how_to_go_on(tmp_path, number):
    path = tmp_path / "run.pt"
    handler = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt) as stopped:
        train(small(), DATA, checkpoint=path, report=stopping(4, number))
    assert str(stopped.value) == (
        f"{number.name} stopped the training after 1 of 2 epochs and 1 of 3 batches: "
        f"{path} holds it, the same command goes on there"
    )
    assert signal.getsignal(number) is handler
    assert path.exists()


def test_a_signal_without_a_checkpoint_says_that_nothing_was_saved():
    with pytest.raises(KeyboardInterrupt, match=r"0 of 2 .* 2 of 3 .* nothing was saved"):
        train(small(), DATA, report=stopping(2))


@pytest.mark.parametrize("method", [EFM, RANDOM, PAPER["sgdm"][0], PAPER["signsgd"][0]])
def test_stopped_after_any_step_it_continues_bitwise(tmp_path, method):
    training, path = small(method=method), tmp_path / "run.pt"
    uninterrupted = train(training, DATA, checkpoint=tmp_path / "uninterrupted.pt")
    for at in range(6):  # each session does one step
        with pytest.raises(KeyboardInterrupt):
            train(training, DATA, checkpoint=path, report=stopping(1), every=2)
        saved = torch.load(path, weights_only=True)["state"]
        assert (saved["epoch"], saved["batch"]) == (at // 3, at % 3 + 1)
    resumed = train(training, DATA, checkpoint=path)
    assert timeless(resumed) == timeless(uninterrupted)
    paths = (path, tmp_path / "uninterrupted.pt")
    ends = [torch.load(p, weights_only=True)["state"] for p in paths]
    for end in ends:
        del end["seconds"]
        for name in TIMES:
            del end["history"][name]
    assert frozen(ends[0]) == frozen(ends[1])


@pytest.mark.parametrize(
    "score", [1, 3, *(pytest.param(n, marks=pytest.mark.slow) for n in (0, 2))]
)
def test_stopped_while_measuring_it_continues_bitwise(tmp_path, monkeypatch, score):
    """Scores 2 and 3 are taken at the virtual iterate, which the checkpoint must not hold."""
    training, path = small(method=EFM, precision="bf16", epochs=1), tmp_path / "run.pt"
    uninterrupted = train(training, DATA)
    real, calls = evaluate.evaluate, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == score + 1:
            os.kill(os.getpid(), signal.SIGINT)
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "evaluate", interrupted)
        with pytest.raises(KeyboardInterrupt, match="0 of 1 epochs and 3 of 3 batches"):
            train(training, DATA, checkpoint=path)
    assert timeless(train(training, DATA, checkpoint=path)) == timeless(uninterrupted)


KILLED = """
import os, signal, sys
from small_trainings import DATA, EFM, small

from efsgd.deep.training.obtain import train

def report(event):
    if event[:3] == (4, 4, 2):
        os.kill(os.getpid(), signal.SIGKILL)

every = float(sys.argv[2])
train(small(method=EFM, epochs=4), DATA, checkpoint=sys.argv[1], every=every, report=report)
"""


@pytest.fixture
def one_torch_thread():
    """Two processes have equal bits only where their sums run in one order.

    As many threads are not enough: a process that was told how many may cut a sum otherwise.
    """
    with one_thread():
        yield


@pytest.mark.usefixtures("one_torch_thread")
def test_killed_at_any_time_it_continues_bitwise(tmp_path):
    path = tmp_path / "run.pt"
    env = os.environ | {"PYTHONPATH": python_path(__file__), "OMP_NUM_THREADS": "1"}
    ran = subprocess.run([sys.executable, "-c", KILLED, str(path), "0"], env=env, check=False)
    assert ran.returncode == -signal.SIGKILL
    assert [p.name for p in tmp_path.iterdir()] == ["run.pt"]
    saved = torch.load(path, weights_only=True)["state"]
    assert (saved["epoch"], saved["batch"]) == (3, 1)  # the step before the one that was killed
    training, events = small(method=EFM, epochs=4), []
    resumed = train(training, DATA, checkpoint=path, report=events.append)
    assert events[0][:3] == (4, 4, 2)
    assert timeless(resumed) == timeless(train(training, DATA))


def test_checkpoints_are_written_by_time_and_at_the_end(tmp_path, monkeypatch):
    """Steps of a minute, and one more from the end of an epoch to the next: 3 and 3 steps."""
    now, saved = [0.0], []

    def report(event):
        now[0] += 60.0

    monkeypatch.setattr(obtain.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(obtain.checkpoints, "save", lambda *_: saved.append(now[0]))
    steps, ends = [60, 120, 180, 300, 360, 420], [180, 420]
    expected = {150: [180, 360, 420], 10**6: [420], 0: sorted(steps + ends)}
    for seconds, times in expected.items():
        now[0] = 0.0
        saved.clear()
        train(small(), DATA, checkpoint=tmp_path / "run.pt", every=seconds, report=report)
        assert saved == times
    saved.clear()
    run_training(small(), DATA, tmp_path, every=None)
    assert saved == []


def test_what_is_evaluated_every_so_many_epochs_is_what_it_was():
    """Of ten every third, the first, both sides of the drop at 5, the last; of five likewise."""
    ten = small(epochs=10, drops=(5,), evaluate_every=3)
    assert [t for t in range(10) if ten.evaluated(t)] == [0, 3, 4, 5, 6, 9]
    assert all(replace(ten, evaluate_every=1).evaluated(t) for t in range(10))
    training = small(method=EFM, epochs=5, drops=(3,), evaluate_every=4)
    expected = [0, 2, 3, 4]
    sparse, dense = train(training, DATA), train(replace(training, evaluate_every=1), DATA)
    for name in (n for n in NAMES if n not in TIMES):
        rows = expected if name.startswith(("virtual_", "train_")) else range(5)
        assert np.flatnonzero(np.isfinite(sparse[name])).tolist() == [*rows], name
        assert sparse[name][rows].tobytes() == dense[name][rows].tobytes(), name


def test_seconds_sum_over_sessions(tmp_path, monkeypatch):
    """With a clock that moves by one second at each look, whatever the machine does."""
    looks = iter(range(10**6))
    monkeypatch.setattr(events.time, "perf_counter", lambda: float(next(looks)))
    path = tmp_path / "run.pt"
    with pytest.raises(KeyboardInterrupt):
        train(small(epochs=1), DATA, checkpoint=path, report=stopping(2))
    before = torch.load(path, weights_only=True)["state"]["seconds"]
    assert before[0] > before[1] > 0
    history = train(small(epochs=1), DATA, checkpoint=path)
    assert history["seconds"][0] > before[0]
    assert 20 / history["images_per_second"][0] > before[1]


def test_a_finished_training_is_not_trained_again(tmp_path):
    path, events = tmp_path / "run.pt", []
    first = train(small(), DATA, checkpoint=path, every=5)
    second = train(small(), DATA, checkpoint=path, report=events.append)
    assert events == []
    assert {n: a.tobytes() for n, a in first.items()} == {n: a.tobytes() for n, a in second.items()}


def test_a_thread_trains_without_signals():
    histories = []
    thread = threading.Thread(target=lambda: histories.append(train(small(epochs=1), DATA)))
    thread.start()
    thread.join()
    assert timeless(histories[0]) == timeless(train(small(epochs=1), DATA))
