"""A quarter of an hour on a GPU: its rehearsal, deadlines, what comes home and what fits."""

import argparse
import csv
import json
import signal
import sys
import time
import zipfile
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
from project import ROOT

torch = pytest.importorskip("torch")
pytest.importorskip("PIL")

FOLDER = ROOT / "benchmarks" / "gpu"
pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="the benchmarks are not installed")


@pytest.fixture(autouse=True)
def _folders(monkeypatch):
    for folder in (FOLDER, FOLDER.parent):
        monkeypatch.syspath_prepend(str(folder))


def module(name):
    return import_module(name)


# -- the rehearsal --------------------------------------------------------------------------------


def test_the_core_of_the_rehearsal():
    """A packed set is decoded, the forms are probed, a stage fails, and a comparison comes home."""
    assert find_spec("triton") or sys.platform != "linux", "the dev extra installs Triton on Linux"
    rehearse = module("rehearse")
    assert rehearse.rehearse((rehearse.core,)) == 0


@pytest.mark.slow
def test_the_whole_rehearsal():
    rehearse = module("rehearse")
    assert rehearse.rehearse() == 0


def test_a_rehearsal_without_triton_fails(monkeypatch):
    """The probe finds one form where there should be two."""
    rehearse = module("rehearse")
    rows = [{"form": "foreach"}, {"form": "triton", "failed": "Triton is not installed"}]

    class Without:
        def state(self):
            data = {"name": "standin_jpeg-0", "training images": 64, "test images": 32}
            return {"data": data, "best": {"graph": False, "form": "foreach"}}

        def measured(self):
            return {"probe": {"rows": rows}}

    with pytest.raises(AssertionError, match="Triton is not installed"):
        rehearse.probed(Without())


# -- stages and deadlines -------------------------------------------------------------------------


def given(tmp_path, **changes):
    made = module("quarter_hour").parser().parse_args(["check", "--small"])
    values = vars(made) | {"out": tmp_path / "out", "work": tmp_path / "work"} | changes
    return argparse.Namespace(**values)


def python(monkeypatch, code):
    """Every stage runs this code instead."""
    quarter = module("quarter_hour")
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


@pytest.mark.parametrize("deaf", [False, True])
def test_a_stage_that_hangs_is_stopped_with_all_that_it_started(tmp_path, monkeypatch, deaf):
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN)" if deaf else ""
    pid = tmp_path / "pid"
    quarter = python(monkeypatch, HANGS.format(ignore, str(pid)))
    monkeypatch.setattr(quarter, "GRACE", 1.0)
    stage = quarter.Stage("probe", 9, 1)
    told = quarter.run(stage, given(tmp_path), 4.0)
    assert told["status"] == "stopped after 4 s" + (", by force" if deaf else "")
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
    quarter = python(monkeypatch, code)
    assert quarter.run(quarter.Stage("probe", 9, 1), given(tmp_path), 30)["status"] == status


@pytest.mark.parametrize(("seconds", "begun"), [(100, 6), (60, 4)])
def test_time_is_kept_for_the_stages_that_follow(tmp_path, monkeypatch, seconds, begun):
    """Less GRACE and the least of the others; a stage that takes long costs those behind it."""
    quarter, now, asked = module("quarter_hour"), [0.0], {}
    takes = {"decode": 5, "probe": 40, "tests": 20, "step": 10, "images": 0, "parity": 0}

    def run(stage, own, seconds):
        asked[stage.name] = seconds
        now[0] += min(takes[stage.name], seconds)
        return {"status": "well"}

    monkeypatch.setattr(quarter, "run", run)
    monkeypatch.setattr(quarter.time, "monotonic", lambda: now[0])
    code = quarter.call(given(tmp_path, seconds=seconds, small=False))
    stages = {stage.name: stage for stage in quarter.CALLS["check"]}
    at, left = 0.0, list(stages)
    told = json.loads((tmp_path / "out" / "state.json").read_text())["check"]
    for name in list(stages):
        left.remove(name)
        free = seconds - at - quarter.GRACE - sum(stages[other].least for other in left)
        if free < stages[name].least:
            assert told[name]["status"].startswith("left out")
            assert name not in asked
            continue
        assert asked[name] == min(stages[name].most, free)
        at += min(takes[name], asked[name])
    assert code == int(len(asked) < len(stages))
    assert len(asked) == begun


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name a call: check, train or more, or --rehearse"),
        (["check", "--only", "speed"], "check has no stage speed: choose from decode, probe"),
        (["train", "--commit", "no/such/file"], "No such file"),
    ],
)
def test_a_call_that_cannot_be_is_refused_in_one_sentence(words, said, capsys):
    with pytest.raises(SystemExit) as stopped:
        module("quarter_hour").main(words)
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


