"""The bounds and rates of the theory as functions: what the figures check, and what users can ask.

The bounds for error feedback are those of the paper (arXiv 1901.09847) and their sharper forms; the
rates are exact, with full gradients. The letters and their domains are in
:mod:`efsgd.bounds.letters`. Each function has a ``source``, and ``BOUNDS`` are all of them.
"""

from efsgd.bounds.feedback import (
    error_lemma,
    error_sharp,
    error_varying,
    noise_free,
    noise_free_step,
    theorem_four,
    theorem_three,
    theorem_three_exact,
    theorem_two,
    theorem_two_best_rho,
    theorem_two_sharp,
)
from efsgd.bounds.letters import Bound, Value
from efsgd.bounds.rates import (
    cgd_cliff,
    cgd_rate,
    cgd_step,
    ef21_rate,
    ef21_step,
    ef_cliff,
    ef_convex,
    ef_rate,
    ef_step,
    gd_convex,
    gd_nonconvex,
    gd_rate,
    gd_step,
)

__all__ = [
    "BOUNDS",
    "Bound",
    "Value",
    "cgd_cliff",
    "cgd_rate",
    "cgd_step",
    "ef21_rate",
    "ef21_step",
    "ef_cliff",
    "ef_convex",
    "ef_rate",
    "ef_step",
    "error_lemma",
    "error_sharp",
    "error_varying",
    "gd_convex",
    "gd_nonconvex",
    "gd_rate",
    "gd_step",
    "noise_free",
    "noise_free_step",
    "theorem_four",
    "theorem_three",
    "theorem_three_exact",
    "theorem_two",
    "theorem_two_best_rho",
    "theorem_two_sharp",
]

BOUNDS: tuple[Bound[..., Value], ...] = (
    error_lemma,
    error_sharp,
    error_varying,
    theorem_two,
    theorem_two_best_rho,
    theorem_two_sharp,
    noise_free,
    noise_free_step,
    theorem_three,
    theorem_three_exact,
    theorem_four,
    gd_step,
    gd_rate,
    cgd_step,
    cgd_rate,
    ef_step,
    ef_rate,
    ef21_step,
    ef21_rate,
    cgd_cliff,
    ef_cliff,
    gd_convex,
    ef_convex,
    gd_nonconvex,
)
