"""The calls of quarter_hour.py: their stages, and the options of the command line."""

from __future__ import annotations

import argparse
import os
import signal
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DESCRIPTION = (
    "A quarter of an hour on a GPU: tests, speeds, and a comparison of the paper's methods."
)
DESCRIPTION = (
    "A quarter of an hour on a GPU: tests, speeds, and a comparison of the paper's methods."
)


@dataclass(frozen=True)
class Stage:
    """One step of a call, in a process of its own."""

    name: str
    most: float  # seconds
    least: float  # seconds without which it is not started: importing torch alone takes eight
    stop: signal.Signals = signal.SIGTERM  # requests it to stop


Group = tuple[Stage, ...]  # stages that run at the same time
DECODE = Stage("decode", 60, 10)
CALLS: dict[str, tuple[Group, ...]] = {
    "check": (
        (DECODE, Stage("probe", 80, 25)),  # which takes the stand-in
        (Stage("images", 80, 35),),
        (Stage("tests", 100, 40, signal.SIGINT), Stage("parity", 100, 25)),  # SIGINT: it reports
        (Stage("step", 70, 30),),
    ),
    "train": ((DECODE,), (Stage("train", 900, 60),)),
    "more": ((DECODE,), (Stage("more", 900, 60),)),
}


def build_parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=DESCRIPTION)
    parser.add_argument(
        "call", nargs="?", choices=CALLS, help="which part of the quarter of an hour"
    )
    parser.add_argument("--seconds", type=float, default=220.0, help="all stages together")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", "gpu-out")),
                      help="what comes home  [default: $OUT, else gpu-out]")  # fmt: skip
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "quarter_hour",
                      help="what stays, and is found again by the next call")  # fmt: skip
    parser.add_argument("--data", help="cifar10, FILE.npz, or a packed file with a decoder")
    parser.add_argument("--decoder", type=Path, help="python DECODER OUT.npz unpacks the data")
    parser.add_argument("--expect", help="the name that the data must have, with its digest")
    parser.add_argument("--commit", type=Path, help="a file with the output of git describe")
    parser.add_argument("--most", type=float, help="seconds of a stage at most, for --rehearse")
    parser.add_argument("--only", default="", help="stages, separated by commas  [default: all]")
    parser.add_argument("--share", default="1/1", metavar="I/N", help="of the runs of `more`")
    parser.add_argument("--epochs", type=int, help="of every run, instead of as many as fit")
    parser.add_argument("--parallel", type=int, default=4, help="trainings at once")
    parser.add_argument("--files", type=int, default=8, help="that may come home")
    parser.add_argument("--mib", type=float, default=16.0, help="the size of each at most")
    parser.add_argument("--rehearse", action="store_true", help="all of it on the CPU, in small")
    parser.add_argument(
        "--small", action="store_true", help="tiny sizes on the CPU, for --rehearse"
    )
    return parser
