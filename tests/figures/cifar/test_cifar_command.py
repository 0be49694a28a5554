"""``efsgd-figures cifar`` on a few images: run, resume, share, merge, draw, plan, refuse.

Without this file a run could be trained twice or lost by Ctrl-C, a preset could leave the paper's
grid, and bad usage could cost an hour before it is refused.
"""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from click.testing import CliRunner
from commands import refused
from deep_histories import entries_of, result_of, tiny

import efsgd
from efsgd.figures.cifar import command as cifar_command
from efsgd.figures.cifar import grid as grids
from efsgd.figures.cifar import paper, presets, progress, tables
from efsgd.figures.cifar import run as cifar_run
from efsgd.figures.cifar.estimate import plan
from efsgd.figures.cifar.grid import Choice, Entry, Source
from efsgd.figures.cifar.options import FORMS, PRESETS
from efsgd.figures.cifar.study import by_gpu, collect, of_other_code
from efsgd.figures.cli import main
from efsgd.results import load, save

torch = pytest.importorskip("torch", reason="the deep track needs torch")
from efsgd.deep.training.execution import Form  # noqa: E402

KINDS = ["accuracy", "density", "memory-back", "gap"]


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Run the command in a folder of its own, on few.npz, with the given options.

    It draws one picture only, unless other `names` are given: each takes time.
    """
    monkeypatch.chdir(tmp_path)
    tiny(tmp_path / "few.npz")

    def run(*arguments, few=True, catch=False, names=("gap",)):
        small = (*names, "--preset", "smoke", "--data", "few.npz", "--batch", 8, "--epochs", 2)
        small += ("--seeds", 1, "--jobs", 1)
        words = ["cifar", *(small if few else ()), *arguments]
        return CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=catch)

    return run


def results(folder="results"):
    return sorted(Path(folder, "cifar").glob("training-*.npz"))


def epochs_printed(done):
    return re.findall(r"^(.*): epoch (\d+)/\d+, loss .*, accuracy .* %, \d+/s$", done.stderr, re.M)


TWO = ("--method", "sgdm", "--method", "ef-signsgd")


# -- run, keep, merge -----------------------------------------------------------------------------


def test_a_grid_is_trained_drawn_tabulated_and_kept(call):
    done = call(*TWO, names=())
    assert done.exit_code == 0, done.output
    assert len(results()) == 2
    (data,) = {load(path).spec["data"] for path in results()}
    assert re.fullmatch("few-[0-9a-f]{12}", data)
    (table,) = Path("figures-out").glob("*.md")
    assert re.fullmatch(f"resnet8-{data}-smoke-[0-9a-f]{{8}}", table.stem)
    names = [f"{kind}-{table.stem}.png" for kind in KINDS]
    names += [f"{table.stem}.{ending}" for ending in tables.WRITERS]
    assert sorted(os.listdir("figures-out")) == sorted([*names, "verdicts.json"])
    assert [epoch for _, epoch in epochs_printed(done)] == ["1", "2"] * 2
    assert "batch 8, EF-signSGD, seed 0" in done.stderr
    rows = json.loads(Path("figures-out/verdicts.json").read_text())
    assert rows
    assert {row["pass"] for row in rows} == {None}
    assert not list(Path("results/cifar/checkpoints").iterdir())
    before = {path: path.stat().st_mtime_ns for path in results()}
    again = call(*TWO)
    assert (again.exit_code, epochs_printed(again)) == (0, [])
    assert {path: path.stat().st_mtime_ns for path in results()} == before


def test_no_grid_has_the_name_of_another_on_the_same_model_and_data():
    """Nor has a search; data and model are in the names of files anyway."""
    plain = [Choice(presets.PRESETS[name]) for name in ("short", "paper")]
    changed = [replace(plain[0], **{name: 7}) for name in ("seeds", "epochs", "evaluate_every")]
    changed += [replace(plain[0], methods=("sgdm",)), replace(plain[0], compressors=("topk:1",))]
    names = [cifar_command.grid_name(n, c) for n, c in zip(("short", "paper"), plain, strict=True)]
    assert names == ["short", "paper"]
    assert cifar_command.grid_name("short", replace(plain[0], data=("a.npz",))) == "short"
    names += [cifar_command.grid_name("short", choice) for choice in changed]
    names += [cifar_command.grid_name("short", plain[0], (0.1,), n) for n in (1, 2)]
    assert len(set(names)) == len(names) == 9
    assert cifar_command.grid_name("small", Choice(presets.QUICK)) == ""


def test_again_trains_anew(call):
    call("--method", "sgdm")
    (path,) = results()
    first, when = load(path), path.stat().st_mtime_ns
    assert len(epochs_printed(call("--method", "sgdm", "--again"))) == 2
    assert path.stat().st_mtime_ns > when
    for name, array in load(path).arrays.items():
        if name not in ("seconds", "images_per_second"):
            assert array.tobytes() == first[name].tobytes(), name


def test_shares_split_a_grid_and_copied_together_they_are_all_of_it(call):
    for i in (1, 2):
        done = call(*TWO, "--seeds", 2, "--share", f"{i}/2", "--results", f"machine{i}")
        assert done.exit_code == 0, done.output
        assert "2 of 4 runs are missing" in done.stdout
        shutil.copytree(f"machine{i}", "results", dirs_exist_ok=True)
    names = [{path.name for path in results(f"machine{i}")} for i in (1, 2)]
    assert names[0].isdisjoint(names[1])
    merged = call(*TWO, "--seeds", 2, "--draw")
    assert merged.exit_code == 0
    assert "missing" not in merged.stdout
    assert len(results()) == 4


def test_draw_trains_nothing_and_lists_what_is_missing(call):
    call("--method", "sgdm")
    done = call(*TWO, "--draw", "--out", "drawn", "--format", "svg")
    assert (done.exit_code, epochs_printed(done)) == (0, [])
    assert "1 of 2 runs are missing in results/cifar:" in done.stdout
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("  resnet8/")]
    assert re.search(r"EF-signSGD, seed 0  training-[0-9a-f]{16}\.npz$", line)
    assert len(results()) == 1
    (picture,) = Path("drawn").glob("gap-*.svg")
    assert "EF-signSGD (ternary): 0 of 1 runs" in picture.read_text()
    (table,) = Path("drawn").glob("*.md")
    assert "- batch 8, EF-signSGD: 0 of 1 runs" in table.read_text()


def test_a_name_chooses_the_picture(call):
    assert call("--method", "sgdm").exit_code == 0
    assert [path.name[:4] for path in Path("figures-out").glob("*.png")] == ["gap-"]
    assert refused(call(names=("gaap",)), "'gaap'", "did you mean 'gap'?")


def test_a_compressor_adds_error_feedback_with_it(call):
    assert call("--method", "sgdm", "--compressor", "topk:0.1").exit_code == 0
    methods = [load(path).spec["method"] for path in results()]
    assert "topk:0.1" in [method.get("compressor") for method in methods]


def test_damaged_results_are_named_and_trained_anew(call):
    call("--method", "sgdm")
    (path,) = results()
    path.write_bytes(b"no archive")
    done = call("--method", "sgdm", "--draw")
    assert refused(done, "has none of the 1 results")
    done = call("--method", "sgdm")
    assert done.exit_code == 0
    assert f"counts as missing: {path} is damaged" in done.stdout
    assert load(path)["epoch"].tolist() == [1, 2]


def test_stale_results_are_used_and_marked(call):
    call("--method", "sgdm")
    (path,) = results()
    old = load(path)
    assert not by_gpu(old.made_by)
    save(path, old.arrays, old.spec, old.made_by | {"code": "0" * 64, "git": "b87c458"})
    done = call("--method", "sgdm", "--format", "svg")
    assert epochs_printed(done) == []
    assert call("--method", "sgdm", names=("accuracy",)).stdout.count("(stale)") == 1
    (picture,) = Path("figures-out").glob("gap-*.svg")
    text = " ".join(re.sub(r"<.*?>", " ", picture.read_text()).split())
    assert "stale: 1 of 1 runs made by commit b87c458" in text
    planned = call("--method", "sgdm", "--dry-run").stdout
    assert "done, stale: made by commit b87c458\n" in planned


@pytest.mark.parametrize(
    ("record", "cuda", "expected"),
    [
        ({"git": "b87c458"}, False, "done, stale: made by commit b87c458"),
        ({"git": None}, False, "done, stale: made by other code"),
        ({"git": "b87c458", "device": "NVIDIA H200"}, False, "done, made by commit b87c458"),
        ({"git": "b87c458", "device": "NVIDIA H200"}, True, "done, stale: made by commit b87c458"),
        ({"git": None, "device": "NVIDIA H200"}, False, "done, made by other code"),
    ],
)
def test_a_plan_says_which_results_other_code_made(tmp_path, monkeypatch, record, cuda, expected):
    monkeypatch.setattr("torch.cuda.is_available", lambda: cuda)
    entries = entries_of("smoke", seeds=1, methods=("sgdm", "signsgd"))
    today, other = (
        result_of(entry, tmp_path, made_by=made_by)
        for entry, made_by in zip(entries, ({}, {"code": "0" * 64} | record), strict=True)
    )
    saved = dict(zip(entries, (today, other), strict=True))
    machine = cifar_run.Machine(tmp_path)
    lines = list(plan(entries, saved, of_other_code(saved), machine))
    assert [re.split(" {2,}", line)[-1] for line in lines[:2]] == ["done", expected]
    assert lines[2].startswith("2 runs: 2 done, 0 to do")


def test_a_diverged_run_is_a_result(call, monkeypatch):
    monkeypatch.setattr(grids, "step_size", lambda *_: 3e38)
    done = call("--method", "sgdm")
    assert done.exit_code == 0, done.output
    (path,) = results()
    assert np.isnan(load(path)["test_loss"][-1])
    (table,) = Path("figures-out").glob("*.md")
    assert "1 of 1 diverged" in table.read_text()


# -- plan -----------------------------------------------------------------------------------------


def test_a_dry_run_prints_the_grid_and_writes_nothing(call, monkeypatch):
    call("--method", "sgdm")
    shutil.rmtree("figures-out")
    monkeypatch.setattr("efsgd.figures.cifar.estimate.EVALUATED", 4)
    done = call(*TWO, "--seeds", 2, "--dry-run")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines.pop(0).startswith("note: step sizes for resnet8/few-")
    assert len(lines) == 4 + 1 + 2 + 1
    assert lines[0].endswith(" done")
    assert re.search(r"SGDm, seed 1 +lr [0-9.e-]+ +to do$", lines[2])
    assert lines[4] == "measuring 10 steps of each of 2 kinds of runs"
    hours = [re.search(r", batch 8, (.*): (.*) h a run, (\d) to do$", x) for x in lines[5:7]]
    assert [(h.group(1), h.group(3)) for h in hours] == [("EF-signSGD", "2"), ("SGDm", "1")]
    assert lines[-1].startswith("4 runs: 1 done, 3 to do in ")
    total = sum(float(h.group(2)) * int(h.group(3)) for h in hours)
    assert float(lines[-1].split(" in ")[1].split(" h")[0]) == pytest.approx(total, rel=0.02)
    assert len(results()) == 1
    assert not Path("figures-out").exists()


def test_the_grid_comes_before_anything_is_measured(monkeypatch, tmp_path):
    monkeypatch.setattr("efsgd.figures.cifar.estimate.hours", None)
    entries = entries_of("paper")
    lines = plan(entries, {}, {}, cifar_run.Machine(tmp_path))
    grid = [next(lines) for _ in entries]
    assert [line.partition("  lr ")[0].strip() for line in grid] == [e.name for e in entries]
    assert next(lines) == "measuring 10 steps of each of 24 kinds of runs"
    with pytest.raises(TypeError):  # it would measure now
        next(lines)


def test_hours_are_printed_as_soon_as_they_are_measured(monkeypatch, tmp_path):
    measured = []
    monkeypatch.setattr("efsgd.figures.cifar.estimate.hours", lambda *_: measured.append(1) or 1.0)
    lines = plan(entries_of("smoke"), {}, {}, cifar_run.Machine(tmp_path))
    shown = [(line[:5], len(measured)) for line in lines if " h a run, " in line]
    assert shown == [(f"{number}/4  ", number) for number in range(1, 5)]


def test_without_the_device_there_is_the_grid_and_no_measurement(call, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("efsgd.figures.cifar.estimate.hours", None)
    asked = ("--preset", "paper", "--device", "cuda:1", "--precision", "tf32", "--parallel", 4)
    done = call(*asked, "--dry-run", few=False)
    assert (done.exit_code, done.stderr) == (0, "")
    *grid, last = done.stdout.splitlines()
    assert len(grid) == 72
    assert grid[0].startswith("vgg19/cifar10, batch 128, SGDm, seed 0")
    assert last == (
        "72 runs: 0 done, 72 to do; their hours cannot be measured here, without cuda:1"
    )
    assert refused(call(*asked, few=False), "there is no device 'cuda:1' here")
    assert refused(call("--device", "tpu", "--dry-run"), "'tpu'")
    assert refused(call("--graph", "--dry-run"), "graph", "CPU")


def test_ctrl_c_while_hours_are_measured_keeps_those_that_are(call, monkeypatch):
    measured = []

    def hours(entry, *_):
        if measured:
            raise KeyboardInterrupt
        measured.append(entry)
        return 2.0

    monkeypatch.setattr("efsgd.figures.cifar.estimate.hours", hours)
    done = call(*TWO, "--dry-run")
    assert done.exit_code == 130
    assert done.stdout.splitlines()[-1].endswith("SGDm: 2 h a run, 1 to do")
    assert done.stderr == (
        "Error: interrupted: the grid above is whole, the hours of 1 of 2 kinds of runs are "
        "measured, and nothing was written\n"
    )
    assert not Path("results").exists()


@pytest.fixture
def measured_threads(monkeypatch):
    """Each measurement gives one hour and appends the number of threads it was made with."""
    threads = []

    def one_hour(*_):
        threads.append(torch.get_num_threads())
        return 1.0

    monkeypatch.setattr("efsgd.figures.cifar.estimate.hours", one_hour)
    return threads


@pytest.mark.usefixtures("measured_threads")
def test_a_plan_counts_its_own_share_only(call):
    call("--method", "ef-signsgd")
    last = call(*TWO, "--share", "1/2", "--dry-run").stdout.splitlines()[-1]
    assert last.startswith("1 runs: 0 done, 1 to do in 1 h on cpu")
    last = call(*TWO, "--share", "2/2", "--dry-run").stdout.splitlines()[-1]
    assert last.startswith("1 runs: 1 done, 0 to do in 0 h on cpu")
    done = call(*TWO, "--share", "3/3", "--dry-run")
    assert done.exit_code == 0, done.output
    assert "0 runs: 0 done, 0 to do" in done.stdout


@pytest.mark.usefixtures("measured_threads")
def test_a_plan_to_train_anew_counts_what_is_there(call):
    call("--method", "sgdm")
    planned = call("--method", "sgdm", "--again", "--dry-run").stdout
    assert "1 runs: 0 done, 1 to do in 1 h" in planned


def test_a_plan_measures_with_the_threads_that_train(call, measured_threads):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        planned = call(*TWO, "--seeds", 2, "--jobs", 3, "--dry-run").stdout
        assert "4 to do in 4 h, 1.33 h with 3 at a time" in planned
        assert set(measured_threads) == {1}  # each worker has one
        planned = call("--method", "sgdm", "--jobs", 3, "--dry-run").stdout
        assert "1 to do in 1 h on cpu" in planned  # a single run is trained in this process
        assert measured_threads[-1] == torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.usefixtures("measured_threads")
def test_several_at_a_time_in_one_process_take_at_most_the_hours_of_one_alone(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    entries = entries_of("smoke", seeds=1)
    machine = cifar_run.Machine(Path("nowhere"), device="cuda", parallel=3, jobs=8)
    *_, last = plan(entries, entries[:1], {}, machine)
    assert "3 to do in 3 h one after the other, an upper estimate for 3 at a time in one" in last
    *_, last = plan(entries, entries[:3], {}, machine)
    assert "1 to do in 1 h on cuda" in last  # the last one is alone


@pytest.mark.parametrize(
    ("method", "evaluate_every", "evaluated"),
    # 8 epochs with drops at 4 and 6: with every fifth, the second and third are not evaluated
    [("sgdm", 1, 8), ("sgdm", 5, 6), ("ef-signsgd", 1, 8), ("ef-signsgd", 5, 6)],
)
def test_hours_are_those_of_the_whole_run(monkeypatch, method, evaluate_every, evaluated):
    from efsgd.figures.cifar import estimate

    (entry,) = entries_of(
        "smoke",
        seeds=1,
        train_size=40,
        methods=(method,),
        batches=(2,),
        epochs=8,
        evaluate_every=evaluate_every,
    )
    machine = cifar_run.Machine(Path("nowhere"), graph=False, form="loop")
    iterates = 2 if method == "ef-signsgd" else 1  # x, and x - e
    # an image takes .5 s to train on and .25 s to evaluate
    fake = {"images_per_second": np.array([1.0, 2.0]), "seconds": np.array([0.0, 0.0])}
    trained, tested = estimate.STEPS * 2, estimate.EVALUATED
    fake["seconds"][1] = trained * 0.5 + iterates * (tested + min(tested, trained)) * 0.25
    options = {}
    monkeypatch.setattr(
        "efsgd.deep.training.obtain.train", lambda *_, **keywords: options.update(keywords) or fake
    )
    hours = estimate.hours(entry, machine, cifar_run.Datasets(None))
    images = evaluated * iterates * (200 + 40) + (8 - evaluated) * 200
    assert hours == pytest.approx((8 * 40 * 0.5 + images * 0.25) / 3600)
    assert options == {"device": "cpu", "compile": False, "graph": False, "form": "loop"}


# -- the grid -------------------------------------------------------------------------------------


def test_the_paper_preset_is_the_grid_of_section_6():
    entries = entries_of("paper")
    assert len(entries) == 2 * 3 * 4 * 3
    assert {entry.pair for entry in entries} == {("vgg19", "cifar10"), ("resnet18", "cifar100")}
    runs = [entry.training for entry in entries]
    assert {run.batch for run in runs} == {128, 32, 8}
    assert {run.seed for run in runs} == {0, 1, 2}
    assert {(run.epochs, run.drops) for run in runs} == {(200, (100, 150))}
    assert {run.method.weight_decay for run in runs} == {5e-4}
    assert {(run.train_size, run.test_size, run.validation) for run in runs} == {(None, None, 0)}
    rates = {(e.pair[0], e.training.batch, e.method): e.training.lr for e in entries}
    assert rates["vgg19", 128, "sgdm"] == 0.01
    assert rates["vgg19", 32, "sgdm"] == pytest.approx(0.01 / 4)
    assert rates["resnet18", 8, "ef-signsgd"] == pytest.approx(10**-1.25 / 16)


def test_short_is_a_part_of_section_6_with_a_short_schedule():
    runs = [entry.training for entry in entries_of("short")]
    places = [(run.model, run.data, run.batch) for run in runs]
    assert list(dict.fromkeys(places)) == [  # the order in which they are run
        ("vgg19", "cifar10", 128),
        ("vgg19", "cifar10", 8),
        ("resnet18", "cifar10", 128),
    ]
    assert [places.count(place) // 4 for place in dict.fromkeys(places)] == [3, 1, 1]  # seeds
    assert {(run.epochs, run.drops, run.precision) for run in runs} == {(30, (15, 22), "bf16")}
    assert {(run.train_size, run.test_size, run.evaluate_every) for run in runs} == {
        (None, None, 1)
    }


def test_short_has_the_papers_step_sizes():
    for entry in entries_of("short"):
        tuned = {model: lrs for (model, _), lrs in paper.STEP_SIZES.items()}[entry.pair[0]]
        assert entry.training.lr == pytest.approx(tuned[entry.method] * entry.training.batch / 128)


@pytest.mark.parametrize("preset", presets.PRESETS)
def test_every_seed_that_is_finished_is_a_whole_comparison(preset):
    choice = Choice(presets.PRESETS[preset])
    order = [(e.pair, e.training.batch, e.training.seed, e.method) for e in entries_of(preset)]
    assert order == [
        (pair, batch, seed, method)
        for pair, batch, seeds in grids.comparisons(choice)
        for seed, method in product(range(seeds), presets.METHODS)
    ]


VGG, RESNET = ("vgg19", "cifar10"), ("resnet18", "cifar10")


@pytest.mark.parametrize(
    ("preset", "changes", "expected"),
    [
        ("short", {}, [(VGG, 128, 3), (VGG, 8, 1), (RESNET, 128, 1)]),
        ("short", {"seeds": 2}, [(VGG, 128, 2), (VGG, 8, 2), (RESNET, 128, 2)]),
        ("short", {"models": ("vgg19",)}, [(VGG, 128, 3), (VGG, 8, 1)]),
        ("short", {"models": ("resnet18",)}, [(RESNET, 128, 1)]),
        ("short", {"models": ("vgg11",)}, [(("vgg11", "cifar10"), b, 1) for b in (128, 8)]),
        ("short", {"batches": (8,)}, [(VGG, 8, 1)]),
        ("short", {"batches": (128,)}, [(VGG, 128, 3), (RESNET, 128, 1)]),
        ("short", {"batches": (64,)}, [(VGG, 64, 1), (RESNET, 64, 1)]),
        ("short", {"models": ("resnet18",), "batches": (8,)}, [(RESNET, 8, 1)]),
        (
            "short",
            {"data": ("a.npz",)},
            [
                (("vgg19", "a.npz"), 128, 3),
                (("vgg19", "a.npz"), 8, 1),
                (("resnet18", "a.npz"), 128, 1),
            ],
        ),
        ("paper", {"batches": (64,), "models": ("vgg19",)}, [(VGG, 64, 3)]),
        ("paper", {"batches": (8,), "seeds": 1, "data": ("cifar10",)}, [(VGG, 8, 1)]),
        ("small", {"data": ("a.npz",)}, [(("resnet8", "a.npz"), 64, 3)]),
    ],
)
def test_options_override_what_a_preset_compares(preset, changes, expected):
    assert grids.comparisons(Choice(presets.PRESETS[preset], **changes)) == expected


@pytest.mark.parametrize(
    ("name", "pair", "expected"),
    [
        ("paper", ("resnet18", "cifar100"), ("resnet18", "cifar100")),
        ("paper", ("vgg19", "mine"), ("vgg19", "cifar10")),
        ("short", ("resnet18", "cifar10"), ("resnet18", "cifar100")),
        ("short", ("vgg11", "cifar100"), ("vgg19", "cifar10")),
        ("small", ("resnet18", "cifar100"), ("resnet8", "cifar10")),
    ],
)
def test_step_sizes_come_from_the_pair_its_model_or_the_first(name, pair, expected):
    preset = presets.PRESETS[name]
    assert grids.donor(preset, pair) == expected
    assert grids.tuned_for(preset, pair) == preset.step_sizes[expected]


def test_the_papers_methods_are_ternary_and_scaled_where_it_says():
    zeros = torch.zeros(3).numpy()
    for method in list(presets.METHODS.values())[1:]:
        assert not method.compresses.apply(zeros).any()
    assert presets.METHODS["sgdm"].momentum == presets.METHODS["signsgdm"].momentum == 0.9
    assert [name for name, m in presets.METHODS.items() if m.feeds_back] == ["ef-signsgd"]


@pytest.mark.parametrize(
    ("preset", "epochs", "expected"),
    [
        ("paper", None, (200, (100, 150))),
        ("paper", 40, (40, (20, 30))),
        ("paper", 2, (2, (1,))),
        ("paper", 1, (1, ())),
        ("smoke", None, (4, (2, 3))),
        ("short", 20, (20, (10, 15))),
    ],
)
def test_the_drops_scale_with_the_epochs(preset, epochs, expected):
    assert grids.schedule(presets.PRESETS[preset], epochs) == expected


@pytest.mark.parametrize("name", ["short", "small", "smoke"])
def test_small_presets_drop_at_half_and_three_quarters(name):
    preset = presets.PRESETS[name]
    assert preset.drops == (preset.epochs // 2, 3 * preset.epochs // 4)


@pytest.mark.parametrize(
    ("models", "data", "expected"),
    [
        ((), (), [("vgg19", "cifar10"), ("resnet18", "cifar100")]),
        (("resnet18",), (), [("resnet18", "cifar100")]),
        (("vgg11",), (), [("vgg11", "cifar10")]),
        ((), ("cifar100",), [("resnet18", "cifar100")]),
        ((), ("a.npz",), [("vgg19", "a.npz")]),
        (("vgg11", "vgg13"), ("cifar10",), [("vgg11", "cifar10"), ("vgg13", "cifar10")]),
    ],
)
def test_models_and_data_choose_pairs(models, data, expected):
    assert grids.pairs(Choice(presets.PRESETS["paper"], models=models, data=data)) == expected


def test_a_subset_is_no_larger_than_the_data():
    preset = presets.Preset(
        pairs=(("resnet8", "few"),),
        batches=(4,),
        seeds=1,
        epochs=2,
        drops=(1,),
        step_sizes=presets.PRESETS["smoke"].step_sizes,
        train_size=10,
        test_size=9,
    )
    (entry, *_) = grids.grid(Choice(preset), {"few": Source("few", "few", 10, 9)})
    assert (entry.training.train_size, entry.training.test_size) == (None, None)
    (entry, *_) = grids.grid(Choice(preset), {"few": Source("few", "few", 11, 10)})
    assert (entry.training.train_size, entry.training.test_size) == (10, 9)


def test_what_is_asked_for_twice_is_run_once():
    assert len(entries_of("smoke", seeds=1, methods=("sgdm", "sgdm"), batches=(8, 8))) == 1


def test_one_training_under_two_names_is_one_run(tmp_path):
    same = ("scaledsign:zero=0", "topk:0.1", "topk:0.10")
    entries = entries_of("smoke", seeds=1, methods=("ef-signsgd",), compressors=same)
    assert [entry.method for entry in entries] == ["ef-signsgd", "ef:topk:0.1"]
    few = {path: Source(path, "few-0123", 10, 9) for path in ("few.npz", "./few.npz")}
    choice = Choice(presets.PRESETS["smoke"], data=tuple(few), methods=("sgdm",), seeds=1)
    assert len(grids.grid(choice, few)) == 1


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_every_run_belongs_to_one_share(n):
    entries = entries_of("smoke", seeds=1)
    parts = [grids.share(entries, (i, n)) for i in range(1, n + 1)]
    joined = [entry for part in parts for entry in part]
    assert sorted(joined, key=entries.index) == entries


def test_the_presets_of_the_options_are_those_of_the_grid():
    assert tuple(presets.PRESETS) == PRESETS
    assert get_args(Form) == FORMS
    (metavar,) = {
        o.metavar
        for command in (main.commands["cifar"], main.commands["tune"])
        for o in command.params
        if o.name == "methods"
    }
    assert metavar.split("|") == list(presets.METHODS)


@pytest.mark.usefixtures("measured_threads")
def test_borrowed_step_sizes_are_noted(call):
    done = call("--dry-run", "--method", "sgdm", "--model", "resnet18", "--share", "2/2")
    assert "are those of resnet8/standin" in done.stdout
    planned = call("--preset", "short", "--dry-run", "--share", "1/20", few=False).stdout
    assert "step sizes for resnet18/cifar10 are those of resnet18/cifar100: " in planned
    assert planned.count("note: step sizes") == 1
    assert grids.untuned(presets.PRESETS["paper"], entries_of("paper")) == {}


@pytest.mark.parametrize("command", ["cifar", "tune"])
@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("", {"graph": None, "form": None, "parallel": 1, "compile": False, "again": False}),
        ("--graph --again", {"graph": True, "again": True}),
        ("--no-graph --compile", {"graph": False, "compile": True}),
        ("--form triton --parallel 3 --jobs 2", {"form": "triton", "parallel": 3, "jobs": 2}),
        ("--device cuda:1 --results a", {"device": "cuda:1", "directory": Path("a/cifar")}),
    ],
)
def test_the_options_say_how_runs_are_trained(monkeypatch, command, asked, expected):
    machines = []

    def stop(machine, precision):
        machines.append(machine)
        raise ValueError("enough")

    monkeypatch.setattr(cifar_run.Machine, "check", stop)
    done = CliRunner().invoke(main, [command, "--preset", "smoke", *asked.split()])
    assert refused(done, "enough")
    (machine,) = machines
    assert {name: getattr(machine, name) for name in expected} == expected


def test_some_epochs_are_not_evaluated_on_training_images_and_at_the_virtual_iterate(call):
    done = call("--method", "ef-signsgd", "--epochs", 8, "--evaluate-every", 5)
    assert done.exit_code == 0, done.output
    (path,) = results()
    history = load(path)
    for name in ("train_loss", "virtual_test_accuracy"):  # drops at 4 and 6
        assert np.flatnonzero(np.isnan(history[name])).tolist() == [1, 2]
    assert np.isfinite(history["test_accuracy"]).all()
    (table,) = Path("figures-out").glob("*.md")
    assert "train loss and x - e every 5 epochs" in table.read_text()


# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--method", "adam"], ["'adam'", "sgdm, signsgd, signsgdm, ef-signsgd"]),
        (["--compressor", "topp:1"], ["'topp'"]),
        (["--compressor", "topk:0"], ["topk:0"]),
        (["--model", "lenet"], ["'lenet'", "resnet18"]),
        (["--data", "nowhere.npz"], ["nowhere.npz"]),
        (["--data", "mnist"], ["'mnist'", "cifar10"]),
        (["--data", "bad.npz"], ["bad.npz"]),
        (["--batch", "1"], ["--batch", "1"]),
        (["--share", "3/2"], ["1 <= I <= N", "'3/2'"]),
        (["--share", "0/2"], ["'0/2'"]),
        (["--share", "half"], ["'half'"]),
        (["--graph"], ["graph", "CPU"]),
        (["--precision", "tf32"], ["tf32"]),
        (["--precision", "fp64"], ["fp64"]),
        (["--device", "tpu"], ["'tpu'"]),
        (["--device", "cuda:99"], ["cuda:99"]),
        (["--preset", "huge"], ["huge", "small"]),
        (["--seeds", "0"], ["--seeds"]),
        (["--epochs", "0"], ["--epochs"]),
        (["--evaluate-every", "0"], ["--evaluate-every"]),
        (["--parallel", "0"], ["--parallel"]),
        (["--form", "fast"], ["fast", "foreach"]),
        (["--draw"], ["none of the", "--draw"]),
        (["--draw", "--again"], ["--draw trains nothing", "--again"]),
        (["--out", "file/sub"], ["file/sub"]),
    ],
)
def test_bad_usage_is_one_sentence_and_exit_code_2(call, arguments, words):
    Path("bad.npz").write_bytes(b"no archive")
    Path("file").write_text("")
    assert refused(call(*arguments), *words)
    assert not Path("results").exists()


def test_results_that_cannot_be_written_are_refused_before_training(call, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: "results" not in str(path))
    done = call("--method", "sgdm")
    assert refused(done, "cannot write into results/cifar", begun=True)
    assert epochs_printed(done) == []


@pytest.mark.parametrize(
    "name",
    [
        "a$\\frac$ 100 % & {a}^~\n_# \u2603 .npz",
        pytest.param(f"{'long' * 61}.npz", marks=pytest.mark.slow),
    ],
)
def test_a_file_of_any_name_is_drawn_and_tabulated(call, name):
    tiny(Path(name))
    done = call("--data", name, "--method", "sgdm", "--model", "resnet8", names=())
    assert done.exit_code == 0, done.output
    assert len(list(Path("figures-out").glob("*.png"))) == 2 * len(KINDS)
    for table in Path("figures-out").glob("*.tex"):
        lines = table.read_text().splitlines()
        body = lines.index("\\begin{tabular}{rlrlllrr}")
        assert all(line.startswith("% ") for line in lines[:body])


def test_the_exit_code_says_whether_a_claim_of_the_papers_grid_failed(call):
    entries = entries_of("paper", models=("vgg19",))
    folder = Path("results/cifar")
    for entry in entries:
        result_of(entry, folder)
    grid = ("gap", "--preset", "paper", "--model", "vgg19", "--draw")
    done = call(*grid, few=False)
    assert (done.exit_code, ", 0 fail;" in done.stdout) == (0, True)
    for entry in entries:
        if entry.method == "sgdm" and entry.training.batch == 32:
            result_of(entry, folder, accuracy=80.0)
    done = call(*grid, few=False)
    assert (done.exit_code, "FAIL" in done.stdout) == (1, True)


@pytest.mark.parametrize("command", ["cifar", "tune"])
def test_without_torch_one_sentence_says_what_to_install(monkeypatch, command):
    monkeypatch.setitem(sys.modules, "torch", None)
    done = CliRunner().invoke(main, [command, "--quick"])
    assert refused(done, 'pip install "efsgd[deep]"')


def test_a_failing_run_names_itself(call, monkeypatch):
    def failing(*_, **__):
        raise OSError(28, "No space left on device", "a.npz")

    monkeypatch.setattr("efsgd.deep.training.obtain.run_training", failing)
    assert call("--method", "sgdm").stderr.startswith("Error: resnet8/few-")
    done = call("--method", "sgdm")
    assert refused(done, "batch 8, SGDm, seed 0 failed: OSError", "No space", begun=True)

    def mistaken(*_, **__):
        raise IndexError("a mistake of ours")

    monkeypatch.setattr("efsgd.deep.training.obtain.run_training", mistaken)
    done = call("--method", "sgdm")
    assert done.exit_code == 3
    assert "batch 8, SGDm, seed 0 failed: IndexError: a mistake of ours" in done.stderr


# -- workers, progress, Ctrl-C --------------------------------------------------------------------


@pytest.mark.slow
def test_two_workers_give_the_arrays_of_one(call):
    assert call("--method", "sgdm", "--seeds", 2, "--results", "one").exit_code == 0
    threads = torch.get_num_threads()
    done = call("--method", "sgdm", "--seeds", 2, "--jobs", 2, "--results", "two")
    assert done.exit_code == 0, done.output
    assert torch.get_num_threads() == threads
    assert len(epochs_printed(done)) == 4
    pairs = list(zip(results("one"), results("two"), strict=True))
    assert len(pairs) == 2
    for first, second in pairs:
        assert first.name == second.name
        for name in ("test_accuracy", "train_loss"):
            assert load(first)[name] == pytest.approx(load(second)[name], rel=1e-3)
        assert load(second).made_by["threads"] == 1


def test_trainings_side_by_side_give_the_arrays_of_one_after_the_other(call):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for name, options in (("one", ()), ("two", ("--parallel", 3, "--jobs", 2))):
            done = call(*TWO, "--results", name, *options)
            assert done.exit_code == 0, done.output
            assert len(epochs_printed(done)) == 4  # two of each method
    finally:
        torch.set_num_threads(threads)
    pairs = list(zip(results("one"), results("two"), strict=True))
    assert len(pairs) == 2
    for first, second in pairs:
        assert first.name == second.name
        arrays = [load(path).arrays for path in (first, second)]
        for name in set(arrays[0]) - {"seconds", "images_per_second"}:
            assert arrays[0][name].tobytes() == arrays[1][name].tobytes(), name


def test_ctrl_c_side_by_side_says_what_is_kept(call, monkeypatch):
    real, entries = cifar_run._train, []

    def train(entry, *arguments):
        real(entry, *arguments)
        entries.append(entry)
        if len(entries) == 1:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(cifar_run, "_train", train)
    done = call("--seeds", 2, "--parallel", 2, catch=True)
    assert done.exit_code != 0
    assert "runs were finished" in done.output
    finished = int(re.search(r"(\d+) of 8 runs were finished", done.output).group(1))
    assert 1 <= finished == len(results("results")) < 8
    monkeypatch.undo()


def test_a_gpu_has_one_process():
    assert cifar_run.Machine(Path(), device="cpu", jobs=8, parallel=2).workers == 1
    assert cifar_run.Machine(Path(), device="cuda", jobs=8).workers == 1
    assert cifar_run.Machine(Path(), device="cpu", jobs=8).workers == 8


class Terminal(io.StringIO):
    def isatty(self):
        return True


def epoch_of(entry, epoch, loss=1.5, speed=99.0):
    return progress.Progress(entry, epoch, loss=loss, accuracy=0.25, speed=speed)


def test_a_terminal_gets_one_bar_and_a_file_one_line_an_epoch(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    todo = entries_of("smoke", methods=("sgdm",), epochs=2)
    epochs = [epoch_of(entry, epoch) for entry in todo for epoch in (1, 2)]
    with progress.progress(todo) as show:
        for epoch in epochs:
            show(epoch)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    expected = f"{todo[0].name}: epoch 1/2, loss 1.5, accuracy 25.00 %, 99/s"
    assert lines[0] == expected
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress.progress(todo) as show:
        for now in [*epochs, *map(progress.Progress, todo)]:
            show(now)
    text = sys.stderr.getvalue()
    assert "run 1 of 2" in text
    assert "100%" in text
    assert "accuracy 25.00 %" in text


@pytest.mark.parametrize("columns", [76, 80, 200])
def test_the_bar_stays_in_its_line(columns, monkeypatch):
    """A bar that wraps leaves a row behind at each update."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys, "stderr", Terminal())
    todo = entries_of("smoke", methods=("sgdm", "ef-signsgd"), epochs=150)
    with progress.progress(todo) as show:
        for entry, epoch in product(todo, range(1, 151)):
            show(epoch_of(entry, epoch, loss=1.2345, speed=98765.0))
    rows = re.split(r"[\r\n]", re.sub(r"\x1b\[[0-9?]*[A-Za-z]", "", sys.stderr.getvalue()))
    assert any("accuracy 25.00 %" in row for row in rows)
    assert max(map(len, rows)) < columns


