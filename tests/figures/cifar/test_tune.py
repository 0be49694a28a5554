"""The search for step sizes: the rule, the tables and the picture, and a small search that is run.

Without this file a search could choose a step size with which a seed diverged, or look at the test
images, and nobody would see it.
"""

import csv
import io
import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from commands import refused
from deep_histories import entries_of, study_of, tiny

from efsgd.figures.cifar import step_sizes, tune
from efsgd.figures.cifar.grid import Choice
from efsgd.figures.cifar.presets import PRESETS
from efsgd.figures.cifar.step_sizes import EDGE, Search
from efsgd.figures.cli import main
from efsgd.figures.drawing import style
from efsgd.results import load

pytest.importorskip("torch", reason="the deep track needs torch")
RATES = (0.001, 0.01, 0.1)


def search(*accuracy, missing=0):
    rates = tuple(10.0**-i for i in range(len(accuracy), 0, -1))
    return Search(
        batch=32,
        method="sgdm",
        label="SGDm",
        lr=rates,
        accuracy=tuple(np.array(a, float) for a in accuracy),
        missing=missing,
    )


# -- the rule -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accuracy", "chosen"),
    [
        ([[10], [30], [20]], 1),
        ([[10, 12], [30, 0], [11, 15]], 1),  # means 11, 15, 13
        ([[10], [30], [30]], 1),  # of several the smallest
        ([[10], [math.nan], [20]], 2),
        ([[10], [90, math.nan], [20, 20]], 2),  # a seed that diverged rules it out
        ([[], [5], []], 1),
        ([[math.nan], [math.nan]], None),
        ([[], []], None),
    ],
)
def test_the_best_stable_step_size_is_chosen(accuracy, chosen):
    assert search(*accuracy).chosen == chosen


def test_the_edge_of_the_grid_and_total_divergence_are_remarked():
    assert search([1], [2], [1]).remark == ""
    assert search([3], [2], [1]).remark == search([1], [2], [3]).remark == EDGE
    assert "try smaller" in search([math.nan], [math.nan]).remark
    assert search([1], [2], [], missing=3).remark == "3 runs missing"


def test_the_grid_is_the_papers_or_what_is_asked_for():
    assert pytest.approx(np.logspace(-5, 1, 9)) == tune.GRID
    assert tune.rates_of("0.1,1e-3,0.1") == (0.001, 0.1)
    for text in ("", "a", "0", "-1", "inf", "nan", "0.1;1"):
        with pytest.raises(ValueError, match="--grid takes positive step sizes"):
            tune.rates_of(text)


@pytest.mark.parametrize(
    ("drops", "tuning_epochs", "epochs", "expected"),
    [
        ((100, 150), 100, None, (100, ())),  # the paper's first drop comes after 100 epochs
        ((100, 150), 100, 120, (120, (100,))),
        ((5, 7), 10, None, (10, (5, 7))),
        ((5, 7), 5, None, (5, ())),
    ],
)
def test_the_schedule_is_the_start_of_the_presets(drops, tuning_epochs, epochs, expected):
    preset = replace(PRESETS["paper"], drops=drops, tuning_epochs=tuning_epochs)
    assert tune.tuning_schedule(preset, epochs) == expected


def test_the_paper_tuned_for_100_epochs():
    assert tune.tuning_schedule(PRESETS["paper"], None) == (100, ())


def test_the_runs_hold_out_images_and_change_the_step_size_only():
    entries = entries_of("small", seeds=1)
    searched = tune.runs(Choice(PRESETS["small"]), entries, RATES, 5000)
    assert len(searched) == len(entries) * len(RATES)
    by_entry = np.reshape(np.array(searched, object), (-1, len(RATES)))
    for entry, runs in zip(entries, by_entry, strict=True):
        assert [run.training.lr for run in runs] == list(RATES)
        for run in runs:
            assert run.training.validation == 5000
            assert run.training.test_size is None
            assert run.training.method == entry.training.method
            assert run.training.train_size == entry.training.train_size


# -- pictures and tables --------------------------------------------------------------------------


@pytest.fixture
def study(tmp_path):
    """SGDm is best at .01, EF-signSGD at the edge, signSGDm always diverges."""
    entries = entries_of("smoke", seeds=2, methods=("sgdm", "ef-signsgd", "signsgdm"))
    entries = tune.runs(Choice(PRESETS["smoke"], epochs=2), entries, RATES, 100)
    level = {"sgdm": (20.0, 60.0, 30.0), "ef-signsgd": (1.0, 2.0, 3.0), "signsgdm": (1.0,) * 3}

    def changes(entry):
        accuracy = level[entry.method][RATES.index(entry.training.lr)] + entry.training.seed
        return {"accuracy": accuracy, "diverged": 1 if entry.method == "signsgdm" else None}

    return study_of(entries, tmp_path, changes)


