"""A quarter of an hour on a GPU: its rehearsal, its stages and their deadlines.

Without this file the paid minutes on a GPU could end in a program that does not start.
"""

import argparse
import json
import signal
import sys
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("PIL")

pytestmark = pytest.mark.usefixtures("gpu_benchmarks")

# -- the rehearsal --------------------------------------------------------------------------------


def test_the_core_of_the_rehearsal():
    """A packed set is decoded, the forms are probed, and a stage fails."""
    assert find_spec("triton") or sys.platform != "linux", "the dev extra installs Triton on Linux"
    rehearse = import_module("rehearse")
    assert rehearse.rehearse((rehearse.core,)) == 0


@pytest.mark.slow
def test_the_whole_rehearsal():
    rehearse = import_module("rehearse")
    assert rehearse.rehearse() == 0


def test_a_rehearsal_without_triton_fails(monkeypatch):
    """The probe finds one form where there should be two."""
    rehearse = import_module("rehearse")
    rows = [{"form": "foreach"}, {"form": "triton", "failed": "Triton is not installed"}]

    class Without:
        def state(self):
            data = {"name": "standin_jpeg-0", "training images": 64, "test images": 32}
            return {"data": data, "best": {"graph": False, "form": "foreach"}}

        def measured(self):
            return {"probe": {"rows": rows}}

    with pytest.raises(AssertionError, match="Triton is not installed"):
        rehearse.check_probe(Without())


# -- stages and deadlines -------------------------------------------------------------------------


def make_options(tmp_path, **changes):
    options = import_module("quarter_hour").build_parser().parse_args(["check", "--small"])
    values = vars(options) | {"out": tmp_path / "out", "work": tmp_path / "work"} | changes
    return argparse.Namespace(**values)


def replace_stages(monkeypatch, code):
    """Let every stage run this code instead; returns the module quarter_hour."""
    quarter = import_module("quarter_hour")
    monkeypatch.setattr(quarter, "command", lambda *_: [sys.executable, "-c", code])
    return quarter


HANGS = """
import signal, subprocess, sys, time
from pathlib import Path
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
{}
Path({!r}).write_text(str(child.pid))
time.sleep(60)
"""


@pytest.mark.parametrize("ignores", [False, True])
def test_a_stage_that_hangs_is_stopped_with_all_that_it_started(tmp_path, monkeypatch, ignores):
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN)" if ignores else ""
    pid = tmp_path / "pid"
    quarter = replace_stages(monkeypatch, HANGS.format(ignore, str(pid)))
    monkeypatch.setattr(quarter, "GRACE", 1.0)
    stage = quarter.Stage("probe", 9, 1)
    outcomes = quarter.run(stage, make_options(tmp_path), 4.0)
    assert outcomes["status"] == "stopped after 4 s" + (", by force" if ignores else "")
    child = Path(f"/proc/{pid.read_text()}/stat")
    while child.exists() and child.read_text().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.05)  # until the system has ended it


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("pass", "well"),
        ("raise SystemExit(3)", "failed with exit code 3"),
        ("import os; os.kill(os.getpid(), 9)", "killed by SIGKILL"),
    ],
)
def test_what_becomes_of_a_stage_is_told(tmp_path, monkeypatch, code, status):
    quarter = replace_stages(monkeypatch, code)
    assert quarter.run(quarter.Stage("probe", 9, 1), make_options(tmp_path), 30)["status"] == status


@pytest.mark.parametrize(("seconds", "count"), [(220, 6), (160, 6), (130, 5), (60, 1)])
def test_time_is_kept_for_the_stages_that_follow(tmp_path, monkeypatch, seconds, count):
    """Less GRACE and the least of the others; a stage that takes long costs those behind it."""
    quarter, now, limits = import_module("quarter_hour"), [0.0], {}
    durations = {"probe": 40, "images": 40, "tests": 60, "step": 30}  # else nothing

    def run(stage, options, seconds):
        limits[stage.name] = seconds
        now[0] += min(durations.get(stage.name, 0), seconds)
        return {"status": "well"}

    monkeypatch.setattr(quarter, "run", run)
    monkeypatch.setattr(quarter.time, "monotonic", lambda: now[0])
    code = quarter.call(make_options(tmp_path, seconds=seconds, small=False))
    outcomes = json.loads((tmp_path / "out" / "state.json").read_text())["check"]
    elapsed, groups = 0.0, quarter.CALLS["check"]
    for i, group in enumerate(groups):
        reserved = sum(max(stage.least for stage in other) for other in groups[i + 1 :])
        free = seconds - elapsed - quarter.GRACE - reserved
        for stage in group:
            if free < stage.least:
                assert outcomes[stage.name]["status"].startswith("left out")
                assert stage.name not in limits
            else:
                assert limits[stage.name] == min(stage.most, free)
                elapsed += min(durations.get(stage.name, 0), limits[stage.name])
    assert code == int(count < 6)
    assert len(limits) == count
    assert elapsed <= seconds - quarter.GRACE


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name a call: check, train or more, or --rehearse"),
        (["check", "--only", "speed"], "check has no stage speed: choose from decode, probe"),
        (["train", "--commit", "no/such/file"], "No such file"),
    ],
)
def test_a_call_that_cannot_be_is_refused_in_one_sentence(words, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        import_module("quarter_hour").main(words)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_the_commit_that_was_carried_reaches_every_stage(tmp_path):
    (tmp_path / "commit").write_text("v1-3-gabc\n")
    options = make_options(tmp_path, commit=tmp_path / "commit")
    assert import_module("quarter_hour").environment(options)["EFSGD_COMMIT"] == "v1-3-gabc"


def test_data_that_are_there_are_not_unpacked_again(tmp_path):
    quarter, file = import_module("quarter_hour"), tmp_path / "packed.npz"
    file.touch()
    options = make_options(tmp_path, call="train", data=str(file))
    output = import_module("output").OutputFolder(options.out, options.work)

    def names():
        return [stage.name for group in quarter.groups(options) for stage in group]

    assert names() == ["decode", "train"]
    output.update("state.json", {"data": {"given": str(file), "what": str(tmp_path / "gone.npz")}})
    assert names() == ["decode", "train"]
    output.update("state.json", {"data": {"given": str(file), "what": str(file)}})
    assert names() == ["train"]
    options.expect = "another-0123"
    assert names() == ["decode", "train"]
    options.expect = None
    options.data = str(tmp_path / "other.npz")
    assert names() == ["decode", "train"]
    options.only = "decode"
    assert names() == ["decode"]


def test_the_gpu_tests_are_asked_for_as_such(tmp_path):
    quarter = import_module("quarter_hour")
    words = quarter.command(quarter.Stage("tests", 9, 1), make_options(tmp_path, small=False), 9)
    assert words[words.index("-m", 3) :][:2] == ["-m", "gpu"]
    assert words[words.index("-W") :][:2] == ["-W", "default"]
    assert "tests/deep/optim/forms/test_triton_step.py" in words
    assert "tests/convex/pep/test_pep.py" not in words
    stages = {stage.name: stage for group in quarter.CALLS["check"] for stage in group}
    assert stages["tests"].stop == signal.SIGINT  # pytest then writes what it has
