"""matplotlib without the settings of the user's, which it reads when it is imported."""

from __future__ import annotations

import os
import sys
from contextlib import chdir
from importlib.util import find_spec
from pathlib import Path


def import_without_settings() -> None:
    """Import matplotlib, unless the user has, without what it reads then and may stumble over.

    That is a matplotlibrc, first of the working directory, that nobody can read, and a backend that
    only a notebook has. A picture that goes to a file needs none of it.
    """
    found = None if "matplotlib" in sys.modules else find_spec("matplotlib")
    if found is None or found.origin is None:
        return
    backend = os.environ.pop("MPLBACKEND", None)
    try:
        with chdir(Path(found.origin).with_name("mpl-data")):  # its own matplotlibrc is there
            import matplotlib  # noqa: F401
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