def test_a_narrow_terminal_gets_lines(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys, "stderr", Terminal())
    (entry, *_) = entries_of("smoke", methods=("sgdm",), epochs=2)
    with progress.progress([entry]) as show:
        show(epoch_of(entry, 1))
    assert sys.stderr.getvalue() == (f"{entry.name}: epoch 1/2, loss 1.5, accuracy 25.00 %, 99/s\n")


def test_ctrl_c_in_this_process_says_what_is_kept(call, monkeypatch):
    real = cifar_run._train

    def interrupted(entry, *rest):
        if entry.training.seed == 1:
            raise KeyboardInterrupt
        real(entry, *rest)

    monkeypatch.setattr(cifar_run, "_train", interrupted)
    done = call("--method", "sgdm", "--seeds", 2)
    assert done.exit_code == 130
    assert "1 of 2 runs were finished" in done.stderr
    assert "the same command goes on from there" in done.stderr
    done = call("--method", "sgdm", "--seeds", 2, "--again")
    assert "the same command without --again" in done.stderr


def test_ctrl_c_saves_and_the_same_command_goes_on(call, monkeypatch):
    line = progress._line

    def interrupting(now):
        line(now)
        if now.epoch == 3:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(progress, "_line", interrupting)
    done = call("--method", "sgdm", "--epochs", 5)
    assert done.exit_code == 130
    assert "interrupted: 0 of 1 runs were finished" in done.stderr
    assert [epoch for _, epoch in epochs_printed(done)] == ["1", "2", "3"]
    assert results() == []
    monkeypatch.setattr(progress, "_line", line)
    done = call("--method", "sgdm", "--epochs", 5)
    assert done.exit_code == 0, done.output
    assert [epoch for _, epoch in epochs_printed(done)] == ["4", "5"]
    assert len(results()) == 1


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals of a terminal")
def test_ctrl_c_ends_all_workers_which_save(call):
    words = ["cifar", "gap", "--preset", "smoke", "--data", "few.npz", "--batch", "8"]
    words += ["--epochs", "1000", "--method", "sgdm", "--seeds", "2", "--jobs", "2"]
    program = "from efsgd.figures.cli import main\nif __name__ == '__main__': main()"
    command = subprocess.Popen(
        [sys.executable, "-c", program, *words],
        env=os.environ | {"PYTHONPATH": str(Path(efsgd.__file__).parents[1])},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    printed = ""
    while "epoch 2/1000" not in printed and command.poll() is None:
        printed += command.stderr.readline()
    os.killpg(command.pid, signal.SIGINT)  # as a terminal does
    rest = command.communicate(timeout=60)[1]
    assert command.returncode == 130, rest
    last = rest.splitlines()[-1]
    assert last.startswith("Error: interrupted: 0 of 2 runs were finished")
    assert results() == []
    checkpoints = list(Path("results/cifar/checkpoints").glob("*.pt"))
    assert checkpoints
    assert all(torch.load(path, weights_only=True) for path in checkpoints)  # whole ones


# -- quick, list ----------------------------------------------------------------------------------


def test_quick_draws_every_picture_marked_and_claims_nothing(call):
    done = call("--quick", "--format", "svg", few=False)
    assert done.exit_code == 0, done.output
    pictures = [Path("figures-out", f"{kind}-resnet8-standin-quick.svg") for kind in KINDS]
    assert all(">quick: " in picture.read_text() for picture in pictures)
    tables_ = [f"resnet8-standin-quick.{ending}" for ending in tables.WRITERS]
    files = [*(picture.name for picture in pictures), *tables_]
    assert sorted(os.listdir("figures-out")) == sorted(files)
    assert os.listdir("results") == ["cifar-quick"]  # none among those that are published
    assert len(list(Path("results/cifar-quick").glob("training-*.npz"))) == 4


@pytest.mark.parametrize("command", ["cifar", "tune"])
@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ("--data few.npz --seeds 2", "--data, --seeds"),
        ("--epochs 2", "--epochs"),
        ("--model resnet8 --model vgg11", "a second --model"),
        ("--batch 8 --batch 16", "a second --batch"),
    ],
)
def test_quick_refuses_what_it_would_not_show(call, command, asked, named):
    done = CliRunner().invoke(main, [command, "--quick", *asked.split()])
    assert refused(done, f"leave out {named}, or --quick")
    assert sorted(os.listdir()) == ["few.npz"]


