"""The methods: update rules as frozen dataclasses, each a pure function of x, g and its memory."""

from efsgd.methods.base import Form, Mean, Memory, Method, StepSize, Update
from efsgd.methods.differences import DASHA, DIANA, MARINA
from efsgd.methods.ef21 import EF21, EF21SGDM, EControl, EF21Plus
from efsgd.methods.faults import Faults
from efsgd.methods.feedback import EFSGD, Feedback, check_feedback
from efsgd.methods.local import LocalSteps
from efsgd.methods.sgd import SGD, CompressedSGD, MajorityVote, SignSGD, Signum
from efsgd.methods.team import Team
from efsgd.methods.team_state import Streams, TeamMemory, TeamUpdate
from efsgd.methods.variants import FullyCorrectiveEF, GradientEF, PostMomentumEF

__all__ = [
    "DASHA",
    "DIANA",
    "EF21",
    "EF21SGDM",
    "EFSGD",
    "MARINA",
    "SGD",
    "CompressedSGD",
    "EControl",
    "EF21Plus",
    "Faults",
    "Feedback",
    "Form",
    "FullyCorrectiveEF",
    "GradientEF",
    "LocalSteps",
    "MajorityVote",
    "Mean",
    "Memory",
    "Method",
    "PostMomentumEF",
    "SignSGD",
    "Signum",
    "StepSize",
    "Streams",
    "Team",
    "TeamMemory",
    "TeamUpdate",
    "Update",
    "check_feedback",
]
