"""Trainings of a small network on twenty images, for the tests of deep/training."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import efsgd  # noqa: E402
from efsgd.deep.data.dataset import Dataset  # noqa: E402
from efsgd.deep.training import Progress  # noqa: E402
from efsgd.deep.training.history import TIMES  # noqa: E402
from efsgd.deep.training.training import Training  # noqa: E402

TERNARY = efsgd.ScaledSign(zero=0)
DECAY = {"weight_decay": 5e-4}
PAPER = {  # the methods of section 6, each with a step size that suits forty images
    "sgdm": (efsgd.SGD(momentum=0.9, **DECAY), 0.02),
    "signsgd": (efsgd.CompressedSGD(TERNARY, **DECAY), 0.1),
    "signsgdm": (efsgd.Signum(efsgd.Sign(zero=0), **DECAY), 1e-3),
    "ef-signsgd": (efsgd.EFSGD(TERNARY, **DECAY), 0.1),
}
EF, LR = PAPER["ef-signsgd"]
EFM = efsgd.EFSGD(TERNARY, momentum=0.9, **DECAY)
RANDOM = efsgd.EFSGD(efsgd.RandK(0.1))


def tiny(n=20, test=6, classes=2, seed=0):
    """Images of one class are dark, of the other bright."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n + test)
    x = (rng.integers(0, 128, (n + test, 32, 32, 3)) + 100 * y[:, None, None, None]).astype("u1")
    return Dataset("tiny", x[:n], y[:n], x[n:], y[n:], classes)


DATA = tiny()


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread of torch, and afterwards as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def small(**changes):
    """Twenty images in batches of 8, 8 and 4."""
    defaults = {"model": "resnet8", "data": "tiny", "method": EF, "lr": LR, "batch": 8, "epochs": 2}
    return Training(**defaults | {"drops": ()} | changes)


def timeless(history):
    """The arrays that are equal in equal runs, as bytes: all but the times."""
    return {name: a.tobytes() for name, a in history.items() if name not in TIMES}


def frozen(state):
    """A nested state with bytes for tensors, for comparison."""
    if isinstance(state, torch.Tensor):
        return (str(state.dtype), tuple(state.shape), state.detach().contiguous().numpy().tobytes())
    if isinstance(state, dict):
        return {name: frozen(value) for name, value in state.items()}
    return [frozen(v) for v in state] if isinstance(state, list | tuple) else state


def nothing(*_):
    pass


def stopping(at, number=signal.SIGINT):
    """A report that signals this process after that many steps."""
    steps = []

    def report(event):
        if isinstance(event, Progress):
            steps.append(event)
            if len(steps) == at:
                os.kill(os.getpid(), number)

    return report
