"""A quarter of an hour on a GPU: tests, speeds, and a comparison of the paper's methods.

    python benchmarks/gpu/quarter_hour.py check --seconds 220 ...
    python benchmarks/gpu/quarter_hour.py train --seconds 470 ...
    python benchmarks/gpu/quarter_hour.py more  --seconds 470 ...
    python benchmarks/gpu/quarter_hour.py --rehearse

README.md beside this file says what to prepare, what each call does and what comes home. Every
stage is a process group of its own with a deadline, and a stage that fails, hangs or is killed is
noted and the next one runs. This program itself loads no torch.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = [str(ROOT / folder) for folder in ("", "benchmarks", "benchmarks/gpu", "tests")]
sys.path[:0] = FOLDERS

from home import STATE, TESTS, Home
from project import gpu_test_files

GRACE = 10.0  # seconds from the request to stop to the end
PROCESSES = 8  # of the tests


@dataclass(frozen=True)
class Stage:
    """One step of a call, in a process of its own."""

    name: str
    most: float  # seconds
    least: float  # without so many left it is not begun
    stop: signal.Signals = signal.SIGTERM  # what asks it to stop


CALLS = {
    "check": (
        Stage("decode", 40, 5),
        Stage("probe", 70, 15),
        Stage("tests", 90, 15, signal.SIGINT),  # so that what was found is still written
        Stage("step", 60, 10),
        Stage("images", 80, 10),
        Stage("parity", 60, 5),
    ),
    "train": (Stage("decode", 40, 5), Stage("train", 600, 30)),
    "more": (Stage("decode", 40, 5), Stage("more", 600, 30)),
}


def parser() -> argparse.ArgumentParser:
    """What can be said on the command line."""
    made = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    made.add_argument("call", nargs="?", choices=CALLS, help="which part of the quarter of an hour")
    made.add_argument("--seconds", type=float, default=220.0, help="all stages together")
    made.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", "gpu-out")),
                      help="what comes home  [default: $OUT, else gpu-out]")  # fmt: skip
    made.add_argument("--work", type=Path, default=ROOT / "build" / "quarter_hour",
                      help="what stays, and is found again by the next call")  # fmt: skip
    made.add_argument("--data", help="cifar10, FILE.npz, or a packed file with a decoder")
    made.add_argument("--decoder", type=Path, help="python DECODER OUT.npz unpacks the data")
    made.add_argument("--expect", help="the name that the data must have, with its digest")
    made.add_argument("--commit", type=Path, help="a file with the output of git describe")
    made.add_argument("--most", type=float, help="seconds of a stage at most, for --rehearse")
    made.add_argument("--only", default="", help="stages, separated by commas  [default: all]")
    made.add_argument("--share", default="1/1", metavar="I/N", help="of the runs of `more`")
    made.add_argument("--epochs", type=int, help="of `train`, instead of as many as fit")
    made.add_argument("--parallel", type=int, default=4, help="trainings at once")
    made.add_argument("--files", type=int, default=8, help="that may come home")
    made.add_argument("--mib", type=float, default=16.0, help="the size of each at most")
    made.add_argument("--rehearse", action="store_true", help="all of it on the CPU, in small")
    made.add_argument("--small", action="store_true", help="tiny sizes on the CPU, for --rehearse")
    return made


def environment(given: argparse.Namespace) -> dict[str, str]:
    """That of every stage."""
    found = os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": os.pathsep.join(FOLDERS)}
    if given.commit is not None:
        found["EFSGD_COMMIT"] = given.commit.read_text(encoding="utf-8").strip()
    if given.small:  # no GPU, and Triton's kernels in its interpreter
        found |= {"CUDA_VISIBLE_DEVICES": "", "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    return found


def command(stage: Stage, given: argparse.Namespace, seconds: float) -> list[str]:
    """What runs a stage that has so many seconds."""
    if stage.name == "tests":
        options = ["-m", "gpu", "-W", "default", "-q", "-p", "no:cacheprovider"]
        options += [] if given.small else ["-n", str(PROCESSES)]
        options += [f"--junitxml={given.out.resolve() / TESTS}"]
        return [sys.executable, "-m", "pytest", *options, *gpu_test_files()]
    words: dict[str, Any] = {
        **{"--out": given.out.resolve(), "--work": given.work.resolve(), "--seconds": seconds},
        **{"--data": _absolute(given.data), "--decoder": _absolute(given.decoder)},
        **{"--expect": given.expect},
        **{"--share": given.share, "--epochs": given.epochs, "--parallel": given.parallel},
        **{"--files": given.files, "--mib": given.mib},
    }
    script = str(Path(__file__).with_name("stage.py"))
    said = [str(word) for pair in words.items() if pair[1] is not None for word in pair]
    return [sys.executable, script, stage.name, *said, *(["--small"] if given.small else [])]


def _absolute(path: Any) -> Any:
    """A file as every working folder finds it; a name that is no file as it is."""
    return path if path is None or not Path(path).exists() else Path(path).resolve()


def run(stage: Stage, given: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """Run one stage; what became of it."""
    began = time.monotonic()
    words, own = command(stage, given, seconds), environment(given)
    process = subprocess.Popen(words, env=own, cwd=ROOT, start_new_session=True)
    try:
        status = _ended(process.wait(seconds))
    except subprocess.TimeoutExpired:
        status = f"stopped after {seconds:.0f} s" + _stop(process, stage.stop)
    except BaseException:
        _stop(process, stage.stop)
        raise
    finally:
        _signal(process, signal.SIGKILL)  # what it has left running
    return {"status": status, "seconds": round(time.monotonic() - began, 1)}


def _ended(code: int) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return "well" if code == 0 else f"failed with exit code {code}"


def _stop(process: subprocess.Popen[bytes], number: signal.Signals) -> str:
    """Ask a group to stop, and kill it if it does not."""
    _signal(process, number)
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        _signal(process, signal.SIGKILL)
        process.wait()
        return ", by force"
    return ""


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):  # it has ended
        os.killpg(process.pid, number)


def stages(given: argparse.Namespace) -> list[Stage]:
    """Those of a call, or some of them; ValueError for a name that is none."""
    found = {stage.name: stage for stage in CALLS[given.call]}
    names = given.only.split(",") if given.only else list(found)
    if unknown := [name for name in names if name not in found]:
        raise ValueError(f"{given.call} has no stage {unknown[0]}: choose from {', '.join(found)}")
    chosen = [found[name] for name in names]
    if given.most is None:
        return chosen
    return [replace(one, most=given.most, least=min(one.least, given.most)) for one in chosen]


def call(given: argparse.Namespace) -> int:
    """Run the stages of a call; 1 where one is not well."""
    left, end = stages(given), time.monotonic() + given.seconds
    home = Home(given.out, given.work, given.files, int(given.mib * 2**20))
    told: dict[str, Any] = {}
    while left:
        stage, *left = left
        # Time for a request to stop, and for the stages that come after it.
        free = end - time.monotonic() - GRACE - sum(other.least for other in left)
        if given.small:
            free = stage.most
        if free < stage.least:
            told[stage.name] = {"status": f"left out: {max(free, 0):.0f} s were left"}
        else:
            print(f"\n== {stage.name}, at most {min(stage.most, free):.0f} s", flush=True)
            told[stage.name] = run(stage, given, min(stage.most, free))
        print(f"== {stage.name}: {told[stage.name]['status']}", flush=True)
        home.update(STATE, {given.call: told})
    return int(any(one["status"] != "well" for one in told.values()))


def main(arguments: list[str] | None = None) -> int:
    """Rehearse, or run a call; the exit code."""
    made = parser()
    given = made.parse_args(arguments)
    if given.rehearse:
        from rehearse import rehearse

        return rehearse()
    if given.call is None:
        made.error("name a call: check, train or more, or --rehearse")
    try:
        stages(given)
        environment(given)
    except (ValueError, OSError) as error:
        made.error(str(error))
    return call(given)


if __name__ == "__main__":
    sys.exit(main())
