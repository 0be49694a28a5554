"""Obtain many results on several processes that can be stopped and leave nothing behind.

The same workers draw pictures afterwards: to start new ones takes longer than to draw a picture.
Workers are spawned, with one BLAS thread each, and exit without a traceback on a signal or when
their parent is gone. Each saves its own results, so whatever is finished is kept.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import Any, NoReturn, TypeAlias, TypeVar

import click

from efsgd.results import Result, Work, find, load, obtain, place

Task: TypeAlias = tuple[str, Work, Path]  # its name in messages, what to compute, the folder
Tick: TypeAlias = Callable[[int], None]  # called with how many more are done
T = TypeVar("T")

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
PATIENCE = 2.0  # seconds before a progress bar appears
EXPECTED = (ValueError, OSError, ArithmeticError)  # of the user's input; all others are bugs


def obtain_all(
    works: Mapping[str, Work],
    directory: Path,
    *,
    again: bool = False,
    jobs: int = 1,
    crew: Executor | None = None,
) -> dict[Path, Result]:
    """The result of every work, by its file; equal work is done once, ``jobs`` at a time.

    With a ``crew`` of :func:`workers` these do it, whatever ``jobs`` says.

    A failure names its work in one sentence: ValueError for what is EXPECTED, RuntimeError for a
    bug. After Ctrl-C the KeyboardInterrupt says what is kept.
    """
    by_path = {place(work, directory): (name, work) for name, work in works.items()}
    saved = {} if again else {path: find(work, directory) for path, (_, work) in by_path.items()}
    tasks = [(*by_path[path], directory) for path in by_path if saved.get(path) is None]
    tasks.sort(key=lambda task: -getattr(task[1], "cost", 0))  # the longest first
    with progress(len(tasks)) as tick:
        if crew is not None:
            _compute_by_workers(tasks, crew, tick)
        elif jobs == 1:
            _compute_here(tasks, tick)
        elif tasks:
            with workers(min(jobs, len(tasks))) as crew:
                _compute_by_workers(tasks, crew, tick)
    return {path: saved.get(path) or load(path) for path in by_path}


def _compute(name: str, work: Work, directory: Path) -> None:
    """Compute and save; any failure becomes one sentence that can be pickled for the parent."""
    try:
        obtain(work, directory, again=True)
    except Exception as error:
        kind = ValueError if isinstance(error, EXPECTED) else RuntimeError
        reason = " ".join(str(error).split())
        raise kind(f"{name} failed: {type(error).__name__}: {reason}") from error


def _compute_here(tasks: Sequence[Task], tick: Tick) -> None:
    for done, task in enumerate(tasks):
        try:
            _compute(*task)
        except KeyboardInterrupt:
            raise _interrupted(done, tasks) from None
        tick(1)


@contextmanager
def workers(
    jobs: int, prepare: Callable[..., None] | None = None, *arguments: Any
) -> Iterator[Executor]:
    """Up to ``jobs`` processes, each started when there is work for it and gone after the block.

    ``prepare(*arguments)`` is called in each of them first; it has to call :func:`start_worker`,
    which is the default.
    """
    earlier = set(active_children())
    with (
        one_thread_each(),
        ProcessPoolExecutor(
            jobs,
            mp_context=get_context("spawn"),
            initializer=prepare or start_worker,
            initargs=arguments,
        ) as crew,
    ):
        try:
            yield crew
        except BaseException as error:
            for worker in set(active_children()) - earlier:
                worker.terminate()  # it removes or saves what it has begun
            if isinstance(error, BrokenProcessPool):
                raise ValueError(
                    "a worker died, of too little memory perhaps: try --jobs 1"
                ) from None
            raise


def call_all(
    crew: Executor,
    function: Callable[..., T],
    calls: Sequence[tuple[Any, ...]],
    tick: Tick = lambda more: None,
) -> list[T]:
    """What ``function`` returns for each tuple of arguments, begun and returned in this order.

    ``tick`` is called at least five times a second. Raises what the first call to fail raises.
    """
    with ctrl_c_held():
        futures = [crew.submit(_call, function, *call) for call in calls]
    waiting = set(futures)
    while waiting:
        done, waiting = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
        tick(len(done))
        for future in done:
            future.result()
    return [future.result() for future in futures]


def _compute_by_workers(tasks: Sequence[Task], crew: Executor, tick: Tick) -> None:
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        tick(more)

    try:
        call_all(crew, _compute, tasks, count)
    except KeyboardInterrupt:
        raise _interrupted(done, tasks) from None


def _interrupted(done: int, tasks: Sequence[Task]) -> KeyboardInterrupt:
    _, _, directory = tasks[0]
    return KeyboardInterrupt(
        f"interrupted: {done} of {len(tasks)} new results are kept in {directory}, "
        "and the same command goes on from there"
    )


def start_worker() -> None:
    """Prepare a worker: it leaves Ctrl-C to the parent and does not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _exit_quietly)
    Thread(target=_follow_parent, daemon=True).start()


def _exit_quietly(*_: Any) -> NoReturn:
    raise SystemExit(1)


def _follow_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _call(function: Callable[..., T], *arguments: Any) -> T:
    try:
        return function(*arguments)
    except SystemExit:  # terminated; the temporary file is gone, and no further task is wanted
        os._exit(1)


@contextmanager
def ctrl_c_held() -> Iterator[None]:
    """Ctrl-C is delivered after this block, and never to the processes that are started in it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def one_thread_each() -> Iterator[None]:
    """One BLAS thread for the processes started in this block: BLAS reads THREADS when loaded."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def progress(total: int) -> Iterator[Tick]:
    """A bar on stderr, only on a terminal and only after PATIENCE seconds."""
    start, done = time.monotonic(), 0
    bar: Any = None
    with ExitStack() as stack:

        def tick(more: int) -> None:
            nonlocal bar, done
            done += more
            if bar is not None:
                bar.update(more)
            elif sys.stderr.isatty() and time.monotonic() - start > PATIENCE:
                bar = stack.enter_context(
                    click.progressbar(length=total, label="computing", file=sys.stderr)
                )
                bar.update(done)

        yield tick
