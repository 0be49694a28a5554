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
    NaturalDithering,
    PowerSGD,
    Quantised,
    RandK,
    Scaled,
    ScaledSign,
    Shared,
    Sign,
    SignTopK,
    TernGrad,
    Threshold,
    TopK,
    TwoMeans,
    compressor,
)
from efsgd.engine import METRICS, Diverged, Optimum, Problem, Run, Split, run
from efsgd.methods import (
    DASHA,
    DIANA,
    EF21,
    EF21SGDM,
    EFSGD,
    MARINA,
    SGD,
    CompressedSGD,
    EControl,
    EF21Plus,
    Faults,
    FullyCorrectiveEF,
    GradientEF,
    LocalSteps,
    MajorityVote,
    Method,
    PostMomentumEF,
    SignSGD,
    Signum,
)
from efsgd.wire import HEADER, decode

__all__ = [
    "DASHA",
    "DIANA",
    "EF21",
    "EF21SGDM",
    "EFSGD",
    "HEADER",
    "MARINA",
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
    "Faults",
    "Floats",
    "FullyCorrectiveEF",
    "Generator",
    "GradientEF",
    "Identity",
    "LocalSteps",
    "LowRank",
    "MajorityVote",
    "Method",
    "Natural",
    "NaturalDithering",
    "Optimum",
    "PostMomentumEF",
    "PowerSGD",
    "Problem",
    "Quantised",
    "RandK",
    "Run",
    "Scaled",
    "ScaledSign",
    "Shared",
    "Sign",
    "SignSGD",
    "SignTopK",
    "Signum",
    "Split",
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
