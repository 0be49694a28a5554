"""``efsgd-figures convex --data FILE --workers N``: the same run as in Python, on the same shares.

Without this file the rows could be dealt otherwise than asked, and a picture could show the bytes
of all workers as those of one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from commands import refused
from sklearn.datasets import dump_svmlight_file, load_breast_cancer

import efsgd
from efsgd.convex import FileLogistic, data_file
from efsgd.figures import cli
from efsgd.results import load

WORDS = "convex --data cancer --loss logistic --l2 0.01 --standardise --steps 20 --jobs 1"


@pytest.fixture
def call(tmp_path: Path, monkeypatch: Any) -> Any:
    monkeypatch.chdir(tmp_path)
    dump_svmlight_file(*load_breast_cancer(return_X_y=True), "cancer", zero_based=False)

    def run(*words: str) -> Any:
        return CliRunner().invoke(cli.main, [*WORDS.split(), *words], catch_exceptions=False)

    return run


def compared() -> Any:
    results = [load(path) for path in Path("results/convex").glob("vary-*.npz")]
    (result,) = [result for result in results if "bytes_worker" in result.arrays]
    return result


@pytest.mark.parametrize("batch", [None, 5])
def test_the_command_runs_what_python_runs(call: Any, batch: int | None) -> None:
    words = ("--workers", "6", "--split", "label", "--method", "ef", "--lr", "0.1", "--seed", "3")
    words += () if batch is None else ("--batch", str(batch))
    done = call(*words, "--compressor", "topk:3")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "; 6 workers, rows by label" in done.stdout
    problem = FileLogistic(data_file("cancer", test=0.2, seed=3, standardise=True), 0.01)
    split = efsgd.Split(problem, 6, "label", seed=3)
    method, replicates = efsgd.EFSGD(efsgd.TopK(3)), 1 if batch is None else 5
    work = efsgd.Run(split, method, 0.1, 20, 3, replicates, batch, workers=6)
    history, result = efsgd.run(work), compared()
    np.testing.assert_array_equal(result["loss"][:, 0], history["loss"])
    np.testing.assert_array_equal(result["bytes_worker"][:, 0], history["bytes_worker"])
    message = len(efsgd.TopK(3).encode(np.ones(problem.d)))
    (table,) = Path("figures-out").glob("data-*.md")
    assert "| bytes a worker and step |" in table.read_text()
    assert f" | {message} |" in table.read_text()
    rows = json.loads(Path("figures-out/verdicts.json").read_text())
    assert all(row["pass"] is not False for row in rows)


def test_each_way_to_deal_has_files_of_its_own(call: Any) -> None:
    for words in ((), ("--workers", "2"), ("--workers", "2", "--split", "label")):
        assert call("--method", "sgd", "--lr", "0.1", *words).exit_code == 0
    assert call("--method", "sgd", "--lr", "0.1", "--workers", "1").exit_code == 0  # as the first
    assert len(list(Path("figures-out").glob("data-*.md"))) == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--split label", "--split label deals the rows to several workers: add --workers N"),
        ("--workers 456", "workers must be a whole number 1, 2, ..., 455, not 456"),
        ("--workers 4 --split alike", "by must be iid, label, sorted or dirichlet:A, not 'alike'"),
        ("--workers 4 --split dirichlet:0", "by='dirichlet:0' needs a positive number"),
        (
            "--workers 4 --batch 114",
            "batch=114 is more than the 113 rows of the worker that has least",
        ),
        ("--workers 4 --method diana --compressor topk:1", "DIANA needs an unbiased compressor"),
    ],
)
def test_what_cannot_be_dealt_is_refused(call: Any, words: str, message: str) -> None:
    refused(call(*words.split()), message)
