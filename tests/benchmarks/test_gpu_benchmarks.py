"""The measurements of benchmarks/gpu, and the choice of the fastest form.

Without this file a form that is wrong could win, or a wait of the host go uncounted.
"""

import warnings
from dataclasses import replace
from importlib import import_module

import pytest

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.usefixtures("gpu_benchmarks")


@pytest.fixture
def measure(gpu_benchmarks):
    return import_module("measure")


def make_context(measure, device, folder):
    output = measure.OutputFolder(folder, folder / "work")
    return measure.Context(torch.device(device), output, folder / "work", small=True, deadline=9)


def test_waits_are_counted_and_other_warnings_are_not(measure, monkeypatch, tmp_path):
    """With torch's part played: it warns of each wait, and once of the mode itself."""
    mode = [0]

    def set_mode(new):
        mode[0] = new
        warnings.warn("Synchronization debug mode is a prototype feature and", stacklevel=2)

    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: mode[0])
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", set_mode)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)

    def task():
        for _ in range(3 if mode[0] == "warn" else 0):
            warnings.warn("called a synchronizing CUDA operation (Triggered at", stacklevel=1)
        if mode[0] == "warn":
            warnings.warn("something else", stacklevel=1)

    context = make_context(measure, "cuda", tmp_path)
    assert measure.waits(task, context) == 3
    assert mode == [0]
    assert measure.waits(task, replace(context, device=torch.device("cpu"))) is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_waits_for_a_gpu_are_counted(measure, tmp_path):
    context = make_context(measure, "cuda", tmp_path)
    x = torch.ones(2, device="cuda")
    assert measure.waits(lambda: x + 1, context) == 0
    assert measure.waits(lambda: [x[0].item(), x[1].item()], context) == 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_captured_task_keeps_what_it_works_on(measure):
    """Else the memory of x, which nobody else holds, would be given to others."""

    def counting():
        x = torch.zeros(1000, device="cuda")
        return lambda: x.add_(1)

    replay = measure.Captured(counting(), warm=2)
    neighbours = [torch.full((1000,), 7.0, device="cuda") for _ in range(8)]
    for value in (3, 4):
        assert bool((replay() == value).all())
    assert all(bool((neighbour == 7).all()) for neighbour in neighbours)


def test_the_fastest_form_that_works_and_is_right_is_best():
    probe, times = import_module("probe"), import_module("measure").Times
    rows = [
        {"graph": False, "form": "foreach", "ms": times(9, 9, 9)},
        {"graph": True, "form": "foreach", "ms": times(4, 4, 4)},
        {"graph": False, "form": "triton", "ms": times(1, 1, 1), "apart": 0.9},
        {"graph": True, "form": "triton", "failed": "RuntimeError: no"},
    ]
    assert probe.fastest(rows) == {"graph": True, "form": "foreach"}
    rows[2]["apart"] = float("nan")
    assert probe.fastest(rows)["form"] == "foreach"
    rows[3] = {"graph": True, "form": "triton", "ms": times(2, 2, 2), "apart": 1e-4}
    assert probe.fastest(rows) == {"graph": True, "form": "triton"}
    assert probe.fastest([{"graph": True, "form": "foreach", "failed": "no"}]) is None


def test_the_target_of_the_step_is_a_ratio_of_accesses():
    """5 of SGD, 8 of EF-signSGD with weight decay and 7 without; a quarter more is granted."""
    steps = import_module("steps")
    good = {"form": "triton", "graph": 1, "launches": 4, "waits": 0}
    for decay, accesses in ((5e-4, 8), (0.0, 7)):
        for factor, met in ((1.24, True), (1.26, False)):
            ratio = {f"graph / {steps.BASELINE}": factor * accesses / 5}
            assert steps.meets_target([good | ratio], decay) == met
    fine = good | {f"graph / {steps.BASELINE}": 1.0}
    assert steps.meets_target([fine], 0.0)
    for worse in ({"launches": 11}, {"waits": 1}, {"form": "foreach"}, {"launches": float("nan")}):
        assert not steps.meets_target([fine | worse], 0.0)
