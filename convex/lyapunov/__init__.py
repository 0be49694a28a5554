"""Lyapunov functions of one step: the best rate by a semidefinite programme, and exact proofs."""

from efsgd.convex.lyapunov.exact import ExactCertificate, check_ef, check_ef21
from efsgd.convex.lyapunov.rate import LyapunovRate, lyapunov_rate, quadratic_rate

__all__ = [
    "ExactCertificate",
    "LyapunovRate",
    "check_ef",
    "check_ef21",
    "lyapunov_rate",
    "quadratic_rate",
]
