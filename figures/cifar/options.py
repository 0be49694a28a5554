"""The options of the commands ``cifar`` and ``tune``.

Names of models, methods and compressors are checked where they are known; this imports nothing.
"""

from __future__ import annotations

from pathlib import Path

import click

from efsgd.figures.options import AGAIN

PRESETS = ("paper", "short", "small", "smoke")
FORMS = ("loop", "foreach", "compiled", "triton")

DEEP = (
    click.option(
        "--model", "models", multiple=True, help=f"Such as vgg19, resnet18, resnet8. {AGAIN}."
    ),
    click.option(
        "--data",
        multiple=True,
        metavar="cifar10|cifar100|FILE.npz",
        help=f"Or standin, which is synthetic. {AGAIN}.",
    ),
    click.option(
        "--data-dir",
        type=click.Path(file_okay=False, path_type=Path),
        help="Where CIFAR is, or is downloaded to.",
    ),
    click.option(
        "--batch",
        "batches",
        type=click.IntRange(min=2),
        multiple=True,
        help=f"Batch size. {AGAIN}.",
    ),
    click.option(
        "--method",
        "methods",
        multiple=True,
        metavar="sgdm|signsgd|signsgdm|ef-signsgd",
        help=f"{AGAIN}.  [default: all four]",
    ),
    click.option("--seeds", type=click.IntRange(min=1), help="How many seeds, from --seed on."),
    click.option("--epochs", type=click.IntRange(min=1), help="How many epochs."),
    click.option(
        "--device", default="cpu", show_default=True, metavar="cpu|cuda|cuda:N", help="One device."
    ),
    click.option(
        "--precision",
        type=click.Choice(("fp32", "tf32", "bf16")),
        help="tf32 needs a GPU.  [default: bf16 for the preset short, else fp32]",
    ),
    click.option("--compile", is_flag=True, help="Run the model through torch.compile."),
    click.option(
        "--graph/--no-graph",
        default=None,
        help="Each step as one CUDA graph.  [default: on CUDA, if it works]",
    ),
    click.option(
        "--form",
        type=click.Choice(FORMS),
        help="How the optimiser's step is computed.  [default: the best that works]",
    ),
    click.option(
        "--evaluate-every",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        metavar="K",
        help="Evaluate training images and x - e every K epochs only (first, drops, last always).",
    ),
    click.option(
        "--parallel",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        metavar="K",
        help="Trainings at once in one process, each with a stream and a CUDA graph of its own.",
    ),
)

CIFAR = (
    click.option(
        "--preset",
        type=click.Choice(PRESETS),
        default="small",
        show_default=True,
        help=(
            "paper: all of section 6, GPU days. short: its networks on CIFAR-10 in 30 epochs, for "
            "one GPU. small: minutes on a CPU. smoke: no download."
        ),
    ),
    *DEEP,
    click.option(
        "--compressor",
        "compressors",
        multiple=True,
        metavar="SPEC",
        help=f"Also error feedback with this, such as topk:0.01. {AGAIN}.",
    ),
    click.option("--dry-run", is_flag=True, help="Print the grid and the hours that it takes."),
    click.option(
        "--share",
        "part",
        default="1/1",
        metavar="I/N",
        help="Train every N-th run only, from the I-th on; copy the results together later.",
    ),
    click.option("--draw", is_flag=True, help="Train nothing: draw what there is."),
)

TUNE = (
    click.option(
        "--preset",
        type=click.Choice(PRESETS),
        default="paper",
        show_default=True,
        help="Models, data, batch sizes and the start of the schedule.",
    ),
    *DEEP,
    click.option(
        "--grid",
        "rates",
        metavar="LR,LR,...",
        help="Step sizes to try.  [default: numpy.logspace(-5, 1, 9)]",
    ),
    click.option(
        "--validation",
        type=click.IntRange(min=1),
        default=5000,
        show_default=True,
        help="Training images that are held out to choose by; the test images are not used.",
    ),
)
