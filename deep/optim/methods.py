"""Which methods of ``efsgd`` the optimiser knows, and what they are in its own options."""

from __future__ import annotations

from typing import Any

from efsgd.methods.base import Method
from efsgd.methods.feedback import EFSGD
from efsgd.methods.sgd import SGD, CompressedSGD

STEPS = (SGD.step, CompressedSGD.step, EFSGD.step)  # also of subclasses that do not change them


def options_of(method: Method) -> dict[str, Any]:
    """The arguments of the optimiser that steps as ``method`` does in NumPy.

    Raises ValueError for a method that no torch optimiser is known for.
    """
    if getattr(type(method), "step", None) not in STEPS:
        cure = "give an efsgd.SGD, CompressedSGD or EFSGD"
        raise ValueError(f"no torch optimiser is known for {method!r}: {cure}")
    if method.form == "undecayed":
        raise ValueError(
            "undecayed momentum exists in NumPy only: leave form out, or use nesterov=True"
        )
    decay = getattr(method, "decay", 1.0)
    if decay != 1:
        raise ValueError(f"a memory that decays exists in NumPy only: leave out decay={decay}")
    return {
        "compressor": method.compresses,
        "momentum": method.momentum,
        "dampening": method.dampening,
        "weight_decay": method.weight_decay,
        "nesterov": method.nesterov,
        "error_feedback": method.feeds_back,
    }
