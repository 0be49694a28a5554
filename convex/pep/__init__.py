"""Performance estimation: the worst case of a method over all functions, starts and messages.

:func:`worst_case` solves a semidefinite programme whose optimum is that worst case, and
:func:`replay` runs the method itself on the function and the compressor that attain it.
"""

from efsgd.convex.pep.dual import Residuals
from efsgd.convex.pep.engine_check import Replay, replay
from efsgd.convex.pep.estimation import worst_case
from efsgd.convex.pep.instance import Instance, WorstCase
from efsgd.convex.pep.setting import Setting

__all__ = [
    "Instance",
    "Replay",
    "Residuals",
    "Setting",
    "WorstCase",
    "replay",
    "worst_case",
]
