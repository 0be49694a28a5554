"""The later convex pictures: every claim holds, and each fails on results that break just it.

The results are those of the pictures, over the first draws of their data only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from efsgd import Run
from efsgd.convex.studies.section_five import Untouched
from efsgd.convex.studies.vary import Certified, Vary
from efsgd.figures import make
from efsgd.figures.cli import main
from efsgd.figures.convex import draws, error_norm, momentum, sign_at_zero
from efsgd.figures.make import Picture
from efsgd.results import Result, Work, spec_of

Results = dict[str, Result]
Change = Callable[[Any], Any]

PICTURES = {m.PICTURE.name: m.PICTURE for m in (sign_at_zero, error_norm, momentum, draws)}
DRAWS, FEW = 20, 5  # of the data: of 100 or 200, and of 20


def fewer(work: Work) -> Work:
    """The same over the first draws of the data."""
    if isinstance(work, Vary) and work.field == "problem":
        return replace(work, values=work.values[: FEW if len(work.values) <= DRAWS else DRAWS])
    return replace(work, problems=work.problems[:DRAWS]) if isinstance(work, Untouched) else work


@pytest.fixture(scope="module")
def found() -> dict[str, Results]:
    """The results of each picture, by their names; made once, never changed."""
    made: dict[str, Results] = {}
    for picture in PICTURES.values():
        made[picture.name] = {}
        for name, whole in picture.work(False, 0).items():
            work = fewer(whole)
            arrays = work.compute()
            for array in arrays.values():
                array.setflags(write=False)
            path = Path(f"{type(work).__name__.lower()}.npz")
            made[picture.name][name] = Result(arrays, spec_of(work), {}, path)
    return made


@dataclass(frozen=True)
class Broken:
    """A claim, and what to do to which array of which result so that it just does not hold.

    ``also`` finds the claims that cannot hold where this one does not.
    """

    picture: str
    said: str  # finds the claim, and no other of the picture
    result: str
    array: str
    change: Change
    also: tuple[str, ...] = ()

    def doctored(self, results: Results) -> Results:
        """The results with this claim broken."""
        old = results[self.result]
        changed = self.change(old[self.array].copy())
        assert changed.shape == old[self.array].shape
        return results | {self.result: replace(old, arrays=old.arrays | {self.array: changed})}

    def finds(self, claim: str) -> bool:
        return re.search(self.said, claim) is not None


def put(value: float, *where: Any) -> Change:
    """Some entries replaced."""

    def change(a: Any) -> Any:
        a[where] = value
        return a

    return change


def add(value: float, *where: Any) -> Change:
    """Some entries shifted."""

    def change(a: Any) -> Any:
        a[where] += value
        return a

    return change


def scale(factor: float, *where: Any) -> Change:
    """Some entries scaled."""

    def change(a: Any) -> Any:
        a[where] *= factor
        return a

    return change


def first(share: float) -> slice:
    """The first data draws, one more than this share of them."""
    return slice(round(share * DRAWS) + 1)


def shared(picture: str, result: str) -> list[Broken]:
    """What every picture claims; its optima have f <= 1, where 1e-7 (1 + f) is 2e-7 at most."""
    virtual, certified = r"^x_t - e_t = x_0", r"^the optima of all"
    return [
        Broken(picture, virtual, result, "virtual_residual", put(1e-10, -1, 0)),
        Broken(picture, certified, "optima", "gap", put(-2.1e-7, 0)),
    ]


def of_signs() -> list[Broken]:
    """Each method's final loss and accuracy, and what makes one bit good."""
    name, mse, accuracy = "sign-at-zero", "test_mse", "test_accuracy"
    bit, quarter = sign_at_zero.BIT, r"from a quarter of the share of y = \+1"
    table = []
    for method, bound in sign_at_zero.MEDIANS.items():
        own, ternary = f"^{re.escape(method)}: ", method == sign_at_zero.TERNARY
        implied = (quarter,) if method == bit else ()  # within 0.02 of a quarter: below 0.27
        table += [
            Broken(name, own + "median final", method, mse, put(bound, -1), implied),
            Broken(
                *(name, own + "share of data draws", method, accuracy),
                put(0.95 if ternary else 0.949, -1, first(0.05)),
            ),
        ]
    without = f"^{re.escape(bit)} with those weights set to 0: "
    return [
        *table,
        Broken(name, "largest difference", "untouched", "greatest", add(1.1e-12, 3)),
        Broken(name, without + "median", "untouched", mse, put(0.5)),
        Broken(name, without + "share", "untouched", accuracy, put(0.95, first(0.05))),
        Broken(name, quarter, bit, mse, add(-0.0201, -1)),
        *shared(name, sign_at_zero.EF_BIT),
    ]


