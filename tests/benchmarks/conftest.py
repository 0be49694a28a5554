"""Access to the modules of benchmarks/gpu, which are no package."""

import pytest
from project import ROOT

FOLDER = ROOT / "benchmarks" / "gpu"


@pytest.fixture
def gpu_benchmarks(monkeypatch):
    """Makes the modules importable; skips where the benchmarks are not installed."""
    if not FOLDER.exists():
        pytest.skip("the benchmarks are not installed")
    for folder in (FOLDER, FOLDER.parent):
        monkeypatch.syspath_prepend(str(folder))
