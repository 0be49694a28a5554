"""A quarter of an hour on a GPU: tests, speeds, and a comparison of the paper's methods.

    python benchmarks/gpu/quarter_hour.py check --seconds 220 ...
    python benchmarks/gpu/quarter_hour.py train --seconds 470 ...
    python benchmarks/gpu/quarter_hour.py more  --seconds 470 ...
    python benchmarks/gpu/quarter_hour.py --rehearse

README.md beside this file says what to prepare, what each call does and which files come back.
Every stage is a process group of its own with a deadline; where a stage fails, hangs or is killed,
that is recorded and the next one runs. This program itself does not import torch.
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
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = [str(ROOT / folder) for folder in ("", "benchmarks", "benchmarks/gpu", "tests")]
sys.path[:0] = FOLDERS

from calls import CALLS, DECODE, Group, Stage, build_parser
from output import STATE, TESTS, OutputFolder
from project import gpu_test_files

GRACE = 15.0  # seconds from the request to stop to the end: pytest-xdist waits ten for a worker
PROCESSES = 8  # of the tests


running: list[subprocess.Popen[bytes]] = []


def environment(options: argparse.Namespace) -> dict[str, str]:
    """The environment variables of every stage."""
    paths = [*FOLDERS, *filter(None, [os.environ.get("PYTHONPATH")])]
    variables = os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": os.pathsep.join(paths)}
    if options.commit is not None:
        variables["EFSGD_COMMIT"] = options.commit.read_text(encoding="utf-8").strip()
    if options.small:  # no GPU, and Triton's kernels in its interpreter
        variables |= {"CUDA_VISIBLE_DEVICES": "", "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    return variables


def command(stage: Stage, options: argparse.Namespace, deadline: float) -> list[str]:
    """The command of a stage; its deadline is by the monotonic clock, which all processes share."""
    if stage.name == "tests":
        words = ["-m", "gpu", "-W", "default", "-q", "-p", "no:cacheprovider"]
        words += [] if options.small else ["-n", str(PROCESSES)]
        words += [f"--junitxml={options.out.resolve() / TESTS}"]
        return [sys.executable, "-m", "pytest", *words, *gpu_test_files()]
    values: dict[str, Any] = {
        "--out": options.out.resolve(),
        "--work": options.work.resolve(),
        "--until": deadline,
        "--data": _absolute(options.data),
        "--decoder": _absolute(options.decoder),
        "--expect": options.expect,
        "--share": options.share,
        "--epochs": options.epochs,
        "--parallel": options.parallel,
        "--files": options.files,
        "--mib": options.mib,
    }
    script = str(Path(__file__).with_name("stage.py"))
    words = [str(word) for pair in values.items() if pair[1] is not None for word in pair]
    return [sys.executable, script, stage.name, *words, *(["--small"] if options.small else [])]


def _absolute(path: Any) -> Any:
    """The absolute path of a file that exists, for another working folder; else the argument."""
    return path if path is None or not Path(path).exists() else Path(path).resolve()


def run(stage: Stage, options: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """Run one stage; its outcome, with "status" and "seconds"."""
    start = time.monotonic()
    words, variables = command(stage, options, start + seconds), environment(options)
    process = subprocess.Popen(words, env=variables, cwd=ROOT, start_new_session=True)
    running.append(process)
    try:
        status = _exit_status(process.wait(seconds))
    except subprocess.TimeoutExpired:
        status = f"stopped after {seconds:.0f} s" + _stop(process, stage.stop)
    finally:
        _signal(process, signal.SIGKILL)  # the processes that it has left running
        running.remove(process)
    return {"status": status, "seconds": round(time.monotonic() - start, 1)}


def _exit_status(code: int) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return "well" if code == 0 else f"failed with exit code {code}"


def _stop(process: subprocess.Popen[bytes], number: signal.Signals) -> str:
    """Request a process group to stop, and kill it if it does not."""
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


def _kill_stages(number: int, frame: Any) -> NoReturn:
    """Kill every stage and exit: in sessions of their own, they would outlive this process."""
    for process in list(running):
        _signal(process, signal.SIGKILL)
    os._exit(128 + number)


def groups(options: argparse.Namespace) -> list[Group]:
    """The stages of a call, or those of --only; ValueError for an unknown name."""
    all_groups = CALLS[options.call]
    known = [stage.name for group in all_groups for stage in group]
    names = options.only.split(",") if options.only else list(known)
    if unknown := [name for name in names if name not in known]:
        raise ValueError(
            f"{options.call} has no stage {unknown[0]}: choose from {', '.join(known)}"
        )
    if not options.only and options.call != "check" and is_decoded(options):
        names.remove(DECODE.name)
    selected = [tuple(stage for stage in group if stage.name in names) for group in all_groups]
    if options.most is not None:
        selected = [
            tuple(replace(stage, most=options.most, least=0.0) for stage in group)
            for group in selected
        ]
    return [group for group in selected if group]


def is_decoded(options: argparse.Namespace) -> bool:
    """Whether an earlier call has unpacked these data, and they still exist."""
    decoded = OutputFolder(options.out, options.work).read(STATE).get("data", {})
    same = decoded.get("given") == str(_absolute(options.data))
    same = same and options.expect in (None, decoded.get("name"))
    return same and Path(decoded["what"]).is_file()


def call(options: argparse.Namespace) -> int:
    """Run the stages of a call; 1 where one is not well."""
    remaining, end = groups(options), time.monotonic() + options.seconds
    max_bytes = int(options.mib * 2**20)
    output = OutputFolder(options.out, options.work, options.files, max_bytes)
    outcomes: dict[str, Any] = {}
    while remaining:
        group, *remaining = remaining
        # Time for a request to stop, and for the stages that come after these.
        reserved = sum(max(stage.least for stage in other) for other in remaining)
        free = 1e9 if options.small else end - time.monotonic() - GRACE - reserved
        outcomes |= run_group(group, options, free)
        try:
            output.update(STATE, {options.call: outcomes})
        except OSError as error:  # a full folder is no reason to stop
            print(f"== {error}", flush=True)
    return int(any(outcome["status"] != "well" for outcome in outcomes.values()))


def run_group(group: Group, options: argparse.Namespace, free: float) -> dict[str, Any]:
    """Run the stages of a group that have time enough, side by side; the outcome of each."""
    outcomes: dict[str, Any] = {}
    started = [stage for stage in group if stage.least <= free]
    for stage in group:
        outcomes[stage.name] = {"status": f"left out: {max(free, 0):.0f} s were left"}
        limit = f"at most {min(stage.most, free):.0f} s" if stage in started else "left out"
        print(f"\n== {stage.name}, {limit}", flush=True)
    with ThreadPoolExecutor(len(group)) as threads:
        runs = [threads.submit(run, stage, options, min(stage.most, free)) for stage in started]
    for stage, future in zip(started, runs, strict=True):
        outcomes[stage.name] = future.result()
        print(f"== {stage.name}: {outcomes[stage.name]['status']}", flush=True)
    return outcomes


def main(arguments: list[str] | None = None) -> int:
    """Rehearse, or run a call; the exit code."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.rehearse:
        from rehearse import rehearse

        return rehearse()
    if options.call is None:
        parser.error("name a call: check, train or more, or --rehearse")
    try:
        groups(options)
        environment(options)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _kill_stages)
    return call(options)


if __name__ == "__main__":
    sys.exit(main())
