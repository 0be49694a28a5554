"""Lyapunov functions of one step: the best rate by a semidefinite programme, and proofs of some."""

from efsgd.convex.lyapunov.rate import LyapunovRate, lyapunov_rate, quadratic_rate

__all__ = ["LyapunovRate", "lyapunov_rate", "quadratic_rate"]
