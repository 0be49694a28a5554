"""Trainings at once in one process: equal bits, turns in order, and how all of them stop.

Without this file a training could change with its neighbours, or a signal could lose their states.
"""

import itertools
import os
import signal
import threading
import time

import pytest

torch = pytest.importorskip("torch")

from small_trainings import DATA, EFM, PAPER, RANDOM, one_thread, small, stopping, timeless  # noqa: E402

from efsgd.deep.training.concurrent_trainings import FairLock, at_once  # noqa: E402
from efsgd.deep.training.obtain import run_training, train  # noqa: E402

TRAININGS = [
    small(method=EFM),
    small(method=RANDOM, seed=1),
    small(method=PAPER["sgdm"][0], batch=7),  # five steps and a rest
    small(method=EFM, precision="bf16"),
    small(method=PAPER["signsgdm"][0], epochs=1),
]


@pytest.fixture(autouse=True)
def _one_thread_of_torch():
    """Each training would bring threads of OpenMP that spin while it waits for its turn."""
    with one_thread():
        yield


def test_at_once_each_is_as_alone_to_the_bit(tmp_path):
    order = []

    def task(training):
        def run(check):
            def report(event):
                order.append(training)

            run_training(training, DATA, tmp_path, report=report, check=check)

        return run

    at_once([task(training) for training in TRAININGS], 3)
    switches = sum(a is not b for a, b in itertools.pairwise(order))
    assert switches > 10  # they did take turns
    for training in TRAININGS:
        result = run_training(training, DATA, tmp_path)
        assert timeless(result.arrays) == timeless(train(training, DATA))
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_the_fair_lock_goes_round_and_one_thread_holds_it():
    lock, order, holders = FairLock(), [], []

    def work(name):
        with lock:
            for _ in range(5):
                holders.append(name)
                assert holders == [name]
                order.append(name)
                time.sleep(1e-3)
                holders.remove(name)
                lock.yield_turn()

    threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
    with lock:  # until all of them wait
        for thread in threads:
            thread.start()
        while len(lock._queue) < 3:
            time.sleep(1e-3)
    for thread in threads:
        thread.join()
    assert order == list(order[:3]) * 5
    assert set(order) == {*"abc"}
    with lock:
        assert lock.yield_turn() is False


def test_a_failure_stops_the_others_which_keep_their_checkpoints(tmp_path):
    started = []

    def fails(check):
        while not started:
            check()
        raise ValueError("no such thing")

    def trains(check):
        started.append(1)
        run_training(small(epochs=50), DATA, tmp_path, check=check)

    with pytest.raises(ValueError, match="no such thing"):
        at_once([fails, trains, trains, trains], 2)
    assert len(started) == 1
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all_and_they_go_on_bitwise(tmp_path, number):
    before = signal.getsignal(number)
    report = stopping(4, number)

    def task(training):
        return lambda check: run_training(training, DATA, tmp_path, report=report, check=check)

    interrupted = TRAININGS[:3]
    tasks = [task(training) for training in interrupted]
    with pytest.raises(KeyboardInterrupt, match=f"{number.name} stopped the training after"):
        at_once(tasks, 2)
    assert signal.getsignal(number) is before
    assert len(list((tmp_path / "checkpoints").iterdir())) >= 1
    for training in interrupted:
        resumed = run_training(training, DATA, tmp_path).arrays
        assert timeless(resumed) == timeless(train(training, DATA))


def test_a_signal_before_all_have_begun_is_told():
    """The first one takes no notice; there is no second thread for the second one."""
    started = []
    tasks = [lambda check: os.kill(os.getpid(), signal.SIGINT) or time.sleep(0.5), started.append]
    with pytest.raises(KeyboardInterrupt, match="SIGINT stopped the trainings before all had"):
        at_once(tasks, 1)
    assert started == []


def test_none_at_a_time_is_refused():
    with pytest.raises(ValueError, match=r"at least one training .* not 0"):
        at_once([], 0)
