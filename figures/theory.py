"""The figures of the theory, in the order in which they are made and listed."""

from __future__ import annotations

from efsgd.figures import (
    theory_feedback,
    theory_lemma,
    theory_step,
    theory_three,
    theory_two,
    theory_workers,
    theory_worst_case,
)

__all__ = ["PICTURES"]

PICTURES = (
    theory_lemma.PICTURE,
    theory_three.PICTURE,
    theory_two.PICTURE,
    theory_worst_case.PICTURE,
    theory_step.PICTURE,
    theory_workers.PICTURE,
    theory_feedback.PICTURE,
)