def of_memory() -> list[Broken]:
    """The bounds on the memory, and the instance that attains them."""
    name, norm, spec = "error-norm", "memory_norm", "topk:4"
    unit, q = error_norm.LR * error_norm.PROBLEMS[0].sigma, error_norm.contraction("topk:4")
    sharp = unit * float(error_norm.sharp(q, np.array(4.0)))  # row 1 is step 4
    lemma = unit * float(error_norm.lemma(q))
    over = {bound: f"exceeds {bound}$" for bound in ("the sharp form", "the lemma")}
    summed, off = r"distance of \|e_t\| from sum_", scale(1 + 1.1e-12, 200)
    extremal = [
        Broken(name, f"^C.* q = {q}: .*from the sharp form", f"extremal q={q}", norm, off)
        for q in error_norm.QS
    ]
    return [
        Broken(name, over["the sharp form"], spec, norm, put(1.001 * sharp, 1, 0)),
        Broken(
            *(name, over["the lemma"], spec, norm, put(1.001 * lemma, 1, 0)),
            (over["the sharp form"],),  # which lies below it
        ),
        *extremal,
        Broken(name, summed, "decayed", norm, off),
        Broken(  # the sum itself exceeds it
            *(name, r"\|e_t\| stays below the lemma", "decayed", norm, put(0.0, slice(1, None))),
            (summed,),
        ),
        *shared(name, "topk:16"),
    ]