def test_the_picture_marks_the_chosen_and_leaves_out_what_diverged(study):
    with style.drawing():
        figure = step_sizes.draw(study)
    rings = [line for line in figure.axes[0].get_lines() if line.get_markersize() == 9]
    points = sorted(tuple(line.get_xydata()[0]) for line in rings)
    assert points == [pytest.approx((0.01, 60.5)), pytest.approx((0.1, 3.5))]
    lines = {line.get_label(): line for line in figure.axes[0].get_lines()}
    assert lines["SGDm"].get_ydata() == pytest.approx([20.5, 60.5, 30.5])
    assert np.isnan(lines["signSGDm (ternary), 6 diverged"].get_ydata()).all()


def test_the_table_names_the_choice(study):
    rows = [line for line in step_sizes.markdown(study).splitlines() if line.startswith("| 32")]
    deviation = math.sqrt(0.5)  # of two values 1 apart
    assert rows == [
        f"| 32 | SGDm | 0.01 | 60.50 +- {deviation:.2f} | 2 | 0 of 3 | - |",
        f"| 32 | EF-signSGD | 0.1 | 3.50 +- {deviation:.2f} | 2 | 0 of 3 | {EDGE} |",
        "| 32 | signSGDm | - | - | 0 | 3 of 3 | every step size diverged: try smaller ones |",
    ]
    read = list(csv.DictReader(io.StringIO(step_sizes.comma_separated(study))))
    assert len(read) == 3 * 3 * 2
    chosen = {(row["method"], row["step_size"]) for row in read if row["chosen"] == "1"}
    assert chosen == {("sgdm", "0.01"), ("ef-signsgd", "0.1")}
    assert {row["validation_accuracy"] for row in read if row["method"] == "signsgdm"} == {""}


# -- the command ----------------------------------------------------------------------------------


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        words = [str(a) for a in ("tune", "--jobs", 1, *arguments)]
        return CliRunner().invoke(main, words, catch_exceptions=False)

    return run


def test_a_search_is_run_kept_and_printed(call, tmp_path):
    options = ("--preset", "smoke", "--method", "sgdm", "--method", "ef-signsgd")
    options += ("--data", tiny(tmp_path / "few.npz"), "--batch", 4, "--epochs", 2)
    options += ("--grid", "0.001,0.01,3e38", "--validation", 6)
    done = call(*options)
    assert done.exit_code == 0, done.output
    files = sorted((tmp_path / "results/cifar").glob("training-*.npz"))
    assert len(files) == 6
    assert {load(path).spec["validation"] for path in files} == {6}
    out = tmp_path / "figures-out"
    (name,) = {load(path).spec["data"] for path in files}
    (table,) = out.glob("*.md")
    assert re.fullmatch(f"tune-resnet8-{name}-smoke-[0-9a-f]{{8}}", table.stem)
    names = [f"{table.stem}.{ending}" for ending in ("csv", "md", "png")]
    assert sorted(path.name for path in out.iterdir()) == [*names, "verdicts.json"]
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("4      SGDm "))
    cells = [cell.strip() for cell in table.read_text().partition("| 4 | SGDm |")[2].split("|")]
    assert cells[0] in line  # the step size
    assert cells[1] in line  # its accuracy
    assert "1 of 3" in done.stdout  # step size 3e38 diverges
    assert "test_accuracy" in load(files[0]).arrays
    rows = json.loads((out / "verdicts.json").read_text())
    assert [row["pass"] for row in rows] == [None, None]
    before = {path: path.stat().st_mtime_ns for path in files}
    assert call(*options).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in files} == before


def test_quick_results_are_not_among_those_that_are_published(call, tmp_path):
    done = call("--quick", "--method", "sgdm")
    assert done.exit_code == 0, done.output
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["cifar-quick"]
    assert all("-quick." in path.name for path in (tmp_path / "figures-out").iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--grid", "fast"], ["--grid", "'fast'"]),
        (["--grid", ""], ["--grid", "''"]),
        (["--validation", "0"], ["--validation"]),
        (["--preset", "smoke", "--validation", "2000"], ["standin has 2000", "--validation 2000"]),
        (["--method", "adam"], ["'adam'", "sgdm"]),
        (["--graph"], ["graph", "CPU"]),
    ],
)
def test_bad_usage_is_one_sentence_and_exit_code_2(call, arguments, words):
    assert refused(call(*arguments), *words)


def test_missing_step_sizes_are_listed(tmp_path, capsys, study):
    entry = replace(study.entries[0], training=replace(study.entries[0].training, lr=0.5))
    options = tune.Options(out=tmp_path / "out", results=tmp_path)
    options.out.mkdir()
    assert tune.show([*study.entries, entry], options) == 0
    printed = capsys.readouterr().out
    assert "1 of 19 runs are missing" in printed
    assert "1 runs missing" in printed
