"""The figures of the theory, in the order in which they are made and listed."""

from __future__ import annotations

from efsgd.figures.theory import (
    compression_for_free,
    error_lemma,
    heterogeneous_workers,
    no_feedback_needed,
    rate,
    theorem_four,
    theorem_three,
    theorem_two,
    worst_case,
)

__all__ = ["PICTURES"]

PICTURES = (
    error_lemma.PICTURE,
    theorem_three.PICTURE,
    theorem_two.PICTURE,
    theorem_four.PICTURE,
    compression_for_free.PICTURE,
    worst_case.PICTURE,
    rate.PICTURE,
    heterogeneous_workers.PICTURE,
    no_feedback_needed.PICTURE,
)
