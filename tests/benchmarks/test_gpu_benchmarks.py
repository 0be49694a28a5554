"""What the stages of benchmarks/gpu measure with."""

import importlib
import warnings
from dataclasses import replace

import pytest
from project import ROOT

torch = pytest.importorskip("torch")

FOLDER = ROOT / "benchmarks" / "gpu"


@pytest.fixture
def measure(monkeypatch):
    if not FOLDER.exists():
        pytest.skip("the benchmarks are not installed")
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("measure")


def context(measure, device, folder):
    home = measure.Home(folder, folder / "work")
    return measure.Context(torch.device(device), home, folder / "work", small=True, until=9)


def test_waits_are_counted_and_other_warnings_are_not(measure, monkeypatch, tmp_path):
    """With torch's part played: it warns of each wait, and once of the mode itself."""
    mode = [0]

    def set_mode(to):
        mode[0] = to
        warnings.warn("Synchronization debug mode is a prototype feature and", stacklevel=2)

    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: mode[0])
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", set_mode)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)

    def task():
        for _ in range(3 if mode[0] == "warn" else 0):
            warnings.warn("called a synchronizing CUDA operation (Triggered at", stacklevel=1)
        if mode[0] == "warn":
            warnings.warn("something else", stacklevel=1)

    at = context(measure, "cuda", tmp_path)
    assert measure.waits(task, at) == 3
    assert mode == [0]
    assert measure.waits(task, replace(at, device=torch.device("cpu"))) is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_waits_for_a_gpu_are_counted(measure, tmp_path):
    at = context(measure, "cuda", tmp_path)
    x = torch.ones(2, device="cuda")
    assert measure.waits(lambda: x + 1, at) == 0
    assert measure.waits(lambda: [x[0].item(), x[1].item()], at) == 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_captured_task_keeps_what_it_works_on(measure):
    """Else the memory of x, which nobody else holds, would be given to others."""

    def counting():
        x = torch.zeros(1000, device="cuda")
        return lambda: x.add_(1)

    replay = measure.Captured(counting(), warm=2)
    others = [torch.full((1000,), 7.0, device="cuda") for _ in range(8)]
    for done in (3, 4):
        assert bool((replay() == done).all())
    assert all(bool((other == 7).all()) for other in others)
