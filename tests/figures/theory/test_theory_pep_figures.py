"""The pictures worst-case, rate, heterogeneous-workers and no-feedback-needed: each claim can fail.

It passes on good results and fails on spoilt ones. Good results are made of the closed forms here,
which takes no time; the slow test makes real ones. Without this file a claim of these pictures
could pass whatever the solver said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doctored import doctored, put, scale

from efsgd import bounds
from efsgd.bounds import rates
from efsgd.convex.lyapunov.rate import quadratic_rate
from efsgd.convex.studies.worst_cases import ExactChecks, LyapunovRates, WorstCases
from efsgd.figures.claims.verdicts import Verdict
from efsgd.figures.make import Options, Picture, make
from efsgd.figures.theory import heterogeneous_workers, no_feedback_needed, worst_case
from efsgd.figures.theory import rate as rate_picture
from efsgd.figures.theory.common import best_step
from efsgd.results import Result

MODULES = {
    module.PICTURE.name: module
    for module in (worst_case, rate_picture, heterogeneous_workers, no_feedback_needed)
}


def result(**arrays: Any) -> Result:
    return Result({k: np.asarray(v) for k, v in arrays.items()}, {}, {}, Path("made.npz"))


def worst_cases(work: WorstCases, value: Callable[[int, float, float], float]) -> Result:
    """The result of such a work if the worst cases were these."""
    steps, lr, zeta = (np.array(column) for column in zip(*work.settings, strict=True))
    values = [value(*setting) for setting in work.settings]
    return result(steps=steps, lr=lr, zeta=zeta, value=values, error=np.full(len(values), 1e-9))


def value_of(picture: str, name: str, work: WorstCases) -> Callable[[int, float, float], float]:
    """A worst case that is as it should be: a closed form, a reference value, or in between."""
    if picture == "no-feedback-needed":
        if work.method == "cgd":
            return lambda N, lr, zeta: no_feedback_needed.FLOOR + 0.2 / N
        return lambda N, lr, zeta: bounds.theorem_three_exact(
            R=1.0, lr=lr, sigma=1.0, delta=work.delta, T=N
        )
    if picture == "heterogeneous-workers":
        table = heterogeneous_workers.TABLE[work.method]
        at_one = lambda N: float(np.interp(N, heterogeneous_workers.TABLE_STEPS, table))  # noqa: E731
        return lambda N, lr, zeta: 0.5**N + zeta**2 * (at_one(N) - 0.5**N)
    if name.startswith("from R"):
        return lambda N, lr, zeta: worst_case.FROM_R[work.method, work.delta]
    problem, delta = work.problem, work.delta or 0.5

    def value(N: int, lr: float, zeta: float) -> float:
        reference = worst_case.REFERENCES.get((problem, work.method, delta, N))
        if reference is not None:
            return reference
        form = worst_case.closed(problem, work.method, delta, np.array([N]))
        return 0.9**N if form is None else float(form[0])

    return value


def good(picture: str) -> dict[str, Result]:
    """Results on which every claim of the picture passes."""
    results = {}
    for name, work in MODULES[picture].PICTURE.work(False, 0).items():
        if isinstance(work, WorstCases):
            results[name] = worst_cases(work, value_of(picture, name, work))
        elif isinstance(work, LyapunovRates):
            lr, delta, mu = np.array(work.settings).T
            rate = [quadratic_rate(work.method, lr=a, delta=b, mu=c) for a, b, c in work.settings]
            results[name] = result(lr=lr, delta=delta, mu=mu, rate=rate, residual=0 * lr)
        else:
            assert isinstance(work, ExactChecks)
            yes = np.ones(work.points, dtype=bool)
            results[name] = result(q=0.5 * yes, m=0.5 * yes, ef=yes, ef21=yes, cgd=yes)
    return results


WORKERS, NEEDED = "heterogeneous-workers", "no-feedback-needed"
FACTORS, ONE = rate_picture.FACTORS, rate_picture.BEST
SPOILT = [  # picture, result, array, change, the claim that has to fail
    ("worst-case", "convex, gd", "value", scale(1.001, 3), "GD, three problems"),
    ("worst-case", "nonconvex, gd", "value", scale(0.999, 0), "GD, three problems"),
    ("worst-case", "strongly-convex, cgd, 0.9", "value", scale(1.001, -1), "CGD, strongly convex"),
    ("worst-case", "nonconvex, cgd, 0.5", "value", scale(1.001, -1), "CGD, nonconvex"),
    ("worst-case", "convex, ef, 0.5", "value", scale(1.001, -1), "EF and EF21, convex, where"),
    ("worst-case", "convex, ef21, 0.9", "value", scale(1.001, 0), "EF and EF21, convex, where"),
    ("worst-case", "convex, ef21, 0.9", "value", scale(0.99, -1), "least worst case over its"),
    ("worst-case", "strongly-convex, ef, 0.5", "value", scale(1.001, 4), "worst cases of EF"),
    ("worst-case", "from R, ef21", "value", scale(1.001, 0), "worst cases of EF"),
    ("worst-case", "strongly-convex, ef21, 0.9", "value", scale(30, -1), r"over \(1\+q\)\(L/mu\)"),
    ("worst-case", "convex, gd", "error", put(1e-3, 0), "what may be off"),
    ("worst-case", "convex, gd", "value", put(np.nan, 0), "GD, three problems"),
    ("rate", "ef, 0.5", "rate", scale(1.001, ONE), "closed form: largest relative distance"),
    ("rate", "cgd, 0.9", "rate", scale(0.9, ONE - 1), "how often another step size"),
    *(
        ("rate", "ef21, 0.5", "rate", put(0.99, FACTORS.index(f)), f"{f:g} of the best")
        for f in rate_picture.CLIFF
    ),
    ("rate", "ef, 0.9", "rate", put(0.99, FACTORS.index(1.1)), "at the cliff"),
    ("rate", "ef, 0.9", "rate", put(1.01, 0), "below the cliff"),
    ("rate", "ef, 0.9", "rate", put(0.99, -1), "above the cliff"),
    ("rate", "gd, 0.5", "rate", scale(1.001, -1), "worse of two quadratics"),
    ("rate", "ef21, 0.5", "rate", scale(1.001, 2), "relative distance of their rates"),
    ("rate", "cgd, 0.5", "residual", put(1e-3, 0), "largest violation"),
    ("rate", "cgd, 0.5", "residual", put(np.nan, 0), "largest violation"),
    (WORKERS, "cgd over N", "value", scale(1.01, 4), "largest distance from 12"),
    (WORKERS, "ef21 over N", "value", scale(2, 5), "of EF21 from one N"),
    (WORKERS, "cgd over N", "value", scale(0.5, 6), "of CGD from one N"),
    (WORKERS, "ef over N", "value", scale(0.5, 6), "of EF from one N"),
    (WORKERS, "ef over zeta, N = 8", "value", scale(0.1, 2), "growth from one zeta"),
    (WORKERS, "ef21 over zeta, N = 8", "value", scale(50, -1), "EF21 over CGD or EF"),
    (WORKERS, "ef over N", "error", put(np.nan, 2), "what may be off"),
    (NEEDED, "exact", "ef", put(False, 7), "certificate V_.* of EF fails"),
    (NEEDED, "exact", "ef21", put(False, 7), "certificate V_.* of EF21 fails"),
    (NEEDED, "exact", "cgd", put(False, 7), "CGD is not strictly faster"),
    (NEEDED, "rate, ef", "rate", scale(1.001, 2), "distance from the closed form"),
    (NEEDED, "rate, cgd", "rate", put(0.9999, 5), "least 1 - rate of CGD"),
    (NEEDED, "nonsmooth, ef, 8", "value", scale(1.001, -1), "distance from Theorem III"),
    (NEEDED, "nonsmooth, ef, 8", "value", put(2.0), "from one N to the next"),
    (NEEDED, "nonsmooth, cgd, 16", "value", scale(0.5, 0), "of CGD over q sigma R"),
    (NEEDED, "nonsmooth, ef, 16", "value", put(0.7), "N = 16, over q sigma R"),
    (NEEDED, "nonsmooth, ef, 16", "error", put(1.0, 0), "what may be off"),
]  # fmt: skip


def claims(picture: str, results: Mapping[str, Result]) -> list[Verdict]:
    verdicts = MODULES[picture].PICTURE.verdicts(results)
    return [verdict for verdict in verdicts if verdict.passed is not None]


@pytest.mark.parametrize("picture", MODULES)
def test_good_results_pass(picture):
    for verdict in claims(picture, good(picture)):
        assert verdict.passed, verdict


@pytest.mark.parametrize(("picture", "name", "array", "change", "pattern"), SPOILT)
def test_a_spoilt_result_fails(picture, name, array, change, pattern):
    spoilt = doctored(good(picture), re.escape(name), {array: change})
    failed = [v.claim for v in claims(picture, spoilt) if not v.passed]
    assert any(re.search(pattern, text) for text in failed), failed


@pytest.mark.parametrize("picture", MODULES)
def test_every_claim_is_spoilt_above(picture):
    for verdict in claims(picture, good(picture)):
        assert any(re.search(row[-1], verdict.claim) for row in SPOILT if row[0] == picture)


def test_the_closed_forms_of_the_step_sizes_are_those_of_the_paper():
    # 2/(L+mu), 2/((1-q)mu + (1+q)L), 2/(L+mu) (1-q)/(1+q) with q = .6 (arXiv 2506.05271)
    delta, mu = 1 - 0.36, rate_picture.MU
    assert best_step("gd", mu=mu, delta=delta) == pytest.approx(2 / 1.1)
    assert best_step("cgd", mu=mu, delta=delta) == pytest.approx(2 / (0.4 * mu + 1.6))
    for method in ("ef", "ef21"):
        assert best_step(method, mu=mu, delta=delta) == pytest.approx(2 / 1.1 * 0.25)
    assert rates.ef_cliff(L=1.0, delta=delta) == pytest.approx(2 * 0.25)


def test_the_floor_of_cgd_is_that_of_the_counterexample():
    # f = eps|x1+x2| + |x1-x2| from (1,1): f >= 2 eps, |g|^2 = 2 + 2 eps^2, R^2 = 2, and the scaled
    # sign of g = (eps+1, eps-1) leaves 1 - phi(g) of |g|^2
    eps = no_feedback_needed.FLOOR / (1 - no_feedback_needed.FLOOR**2) ** 0.5
    assert 0 < eps < 1
    g = np.array([eps + 1, eps - 1])
    phi = np.abs(g).sum() ** 2 / (2 * (g @ g))
    assert phi == pytest.approx(no_feedback_needed.DELTA)
    assert 2 * eps / np.sqrt(2 * (g @ g)) == pytest.approx(no_feedback_needed.FLOOR)


def drawn(picture: Picture, folder: Path, quick: bool) -> int:
    return make([picture], Options(quick, folder / "out", folder / "results"))


@pytest.mark.parametrize("picture", MODULES)
def test_the_quick_picture_is_drawn(picture, tmp_path):
    assert drawn(MODULES[picture].PICTURE, tmp_path, quick=True) == 0
    assert (tmp_path / "out" / f"{picture}-quick.png").stat().st_size > 10_000


def test_the_worst_cases_pass_every_claim(tmp_path, capsys):
    assert drawn(worst_case.PICTURE, tmp_path, quick=False) == 0
    assert ", 0 fail" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("picture", [name for name in MODULES if name != "worst-case"])
def test_the_other_pictures_pass_every_claim(picture, tmp_path, capsys):
    assert drawn(MODULES[picture].PICTURE, tmp_path, quick=False) == 0
    assert ", 0 fail" in capsys.readouterr().out
