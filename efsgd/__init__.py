"""efsgd: error-feedback SGD and gradient compression, checked and reproduced.

The NumPy engine of the toolkit: compressors with exact guarantees and a wire format, optimisation
methods, and an engine that runs them on problems of your own. ``efsgd.convex`` holds the paper's
convex problems, ``efsgd.figures`` the command ``efsgd-figures``.
"""

from __future__ import annotations

from typing import Any

from efsgd import bounds, schedules
from efsgd.arrays import Floats, Generator, achieved_delta, density
from efsgd.compressors import (
    QSGD,
    Blockwise,
    Compressor,
    Contractive,
    Identity,
    LowRank,
    Natural,
    RandK,
    Scaled,
    ScaledSign,
    Sign,
    SignTopK,
    TernGrad,
    Threshold,
    TopK,
    TwoMeans,
    compressor,
)
from efsgd.engine import METRICS, Diverged, Optimum, Problem, Run, run
from efsgd.methods import (
    EF21,
    EF21SGDM,
    EFSGD,
    SGD,
    CompressedSGD,
    EControl,
    EF21Plus,
    FullyCorrectiveEF,
    GradientEF,
    Method,
    PostMomentumEF,
    SignSGD,
    Signum,
)
from efsgd.wire import HEADER, decode

__all__ = [
    "EF21",
    "EF21SGDM",
    "EFSGD",
    "HEADER",
    "METRICS",
    "QSGD",
    "SGD",
    "Blockwise",
    "CompressedSGD",
    "Compressor",
    "Contractive",
    "Diverged",
    "EControl",
    "EF21Plus",
    "Floats",
    "FullyCorrectiveEF",
    "Generator",
    "GradientEF",
    "Identity",
    "LowRank",
    "Method",
    "Natural",
    "Optimum",
    "PostMomentumEF",
    "Problem",
    "RandK",
    "Run",
    "Scaled",
    "ScaledSign",
    "Sign",
    "SignSGD",
    "SignTopK",
    "Signum",
    "TernGrad",
    "Threshold",
    "TopK",
    "TwoMeans",
    "achieved_delta",
    "bounds",
    "compressor",
    "decode",
    "density",
    "run",
    "schedules",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Load what is heavy, or needs the metadata, only when asked for."""
    if name == "verify":
        from efsgd.convex import verify

        return verify
    if name == "__version__":
        from importlib.metadata import version

        return version("efsgd")
    raise AttributeError(f"module 'efsgd' has no attribute {name!r}")
