"""The methods of the paper's experiments (arXiv 1901.09847, section 6), one constructor each.

The signs are ternary, sign(0) = 0, as in the paper's code.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from efsgd.compressors.signs import ScaledSign, Sign
from efsgd.compressors.wrappers import Identity
from efsgd.deep.optim.optimiser import EFSGD


def sgdm(params: Iterable[Any], lr: float, momentum: float = 0.9, **options: Any) -> EFSGD:
    """SGDm, the baseline: SGD with momentum, nothing compressed."""
    return EFSGD(params, lr, Identity(), momentum, error_feedback=False, **options)


def signsgd(params: Iterable[Any], lr: float, **options: Any) -> EFSGD:
    """signSGD, scaled: x <- x - lr |g|_1/d sign(g) for each tensor, without memory or momentum."""
    return EFSGD(params, lr, ScaledSign(zero=0), error_feedback=False, **options)


def signsgdm(params: Iterable[Any], lr: float, momentum: float = 0.9, **options: Any) -> EFSGD:
    """signSGDm (Signum): x <- x - lr sign(m), unscaled, without memory."""
    return EFSGD(params, lr, Sign(zero=0), momentum, error_feedback=False, **options)


def ef_signsgd(params: Iterable[Any], lr: float, **options: Any) -> EFSGD:
    """EF-signSGD (Algorithm 1): the scaled sign with memory, without momentum."""
    return EFSGD(params, lr, ScaledSign(zero=0), **options)
