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


@pytest.mark.parametrize(("seconds", "begun"), [(220, 6), (160, 6), (130, 5), (60, 1)])
def test_time_is_kept_for_the_stages_that_follow(tmp_path, monkeypatch, seconds, begun):
    """Less GRACE and the least of the others; a stage that takes long costs those behind it."""
    quarter, now, asked = module("quarter_hour"), [0.0], {}
    takes = {"probe": 40, "images": 40, "tests": 60, "step": 30}  # else nothing

    def run(stage, own, seconds):
        asked[stage.name] = seconds
        now[0] += min(takes.get(stage.name, 0), seconds)
        return {"status": "well"}

    monkeypatch.setattr(quarter, "run", run)
    monkeypatch.setattr(quarter.time, "monotonic", lambda: now[0])
    code = quarter.call(given(tmp_path, seconds=seconds, small=False))
    told = json.loads((tmp_path / "out" / "state.json").read_text())["check"]
    at, groups = 0.0, quarter.CALLS["check"]
    for i, group in enumerate(groups):
        behind = sum(max(stage.least for stage in other) for other in groups[i + 1 :])
        free = seconds - at - quarter.GRACE - behind
        for stage in group:
            if free < stage.least:
                assert told[stage.name]["status"].startswith("left out")
                assert stage.name not in asked
            else:
                assert asked[stage.name] == min(stage.most, free)
                at += min(takes.get(stage.name, 0), asked[stage.name])
    assert code == int(begun < 6)
    assert len(asked) == begun
    assert at <= seconds - quarter.GRACE


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


def test_data_that_are_there_are_not_unpacked_again(tmp_path):
    quarter, file = module("quarter_hour"), tmp_path / "packed.npz"
    file.touch()
    own = given(tmp_path, call="train", data=str(file))
    home = module("home").Home(own.out, own.work)

    def names():
        return [stage.name for group in quarter.groups(own) for stage in group]

    assert names() == ["decode", "train"]
    home.update("state.json", {"data": {"given": str(file), "what": str(tmp_path / "gone.npz")}})
    assert names() == ["decode", "train"]
    home.update("state.json", {"data": {"given": str(file), "what": str(file)}})
    assert names() == ["train"]
    own.expect = "another-0123"
    assert names() == ["decode", "train"]
    own.expect = None
    own.data = str(tmp_path / "other.npz")
    assert names() == ["decode", "train"]
    own.only = "decode"
    assert names() == ["decode"]


def test_the_gpu_tests_are_asked_for_as_such(tmp_path):
    quarter = module("quarter_hour")
    words = quarter.command(quarter.Stage("tests", 9, 1), given(tmp_path, small=False), 9)
    assert words[words.index("-m", 3) :][:2] == ["-m", "gpu"]
    assert words[words.index("-W") :][:2] == ["-W", "default"]
    assert "tests/deep/optim/test_triton_step.py" in words
    assert "tests/convex/pep/test_pep.py" not in words
    stages = {stage.name: stage for group in quarter.CALLS["check"] for stage in group}
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
    """The module, and a call at time 0 that has 1000 seconds, with the speeds of its check."""
    measure = module("measure")
    home = module("home").Home(tmp_path / "out", tmp_path / "work")
    own = module("training")
    at = measure.Context(torch.device("cpu"), home, tmp_path / "work", small=False, until=1000)
    monkeypatch.setattr(own.time, "monotonic", lambda: 0.0)
    note(at, SPEEDS)
    return own, at


def note(at, speeds):
    """As the stage images does; one training alone has half the speed of four."""
    names = ("network", "batch", "together")
    rows = [dict(zip(names, row, strict=True)) | {"alone": row[2] / 2} for row in speeds]
    rows = [row | {"at once": 4, "evaluation": 1e5} for row in rows]
    at.home.update("measured.json", {"images": {"rows": rows}})


class Sizes:
    """As many images as CIFAR-10."""

    name, y_train, y_test = "cifar10", range(50_000), range(10_000)


def entries(own, preset="short", **changes):
    grids = module("efsgd.figures.cifar.grid")
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


def test_as_many_epochs_as_the_measured_speeds_allow(training):
    """Seconds of an epoch: 1, 2.5 and 2 of steps; .1 s for each evaluation of 10,000 images."""
    own, at = training
    blocks = own.by_block(entries(own, evaluate_every=5)[0])
    rare = own.RARELY + 1 / 5
    judged = [0.1 * (1 + rare * (3 if e.training.method.feeds_back else 1)) for e in blocks[1]]
    costs = [3 * (4 * 1 + sum(judged)), 4 * 2.5 + sum(judged), 4 * 2 + sum(judged)]
    for i in range(3):
        free = own.FILL * 1000 - own.OVERHEAD * sum(map(len, blocks[i:]))
        assert own.Clock(at).epochs(blocks[i:], Sizes) == int(free / sum(costs[i:]))


