"""The pictures on section 5: each claim holds and can fail.

The results are those of the pictures, on some of their training sets only; the claims of ``draws``,
which need all of them, are in ``test_convex_pictures``. Without this file a
claim of these pictures that passes whatever was computed would go unnoticed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from doctored import Broken, Change, Results, add, computed, doctored, put, scale

from efsgd import Run
from efsgd.convex.problems.wilson_counts import WilsonCount
from efsgd.convex.studies import section_five_forms as forms
from efsgd.convex.studies.section_five import COUNTS, STEPS, Untouched
from efsgd.convex.studies.vary import Certified, Vary
from efsgd.figures import make
from efsgd.figures.convex import draws, least_squares, momentum, sign_at_zero
from efsgd.figures.convex.least_squares import UNDECAYED
from efsgd.figures.make import Picture
from efsgd.provenance import key, spec_of
from efsgd.results import Work

MODULES = (least_squares, sign_at_zero, momentum, draws)
PICTURES = {m.PICTURE.name: m.PICTURE for m in MODULES}
USUAL = slice(44, 64)  # of the 101 training sets; those of the data draws are among them
RARE = 52 - USUAL.start  # that of one with a chance of .02 at P(y=1) = .6
SIXTY = 60 - USUAL.start  # the place of the training set with 60 of 100 y = +1
BETWEEN = slice(3, 6)  # of the few: 52, 56 and 60 of 100 y = +1


def fewer(work: Work) -> Work:
    """The same on some of its training sets."""
    if isinstance(work, Untouched):
        return replace(work, problems=work.problems[BETWEEN])
    if not isinstance(work, Vary) or work.field != "problem":
        return work
    if not isinstance(work.values[0], WilsonCount):
        return replace(work, values=work.values[::4])
    tie = len({problem.order for problem in work.values}) > 1
    chosen = slice(4) if tie else USUAL if len(work.values) == len(COUNTS) else BETWEEN
    return replace(work, values=work.values[chosen])


@pytest.fixture(scope="module")
def results() -> dict[str, Results]:
    """The results of each picture, by their names; made once, never changed."""
    made: dict[str, Any] = {}

    def once(work: Work) -> Any:
        name = key(spec_of(work))
        made[name] = made[name] if name in made else computed(work)
        return made[name]

    return {
        picture.name: {name: once(fewer(work)) for name, work in picture.work(False, 0).items()}
        for picture in PICTURES.values()
    }


@dataclass(frozen=True)
class Both(Broken):
    """A claim that only changes of several arrays of one result break."""

    def __init__(self, pattern: str, result: str, changes: dict[str, Change]) -> None:
        super().__init__(pattern, result, "", put(0.0))
        object.__setattr__(self, "changes", changes)

    def doctored(self, results: Results) -> Results:
        """The results with this claim broken."""
        return doctored(results, re.escape(self.result), self.changes)


def of_squares() -> list[Broken]:
    """The limit of SGD and feedback, the line of the signs, and the step sizes."""
    sgd, signs, feedback = "SGD", "signSGD", "EF-signSGD"
    scaled, positive, negative = "signSGD grid", "positive", "negative"
    least = r"^signSGD, 25 step sizes, share s"
    return [
        Broken("^EF-signSGD, any .* its label", feedback, negative, put(0.1, -1, SIXTY)),
        Broken(r"^SGD, any .* \|x - X", sgd, "distance", put(1.1e-8, -1, SIXTY)),
        Broken(r"^SGD, any .* closed form", sgd, positive, add(1e-4, -1, SIXTY)),
        Broken("^SGD: largest distance to the", sgd, "span_distance", put(1.1e-13, 5)),
        Broken(r"over \|e_t\|", feedback, "span_distance", scale(50.0, -1)),
        Broken("returns to the span", "to the end", "distance", put(2e-6, -1, 0)),
        Broken("^signSGD, any .* from 3a_t", signs, negative, add(2e-13, 7, SIXTY)),
        Broken("of the distance to the", signs, "span_distance", scale(1 + 2e-12, 7, SIXTY)),
        Broken(r"distance of \|x - X", signs, "distance", scale(1 + 2e-12, 7, SIXTY)),
        Broken("predictions from the closed form$", scaled, positive, add(2e-13, -1, 0, 3)),
        # far from the closed form too
        Broken(least, scaled, positive, put(0.0, -1), implied=("from the closed form$",)),
        Broken("^signSGDm, 25", "signSGDm grid", positive, add(2e-9, -1, 1, 4)),
        Broken(r"^signSGD \(unscaled\)", "signSGD (unscaled) grid", positive, add(2e-9, -1, 1, 4)),
        Broken("least median final", f"{UNDECAYED} grid", positive, put(1.0, -1)),
        Broken("largest median final", "EF-signSGD grid", negative, put(0.0, -1)),
    ]


def of_signs() -> list[Broken]:
    """Who generalises, and what makes one bit good."""
    wrong = put(0.1, -1, SIXTY)
    bit, feedback = sign_at_zero.BIT, sign_at_zero.EF_BIT
    path, loss = "^signSGD .one bit., any training set with more", "^EF-.* final test loss$"
    return [
        Broken("^signSGD .* its label", bit, "negative", wrong, implied=(path,)),
        Broken("^EF-.* its label", feedback, "negative", wrong, implied=(loss,)),
        Broken(loss, feedback, "positive", put(1.6, -1, SIXTY)),
        Broken(path, bit, "negative", add(2e-13, 7, SIXTY)),
        Broken("largest difference", "untouched", "greatest", add(1e-15, 1)),
        Broken("weights set to 0", "untouched", "negative", add(2e-13, 1)),
    ]


def of_momentum() -> list[Broken]:
    """Who swings, who settles, who generalises."""
    mse, true, feedback = "train_mse", momentum.TRUE, momentum.EF_MOMENTUM
    positive, negative = "positive", "negative"
    late = slice(STEPS // 2, None)
    at_one, at_tenth = (momentum.GRID.index(lr) for lr in (1.0, 0.1))
    exact = forms.unscaled_along(Fraction(1, 20), STEPS, Fraction(9, 10), undecayed=True)

    def on_line(multiple: int) -> Any:
        return put(multiple * exact, slice(None), SIXTY, 0)

    return [
        Broken(f"^{true}, any", true, negative, add(2e-13, 7, SIXTY)),
        Broken(f"^{UNDECAYED[:19]}.*to the first turn", UNDECAYED, negative, add(2e-13, 7, SIXTY)),
        Both("where rounding decides", UNDECAYED, {positive: on_line(3), negative: on_line(1)}),
        Broken("undecayed.*swings", UNDECAYED, mse, put(1.0, late, RARE)),
        Broken("is a triangle", UNDECAYED, mse, scale(1.0002)),  # 0.2 and 0.20002
        Broken("1000 steps.*its label", feedback, negative, put(-0.4, -1, 0)),
        Broken(
            "^EF-signSGD, step size 1", f"{momentum.EF} grid", positive, put(1.4, -1, 2, at_one)
        ),
        Both(
            "diverges",
            f"{feedback} grid",
            {positive: put(0.9, -1, 2, at_tenth), negative: put(-0.9, -1, 2, at_tenth)},
        ),
    ]


FORMS = {name: getattr(forms, name) for name in forms.__dict__ if not name.startswith("_")}


def forms_of(name: str) -> Any:
    """A closed form as it is, whatever stands in its place meanwhile."""
    return FORMS[name]


TABLE: dict[str, list[Broken]] = {
    least_squares.PICTURE.name: of_squares(),
    sign_at_zero.PICTURE.name: of_signs(),
    momentum.PICTURE.name: of_momentum(),
}


def claims(picture: str, results: Results) -> dict[str, str]:
    """Whether each claim passes, by its text; the texts differ."""
    verdicts = [v for v in PICTURES[picture].verdicts(results) if v.kind == "claim"]
    assert len({v.claim for v in verdicts}) == len(verdicts)
    return {v.claim: v.word for v in verdicts}


def failed(picture: str, results: Results) -> list[str]:
    return [text for text, word in claims(picture, results).items() if word == "FAIL"]


# -- claims ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("picture", TABLE)
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


@pytest.mark.parametrize(
    ("form", "wrong"),
    [
        ("least_signs_loss", lambda s: 16 * s * (1 - s) / 9),
        ("least_signs_loss", lambda s: 16 * s * (1 - s) / (10 - 8 * s)),
        ("scaled_along", lambda lr, t, n: forms_of("scaled_along")(lr, t + 1, n)),
        ("scaled_along", lambda lr, t, n: forms_of("scaled_along")(lr / 2, t, n)),
        (
            "unscaled_along",
            lambda lr, t, m, undecayed: forms_of("unscaled_along")(lr, t, m * m, undecayed),
        ),
        (
            "unscaled_along",
            lambda lr, t, m, undecayed: forms_of("unscaled_along")(lr, t, m, not undecayed),
        ),
        ("least_norm", lambda k, n: [v * 1.001 for v in forms_of("least_norm")(k, n)]),
        ("least_norm", lambda k, n: forms_of("least_norm")(n - k, n)),
        ("from_least_norm", lambda a, k, n: forms_of("from_least_norm")(a, n - k, n)),
        ("from_least_norm", lambda a, k, n: forms_of("from_least_norm")(a, k, n) * (1 + 1e-9)),
        ("from_span", lambda a, k, n: forms_of("from_least_norm")(a, k, n)),
        ("from_span", lambda a, k, n: forms_of("from_span")(a, k, n + 1)),
    ],
)
def test_a_wrong_closed_form_fails(
    form: str, wrong: Any, results: dict[str, Results], monkeypatch: Any
) -> None:
    monkeypatch.setattr(forms, form, wrong)
    pictures = (least_squares, momentum)
    assert any(failed(m.PICTURE.name, results[m.PICTURE.name]) for m in pictures)


# -- pictures -------------------------------------------------------------------------------------


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
