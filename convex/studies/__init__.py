"""What the pictures compute: runs and checks as values, with a method ``compute``."""

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
