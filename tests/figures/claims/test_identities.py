"""The group "every run": each identity passes on real results and fails on doctored ones.

Without this file pictures whose runs have no virtual iterate could pass, as could scaled signs that
achieve another delta than their density.
"""

import json
import re
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from doctored import add, computed, doctored, put, scale

from efsgd import EFSGD, CompressedSGD, Run, ScaledSign, TopK
from efsgd.convex import CE2
from efsgd.convex.problems.bounded_noise import BoundedNoise
from efsgd.convex.studies import Certified, Vary
from efsgd.figures.claims.identities import GROUP, every_run
from efsgd.figures.claims.verdict_file import NAME
from efsgd.figures.drawing import style
from efsgd.figures.make import Options, Picture, make

METRICS = ("virtual_residual", "achieved_delta", "phi_p")


def along(method, metrics=METRICS):
    return Run(BoundedNoise(d=8, along=3, far=2.0), method, 0.1, 30, replicates=2, metrics=metrics)


@pytest.fixture(scope="module")
def results():
    ternary = along(EFSGD(ScaledSign(zero=0)))
    works = {
        "one bit": along(EFSGD()),
        "ternary": Vary(ternary, "lr", (0.1, 0.2)),
        "no feedback": along(CompressedSGD(ScaledSign()), METRICS[1:]),
        "top-k": along(EFSGD(TopK(2))),
        "optima": Certified((BoundedNoise(), CE2())),
    }
    return MappingProxyType(
        {name: replace(computed(work), path=Path(name)) for name, work in works.items()}
    )


def judged(results):
    return every_run({"a-picture": results}).get(GROUP, [])


def test_every_identity_holds(results):
    verdicts = judged(results)
    assert [v.passed for v in verdicts] == [True] * 4
    counts = ["3 results", "2 optima, 1 result", "one bit, 2 results", "ternary, 1 result"]
    for verdict, count in zip(verdicts, counts, strict=True):
        assert f"{count} of 1 picture" in verdict.claim


def test_a_result_of_two_pictures_counts_once(results):
    shared = {"optima": results["optima"]}
    (verdict,) = every_run({"a": shared, "b": shared, "c": {}})[GROUP]
    assert "2 optima, 1 result of 2 pictures" in verdict.claim


def test_nothing_is_said_where_there_is_nothing_to_judge(results):
    """A run with scaled sign and its density, but not its delta, is no ground for a claim."""
    assert every_run({"a": {}}) == {}
    bare = {"bare": computed(along(EFSGD(), ("loss", "phi_p")))}
    assert every_run({"a": bare}) == {}
    assert not any("scaled sign" in v.claim for v in judged({"top-k": results["top-k"]}))


def test_the_last_command_has_the_word(tmp_path, capsys):
    """verdicts.json holds the group of the last command, whose text says what it judged."""
    first = Picture(
        "first", "A run", lambda quick, seed: {"run": along(EFSGD())}, empty, lambda results: []
    )
    second = replace(first, name="second", work=lambda quick, seed: {"run": along(EFSGD(TopK(2)))})
    options = Options(out=tmp_path, results=tmp_path / "results", command="theory")
    for pictures, judged in (((first, second), "2 results of 2 pictures"), ((first,), "1 result")):
        assert make(pictures, options) == 0
        rows = json.loads((tmp_path / NAME).read_text())
        assert {row["figure"] for row in rows} == {GROUP}
        assert judged in rows[0]["claim"]
        assert GROUP in capsys.readouterr().out


def empty(results):
    return style.panels()[0]


def test_where_no_step_was_taken_there_is_nothing_to_judge(results):
    changes = {"achieved_delta": put(np.nan, slice(None), 1), "phi_p": put(np.nan, slice(None), 1)}
    assert all(v.passed for v in judged(doctored(results, "one bit", changes)))
    never = {name: put(np.nan, ...) for name in changes}
    assert [v.passed for v in judged(doctored(results, "one bit", never))].count(False) == 1


@pytest.mark.parametrize(
    ("name", "array", "change", "pattern"),
    [
        ("top-k", "virtual_residual", put(1e-11, 3, 1), "x_t - e_t"),
        ("ternary", "virtual_residual", put(np.nan, 3, 1, 0), "x_t - e_t"),
        ("optima", "gap", put(1e-6, 1), "dual value"),
        ("one bit", "achieved_delta", add(1e-11, 0, 1), "one bit"),
        ("one bit", "phi_p", scale(1 + 1e-9), "one bit"),
        ("no feedback", "phi_p", put(np.nan, 2, 0), "one bit"),
        ("ternary", "phi_p", scale(1.5), "ternary"),
        ("ternary", "achieved_delta", put(np.nan, 2), "ternary"),
    ],
)
def test_doctored_results_fail(results, name, array, change, pattern):
    failed = [v.claim for v in judged(doctored(results, name, {array: change})) if not v.passed]
    assert len(failed) == 1
    assert re.search(pattern, failed[0])
