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
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = [str(ROOT / folder) for folder in ("", "benchmarks", "benchmarks/gpu", "tests")]
sys.path[:0] = FOLDERS

from home import STATE, TESTS, Home
from project import gpu_test_files

GRACE = 15.0  # seconds from the request to stop to the end: pytest-xdist waits ten for a worker
PROCESSES = 8  # of the tests


@dataclass(frozen=True)
class Stage:
    """One step of a call, in a process of its own."""

    name: str
    most: float  # seconds
    least: float  # without so many left it is not begun: torch alone takes eight to load
    stop: signal.Signals = signal.SIGTERM  # what asks it to stop


Group = tuple[Stage, ...]  # stages that run side by side, and do not disturb each other
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
running: list[subprocess.Popen[bytes]] = []


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
    made.add_argument("--epochs", type=int, help="of every run, instead of as many as fit")
    made.add_argument("--parallel", type=int, default=4, help="trainings at once")
    made.add_argument("--files", type=int, default=8, help="that may come home")
    made.add_argument("--mib", type=float, default=16.0, help="the size of each at most")
    made.add_argument("--rehearse", action="store_true", help="all of it on the CPU, in small")
    made.add_argument("--small", action="store_true", help="tiny sizes on the CPU, for --rehearse")
    return made


def environment(given: argparse.Namespace) -> dict[str, str]:
    """That of every stage."""
    paths = [*FOLDERS, *filter(None, [os.environ.get("PYTHONPATH")])]
    found = os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": os.pathsep.join(paths)}
    if given.commit is not None:
        found["EFSGD_COMMIT"] = given.commit.read_text(encoding="utf-8").strip()
    if given.small:  # no GPU, and Triton's kernels in its interpreter
        found |= {"CUDA_VISIBLE_DEVICES": "", "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    return found


def command(stage: Stage, given: argparse.Namespace, until: float) -> list[str]:
    """What runs a stage that has so long, by the monotonic clock, which all processes share."""
    if stage.name == "tests":
        options = ["-m", "gpu", "-W", "default", "-q", "-p", "no:cacheprovider"]
        options += [] if given.small else ["-n", str(PROCESSES)]
        options += [f"--junitxml={given.out.resolve() / TESTS}"]
        return [sys.executable, "-m", "pytest", *options, *gpu_test_files()]
    words: dict[str, Any] = {
        **{"--out": given.out.resolve(), "--work": given.work.resolve(), "--until": until},
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
    words, own = command(stage, given, began + seconds), environment(given)
    process = subprocess.Popen(words, env=own, cwd=ROOT, start_new_session=True)
    running.append(process)
    try:
        status = _ended(process.wait(seconds))
    except subprocess.TimeoutExpired:
        status = f"stopped after {seconds:.0f} s" + _stop(process, stage.stop)
    finally:
        _signal(process, signal.SIGKILL)  # what it has left running
        running.remove(process)
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


def _leave(number: int, frame: Any) -> NoReturn:
    """End every stage: they are no children of the shell, and would go on without this process."""
    for process in list(running):
        _signal(process, signal.SIGKILL)
    os._exit(128 + number)


def groups(given: argparse.Namespace) -> list[Group]:
    """The stages of a call, or some of them; ValueError for a name that is none."""
    every = CALLS[given.call]
    known = [stage.name for group in every for stage in group]
    names = given.only.split(",") if given.only else list(known)
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"{given.call} has no stage {unknown[0]}: choose from {', '.join(known)}")
    if not given.only and given.call != "check" and decoded(given):
        names.remove(DECODE.name)
    chosen = [tuple(stage for stage in group if stage.name in names) for group in every]
    if given.most is not None:
        own = {"most": given.most, "least": 0.0}
        chosen = [tuple(replace(stage, **own) for stage in group) for group in chosen]
    return [group for group in chosen if group]


def decoded(given: argparse.Namespace) -> bool:
    """Whether an earlier call has unpacked these data, and they are still there."""
    known = Home(given.out, given.work).read(STATE).get("data", {})
    same = known.get("given") == str(_absolute(given.data))
    same = same and given.expect in (None, known.get("name"))
    return same and Path(known["what"]).is_file()


def call(given: argparse.Namespace) -> int:
    """Run the stages of a call; 1 where one is not well."""
    left, end = groups(given), time.monotonic() + given.seconds
    home = Home(given.out, given.work, given.files, int(given.mib * 2**20))
    told: dict[str, Any] = {}
    while left:
        group, *left = left
        # Time for a request to stop, and for the stages that come after these.
        behind = sum(max(stage.least for stage in other) for other in left)
        free = 1e9 if given.small else end - time.monotonic() - GRACE - behind
        begun = [stage for stage in group if stage.least <= free]
        for stage in group:
            told[stage.name] = {"status": f"left out: {max(free, 0):.0f} s were left"}
            asked = f"at most {min(stage.most, free):.0f} s" if stage in begun else "left out"
            print(f"\n== {stage.name}, {asked}", flush=True)
        with ThreadPoolExecutor(len(group)) as crew:
            runs = [crew.submit(run, stage, given, min(stage.most, free)) for stage in begun]
        for stage, future in zip(begun, runs, strict=True):
            told[stage.name] = future.result()
            print(f"== {stage.name}: {told[stage.name]['status']}", flush=True)
        try:
            home.update(STATE, {given.call: told})
        except OSError as error:  # a full folder is no reason to stop
            print(f"== {error}", flush=True)
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
        groups(given)
        environment(given)
    except (ValueError, OSError) as error:
        made.error(str(error))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    return call(given)


if __name__ == "__main__":
    sys.exit(main())