def test_the_commit_that_was_carried_reaches_every_stage(tmp_path):
    (tmp_path / "commit").write_text("v1-3-gabc\n")
    own = module("quarter_hour").environment(given(tmp_path, commit=tmp_path / "commit"))
    assert own["EFSGD_COMMIT"] == "v1-3-gabc"


def test_the_gpu_tests_are_asked_for_as_such(tmp_path):
    quarter = module("quarter_hour")
    words = quarter.command(quarter.Stage("tests", 9, 1), given(tmp_path, small=False), 9)
    assert words[words.index("-m", 3) :][:2] == ["-m", "gpu"]
    assert words[words.index("-W") :][:2] == ["-W", "default"]
    assert "tests/test_triton_step.py" in words
    assert "tests/test_pep.py" not in words
    stages = {stage.name: stage for stage in quarter.CALLS["check"]}
    assert stages["tests"].stop == signal.SIGINT  # pytest then writes what it has


# -- what comes home ------------------------------------------------------------------------------


def test_no_more_files_and_no_larger_ones_come_home(tmp_path):
    home = module("home").Home(tmp_path / "out", tmp_path / "work", files=2, size=100)
    home.write("a", b"x" * 100)
    with pytest.raises(OSError, match=r"a would have 101 bytes, and 100 may come home: .* --mib"):
        home.write("a", b"x" * 101)
    home.write("b", b"")
    with pytest.raises(OSError, match=r"holds 2 files, and 2 may come home: c was not written"):
        home.write("c", b"")
    assert (tmp_path / "out" / "a").read_bytes() == b"x" * 100
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a", "b"]


