"""What the paper published about its deep experiments, in the units of this project.

Accuracies are in percent. They are those of the tables of arXiv 1901.09847 (section 6 and its
appendix) together with the figures stored in the paper's public code: for every method the best,
over all epochs, of the test accuracy averaged over 3 repeats. They were selected on the test set.
"""

from __future__ import annotations

SOURCE = "section 6"
SEEDS = 3  # repeats
BATCHES = (128, 32, 8)
EPOCHS = 200
DROPS = (100, 150)  # epochs at which the step size is divided by 10
MINIMUM_PHI = 0.134  # of g + e over all epochs, VGG19 on CIFAR-10, EF-signSGD
METHODS = ("sgdm", "signsgd", "signsgdm", "ef-signsgd")

# SGDm's accuracy, then the gaps to it of the other three methods, in points
_ACCURACY: dict[tuple[str, str], dict[int, tuple[float, float, float, float]]] = {
    ("vgg19", "cifar10"): {
        128: (93.38, -1.31, -0.94, -0.68),
        32: (93.42, -1.49, -1.54, -0.71),
        8: (93.09, -20.22, -2.75, -0.27),
    },
    ("resnet18", "cifar100"): {
        128: (75.35, -2.21, -3.15, -0.92),
        32: (76.22, -3.04, -3.57, -0.79),
        8: (74.91, -36.35, -6.60, -0.64),
    },
}
PAIRS = tuple(_ACCURACY)

# Step sizes at batch 128, multiplied by batch/128 elsewhere. The paper chose them from
# numpy.logspace(-5, 1, 9) by the accuracy on the test set after 100 epochs.
STEP_SIZES: dict[tuple[str, str], dict[str, float]] = {
    ("vgg19", "cifar10"): {
        "sgdm": 0.01,
        "signsgd": 0.05623413251903491,
        "signsgdm": 5.623413251903491e-05,
        "ef-signsgd": 0.05623413251903491,
    },
    ("resnet18", "cifar100"): {
        "sgdm": 0.01,
        "signsgd": 0.05623413251903491,
        "signsgdm": 0.00031622776601683794,
        "ef-signsgd": 0.05623413251903491,
    },
}


def gap(model: str, data: str, batch: int, method: str) -> float | None:
    """The published difference to SGDm in points (0 for SGDm itself); None where there is none."""
    row = _ACCURACY.get((model, data), {}).get(batch)
    if row is None or method not in METHODS:
        return None
    return 0.0 if method == "sgdm" else row[METHODS.index(method)]


def accuracy(model: str, data: str, batch: int, method: str) -> float | None:
    """The published test accuracy in percent; None where there is none."""
    difference = gap(model, data, batch, method)
    return None if difference is None else _ACCURACY[model, data][batch][0] + difference
