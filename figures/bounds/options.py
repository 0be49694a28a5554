"""The options of ``efsgd-figures bounds``, apart from what they need: --help must be fast."""

from __future__ import annotations

from pathlib import Path

import click

AGAIN = "May be given more than once"
FILE = click.Path(dir_okay=False, path_type=Path)
LARGEST = 131072  # dimension of efsgd.verify

BOUNDS = (
    click.option(
        "--compressor",
        "compressors",
        multiple=True,
        metavar="SPEC",
        help=f"Such as topk:0.01. {AGAIN}.  [default: every built-in one]",
    ),
    click.option(
        "--d",
        "dims",
        type=click.IntRange(min=1, max=LARGEST),
        metavar="D",
        multiple=True,
        help=f"A dimension. {AGAIN}.  [default: 1, 2, 5, 16, 256]",
    ),
    click.option(
        "--module",
        metavar="FILE.py:NAME",
        help="A compressor of your own: a subclass of efsgd.Compressor, an instance of one, or a "
        "function x -> C(x) or (x, rng) -> C(x) of one vector. The file is run.",
    ),
    click.option(
        "--delta",
        type=float,
        help="What a function is held to.  [default: the file's `delta`, a number or d -> delta]",
    ),
    click.option(
        "--vectors",
        type=FILE,
        metavar="FILE.npz",
        help="Gradients of your own, arrays (d,) or (n, d) written by numpy.savez: what is "
        "achieved on them.",
    ),
)
