"""The deep track: the optimiser for training of your own, and the paper's experiments on CIFAR.

``EFSGD`` is SGD with compressed updates and error feedback as a ``torch.optim.Optimizer``;
``Training`` and ``train`` run the networks of section 6 (arXiv 1901.09847).
"""

from __future__ import annotations

from efsgd.deep.optim import EFSGD, Density, ef_signsgd, sgdm, signsgd, signsgdm
from efsgd.deep.training import Training, run_training, scaled_lr, train

__all__ = [
    "EFSGD",
    "Density",
    "Training",
    "ef_signsgd",
    "run_training",
    "scaled_lr",
    "sgdm",
    "signsgd",
    "signsgdm",
    "train",
]
