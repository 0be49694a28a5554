"""What the comparison on one's own data calls a loss and an optimum, and when it refuses.

Without this file a train loss could be shown below "the optimum", by two definitions of the loss,
and an optimum be called certified that is none.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from commands import refused

from efsgd.arrays import Array
from efsgd.convex.data.file_problems import FileLogistic, FileSquares
from efsgd.convex.data.files import data_file
from efsgd.figures import cli
from efsgd.figures.own_data import plots, series
from efsgd.results import Result

ONCE = ("--method", "sgd", "--lr", "0.1", "--steps", "20", "--jobs", "1")


@pytest.fixture
def call(tmp_path: Path, monkeypatch: Any) -> Any:
    """Run the command on my.npz, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(X: Array, y: Array, *arguments: str) -> Any:
        np.savez("my.npz", X=X, y=y)
        words = ["convex", "--data", "my.npz", *arguments, *ONCE]
        return CliRunner().invoke(cli.main, words, catch_exceptions=False)

    return run


def data(n: int = 40) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 3))
    return X, np.sign(X @ [1.0, -1.0, 0.0] + rng.standard_normal(n))


def rows() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(Path("figures-out/verdicts.json").read_text())
    return found


def table() -> dict[str, str]:
    """The heads and the one row of the table."""
    (path,) = Path("figures-out").glob("data-my-npz*.md")
    heads, _, cells = (line for line in path.read_text().splitlines() if line.startswith("|"))
    names = [head.strip().replace("\\", "") for head in heads.split("|")]
    return dict(zip(names, [cell.strip() for cell in cells.split("|")], strict=True))


@pytest.mark.parametrize("loss", ["squares", "logistic"])
def test_the_loss_of_the_table_is_what_is_certified(call: Any, loss: str) -> None:
    """Gradient descent by hand: f with its penalty, f - f*, and the test loss without one."""
    X, y = data()
    assert call(X, y, "--loss", loss, "--intercept").exit_code == 0
    source = data_file("my.npz", intercept=True)
    problem: Any = FileSquares(source) if loss == "squares" else FileLogistic(source, 1 / 32)
    x = np.zeros((1, 4))
    for _ in range(20):
        x = x - 0.1 * problem.full_gradient(x)
    f, least = float(problem.loss(x)[0]), problem.optimum.f
    test = problem.data
    losses = problem.values(test.X_test @ x[0], test.y_test)
    shown = table()
    assert float(shown["train loss f"]) == pytest.approx(f, rel=1e-3)
    assert float(shown["f - f*"]) == pytest.approx(f - least, rel=1e-3)
    assert float(shown["test loss"]) == pytest.approx(losses.mean(), rel=1e-3)
    (claim,) = (row for row in rows() if row["kind"] == "claim" and "f = " in row["claim"])
    assert f"the optimum f = {least:.6g}" in claim["claim"]
    assert claim["pass"]


def result(**arrays: Any) -> Result:
    stored = {name: np.array(value) for name, value in arrays.items()}
    return Result(stored, spec={}, made_by={}, path=Path())


def test_f_above_the_optimum_is_0_within_rounding_and_else_as_it_is() -> None:
    loss = np.array([1.0, 0.5, 0.5 - 1e-16, 0.4])[:, None, None]
    run = result(step=np.arange(4), bytes=0 * loss, loss=loss)
    known = result(f=0.5, error=0.0, tolerance=1e-8)
    above = series.series(run, known)["above"][:, 0, 0]
    np.testing.assert_allclose(above, [0.5, 0.0, 0.0, -0.1], atol=1e-15)
    for unknown in (None, result(f=0.5, error=np.nan, tolerance=1e-8)):
        assert "above" not in series.series(run, unknown)


def test_there_is_a_panel_of_f_above_the_optimum() -> None:
    shown = dict.fromkeys(("step", "bytes", "loss", "above", "test_loss", "distance"), np.ones(1))
    panels = plots._panels(shown)
    assert ("step", "above") in panels
    assert len(panels) == len(set(panels)) == 6


