"""One stage of quarter_hour.py, in the process that is its own: python stage.py NAME --out ..."""

import argparse
import os
import signal
import sys
from importlib import import_module
from pathlib import Path

BROKEN = os.environ.get("EFSGD_BROKEN", "")  # what the rehearsal wants: "images dies", or fails
if f"{sys.argv[1]} dies" == BROKEN:
    os.kill(os.getpid(), signal.SIGKILL)
if f"{sys.argv[1]} fails" == BROKEN:
    raise RuntimeError("this stage was told to fail")

import torch
from home import Home
from measure import Context, machine

# Where each stage stands: a module with a function of that name that says whether all is well.
STAGES = {
    "decode": ("data", "decode"),
    "probe": ("probe", "run"),
    "step": ("steps", "run"),
    "images": ("images", "run"),
    "parity": ("parity", "run"),
    "train": ("training", "train"),
    "more": ("training", "more"),
}


def context(arguments: list[str]) -> tuple[str, Context]:
    """What to run, and where and how."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("stage", choices=STAGES)
    made.add_argument("--out", type=Path, required=True)
    made.add_argument("--work", type=Path, required=True)
    made.add_argument("--until", type=float, required=True)
    for name in ("--data", "--decoder", "--expect", "--share"):
        made.add_argument(name)
    for name in ("--epochs", "--parallel", "--files"):
        made.add_argument(name, type=int)
    made.add_argument("--mib", type=float)
    made.add_argument("--small", action="store_true")
    given = made.parse_args(arguments)
    if not given.small and not torch.cuda.is_available():
        made.error("there is no GPU here: quarter_hour.py --rehearse tries it on the CPU")
    home = Home(given.out, given.work, given.files, int(given.mib * 2**20))
    own = {name: getattr(given, name) for name in Context.OPTIONS}
    device = torch.device("cpu" if given.small else "cuda")
    return given.stage, Context(device, home, given.work, given.small, given.until, **own)


def main() -> int:
    """Run it; 1 where not all is well."""
    name, at = context(sys.argv[1:])
    print(machine(at), flush=True)
    module, function = STAGES[name]
    try:
        return 0 if getattr(import_module(module), function)(at) else 1
    except KeyboardInterrupt as stopped:  # a training that was asked to stop says how far it came
        print(stopped, flush=True)
        return 1


if __name__ == "__main__":
    sys.exit(main())
