"""EFSGD as a ``torch.optim.Optimizer``: one reference step, and the forms of it that are faster."""

from efsgd.deep.optim.density import Density
from efsgd.deep.optim.optimiser import EFSGD
from efsgd.deep.optim.paper import ef_signsgd, sgdm, signsgd, signsgdm

__all__ = [
    "EFSGD",
    "Density",
    "ef_signsgd",
    "sgdm",
    "signsgd",
    "signsgdm",
]
