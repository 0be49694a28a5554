"""The figures of several workers, in the order in which they are made and listed."""

from __future__ import annotations

from efsgd.figures.workers import (
    absence,
    disagreement,
    downlink,
    equal_bytes,
    local_steps,
    real_data,
    speedup,
    vote,
    when_to_compress,
)

__all__ = ["PICTURES"]

PICTURES = (
    speedup.PICTURE,
    equal_bytes.PICTURE,
    disagreement.PICTURE,
    vote.PICTURE,
    downlink.PICTURE,
    absence.PICTURE,
    local_steps.PICTURE,
    real_data.PICTURE,
    when_to_compress.PICTURE,
)
