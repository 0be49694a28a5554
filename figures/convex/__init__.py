"""The convex figures of the paper, in the order in which they are made and listed."""

from __future__ import annotations

from efsgd.figures.convex import (
    counterexamples,
    draws,
    error_norm,
    least_squares,
    momentum,
    sign_at_zero,
    sparse_noise,
    theorem_one,
    variants,
    variants_batches,
    variants_bytes,
    variants_memory,
)

__all__ = ["PICTURES"]

PICTURES = (
    counterexamples.PICTURE,
    theorem_one.PICTURE,
    least_squares.PICTURE,
    sparse_noise.PICTURE,
    sign_at_zero.PICTURE,
    error_norm.PICTURE,
    momentum.PICTURE,
    draws.PICTURE,
    variants.PICTURE,
    variants_batches.PICTURE,
    variants_bytes.PICTURE,
    variants_memory.PICTURE,
)
