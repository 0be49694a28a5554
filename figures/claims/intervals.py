"""The confidence of intervals, and how wide Student's t makes them."""

from __future__ import annotations

CONFIDENCE = 0.95


def student(freedom: float, confidence: float = CONFIDENCE) -> float:
    """Half the width of a two-sided interval in standard errors, for so many degrees of freedom."""
    from scipy import stats

    return float(stats.t.ppf((1 + confidence) / 2, freedom))