def test_nanoseconds_beside_small_columns_have_the_right_optimum(call: Any) -> None:
    """Issue: LAPACK dropped the small columns, and the large one hid it from the certificate."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 200))
    time = 1.7e18 + rng.integers(0, 10**9, 200)
    y = 3 * a - 2 * b + 0.1 * rng.standard_normal(200)
    X = np.column_stack((a, b, time))
    assert call(X, y, "--test", "0").exit_code == 0
    scaled = X / np.abs(X).max(axis=0)  # 1e9 of 1.7e18 do not matter to these three columns
    least = float(np.linalg.lstsq(scaled, y)[1][0]) / 400
    assert any(f"the optimum f = {least:.6g}" in row["claim"] for row in rows())
    assert least < 0.006


def test_what_cannot_be_certified_is_refused_with_the_remedy(call: Any) -> None:
    X, y = data()
    close = np.column_stack((X, X[:, 0] * (1 + 1e-13 * X[:, 1])))
    assert refused(call(close, y), "try --standardise, which scales X")
    assert not list(Path("figures-out").glob("*.png"))
    done = call(close, y, "--standardise")
    assert done.exit_code == 0
    assert [row for row in rows() if row["kind"] == "claim"] == []
    assert any("no optimum is certified" in row["claim"] for row in rows())
    assert "f - f*" not in table()


def test_what_rounding_may_hide_is_refused(call: Any) -> None:
    """Issue: a marked row, ticks of a clock and a large mean of y had false optima "certified"."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 3)), rng.standard_normal(40)
    assert refused(call(X, 1.7e12 + y, "--test", "0", "--intercept"), "centre y")
    tick = rng.integers(0, 16, (40, 1))
    done = call(1.7e18 + 256.0 * tick, tick[:, 0] + y, "--test", "0", "--intercept")
    assert refused(done, "lowers f by", "centre and scale the columns")
    X[7] = 2.0**63
    assert refused(call(X, y, "--test", "0"), "columns", "drop training row 7", "9.22337e+18")


def test_large_means_are_certified_once_centred(call: Any) -> None:
    rng = np.random.default_rng(0)
    tick = rng.integers(0, 16, (40, 1)).astype(float)
    y = 2.0**40 + tick[:, 0] + np.round(rng.standard_normal(40), 2)
    words = ("--test", "0", "--standardise", "--intercept")  # means of such numbers are rounded
    assert call(1.7e18 + 256 * tick, y, *words).exit_code == 0
    line = np.column_stack((tick, np.ones(40)))
    least = float(np.linalg.lstsq(line, y - 2.0**40)[1][0]) / 80
    assert any(f"the optimum f = {least:.6g}" in row["claim"] for row in rows())


NUMBERS = {"f": 2.0, "error": 0.0, "tolerance": 1e-8, "solver_gap": np.nan}
FACTS = {"proven": 1, "dependent": 0, "exact": 1, "interpolates": 0}


@pytest.mark.parametrize(
    ("facts", "said", "unsaid"),
    [
        ({}, ("the optimum f = 2", "is certified: ", "error of w, error of f"), ("depend", "f(0)")),
        (
            {"dependent": 2},
            ("is certified, 2 columns depending on others", "error of w"),
            ("f(0)",),
        ),
        (
            {"dependent": 2, "exact": 0},
            ("is certified, but not its w, as 2 columns depend on others up to rounding only",),
            ("error of w",),
        ),
        ({"interpolates": 1}, ("error of f over f(0), as f is 0 up to the rounding of y",), ()),
        ({"proven": 0}, ("no optimum is certified", "error of f at w"), ("the optimum f", "of w,")),
    ],
)
def test_a_claim_says_what_was_checked(
    facts: dict[str, int], said: tuple[str, ...], unsaid: tuple[str, ...], tmp_path: Path
) -> None:
    np.savez(tmp_path / "my.npz", X=data()[0], y=data()[1])
    study: Any = SimpleNamespace(problem=FileSquares(data_file(tmp_path / "my.npz")))
    certificate = result(**NUMBERS | FACTS | facts)
    (verdict,) = plots._certificate(study, certificate)
    assert all(words in verdict.claim for words in said)
    assert not any(words in verdict.claim for words in unsaid)
    located = bool({"proven", "exact"}.isdisjoint(facts))
    assert series.located(certificate) == located


@pytest.mark.parametrize("words", [(), ("--standardise",)])
def test_classes_are_named_as_in_the_file(call: Any, words: tuple[str, ...]) -> None:
    X, _ = data()
    done = call(X, np.arange(40) % 3, "--loss", "logistic", *words)
    assert refused(done, "3 different labels (0, 1, 2), and logistic regression needs two")
