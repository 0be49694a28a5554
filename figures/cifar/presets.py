"""The grids of the deep experiments: methods, models, data, batch sizes, schedules, step sizes.

What decides how long a preset takes, and with which step sizes, stands here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from efsgd import EFSGD, SGD, CompressedSGD, Method, ScaledSign, Sign, Signum, compressor
from efsgd.figures.cifar import paper

WEIGHT_DECAY = 5e-4
# The paper's methods. Signs are ternary, sign(0) = 0, as in its code.
METHODS: dict[str, Method] = {
    "sgdm": SGD(momentum=0.9, weight_decay=WEIGHT_DECAY),
    "signsgd": CompressedSGD(ScaledSign(zero=0), weight_decay=WEIGHT_DECAY),
    "signsgdm": Signum(Sign(zero=0), momentum=0.9, weight_decay=WEIGHT_DECAY),
    "ef-signsgd": EFSGD(ScaledSign(zero=0), weight_decay=WEIGHT_DECAY),
}
LABELS = {
    "sgdm": "SGDm",
    "signsgd": "scaled signSGD",
    "signsgdm": "signSGDm",
    "ef-signsgd": "EF-signSGD",
}
PREFIX = "ef:"  # error feedback with any compressor, by its spec string: "ef:topk:0.01"


@dataclass(frozen=True)
class StepSizes:
    """Tuned step sizes: ``lr[method]`` at this batch size, in proportion to it elsewhere."""

    batch: int
    lr: Mapping[str, float]


@dataclass(frozen=True)
class Preset:
    """A grid. Step sizes also serve pairs that nobody tuned, see :func:`grid.donor`."""

    pairs: tuple[tuple[str, str], ...]  # model, data
    batches: tuple[int, ...]
    seeds: int
    epochs: int
    drops: tuple[int, ...]  # epochs at which the step size is divided by 10
    step_sizes: Mapping[tuple[str, str], StepSizes]
    train_size: int | None = None  # images; None is all of them
    test_size: int | None = None
    tuning_epochs: int = 100
    precision: str = "fp32"
    # Seeds of (model, batch size); a model that is a key here has no batch sizes but these.
    seeds_at: Mapping[tuple[str, int], int] = field(default_factory=dict)


# ---- the constants of `small` -------------------------------------------------------------------
SMALL_TRAIN, SMALL_TEST = 8000, 2000  # images of CIFAR-10
SMALL_EPOCHS = 10
SMALL_BATCH = 64
# Source: `efsgd-figures tune --preset small --data cifar10_jpeg.npz --validation 2000`, on CIFAR-10
# after one JPEG pass; its 36 results are in results/cifar, and a test chooses from them again.
SMALL_PAIRS = (("resnet8", "cifar10"), ("resnet8", "cifar10_jpeg-cd31482d67a5"))
SMALL_STEP_SIZES = {
    "sgdm": 10**-1.25,
    "signsgd": 10**-0.5,
    "signsgdm": 10**-3.5,
    "ef-signsgd": 10**-0.5,
}
# --------------------------------------------------------------------------------------------------

# ---- the constants of `short` -------------------------------------------------------------------
SHORT_EPOCHS = 30  # of the paper's 200
SHORT_SEEDS = {("vgg19", 128): 3, ("vgg19", 8): 1, ("resnet18", 128): 1}
# --------------------------------------------------------------------------------------------------

PAPER_STEP_SIZES = {pair: StepSizes(128, lr) for pair, lr in paper.STEP_SIZES.items()}
PRESETS = {
    "paper": Preset(
        pairs=paper.PAIRS,
        batches=paper.BATCHES,
        seeds=paper.SEEDS,
        epochs=paper.EPOCHS,
        drops=paper.DROPS,
        step_sizes=PAPER_STEP_SIZES,
    ),
    "short": Preset(
        pairs=(("vgg19", "cifar10"), ("resnet18", "cifar10")),
        batches=(128, 8),
        seeds=1,
        epochs=SHORT_EPOCHS,
        drops=(SHORT_EPOCHS // 2, 3 * SHORT_EPOCHS // 4),
        step_sizes=PAPER_STEP_SIZES,
        tuning_epochs=SHORT_EPOCHS // 2,  # up to the first drop, as the paper's 100
        precision="bf16",
        seeds_at=SHORT_SEEDS,
    ),
    "small": Preset(
        pairs=(("resnet8", "cifar10"),),
        batches=(SMALL_BATCH,),
        seeds=3,
        epochs=SMALL_EPOCHS,
        drops=(SMALL_EPOCHS // 2, 3 * SMALL_EPOCHS // 4),
        step_sizes=dict.fromkeys(SMALL_PAIRS, StepSizes(SMALL_BATCH, SMALL_STEP_SIZES)),
        train_size=SMALL_TRAIN,
        test_size=SMALL_TEST,
        tuning_epochs=SMALL_EPOCHS // 2,  # fp32: bf16 takes hours on a CPU without its instructions
    ),
    "smoke": Preset(
        pairs=(("resnet8", "standin"),),
        batches=(32,),
        seeds=2,
        epochs=4,
        drops=(2, 3),
        step_sizes={("resnet8", "standin"): StepSizes(32, SMALL_STEP_SIZES)},
        train_size=400,
        test_size=200,
        tuning_epochs=2,
    ),
}
# What --quick draws: starting up takes longer than training this.
QUICK = replace(
    PRESETS["smoke"],
    seeds=1,
    epochs=2,
    drops=(1,),
    train_size=64,
    test_size=32,
    tuning_epochs=1,
)


def label(method: str) -> str:
    """The name of a method in pictures: "SGDm", or "EF topk:0.01"."""
    return LABELS[method] if method in LABELS else f"EF {method.removeprefix(PREFIX)}"


def method_of(name: str) -> Method:
    """The method of a key: one of METHODS, or error feedback with the compressor after "ef:"."""
    if name.startswith(PREFIX):
        return EFSGD(compressor(name.removeprefix(PREFIX)), weight_decay=WEIGHT_DECAY)
    if name not in METHODS:
        raise ValueError(f"no method is called {name!r}: choose from {', '.join(METHODS)}")
    return METHODS[name]
