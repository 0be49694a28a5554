"""Trainings of the paper's deep experiments: values, sessions, checkpoints and results."""

from efsgd.deep.training.events import Measured, Progress
from efsgd.deep.training.interruptions import Stopped
from efsgd.deep.training.obtain import is_stale, run_training, train
from efsgd.deep.training.training import Training, scaled_lr

__all__ = [
    "Measured",
    "Progress",
    "Stopped",
    "Training",
    "is_stale",
    "run_training",
    "scaled_lr",
    "train",
]
