"""``efsgd-figures show``: one file in full, folders and several files.

Without this file a result could be kept whose content nobody can look at.
"""

import numpy as np
import pytest
from click.testing import CliRunner
from commands import refused

from efsgd.figures.cli import main
from efsgd.results import save


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Run the command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(main, ["show", *words], catch_exceptions=False)


def test_a_file_is_shown_with_spec_provenance_and_final_values(call):
    arrays = {
        "loss": np.array([[9.0, 9.0], [1.0, 0.25]]),
        "many": np.tile(np.arange(5.0), (3, 1)),
        "phi": np.array([0.5, np.nan]),
        "none": np.zeros((0, 3)),
        "scalar": np.array(7),
        "word": np.array("abc"),
    }
    save("a.npz", arrays, {"type": "some.Work", "lr": 0.125}, {"numpy": "2.9"})
    done = call("a.npz")
    assert done.exit_code == 0
    words = done.stdout.split("\n")
    assert {'    "lr": 0.125,', '    "type": "some.Work"', '    "numpy": "2.9"'} <= set(words)
    values = {line.split()[0]: line.split(")  ")[-1].strip() for line in words[-7:] if line}
    assert values == {
        "loss": "1, 0.25",
        "many": "mean 2, from 0 to 4",
        "phi": "0.5 (1 before the last)",
        "none": "[]",
        "scalar": "7",
        "word": "abc",
    }


def spec(lr, problem="a", **fields):
    part = {"type": f"some.{problem.title()}", "d": 3}
    return {"type": "some.Work", "lr": lr, "steps": 10, "problems": [part], **fields}


def test_a_folder_has_a_line_for_each_result_with_what_distinguishes_it(call, tmp_path):
    for name, content in {
        "one": spec(0.5), "two": spec([1, 2, 3, 4, 5, 6]), "sub/three": spec(0.25, "bowl"),
    }.items():  # fmt: skip
        save(f"f/{name}.npz", {"x": np.zeros(2)}, content, {})
    save("f/other.npz", {"x": np.zeros(2)}, {"type": "other.Kind", "a": 1}, {})
    (tmp_path / "f/bad.npz").write_text("no archive")
    done = call("f", "f/one.npz")
    assert done.exit_code == 0
    head, *lines = done.stdout.split("\n\n")[1].splitlines()
    assert head.startswith("5 files")
    assert lines[0].startswith("bad.npz  f/bad.npz is damaged or no result")
    assert lines[-4:] == [
        "one.npz  Work lr=0.5 A",
        "other.npz  Kind",
        "sub/three.npz  Work lr=0.25 Bowl",
        "two.npz  Work lr=[1,...,6] A",
    ]
    assert "f/one.npz\n\nspec\n" in done.stdout


def test_results_that_differ_have_lines_that_differ_and_fit_the_terminal(call, monkeypatch):
    """Of fields that differ together one is enough."""
    monkeypatch.setenv("COLUMNS", "60")
    grid = [(lr, f"method-{m}", seed) for lr in (0.1, 0.25) for m in "ab" for seed in range(3)]
    for i, (lr, method, seed) in enumerate(grid):
        spec = {"type": "a.B", "drops": [5, 7][: i % 2], "lr": lr / 3, "seed": seed}
        spec |= {"epochs": 10 + i % 2, "steps": 9}
        spec["method"] = {"type": f"some.package.{method}", "d": len(method)}
        save(f"f/{i}-{'x' * 30}.npz", {}, spec, {})
    head, *lines = call("f").stdout.splitlines()[2:]
    assert max(map(len, lines)) <= 60
    texts = [text.split("  ")[1] for text in "\n".join(lines).replace("\n    ", " ").split("\n")]
    assert head.startswith("12 files")
    assert len(set(texts)) == len(grid)
    assert texts[0] == "B seed=0 epochs=10 lr=0.03333 method-a"


def test_a_folder_without_results_is_named(call, tmp_path):
    (tmp_path / "empty").mkdir()
    assert refused(call("empty"), "empty holds no .npz file")
