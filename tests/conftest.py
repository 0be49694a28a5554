"""What every test shares: no window is opened, and a test is a function of the code alone."""

import os
import signal

import pytest
from hypothesis import settings

os.environ["MPLBACKEND"] = "Agg"
os.environ["COLUMNS"] = "100"  # tables follow the width of the terminal

# Of several test processes each has one thread, decided before torch is imported: threads of more
# processes than there are cores spin while they wait for each other, a third of the time.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell starts what it runs in the background with Ctrl-C ignored; the tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Every run repeats the same examples, but `pytest --hypothesis-profile=explore` looks for new ones.
settings.register_profile("repeat", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None, max_examples=1000, print_blob=True)
settings.load_profile("repeat")


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """A name for bytes that tells nothing of them: gzip writes the time of day into its header.

    Every worker of pytest-xdist collects the tests for itself, and all must find the same names.
    """
    return argname if isinstance(val, bytes) else None
