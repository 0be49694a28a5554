"""``efsgd-figures convex --data``: from a file to pictures, a table and a certified optimum.

Without this file the paper's figures would all be right, and step sizes tuned on a user's own data
chosen by the wrong loss.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from commands import refused
from sklearn.datasets import dump_svmlight_file, load_breast_cancer, load_diabetes, load_digits

import efsgd
from efsgd.figures import cli
from efsgd.figures.drawing import style
from efsgd.figures.own_data import plots, study
from efsgd.figures.own_data.command import (
    COMPRESSING,
    DEFAULT,
    PLAIN,
    VARIANTS,
    fixed_rates,
    methods_of,
)
from efsgd.results import load

SETS = {"diabetes": load_diabetes, "breast-cancer": load_breast_cancer, "digits": load_digits}
SHORT = ("--steps", 20, "--jobs", 1)


@pytest.fixture
def call(tmp_path: Path, monkeypatch: Any) -> Any:
    """Run the command in a folder that holds the sets of SETS as LIBSVM text."""
    monkeypatch.chdir(tmp_path)
    for name, load_set in SETS.items():
        dump_svmlight_file(*load_set(return_X_y=True), name, zero_based=False)

    def run(*arguments: Any) -> Any:
        words = ["convex", *map(str, arguments)]
        return CliRunner().invoke(cli.main, words, catch_exceptions=False)

    return run


def claims() -> list[dict[str, Any]]:
    rows = json.loads(Path("figures-out/verdicts.json").read_text())
    return [row for row in rows if row["kind"] == "claim"]


def finals() -> dict[str, Any]:
    """The results of the comparison, by the spec of their method."""
    results = [load(path) for path in Path("results/convex").glob("vary-*.npz")]
    compared = [result for result in results if "bytes" in result.arrays]
    return {r.spec["run"]["method"]["type"].rpartition(".")[2]: r for r in compared}


def table() -> str:
    """The table of the only comparison that was made."""
    (path,) = Path("figures-out").glob("data-*.md")
    return path.read_text()


def test_least_squares_on_a_real_set(call: Any) -> None:
    done = call("--data", "diabetes", "--standardise", *SHORT)
    assert (done.exit_code, done.stderr) == (0, "")
    (written,) = Path("figures-out").glob("data-*.md")
    assert re.fullmatch("data-diabetes-squares-[0-9a-f]{8}", written.stem)
    files = [written.name, f"{written.stem}.png", "verdicts.json"]
    assert sorted(os.listdir("figures-out")) == files
    text = table()
    assert set(re.findall(r"[\w.]+", text)) <= set(re.findall(r"[\w.]+", done.stdout))
    assert text.startswith("# diabetes: least squares, n = 354, d = 10\n")
    assert all(f"| {label} |" in text for label in ("SGD", "signSGD", "signSGDm", "EF-signSGD"))
    assert [row["pass"] for row in claims()] == [True, True]
    assert set(finals()) == {"SGD", "SignSGD", "Signum", "EFSGD"}
    for result in finals().values():
        assert {"train_mse", "test_mse", "distance", "bytes"} <= set(result.arrays)
        assert result["distance"][-1] < result["distance"][0]
    Path("figures-out/verdicts.json").unlink()
    before = {p: p.stat().st_mtime_ns for p in Path("results/convex").iterdir()}
    assert call("--data", "diabetes", "--standardise", *SHORT).exit_code == 0
    assert {p: p.stat().st_mtime_ns for p in Path("results/convex").iterdir()} == before


def test_logistic_regression_with_batches_and_compressors(call: Any) -> None:
    words = "--data breast-cancer --loss logistic --standardise --intercept --batch 8 --l2 0.01"
    words += " --method compressed --method ef --compressor topk:1 --compressor scaledsign"
    done = call(*words.split(), "--lr", "ef=0.1", *SHORT)
    assert (done.exit_code, done.stderr) == (0, "")
    assert [row["pass"] for row in claims()] == [True, True]
    for label in ("topk:1 alone", "scaled signSGD", "EF topk:1", "EF-signSGD"):
        assert f"\n| {label} | " in table()
    assert table().count("| 0.1 | given |") == 2
    assert finals()["EFSGD"]["test_accuracy"].shape == (21, 1, study.REPLICATES)


def test_more_features_than_rows_show_the_gradient_span(call: Any) -> None:
    assert call("--data", "digits", "--test", 0.98, "--lr", 1e-4, *SHORT).exit_code == 0
    results = finals()
    assert results["SGD"]["span_distance"].max() < 1e-10
    assert results["SignSGD"]["span_distance"].max() > 1e-5
    assert "| distance to the gradient span |" in table()


def text(rng: Any, n: int, d: int, w: Any) -> str:
    """Sparse rows as of a text: five of d words each; the label is the side of a hyperplane."""
    lines = []
    for _ in range(n):
        words = np.sort(rng.choice(d, 5, replace=False))
        label = 1 if w[words].sum() > 0 else -1
        lines.append(f"{label} " + " ".join(f"{i + 1}:1" for i in words))
    return "\n".join(lines)


@pytest.mark.parametrize("loss", ["squares", "logistic"])
def test_sparse_text_with_a_test_file_of_its_own(call: Any, loss: str) -> None:
    """What the paper's code did with E2006, whose training and test rows are two files."""
    rng = np.random.default_rng(0)
    w = rng.standard_normal(400)
    for name, n in (("train.txt", 120), ("test.txt", 300)):
        Path(name).write_text(text(rng, n, 400, w))
    words = ("--data", "train.txt", "--test", "test.txt", "--loss", loss, "--steps", 200)
    topk = ("--method", "sgd", "--method", "ef", "--compressor", "topk:0.05")
    assert call(*words, *topk, "--jobs", 1).exit_code == 0
    assert all(row["pass"] for row in claims())
    for result in finals().values():
        assert result["test_accuracy"][-1, 0, 0] > 0.5
        assert "span_distance" in result.arrays
    sent = {name: result["bytes"][-1, 0, 0] for name, result in finals().items()}
    assert sent["EFSGD"] < sent["SGD"] / 10