def test_list_has_the_deep_figures_without_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    listed = CliRunner().invoke(main, ["list"]).stdout
    for kind in cifar_command.PICTURES:
        assert f"efsgd-figures cifar {kind.name} " in listed
    assert [kind.name for kind in cifar_command.PICTURES] == KINDS


def test_a_source_is_known_by_what_is_in_it(tmp_path):
    datasets = cifar_run.Datasets(None)
    source = datasets.source(tiny(tmp_path / "a.npz"))
    other = datasets.source(tiny(tmp_path / "b.npz", seed=1))
    assert (source.train, source.test) == (24, 8)
    assert source.name.split("-")[1] != other.name.split("-")[1]
    assert datasets.source("cifar100") == Source("cifar100", "cifar100", 50_000, 10_000)
    assert collect([], tmp_path) == ({}, [])
    assert isinstance(entries_of("smoke")[0], Entry)


def test_to_draw_the_name_of_the_data_is_enough(call):
    """The committed results of `small`, whose images are not in the repository."""
    name = "cifar10_jpeg-cd31482d67a5"
    results = Path(__file__).resolve().parents[3] / "results"
    done = call("accuracy", "--draw", "--data", name, "--results", results, few=False)
    assert done.exit_code == 0, done.output
    assert "missing" not in done.stdout
    assert "3 of 3" in done.stdout
    refused(call("--data", name, few=False), name)  # but not to train