@pytest.fixture
def planned(training, monkeypatch):
    """What train() would do on a GPU: (network, batch, epochs) of each block; nothing is trained.

    A block takes the time that it was planned with.
    """
    own, at = training
    done, now = [], [0.0]
    monkeypatch.setattr(own.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(own, "needed", lambda at: Sizes)
    monkeypatch.setattr(own, "report", lambda blocks, done, at: done)

    def trained(block, data, clock):
        run = block[0].training
        done.append((run.model, run.batch, run.epochs))
        now[0] += sum(own.OVERHEAD + run.epochs * clock.cost(e, data) for e in block)
        return []

    monkeypatch.setattr(own, "trained", trained)

    def plan(seconds, speeds):
        note(at, speeds)
        done.clear()
        now[0] = 0.0
        own.train(replace(at, until=seconds))
        assert now[0] <= seconds or [run[2] for run in done] == [1]
        return list(done)

    return plan


@pytest.mark.parametrize(
    ("speeds", "blocks"),
    [
        ((60e3, 40e3, 45e3), 3),
        ((55e3, 20e3, 30e3), 2),  # not twelve epochs for all, but eight for the first two
        ((45e3, 6e3, 27e3), 1),  # a slow batch 8 does not take the main comparison along
        ((12e3, 3e3, 7e3), 1),
    ],
)
def test_the_main_comparison_comes_first_whatever_the_others_cost(planned, speeds, blocks):
    names = [row[:2] for row in SPEEDS]
    rows = [(*name, speed) for name, speed in zip(names, speeds, strict=True)]
    done = planned(450, rows)
    assert [run[:2] for run in done] == names[:blocks]
    epochs = [run[2] for run in done]
    assert all(count <= epochs[0] for count in epochs)
    own = module("training")
    assert min(epochs) >= {1: 1, 2: own.FEWEST, 3: own.WANTED}[blocks]
    (first, *_) = planned(60, rows)  # less than an epoch, perhaps
    assert first[:2] == names[0]
    assert first[2] >= 1


def test_a_network_that_does_not_run_takes_no_other_along(planned, monkeypatch):
    monkeypatch.setattr(module("images"), "measured", lambda *_: {"failed": "no memory"})
    done = planned(450, [("vgg19", 128, 6e4), ("resnet18", 128, 45e3)])
    assert [kind[:2] for kind in done] == [("vgg19", 128), ("resnet18", 128)]
    done = planned(450, [("vgg19", 8, 4e4)])
    assert [kind[:2] for kind in done] == [("vgg19", 8)]


def test_one_at_a_time_where_several_hang_or_gain_nothing(training):
    own, at = training
    blocks = own.by_block(entries(own)[0])
    clock = own.Clock(at)
    clock.kept(blocks, Sizes)
    assert clock.count == 4
    at.home.update("state.json", {"check": {"images": {"status": "stopped after 80 s, by force"}}})
    assert own.Clock(at).count == 4  # it was late, but several at once did run
    at.home.update("measured.json", {"images": {"rows": []}})
    assert own.Clock(at).count == 1
    at.home.update("state.json", {"check": {"images": {"status": "well"}}})
    rows = [{"network": "vgg19", "batch": 128, "alone": 2.0, "together": 1.9}]
    rows = [row | {"at once": 4, "evaluation": 1e5} for row in rows]
    at.home.update("measured.json", {"images": {"rows": rows}})
    clock = own.Clock(at)
    clock.speed(blocks[0][0], Sizes)
    assert clock.count == 1


def test_only_whole_runs_of_the_papers_grid_are_begun(training):
    """200 epochs at 1 s and some, four at once; what is no full four is priced as one alone."""
    own, at = training
    found, _ = entries(own, "paper", models=("vgg19",), batches=(128,))
    clock = own.Clock(replace(at, until=1200))
    costs = [[200 * clock.cost(e, Sizes, alone) + own.OVERHEAD for e in found] for alone in (0, 1)]
    assert [entry.training.epochs for entry in found] == [200] * 12
    assert sum(costs[0][:4]) <= clock.left() < sum(costs[0][:4]) + costs[1][4]
    assert clock.fitting(found, Sizes) == found[:4]
    clock = own.Clock(replace(at, until=900))
    assert costs[1][0] <= clock.left() < sum(costs[0][:4])
    assert clock.left() < sum(costs[1][:3])
    assert clock.fitting(found, Sizes) == found[: (sum(costs[1][:2]) <= clock.left() and 2) or 1]
    assert own.Clock(replace(at, until=9)).fitting(found, Sizes) == []


def test_a_run_that_fails_takes_no_other_along(training, monkeypatch):
    own, at = training
    block = own.by_block(entries(own)[0])[1]

    def run(training, *_, **__):
        if training == block[1].training:
            raise RuntimeError("out of memory\nand more")

    monkeypatch.setattr(own, "run_training", run)
    done = own.trained(block, Sizes, own.Clock(at))
    assert done == [block[0], *block[2:]]


def test_the_steps_of_all_that_race_are_counted():
    """Each takes a step in turn while the others wait; what one counts must not be lost."""
    race, taken = module("images").Race(3, 0.2), []

    class Session:
        class leash:
            wait = staticmethod(lambda *_: None)

        def first_step(self):
            taken.append(1)
            time.sleep(1e-3)

    at_once = module("efsgd.deep.training.parallel").at_once
    at_once([lambda check: race.run(Session(), 2, check) for _ in range(3)], 3)
    assert race.steps == len(taken) - 3 * 2
    assert race.steps > 3


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
    for worse in ({"launches": 11}, {"waits": 1}, {"form": "foreach"}, {"launches": float("nan")}):
        assert not steps.within([fine | worse], 0.0)
