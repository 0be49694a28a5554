"""What the figures show, as values: frozen dataclasses of runs and checks with ``compute``.

``compute()`` returns named arrays, ``cost`` is how long that takes relative to the others; a value
is its own description, so that a saved result can be matched with the study that it belongs to.
"""

from efsgd.convex.studies.bound_checks import Bounds
from efsgd.convex.studies.error_lemma import Memories
from efsgd.convex.studies.extremal_compressors import AlongVirtual, Onward
from efsgd.convex.studies.section_five import Untouched
from efsgd.convex.studies.side_by_side import MemoryUnits, SideBySide
from efsgd.convex.studies.theorem_three import Steepest, TheoremThree
from efsgd.convex.studies.theorem_two import Halved, MeanGradients
from efsgd.convex.studies.vary import Certified, Vary
from efsgd.convex.studies.worst_cases import ExactChecks, LyapunovRates, WorstCases

__all__ = [
    "AlongVirtual",
    "Bounds",
    "Certified",
    "ExactChecks",
    "Halved",
    "LyapunovRates",
    "MeanGradients",
    "Memories",
    "MemoryUnits",
    "Onward",
    "SideBySide",
    "Steepest",
    "TheoremThree",
    "Untouched",
    "Vary",
    "WorstCases",
]
