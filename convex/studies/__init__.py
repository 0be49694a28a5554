"""What the figures show, as values: frozen dataclasses of runs and checks with ``compute``.

``compute()`` returns named arrays, ``cost`` is how long that takes relative to the others; a value
is its own description, so that a saved result can be matched with the study that it belongs to.
"""

from efsgd.convex.studies.absent_workers import AbsenceFloor, PresentOnly
from efsgd.convex.studies.bound_checks import Bounds, ScaledMultiples
from efsgd.convex.studies.error_lemma import AlongMemory, GivenLengths, Memories
from efsgd.convex.studies.expected_steps import AllPaths, ExpectedSquares
from efsgd.convex.studies.extremal_compressors import AlongVirtual, Onward, Turning
from efsgd.convex.studies.for_free import LongRuns
from efsgd.convex.studies.four_weights import LabelDraws
from efsgd.convex.studies.local_limits import LocalLimits
from efsgd.convex.studies.noisy_quadratic import NoisyQuadratic
from efsgd.convex.studies.plain_feedback import PlainFeedback, SmallStepFeedback
from efsgd.convex.studies.section_five import Untouched
from efsgd.convex.studies.several_workers import MeanIterates, StationaryGaps, Votes
from efsgd.convex.studies.side_by_side import MemoryUnits, SideBySide
from efsgd.convex.studies.steps_to_loss import CostToLoss, StepsToLoss
from efsgd.convex.studies.theorem_three import Steepest, TheoremThree
from efsgd.convex.studies.theorem_two import Halved, MeanGradients, Steady
from efsgd.convex.studies.tuned import Tuned
from efsgd.convex.studies.tuned_worst_cases import TunedWorstCases
from efsgd.convex.studies.unbiased_moments import EntryGrowth, UnbiasedMoments, Unscaled
from efsgd.convex.studies.vary import Certified, Vary
from efsgd.convex.studies.worst_cases import LyapunovRates, RateProofs, WorstCases

__all__ = [
    "AbsenceFloor",
    "AllPaths",
    "AlongMemory",
    "AlongVirtual",
    "Bounds",
    "Certified",
    "CostToLoss",
    "EntryGrowth",
    "ExpectedSquares",
    "GivenLengths",
    "Halved",
    "LabelDraws",
    "LocalLimits",
    "LongRuns",
    "LyapunovRates",
    "MeanGradients",
    "MeanIterates",
    "Memories",
    "MemoryUnits",
    "NoisyQuadratic",
    "Onward",
    "PlainFeedback",
    "PresentOnly",
    "RateProofs",
    "ScaledMultiples",
    "SideBySide",
    "SmallStepFeedback",
    "StationaryGaps",
    "Steady",
    "Steepest",
    "StepsToLoss",
    "TheoremThree",
    "Tuned",
    "TunedWorstCases",
    "Turning",
    "UnbiasedMoments",
    "Unscaled",
    "Untouched",
    "Vary",
    "Votes",
    "WorstCases",
]
