"""The figures of several workers, in the order in which they are made and listed."""

from __future__ import annotations

from efsgd.figures.workers import (
    disagreement,
    downlink,
    speedup,
    vote,
    when_to_compress,
)

__all__ = ["PICTURES"]

PICTURES = (
    speedup.PICTURE,
    disagreement.PICTURE,
    vote.PICTURE,
    downlink.PICTURE,
    when_to_compress.PICTURE,
)