def of_momentum() -> list[Broken]:
    """Who swings, who settles, who generalises."""
    name, mse = "momentum", "train_mse"
    undecayed, true, heavy = momentum.UNDECAYED, momentum.TRUE, momentum.EF_MOMENTUM
    swings, settled = "train loss swings by more than 1", f"^{true}: median over draws"
    late = slice(momentum.STEPS // 2, None)
    at_one, at_tenth = (momentum.GRID.index(lr) for lr in (1.0, 0.1))
    return [
        Broken(name, f"^signSGDm, .*{swings}", undecayed, mse, put(1.0, late, first(0.05))),
        Broken(name, f"^{true}: .*{swings}", true, mse, add(1.01, 60, first(0.05))),
        Broken(  # a median swing above 1 is 10 times one below 0.1
            *(name, "undecayed over true", true, mse, add(0.25, 60)),
            (settled,),
        ),
        Broken(name, "is a triangle", undecayed, mse, scale(1.0002)),  # 0.2 and 0.20002
        Broken(name, settled, true, mse, add(0.1, late)),
        Broken(
            *(name, f"^{true}: .*test accuracy >= 0.95", true, "test_accuracy"),
            put(0.95, -1, first(0.1)),
        ),
        Broken(
            *(name, "1000 steps.*test accuracy >= 0.95", heavy, "test_accuracy"),
            put(0.949, -1, 0),
        ),
        Broken(
            *(name, "^EF-signSGD, step size 1", f"{momentum.EF} grid", "test_mse"),
            put(0.05, -1, 2, at_one),
        ),
        Broken(name, "diverges", f"{heavy} grid", "test_mse", put(1.0, -1, 2, at_tenth)),
        *shared(name, heavy),
    ]


def of_draws() -> list[Broken]:
    """The shares of bad data draws, and the formula for the loss of signSGD."""
    name, mse, table = "draws", "test_mse", []
    for p in draws.SHARES:
        head, formula = rf"^P\(y=1\) = {p}, share .* loss of ", rf"^P\(y=1\) = {p}: share"
        table += [
            Broken(name, head + "EF-signSGD < 0.1", f"EF-signSGD p={p}", mse, put(0.1, -1, 0)),
            Broken(
                *(name, head + "signSGDm, undecayed", f"{draws.UNDECAYED} p={p}", mse),
                put(0.5, -1, first(0.25)),
            ),
        ]
        signs = (name, head + "signSGD > 0.5", f"signSGD p={p}", mse)
        if p == draws.SHARES[-1]:  # so many bad draws are not those of the formula
            table.append(Broken(*signs, put(0.501, -1, first(0.7)), (formula,)))
        else:
            table.append(Broken(*signs, put(0.5, -1, first(0.1))))
        if p > draws.SHARES[0]:
            change = add(0.0201, -1, first(0.2))
            table.append(Broken(name, formula, f"signSGD p={p}", mse, change))
    return [*table, *shared(name, f"EF-signSGD p={draws.SHARES[0]}")]


TABLE = [*of_signs(), *of_memory(), *of_momentum(), *of_draws()]


def claims(picture: str, results: Results) -> dict[str, str]:
    """Whether each claim passes, by its text; the texts differ."""
    told = [v for v in PICTURES[picture].verdicts(results) if v.kind == "claim"]
    assert len({v.claim for v in told}) == len(told)
    return {v.claim: v.word for v in told}


def failed(picture: str, results: Results) -> list[str]:
    return [text for text, word in claims(picture, results).items() if word == "FAIL"]


# -- claims ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("picture", PICTURES)
def test_all_claims_pass_and_each_has_one_way_to_break_it(
    picture: str, found: dict[str, Results]
) -> None:
    own = [broken for broken in TABLE if broken.picture == picture]
    told = claims(picture, found[picture])
    assert set(told.values()) == {"pass"}
    assert {text: sum(broken.finds(text) for broken in own) for text in told} == dict.fromkeys(
        told, 1
    )
    assert len(own) == len(told)


@pytest.mark.parametrize("broken", TABLE, ids=lambda broken: f"{broken.picture}-{broken.said}")
def test_a_claim_fails_where_it_does_not_hold_and_it_alone(
    broken: Broken, found: dict[str, Results]
) -> None:
    lost = failed(broken.picture, broken.doctored(found[broken.picture]))
    assert sum(broken.finds(text) for text in lost) == 1
    others = [text for text in lost if not broken.finds(text)]
    assert [any(re.search(said, text) for said in broken.also) for text in others] == [
        True for _ in broken.also
    ]


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_residual_that_is_not_finite_fails(
    picture: str, value: float, found: dict[str, Results]
) -> None:
    (broken,) = [b for b in TABLE if b.picture == picture and b.array == "virtual_residual"]
    lost = failed(picture, replace(broken, change=put(value, 1, 0)).doctored(found[picture]))
    assert len(lost) == 1
    assert broken.finds(lost[0])


# -- pictures -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PICTURES)
def test_quick_makes_a_picture_without_verdicts(name: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["convex", name, "--quick", "--jobs", "1", "--format", "svg", "--out", str(out)]
    outcome = CliRunner().invoke(main, [*words, "--results", str(tmp_path / "results")])
    assert outcome.exit_code == 0, outcome.output
    assert sorted(path.name for path in out.iterdir()) == [f"{name}.svg", "verdicts.json"]
    assert "quick: too few steps" in (out / f"{name}.svg").read_text()
    assert json.loads((out / "verdicts.json").read_text()) == []
    assert " claims: " not in outcome.output


@pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES)
def test_drawing_runs_nothing_and_changes_nothing(
    picture: Picture, found: dict[str, Results], tmp_path: Path, monkeypatch: Any
) -> None:
    def computed(*_: Any, **__: Any) -> Any:
        raise AssertionError("drawing computed something")

    for kind in (Run, Vary, Certified, Untouched):
        monkeypatch.setattr(kind, "compute", computed)
    for module in ("engine.runs", "convex.studies.vary", "convex.studies.section_five"):
        monkeypatch.setattr(f"efsgd.{module}.run", computed)
    monkeypatch.setattr("efsgd.convex.studies.vary.certify", computed)
    (path,) = make.draw(picture, found[picture.name], make.Options(out=tmp_path))
    assert path.read_bytes().startswith(b"\x89PNG")  # and the arrays cannot be written to
