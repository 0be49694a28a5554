"""One stage of quarter_hour.py, in the process that is its own: python stage.py NAME --out ..."""

import argparse
import os
import signal
import sys
from importlib import import_module
from pathlib import Path

BROKEN = os.environ.get("EFSGD_BROKEN", "")  # set by the rehearsal: "images dies" or "fails"
if f"{sys.argv[1]} dies" == BROKEN:
    os.kill(os.getpid(), signal.SIGKILL)
if f"{sys.argv[1]} fails" == BROKEN:
    raise RuntimeError("this stage was told to fail")

import torch
from measure import Context, machine
from output import OutputFolder

# The module and function of each stage; the function returns whether all is well.
STAGES = {
    "decode": ("data", "decode"),
    "probe": ("probe", "run"),
    "step": ("steps", "run"),
    "images": ("images", "run"),
    "parity": ("parity", "run"),
    "train": ("training", "train"),
    "more": ("training", "more"),
}


def parse(arguments: list[str]) -> tuple[str, Context]:
    """The name of the stage, and its context."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--until", type=float, required=True)
    for name in ("--data", "--decoder", "--expect", "--share"):
        parser.add_argument(name)
    for name in ("--epochs", "--parallel", "--files"):
        parser.add_argument(name, type=int)
    parser.add_argument("--mib", type=float)
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args(arguments)
    if not options.small and not torch.cuda.is_available():
        parser.error("there is no GPU here: quarter_hour.py --rehearse tries it on the CPU")
    max_bytes = int(options.mib * 2**20)
    return options.stage, Context(
        device=torch.device("cpu" if options.small else "cuda"),
        output=OutputFolder(options.out, options.work, options.files, max_bytes),
        work=options.work,
        small=options.small,
        deadline=options.until,
        **{name: getattr(options, name) for name in Context.OPTIONS},
    )


def main() -> int:
    """Run the stage; 1 where not all is well."""
    name, context = parse(sys.argv[1:])
    print(machine(context), flush=True)
    module, function = STAGES[name]
    try:
        return 0 if getattr(import_module(module), function)(context) else 1
    except KeyboardInterrupt as stopped:  # a training that was asked to stop says how far it came
        print(stopped, flush=True)
        return 1


if __name__ == "__main__":
    sys.exit(main())
