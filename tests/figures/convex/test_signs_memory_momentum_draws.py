"""The pictures sign-at-zero, error-norm, momentum and draws: each claim holds and can fail.

The results are those of the pictures, over the first draws of their data only. Without this file a
claim of these pictures that passes whatever was computed would go unnoticed.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from doctored import Broken, Results, add, computed, put, scale

from efsgd import Run
from efsgd.convex.studies.section_five import STEPS, Untouched
from efsgd.convex.studies.vary import Certified, Vary
from efsgd.figures import make
from efsgd.figures.cli import main
from efsgd.figures.convex import draws, error_norm, momentum, sign_at_zero
from efsgd.figures.convex.least_squares import UNDECAYED
from efsgd.figures.drawing import style
from efsgd.figures.make import Picture
from efsgd.results import Work

PICTURES = {m.PICTURE.name: m.PICTURE for m in (sign_at_zero, error_norm, momentum, draws)}
DRAWS, FEW = 20, 5  # of the data: of 100 or 200, and of 20


def fewer(work: Work) -> Work:
    """The same over the first draws of the data."""
    if isinstance(work, Vary) and work.field == "problem":
        return replace(work, values=work.values[: FEW if len(work.values) <= DRAWS else DRAWS])
    return replace(work, problems=work.problems[:DRAWS]) if isinstance(work, Untouched) else work


@pytest.fixture(scope="module")
def results() -> dict[str, Results]:
    """The results of each picture, by their names; made once, never changed."""
    return {
        picture.name: {name: computed(fewer(work)) for name, work in picture.work(False, 0).items()}
        for picture in PICTURES.values()
    }


def first(share: float) -> slice:
    """The first data draws, one more than this share of them."""
    return slice(round(share * DRAWS) + 1)


def shared(result: str) -> list[Broken]:
    """What every picture claims; its optima have f <= 1, where 1e-7 (1 + f) is 2e-7 at most."""
    return [
        Broken(r"^x_t - e_t = x_0", result, "virtual_residual", put(1e-10, -1, 0)),
        Broken(r"^the optima of all", "optima", "gap", put(-2.1e-7, 0)),
    ]


def of_signs() -> list[Broken]:
    """Each method's final loss and accuracy, and what makes one bit good."""
    mse, accuracy = "test_mse", "test_accuracy"
    bit, quarter = sign_at_zero.BIT, r"from a quarter of the share of y = \+1"
    table = []
    for method, bound in sign_at_zero.MEDIANS.items():
        of_method, ternary = f"^{re.escape(method)}: ", method == sign_at_zero.TERNARY
        implied = (quarter,) if method == bit else ()  # within 0.02 of a quarter: below 0.27
        bad = put(0.95 if ternary else 0.949, -1, first(0.05))
        table += [
            Broken(of_method + "median final", method, mse, put(bound, -1), implied),
            Broken(of_method + "share of data draws", method, accuracy, bad),
        ]
    without = f"^{re.escape(bit)} with those weights set to 0: "
    return [
        *table,
        Broken("largest difference", "untouched", "greatest", add(1.1e-12, 3)),
        Broken(without + "median", "untouched", mse, put(0.5)),
        Broken(without + "share", "untouched", accuracy, put(0.95, first(0.05))),
        Broken(quarter, bit, mse, add(-0.0201, -1)),
        *shared(sign_at_zero.EF_BIT),
    ]


def of_memory() -> list[Broken]:
    """The bounds on the memory, and the instance that attains them."""
    norm, spec = "memory_norm", "topk:4"
    unit, q = error_norm.LR * error_norm.PROBLEMS[0].sigma, error_norm.contraction(spec)
    sharp = unit * float(error_norm.sharp(q, np.array(4.0)))  # row 1 is step 4
    lemma = unit * float(error_norm.lemma(q))
    over_sharp, over_lemma = r"exceeds the sharp form$", r"exceeds the lemma$"
    summed, off = r"distance of \|e_t\| from sum_", scale(1 + 1.1e-12, 200)
    nothing = put(0.0, slice(1, None))
    return [
        Broken(over_sharp, spec, norm, put(1.001 * sharp, 1, 0)),
        # the sharp form lies below the lemma
        Broken(over_lemma, spec, norm, put(1.001 * lemma, 1, 0), implied=(over_sharp,)),
        *(
            Broken(f"^C.* q = {q}: .*from the sharp form", f"extremal q={q}", norm, off)
            for q in error_norm.QS
        ),
        Broken(summed, "decayed", norm, off),
        # the sum itself exceeds the lemma
        Broken(r"\|e_t\| stays below the lemma", "decayed", norm, nothing, implied=(summed,)),
        *shared("topk:16"),
    ]


