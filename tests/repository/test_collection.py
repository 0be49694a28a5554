"""The names of the tests: each process that collects them must find the same ones.

Without this file an address or an order of sets in a name could stop a run in several processes.
"""

import os
import subprocess
import sys

import pytest
from project import ROOT


def names(hash_seed: str) -> list[str]:
    """The tests as a new process collects them, with its own order of sets."""
    usual = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=ROOT,
        env=usual | {"PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return [line for line in ran.stdout.splitlines() if "::" in line]


@pytest.mark.slow
def test_two_processes_collect_the_same_tests_at_different_times() -> None:
    """The workers of pytest-xdist stop where they do not, as with the time of day in a name."""
    first = names("1")
    assert len(first) > 1000
    assert names("2") == first  # seconds later: collecting takes that long