def test_no_comparison_takes_the_place_of_another(call: Any) -> None:
    """Not one with another loss, method or step size, nor one on another file of the same name."""
    for folder, rows in (("A", "1 1:1\n-1 1:2\n1 2:3\n-1 1:4 2:1"), ("B", "1 1:1\n-1 2:2\n1 1:5")):
        Path(folder).mkdir()
        Path(folder, "train.svm").write_text(rows)
    common = ("--test", 0, "--lr", 0.01, "--method", "sgd", "--steps", 2, "--jobs", 1)
    choices: list[tuple[Any, ...]] = [
        ("--data", "A/train.svm"),
        ("--data", "B/train.svm"),
        ("--data", "A/train.svm", "--loss", "logistic"),
        ("--data", "A/train.svm", "--method", "ef"),
        ("--data", "A/train.svm", "--lr", 0.02),
        ("--data", "A/train.svm", "--steps", 3),
    ]
    for choice in choices:
        assert call(*common, *choice).exit_code == 0
    for ending in ("md", "png"):
        assert len(list(Path("figures-out").glob(f"data-train-svm-*.{ending}"))) == len(choices)
    rows = json.loads(Path("figures-out/verdicts.json").read_text())
    assert {row["command"] for row in rows} == {"convex"}
    by_figure = {row["figure"]: row["options"] for row in rows}
    assert len(by_figure) == len(choices)
    logistic = [name for name in by_figure if "-logistic-" in name]
    assert [by_figure[name] for name in logistic] == [
        "--data A/train.svm --loss logistic --method sgd --lr 0.01 --steps 2 --test 0"
    ]


def test_a_csv_is_told_how_to_become_an_archive(call: Any) -> None:
    """The lines that the sentence gives are run, and the command takes what they make."""
    Path("t.csv").write_text("a,b,y\n1,2,3\n4,5,6\n7,9,8\n1,0,2\n")
    done = call("--data", "t.csv")
    assert refused(done, "t.csv is a table delimited by ','", "skiprows=1")
    code = done.stderr.partition("last column, ")[2]
    exec(code, {"numpy": np})
    archive = np.load("t.npz")
    assert archive["X"].tolist() == [[1, 2], [4, 5], [7, 9], [1, 0]]
    assert archive["y"].tolist() == [3, 6, 8, 2]
    assert call("--data", "t.npz", "--quick", "--jobs", 1).exit_code == 0


def test_quick_claims_nothing(call: Any) -> None:
    done = call("--data", "digits", "--quick", "--jobs", 1, "--format", "svg")
    assert done.exit_code == 0
    (picture,) = Path("figures-out").glob("data-digits-squares-*-quick.svg")
    assert "quick: too few steps" in picture.read_text()
    assert not Path("figures-out/verdicts.json").exists()