def test_rows_are_there_as_soon_as_they_are_known(tmp_path):
    home = module("home").Home(tmp_path / "out", tmp_path / "work")
    for i in range(3):
        home.append("rows.csv", {"a": i, "b": "x,y"}, ("a", "b"))
        with open(tmp_path / "out" / "rows.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        assert rows == [{"a": str(k), "b": "x,y"} for k in range(i + 1)]
    full = replace(home, size=20)  # a header of 4 bytes, and 8 a row
    with pytest.raises(OSError, match=r"rows.csv would have 36 bytes, and 20 may come home"):
        full.append("rows.csv", {"a": 3, "b": "x,y"}, ("a", "b"))
    assert len((tmp_path / "out" / "rows.csv").read_text().splitlines()) == 4


def test_what_was_found_outlives_the_folder_that_is_emptied(tmp_path):
    home = module("home").Home(tmp_path / "out", tmp_path / "work")
    home.update("state.json", {"best": 1})
    (tmp_path / "out" / "state.json").unlink()
    home.update("state.json", {"data": 2})
    assert json.loads((tmp_path / "out" / "state.json").read_text()) == {"best": 1, "data": 2}
    (tmp_path / "work" / "state.json").write_text("{torn")
    assert home.read("state.json") == {}


def test_the_archive_is_whole_each_time(tmp_path):
    home = module("home").Home(tmp_path / "out", tmp_path / "work")
    for i in range(2):
        (tmp_path / f"training-{i}.npz").write_bytes(b"%d" % i)
        home.archive("results.zip", list(tmp_path.glob("*.npz")))
        with zipfile.ZipFile(tmp_path / "out" / "results.zip") as archive:
            assert archive.namelist() == [f"training-{k}.npz" for k in range(i + 1)]


# -- what fits ------------------------------------------------------------------------------------


SPEEDS = (("vgg19", 128, 5e4), ("vgg19", 8, 2e4), ("resnet18", 128, 25e3))


@pytest.fixture
def training(tmp_path, monkeypatch):
    measure = module("measure")
    home = module("home").Home(tmp_path / "out", tmp_path / "work")
    own = module("training")
    at = measure.Context(torch.device("cpu"), home, tmp_path / "work", small=False, seconds=1000)
    monkeypatch.setattr(own.time, "monotonic", lambda: 0.0)
    rows = [
        {"network": network, "batch": batch, "at once": 4, "together": speed, "evaluation": 1e5}
        for network, batch, speed in (
            ("vgg19", 128, 5e4),
            ("vgg19", 8, 2e4),
            ("resnet18", 128, 25e3),
        )
    ]
    home.update("measured.json", {"images": {"rows": rows}})
    return own, at


class Sizes:
    """As many images as CIFAR-10."""

    name, y_train, y_test = "cifar10", range(50_000), range(10_000)


def entries(own, preset="short", **changes):
    grids = module("efsgd.figures.cifar_grid")
    choice = grids.Choice(own.PRESETS[preset], data=("cifar10",), **changes)
    return own.entries_of(choice, Sizes), choice


def test_the_blocks_come_in_the_order_in_which_they_decide(training):
    own, _ = training
    blocks = own.by_block(entries(own)[0])
    assert [(own.kind_of(block[0]), len(block)) for block in blocks] == [
        (("vgg19", 128), 12),
        (("vgg19", 8), 4),
        (("resnet18", 128), 4),
    ]
    first = blocks[0]
    assert [entry.training.seed for entry in first] == [0] * 4 + [1] * 4 + [2] * 4
    assert len({entry.method for entry in first[:4]}) == 4


def test_as_many_epochs_as_the_measured_speeds_allow(training, monkeypatch):
    """Seconds of an epoch: 1, 2.5 and 2 of steps; .1 s for each evaluation of 10,000 images."""
    own, at = training
    blocks = own.by_block(entries(own, evaluate_every=5)[0])
    judged = [0.1 * (1 + (3 if e.training.method.feeds_back else 1) / 5) for e in blocks[1]]
    costs = [3 * (4 * 1 + sum(judged)), 4 * 2.5 + sum(judged), 4 * 2 + sum(judged)]
    for i in range(3):
        expected = int(own.FILL * 1000 / sum(costs[i:]))
        assert own.Clock(at).epochs(blocks[i:], Sizes, at) == expected
    other = replace(at, parallel=2)  # of which nothing is known
    monkeypatch.setattr(own.images, "measured", lambda *_: {"failed": "no such network"})
    with pytest.raises(RuntimeError, match=r"cannot be trained: no such network"):
        own.Clock(other).epochs(blocks, Sizes, other)


def test_only_whole_runs_of_the_papers_grid_are_begun(training):
    """200 epochs at a second and some: each takes 200 s and more of the 850."""
    own, at = training
    own_entries, _ = entries(own, "paper", models=("vgg19",), batches=(128,))
    fit = own.Clock(at).fitting(own_entries, Sizes, at)
    costs = [200 * own.Clock(at).cost(entry, Sizes, at) for entry in own_entries]
    assert sum(costs[: len(fit)]) <= 850 < sum(costs[: len(fit) + 1])
    assert fit == own_entries[: len(fit)]
    assert len(fit) == 3


def test_a_block_keeps_the_shape_of_the_schedule(training):
    own, _ = training
    found, choice = entries(own)
    for entry in own.lengthened(found, choice, 22):
        assert (entry.training.epochs, entry.training.drops) == (22, (11, 16))


# -- what is best ---------------------------------------------------------------------------------


def test_the_fastest_form_that_works_and_is_right_is_best():
    probe, times = module("probe"), module("measure").Times
    rows = [
        {"graph": False, "form": "foreach", "ms": times(9, 9, 9)},
        {"graph": True, "form": "foreach", "ms": times(4, 4, 4)},
        {"graph": False, "form": "triton", "ms": times(1, 1, 1), "apart": 0.9},
        {"graph": True, "form": "triton", "failed": "RuntimeError: no"},
    ]
    assert probe.best(rows) == {"graph": True, "form": "foreach"}
    rows[2]["apart"] = float("nan")
    assert probe.best(rows)["form"] == "foreach"
    rows[3] = {"graph": True, "form": "triton", "ms": times(2, 2, 2), "apart": 1e-4}
    assert probe.best(rows) == {"graph": True, "form": "triton"}
    assert probe.best([{"graph": True, "form": "foreach", "failed": "no"}]) is None


def test_the_target_of_the_step_is_a_ratio_of_accesses():
    """5 of SGD, 8 of EF-signSGD with weight decay and 7 without; a quarter more is granted."""
    steps = module("steps")
    good = {"form": "triton", "graph": 1, "launches": 4, "waits": 0}
    for decay, accesses in ((5e-4, 8), (0.0, 7)):
        for factor, met in ((1.24, True), (1.26, False)):
            ratio = {f"graph / {steps.BASELINE}": factor * accesses / 5}
            assert steps.within([good | ratio], decay) == met
    fine = good | {f"graph / {steps.BASELINE}": 1.0}
    assert steps.within([fine], 0.0)
    for worse in ({"launches": 11}, {"waits": 1}, {"form": "foreach"}):
        assert not steps.within([fine | worse], 0.0)
