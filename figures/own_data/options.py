"""The options of ``efsgd-figures convex`` for data of one's own, apart from what they need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

AGAIN = "May be given more than once"
FILE = click.Path(dir_okay=False, path_type=Path)

USER_DATA = (
    click.option(
        "--data",
        type=FILE,
        metavar="FILE",
        help="Data of your own instead of the paper's figures: LIBSVM text (also .gz, .bz2, .xz) "
        "or .npz with X and y.",
    ),
    click.option(
        "--loss",
        type=click.Choice(("squares", "logistic")),
        help="[default: squares; needs --data]",
    ),
    click.option(
        "--method",
        "methods",
        multiple=True,
        metavar="NAME",
        help="sgd, sgdm, signsgd, signsgdm with ternary signs, sign(0) = 0; with --compressor: "
        "compressed (no feedback), ef, ef21, ef21-sgdm, ef21-plus (no random compressor), "
        "econtrol, post-momentum, gradient-ef (is ef where step sizes are constant, as here), "
        "diana (an unbiased compressor), fully-corrective; vote is signsgd with majority vote of "
        "the workers. "
        f"{AGAIN}.  [default: sgd, signsgd, signsgdm, ef]",
    ),
    click.option(
        "--compressor",
        "compressors",
        multiple=True,
        metavar="SPEC",
        help=f"Of the methods that compress, such as topk:0.01. {AGAIN}.  "
        "[default: scaledsign:zero=0]",
    ),
    click.option(
        "--lr",
        "rates",
        multiple=True,
        metavar="[METHOD=]LR",
        help=f"Step size of all methods or of one. {AGAIN}.  [default: tuned on the train loss]",
    ),
    click.option("--steps", type=click.IntRange(min=1), help="[default: 500]"),
    click.option(
        "--batch", type=click.IntRange(min=1), help="Rows that a step sees.  [default: all]"
    ),
    click.option(
        "--workers",
        type=click.IntRange(min=1),
        help="Workers among whom the training rows are dealt; --batch is of each.  [default: 1]",
    ),
    click.option(
        "--split",
        metavar="iid|label|sorted|dirichlet:A",
        help="How rows are dealt: at random, by label, in the order of y, or each label in random "
        "proportions, the less even the smaller A.  [default: iid]",
    ),
    click.option("--l2", type=float, help="Penalty (l2/2)|w|^2 of logistic.  [default: 1/n]"),
    click.option(
        "--test", metavar="SHARE|FILE", help="Rows held out, or a test file.  [default: 0.2]"
    ),
    click.option("--standardise", is_flag=True, help="Scale each feature; centre dense ones."),
    click.option("--intercept", is_flag=True, help="Append a feature that is always 1."),
)


FLAGS = {  # by the names under which click hands the options on
    "data": "--data",
    "loss": "--loss",
    "methods": "--method",
    "rates": "--lr",
    "compressors": "--compressor",
    "steps": "--steps",
    "batch": "--batch",
    "workers": "--workers",
    "split": "--split",
    "l2": "--l2",
    "test": "--test",
    "standardise": "--standardise",
    "intercept": "--intercept",
}


def given(parameters: dict[str, Any], figures: tuple[str, ...]) -> dict[str, Any]:
    """The options above, which are taken out of the parameters of a command.

    Raises ValueError where one of them came without --data, or --data beside names of figures.
    """
    options = {name: parameters.pop(name) for name in FLAGS}
    if options["data"] is None:
        for name, value in options.items():
            if value is not None and value != () and value is not False:
                raise ValueError(f"{FLAGS[name]} is for data of your own: add --data FILE")
    elif figures:
        raise ValueError(
            f"--data draws a picture of its own, not {figures[0]}: leave out one of both"
        )
    return options