@pytest.mark.parametrize(("lr", "steps"), [("1e+06", 200), ("1e+300", 20)])
def test_a_method_that_diverges_is_said_to(call: Any, lr: str, steps: int) -> None:
    words = ("--method", "sgd", "--lr", lr, "--steps", steps, "--batch", 2)
    done = call("--data", "diabetes", *words, "--jobs", 1)
    assert done.exit_code == 0
    assert f"| SGD | {lr} | given | diverged | diverged |" in table()


def test_without_test_rows_there_are_no_test_curves(call: Any) -> None:
    done = call("--data", "diabetes", "--test", 0, "--lr", 0.1, "--method", "sgd", *SHORT)
    assert done.exit_code == 0
    assert "test" not in table()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "nope"], "nope (No such file"),
        (["--data", "digits", "--loss", "logistic"], "10 different labels"),
        (["--data", "digits", "--l2", 1], "--l2 is for --loss logistic"),
        (["--data", "digits", "--method", "adam"], "no method is called 'adam': choose from sgd,"),
        (["--data", "digits", "--compressor", "topk:0"], "'topk:0' is not a compressor"),
        (["--data", "digits", "--compressor", "qsgd:1"], "use contractive,qsgd:1"),
        (["--data", "digits", "--method", "sgd", "--compressor", "topk:1"], "add --method ef"),
        (["--data", "digits", "--method", "ef21-plus", "--compressor", "randk:3"], "use EF21"),
        (
            ["--data", "digits", "--method", "econtrol", "--compressor", "qsgd:1"],
            "use contractive,qsgd:1",
        ),
        (["--data", "digits", "--lr", "abc"], "--lr abc"),
        (["--data", "digits", "--lr", "adam=1"], "--lr adam=1"),
        (["--data", "digits", "--lr", "inf"], "--lr inf"),
        (["--data", "digits", "--test", 1.5], "not 1.5"),
        (["--data", "digits", "--test", "nope"], "nope (No such file"),
        (["--data", "digits", "--test", 0.9999], "leaves 0 to train on"),
        (["--data", "digits", "--batch", 10**6], "not 1000000"),
        (["--data", "digits", "least-squares"], "not least-squares: leave out one"),
        (["--data", "breast-cancer", "--loss", "logistic", "--l2", 0], "l2 must be positive"),
        *(
            ([f"--{name}", value], f"--{name} is for data of your own: add --data FILE")
            for name, value in (("loss", "squares"), ("method", "sgd"), ("lr", 1), ("steps", 9))
        ),
        (["--standardise"], "--standardise is for data of your own"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(call: Any, arguments: Any, words: str) -> None:
    assert refused(call(*arguments, "--jobs", 1), words)


def test_a_malformed_line_is_named(call: Any) -> None:
    Path("bad.txt").write_text("1 1:2\n1 2:3\n1 3;4\n")
    assert refused(call("--data", "bad.txt"), "bad.txt, line 3: '3;4' is not index:value")


# -- the search for step sizes --------------------------------------------------------------------


def test_the_grid_grows_at_the_edge_where_the_best_is() -> None:
    inside, low, high = {0: 3.0, 1: 1.0, 2: 2.0}, {0: 1.0, 1: 2.0}, {0: 2.0, 1: 1.0}
    losses = {"inside": inside, "low": low, "high": high, "done": high}
    assert study._beyond(losses, ["inside", "low", "high"]) == {
        "low": [-2, -1],
        "high": [2, 3],
    }
    lost = dict.fromkeys(range(3), np.inf)  # all diverged: smaller ones
    assert study._beyond({"lost": lost}, ["lost"]) == {"lost": [-2, -1]}
    full = {i: float(i) for i in range(study.AT_MOST)}
    assert study._beyond({"full": full}, ["full"]) == {}


def test_the_step_size_with_the_least_late_loss_is_chosen(call: Any) -> None:
    arguments = ("--data", "diabetes", "--standardise", "--method", "sgd", *SHORT)
    assert call(*arguments).exit_code == 0
    tried = [load(path) for path in Path("results/convex").glob("vary-*.npz")]
    late = {r.spec["values"][0]: r["loss"][1:].mean() for r in tried if "bytes" not in r.arrays}
    assert len(late) >= len(study.EXPONENTS)
    assert finals()["SGD"].spec["values"] == [min(late, key=lambda lr: late[lr])]


def test_methods_and_step_sizes_by_name() -> None:
    methods = methods_of((), (), 9)
    assert [name for name, _ in methods.values()] == list(DEFAULT)
    assert set(PLAIN) <= {name for name, _ in methods_of((*PLAIN, "ef"), (), 9).values()}
    several = methods_of(("ef", "sgd"), ("topk:1", "topk:0.5"), 9)
    assert list(several) == ["EF topk:1", "EF topk:0.5", "SGD"]
    assert several["EF topk:1"] == ("ef", efsgd.EFSGD(efsgd.TopK(1)))
    with_methods: Any = SimpleNamespace(methods=several)
    expected = {"EF topk:1": 2.0, "EF topk:0.5": 2.0, "SGD": 0.1}
    assert fixed_rates(("ef=2", "0.1"), with_methods) == expected
    assert fixed_rates(("sgd=1",), with_methods) == {"SGD": 1.0}


OF_ANY = tuple(name for name in VARIANTS if name != "diana")  # which needs an unbiased compressor


def test_every_variant_has_a_name_and_the_look_of_the_pictures() -> None:
    """Alone each is drawn as in the picture ``variants``; --help names them all."""
    methods = methods_of((*OF_ANY, "ef"), ("topk:0.1",), 50)
    methods |= methods_of(("diana",), ("qsgd:3",), 50)
    assert {name: type(method).__name__ for name, method in methods.values()} == {
        "ef": "EFSGD",
        "ef21": "EF21",
        "ef21-sgdm": "EF21SGDM",
        "ef21-plus": "EF21Plus",
        "econtrol": "EControl",
        "post-momentum": "PostMomentumEF",
        "gradient-ef": "GradientEF",
        "fully-corrective": "FullyCorrectiveEF",
        "diana": "DIANA",
    }
    looks = plots._looks(list(methods))
    for name, (label, _) in VARIANTS.items():
        colour, dashes, marker = style.METHODS[label]
        c = "topk:0.1" if name in OF_ANY else "qsgd:3"
        look = looks[f"{label} ({c})"]
        assert (look["color"], look["linestyle"], look["marker"]) == (colour, dashes, marker)
        assert methods[f"{label} ({c})"][0] == name
    help_text = " ".join(CliRunner().invoke(cli.main, ["convex", "--help"]).output.split())
    assert all(name in help_text for name in (*PLAIN, *COMPRESSING))


def test_econtrol_stands_in_the_middle_of_where_it_is_stable() -> None:
    """eta = (1-q)/(1+q): half of 2 (1-q)/(1+q), from where some compressors diverge."""
    q = np.sqrt(1 - 1 / 4)  # topk:1 at d = 4
    ((_, method),) = methods_of(("econtrol",), ("topk:1",), 4).values()
    assert isinstance(method, efsgd.EControl)
    assert np.isclose(method.eta, (1 - q) / (1 + q), rtol=1e-12)


def test_the_variants_run_on_a_file(call: Any) -> None:
    names = [word for name in OF_ANY for word in ("--method", name)]
    words = ("--data", "diabetes", "--standardise", "--compressor", "topk:2", "--method", "ef")
    assert call(*words, *names, "--lr", 0.01, *SHORT).exit_code == 0
    losses = {name: result["loss"] for name, result in finals().items()}
    assert len(losses) == 1 + len(OF_ANY)
    assert all(loss[-1, 0, 0] < loss[0, 0, 0] for loss in losses.values())
    assert np.allclose(losses["EFSGD"], losses["GradientEF"], rtol=1e-10, atol=0)
    assert not np.allclose(losses["FullyCorrectiveEF"], losses["EFSGD"], rtol=1e-3)


@pytest.mark.parametrize("names", [("ef", "compressed"), ("ef", "compressed", *OF_ANY)])
def test_every_method_looks_its_own(names: tuple[str, ...]) -> None:
    specs = ("scaledsign", "topk:1", "topk:2") if len(names) == 2 else ("topk:1", "topk:2")
    labels = list(methods_of((*PLAIN, *names), specs, 9))
    looks = plots._looks(labels)
    assert set(looks) == set(labels)
    assert len({(look["color"], look["marker"]) for look in looks.values()}) == len(labels)
