"""The specification of one training of the paper's deep experiments."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from efsgd.checks import positive, whole
from efsgd.deep import models
from efsgd.deep.data.dataset import Dataset
from efsgd.methods.base import Method
from efsgd.provenance import optional

PRECISIONS = ("fp32", "tf32", "bf16")
LEAST = {"batch": 2, "epochs": 1, "seed": 0, "validation": 0, "train_size": 2, "test_size": 1}
LEAST["evaluate_every"] = 1
MOST = {"epochs": 10**6, "seed": 2**63 - 1}  # a history in memory; seeds of 64 bits, signed
LARGEST = torch.finfo(torch.float32).max  # of step sizes: the weights are float32


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training; with the machine, its compiler and versions it determines the history.

    ``data`` is the name of a :class:`Dataset`. ``lr`` is used as it is (see :func:`scaled_lr`) and
    divided by 10 at the start of each epoch of ``drops``, the first epoch being 0. ``train_size``
    and ``test_size`` are the numbers of images, the first ones of each set, and None keeps all. The
    last ``validation`` training images are not trained on and take the place of the test images.
    The test images are evaluated at x after every epoch; the training images and the virtual
    iterate x - e only after the epochs for which :meth:`evaluated` is true.
    """

    # the module that runs it: a result is stale once its source or that of an import has changed
    run_by: ClassVar[tuple[str, ...]] = ("efsgd.deep.training.obtain",)

    method: Method
    lr: float
    model: str = "vgg19"
    data: str = "cifar10"
    batch: int = 128
    epochs: int = 200
    drops: tuple[int, ...] = (100, 150)
    seed: int = 0
    precision: str = "fp32"
    train_size: int | None = None
    test_size: int | None = None
    validation: int = 0
    evaluate_every: int = optional(1)

    def __post_init__(self) -> None:
        """Raise ValueError that names the field with an invalid value."""
        if not isinstance(self.method, Method):
            raise ValueError(f"method must be one such as efsgd.EFSGD(), not {self.method!r}")
        for name, known in (("model", models.NAMES), ("precision", PRECISIONS)):
            if (value := getattr(self, name)) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, not {value!r}")
        if not isinstance(self.data, str) or not self.data or self.data.endswith(".npz"):
            raise ValueError(
                f"data must be the name of a dataset, not {self.data!r}: "
                "for a file it is efsgd.deep.data.load(path).name"
            )
        for name, least in LEAST.items():
            value = getattr(self, name)
            if value is not None or name not in ("train_size", "test_size"):
                value = whole(name, value, MOST.get(name, math.inf), least=least)
                object.__setattr__(self, name, value)
        if not isinstance(self.drops, tuple | list):
            raise ValueError(f"drops must be a tuple of epochs, not {self.drops}: (100,) is one")
        lr: Any = self.lr
        if not isinstance(lr, int | float | np.integer | np.floating) or lr > LARGEST:
            raise ValueError(f"lr must be positive and a number of float32, not {lr!r}")
        # lr=1 and lr=1.0, drops as a list and as a tuple are equal trainings with one spec.
        object.__setattr__(self, "lr", positive("lr", self.lr))
        object.__setattr__(self, "drops", tuple(whole("drops", drop) for drop in self.drops))
        if any(a >= b for a, b in zip(self.drops, self.drops[1:], strict=False)):
            raise ValueError(f"drops must be increasing epochs, not {self.drops}")

    def lr_at(self, epoch: int) -> float:
        """The step size of an epoch, counted from 0: lr/10^k after k drops."""
        return float(self.lr / 10 ** sum(drop <= epoch for drop in self.drops))

    def evaluated(self, epoch: int) -> bool:
        """Whether everything is evaluated after an epoch, counted from 0.

        It is after every ``evaluate_every``-th, the first and the last, and before and after each
        drop.
        """
        ends = {0, self.epochs - 1} | {drop + side for drop in self.drops for side in (-1, 0)}
        return epoch % self.evaluate_every == 0 or epoch in ends

    def chosen(self, dataset: Dataset) -> Dataset:
        """The images to train and test on; ValueError where there are too few."""
        if dataset.name != self.data:
            raise ValueError(
                f"the training is of the data {self.data!r}, not {dataset.name!r}: "
                f"give it data={dataset.name!r}"
            )
        if self.validation:
            dataset = dataset.validation_split(self.validation)
        return dataset.subset(self.train_size, self.test_size)


def scaled_lr(lr_at_128: float, batch: int) -> float:
    """The step size for a batch size, proportional to it as in the paper."""
    return lr_at_128 * batch / 128
