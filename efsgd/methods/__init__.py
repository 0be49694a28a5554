"""The methods: update rules as frozen dataclasses, each a pure function of x, g and its memory."""

from efsgd.methods.base import Form, Memory, Method, StepSize, Update
from efsgd.methods.ef21 import EF21, EF21SGDM, EControl, EF21Plus
from efsgd.methods.feedback import EFSGD, Feedback, check_feedback
from efsgd.methods.sgd import SGD, CompressedSGD, SignSGD, Signum
from efsgd.methods.variants import FullyCorrectiveEF, GradientEF, PostMomentumEF

__all__ = [
    "EF21",
    "EF21SGDM",
    "EFSGD",
    "SGD",
    "CompressedSGD",
    "EControl",
    "EF21Plus",
    "Feedback",
    "Form",
    "FullyCorrectiveEF",
    "GradientEF",
    "Memory",
    "Method",
    "PostMomentumEF",
    "SignSGD",
    "Signum",
    "StepSize",
    "Update",
    "check_feedback",
]
