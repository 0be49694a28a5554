"""The tests for a GPU, seen from a machine without one: collection, and detection of waits.

Without this file the tests on a rented GPU could fail to import, or overlook every wait.
"""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from importlib.util import find_spec
from typing import Any

import pytest
from project import ROOT, gpu_test_files

torch = pytest.importorskip("torch")

from on_gpu import no_synchronisation, synchronisation  # noqa: E402

# A machine lent for its GPU has torch and Triton, but not these.
ABSENT = ("PEPit", "cvxpy", "sklearn", "torchvision")
COLLECT = f"""
import sys
from importlib.machinery import PathFinder

original = PathFinder.find_spec


class WithoutPackages:
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {ABSENT} else original(name, path, target)


PathFinder.find_spec = WithoutPackages.find_spec
import pytest

options = ["--collect-only", "-q", "-m", "gpu", "-p", "no:cacheprovider"]
sys.exit(pytest.main([*options, *sys.argv[1:]]))
"""


@pytest.mark.slow
def test_the_files_with_gpu_tests_are_collected_without_packages_that_a_gpu_machine_lacks() -> None:
    files = gpu_test_files()
    assert "tests/deep/test_kernels.py" in files
    variables = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    command = [sys.executable, "-c", COLLECT, *files]
    ran = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    collected = {line.partition("::")[0] for line in ran.stdout.splitlines() if "::" in line}
    skipped = set() if find_spec("triton") else {"tests/deep/optim/forms/test_triton_step.py"}
    assert collected == set(files) - skipped


class FakeDevice:
    """torch's synchronisation debug mode without a device; it warns after it has set the mode."""

    notice = "Synchronization debug mode is a prototype feature and does not yet detect all"
    modes = ("default", "warn", "error")

    def __init__(self, monkeypatch: pytest.MonkeyPatch, mode: int) -> None:
        self.mode = mode
        monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: self.mode)
        monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", self.set)

    def set(self, mode: int | str) -> None:
        self.mode = self.modes.index(mode) if isinstance(mode, str) else mode
        warnings.warn(self.notice, stacklevel=2)


@pytest.mark.parametrize("before", [0, 1, 2])
def test_the_mode_of_watching_is_put_back(monkeypatch: pytest.MonkeyPatch, before: int) -> None:
    device = FakeDevice(monkeypatch, before)
    with no_synchronisation():
        assert device.mode == 2
    assert device.mode == before
    with synchronisation("warn"):
        assert device.mode == 1
    assert device.mode == before
    with pytest.raises(ZeroDivisionError), no_synchronisation():
        raise ZeroDivisionError
    assert device.mode == before


def test_only_the_notice_of_the_mode_is_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    device = FakeDevice(monkeypatch, 0)
    with pytest.raises(UserWarning, match="another"), no_synchronisation():
        warnings.warn("another", stacklevel=1)
    assert device.mode == 0
    device.notice = "another"
    with pytest.raises(UserWarning, match="another"), no_synchronisation():
        pytest.fail("the mode was set in spite of a warning that is an error")
    assert device.mode == 0


def test_filters_are_as_before_inside_and_after(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeDevice(monkeypatch, 0)
    filters: list[Any] = list(warnings.filters)
    with no_synchronisation():
        assert list(warnings.filters) == filters
    assert list(warnings.filters) == filters