def of_momentum() -> list[Broken]:
    """Who swings, who settles, who generalises."""
    mse, accuracy, grid_mse = "train_mse", "test_accuracy", "test_mse"
    true, feedback = momentum.TRUE, momentum.EF_MOMENTUM
    swings, settled = "train loss swings by more than 1", f"^{true}: median over draws"
    late = slice(STEPS // 2, None)
    at_one, at_tenth = (momentum.GRID.index(lr) for lr in (1.0, 0.1))
    plain_grid, feedback_grid = f"{momentum.EF} grid", f"{feedback} grid"
    generalises = "test accuracy >= 0.95"
    return [
        Broken(f"^signSGDm, .*{swings}", UNDECAYED, mse, put(1.0, late, first(0.05))),
        Broken(f"^{true}: .*{swings}", true, mse, add(1.01, 60, first(0.05))),
        # a median swing above 1 is 10 times one below 0.1
        Broken("undecayed over true", true, mse, add(0.25, 60), implied=(settled,)),
        Broken("is a triangle", UNDECAYED, mse, scale(1.0002)),  # 0.2 and 0.20002
        Broken(settled, true, mse, add(0.1, late)),
        Broken(f"^{true}: .*{generalises}", true, accuracy, put(0.95, -1, first(0.1))),
        Broken(f"1000 steps.*{generalises}", feedback, accuracy, put(0.949, -1, 0)),
        Broken("^EF-signSGD, step size 1", plain_grid, grid_mse, put(0.05, -1, 2, at_one)),
        Broken("diverges", feedback_grid, grid_mse, put(1.0, -1, 2, at_tenth)),
        *shared(feedback),
    ]


def of_draws() -> list[Broken]:
    """The shares of bad data draws, and the formula for the loss of signSGD."""
    mse, table = "test_mse", []
    for p in draws.SHARES:
        head, formula = rf"^P\(y=1\) = {p}, share .* loss of ", rf"^P\(y=1\) = {p}: share"
        feedback, undecayed, signs = (f"{m} p={p}" for m in ("EF-signSGD", UNDECAYED, "signSGD"))
        few_bad = put(0.5, -1, first(0.25))
        table += [
            Broken(head + "EF-signSGD < 0.1", feedback, mse, put(0.1, -1, 0)),
            Broken(head + "signSGDm, undecayed", undecayed, mse, few_bad),
        ]
        bad, change, implied = head + "signSGD > 0.5", put(0.5, -1, first(0.1)), ()
        if p == draws.SHARES[-1]:  # so many bad draws are not those of the formula
            change, implied = put(0.501, -1, first(0.7)), (formula,)
        table.append(Broken(bad, signs, mse, change, implied))
        if p > draws.SHARES[0]:
            table.append(Broken(formula, signs, mse, add(0.0201, -1, first(0.2))))
    return [*table, *shared(f"EF-signSGD p={draws.SHARES[0]}")]


TABLE: dict[str, list[Broken]] = {
    sign_at_zero.PICTURE.name: of_signs(),
    error_norm.PICTURE.name: of_memory(),
    momentum.PICTURE.name: of_momentum(),
    draws.PICTURE.name: of_draws(),
}


def claims(picture: str, results: Results) -> dict[str, str]:
    """Whether each claim passes, by its text; the texts differ."""
    verdicts = [v for v in PICTURES[picture].verdicts(results) if v.kind == "claim"]
    assert len({v.claim for v in verdicts}) == len(verdicts)
    return {v.claim: v.word for v in verdicts}


def failed(picture: str, results: Results) -> list[str]:
    return [text for text, word in claims(picture, results).items() if word == "FAIL"]


# -- claims ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("picture", PICTURES)
def test_all_claims_pass_and_each_has_one_way_to_break_it(
    picture: str, results: dict[str, Results]
) -> None:
    table, words = TABLE[picture], claims(picture, results[picture])
    assert set(words.values()) == {"pass"}
    assert {text: sum(broken.finds(text) for broken in table) for text in words} == dict.fromkeys(
        words, 1
    )
    assert len(table) == len(words)


@pytest.mark.parametrize(
    ("picture", "broken"),
    [
        pytest.param(picture, broken, id=f"{picture}-{broken.pattern}")
        for picture, table in TABLE.items()
        for broken in table
    ],
)
def test_a_claim_fails_where_it_does_not_hold_and_it_alone(
    picture: str, broken: Broken, results: dict[str, Results]
) -> None:
    lost = failed(picture, broken.doctored(results[picture]))
    assert sum(broken.finds(text) for text in lost) == 1
    others = [text for text in lost if not broken.finds(text)]
    assert [any(re.search(pattern, text) for pattern in broken.implied) for text in others] == [
        True for _ in broken.implied
    ]


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_residual_that_is_not_finite_fails(
    picture: str, value: float, results: dict[str, Results]
) -> None:
    (broken,) = [row for row in TABLE[picture] if row.array == "virtual_residual"]
    not_finite = replace(broken, change=put(value, 1, 0))
    lost = failed(picture, not_finite.doctored(results[picture]))
    assert len(lost) == 1
    assert broken.finds(lost[0])


# -- pictures -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PICTURES)
def test_quick_makes_a_picture_without_verdicts(name: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["convex", name, "--quick", "--jobs", "1", "--format", "svg", "--out", str(out)]
    outcome = CliRunner().invoke(main, [*words, "--results", str(tmp_path / "results")])
    assert outcome.exit_code == 0, outcome.output
    assert [path.name for path in out.iterdir()] == [f"{name}-quick.svg"]
    assert "quick: too few steps" in (out / f"{name}-quick.svg").read_text()
    assert " claims: " not in outcome.output


def test_a_memory_that_is_exactly_zero_is_drawn_at_the_edge(results: dict[str, Results]) -> None:
    """A logarithmic axis has no place for it: every compressor has a mark for both gradients."""
    measured = {
        spec: error_norm.memory(results["error-norm"], spec)[1] for spec in error_norm.SPECS
    }
    lossy = [spec for spec in measured if error_norm.contraction(spec) > 0]
    zeros = [(spec, v) for spec in lossy for v in (0, 1) if measured[spec][:, v].max() == 0]
    assert ("threshold:l2=0.5", 1) in zeros
    with style.drawing():
        ax = error_norm.draw(results["error-norm"]).axes[1]
    names = [text.get_text().partition(" (")[0] for text in ax.get_yticklabels()]
    at_edge = [line for line in ax.lines if list(line.get_xdata()) == [0]]
    assert [names[len(names) - 1 - line.get_ydata()[0]] for line in at_edge] == [
        s for s, _ in zeros
    ]
    assert all(line.get_fillstyle() == "none" and not line.get_clip_on() for line in at_edge)


@pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES)
def test_drawing_runs_nothing_and_changes_nothing(
    picture: Picture, results: dict[str, Results], tmp_path: Path, monkeypatch: Any
) -> None:
    def computed(*_: Any, **__: Any) -> Any:
        raise AssertionError("drawing computed something")

    for kind in (Run, Vary, Certified, Untouched):
        monkeypatch.setattr(kind, "compute", computed)
    for module in ("engine.runs", "convex.studies.vary", "convex.studies.section_five"):
        monkeypatch.setattr(f"efsgd.{module}.run", computed)
    monkeypatch.setattr("efsgd.convex.studies.vary.certify", computed)
    (path,) = make.draw(picture, results[picture.name], make.Options(out=tmp_path))
    assert path.read_bytes().startswith(b"\x89PNG")  # and the arrays cannot be written to
