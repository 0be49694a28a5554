"""The picture error-norm: each claim holds, and fails on results that break just it.

The results are those of the picture, with few replicates.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from doctored import Broken, Results, computed, put

from efsgd import Run
from efsgd.convex.studies.vary import Certified, Vary
from efsgd.figures import make
from efsgd.figures.convex import error_norm
from efsgd.figures.drawing import style
from efsgd.results import Work

SPEC = "topk:4"


def fewer(work: Work) -> Work:
    """The same with five replicates."""
    return replace(work, run=replace(work.run, replicates=5)) if isinstance(work, Vary) else work


@pytest.fixture(scope="module")
def results() -> Results:
    """Made once, never changed."""
    works = error_norm.PICTURE.work(False, 0)
    return {n: computed(fewer(w)) for n, w in works.items() if not isinstance(w, Certified)}


def bound(formula: Any) -> float:
    """A bound on |e_4|, which is row 1, of SPEC."""
    unit = error_norm.LR * error_norm.PROBLEMS[0].sigma
    return float(unit * formula(error_norm.delta_of(SPEC)))


TABLE = [
    Broken(
        "over the sharp form",
        SPEC,
        "memory_norm",
        put(1.001 * bound(lambda delta: error_norm.sharp(delta, 4.0)), 1, 0),
    ),
]


def failed(results: Results) -> list[str]:
    return [v.claim for v in error_norm.PICTURE.verdicts(results) if v.word == "FAIL"]


def test_all_claims_pass_and_each_has_one_way_to_break_it(results: Results) -> None:
    texts = [v.claim for v in error_norm.PICTURE.verdicts(results) if v.kind == "claim"]
    assert failed(results) == []
    assert [sum(broken.finds(text) for broken in TABLE) for text in texts] == [1] * len(TABLE)


@pytest.mark.parametrize("broken", TABLE, ids=lambda broken: broken.pattern)
def test_a_claim_fails_where_it_does_not_hold_and_it_alone(
    broken: Broken, results: Results
) -> None:
    (lost,) = failed(broken.doctored(results))
    assert broken.finds(lost)


@pytest.mark.parametrize("spec", [SPEC, "identity"])
def test_not_a_number_fails(spec: str, results: Results) -> None:
    broken = replace(TABLE[0], result=spec, change=put(np.nan, 3))
    assert len(failed(broken.doctored(results))) == 1


def test_a_memory_where_nothing_is_lost_fails(results: Results) -> None:
    """The bound is 0 there."""
    broken = replace(TABLE[0], result="identity", change=put(1e-9, 3))
    assert len(failed(broken.doctored(results))) == 1


def test_a_sharp_form_that_is_too_small_fails(results: Results, monkeypatch: Any) -> None:
    """One that is too large fails in the picture ``error-lemma``, where it is attained."""
    right = error_norm.SHARP
    wrong: Any = lambda **letters: 0.7 * right(**letters)  # noqa: E731
    wrong.source = right.source
    monkeypatch.setattr(error_norm, "SHARP", wrong)
    assert len(failed(results)) == 1


def test_a_memory_that_is_exactly_zero_is_drawn_at_the_edge(results: Results) -> None:
    """A logarithmic axis has no place for it: every compressor has a mark for both gradients."""
    measured = {spec: error_norm.memory(results, spec)[1] for spec in error_norm.lossy()}
    zeros = [(spec, v) for spec in measured for v in (0, 1) if measured[spec][:, v].max() == 0]
    assert ("threshold:l2=0.5", 1) in zeros
    with style.drawing():
        ax = error_norm.draw(results).axes[1]
    names = [text.get_text().partition(" (")[0] for text in ax.get_yticklabels()]
    at_edge = [line for line in ax.lines if list(line.get_xdata()) == [0]]
    assert [names[len(names) - 1 - line.get_ydata()[0]] for line in at_edge] == [
        spec for spec, _ in zeros
    ]
    assert all(line.get_fillstyle() == "none" and not line.get_clip_on() for line in at_edge)


def test_drawing_runs_nothing_and_changes_nothing(
    results: Results, tmp_path: Any, monkeypatch: Any
) -> None:
    def refused(*_: Any, **__: Any) -> Any:
        raise AssertionError("drawing computed something")

    for kind in (Run, Vary):
        monkeypatch.setattr(kind, "compute", refused)
    (path,) = make.draw(error_norm.PICTURE, results, make.Options(out=tmp_path))
    assert path.read_bytes().startswith(b"\x89PNG")  # and the arrays cannot be written to
