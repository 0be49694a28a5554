"""The pictures worst-case, rate, heterogeneous-workers and no-feedback-needed: each claim can fail.

It passes on good results and fails on spoilt ones. Good results are made of the closed forms here,
which takes no time; the slow test makes real ones. Without this file a claim of these pictures
could pass whatever the solver said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doctored import computed, doctored, put, scale
from mutants import MUTANTS

from efsgd import bounds
from efsgd.bounds import rates
from efsgd.convex.lyapunov.rate import quadratic_rate
from efsgd.convex.studies.theorem_two import Steady
from efsgd.convex.studies.tuned_worst_cases import TunedWorstCases
from efsgd.convex.studies.worst_cases import LyapunovRates, RateProofs, WorstCases
from efsgd.figures.claims.verdicts import Verdict
from efsgd.figures.make import Options, Picture, make
from efsgd.figures.theory import heterogeneous_workers, no_feedback_needed, worst_case
from efsgd.figures.theory import no_feedback_reading as reading
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
    """A worst case that is as it should be: a closed form, or in the interval of its claim."""
    if picture == "no-feedback-needed":
        if work.method == "cgd":
            return lambda N, lr, zeta: reading.FLOOR + 0.2 / N
        return lambda N, lr, zeta: bounds.theorem_three_exact(
            R=1.0, lr=lr, sigma=1.0, delta=work.delta, T=N
        )
    problem, delta = work.problem, work.delta or 0.5

    def value(N: int, lr: float, zeta: float) -> float:
        form = worst_case.closed(problem, work.method, delta, lr, np.array([N]))
        if form is not None:
            return float(form[0])
        limit = 1.5 * 0.9**N
        if problem == "nonconvex":
            limit = float(bounds.noise_free(f0=1.0, L=1.0, delta=delta, T=N))
        return limit / 1.5

    return value


def two_workers(work: TunedWorstCases, N: int, zeta: float) -> tuple[float, float, float]:
    """The best step size over eta*, and the worst case there and at eta*."""
    ef = 0.1 * (8 / N) ** 0.6
    least = {"cgd": 0.28, "ef": ef, "ef21": ef / (1 + 0.15 * N)}[work.method]
    factor = {"cgd": 0.28, "ef": 0.4, "ef21": 0.77}[work.method]
    agreed = {"cgd": 0.06, "ef": 0.07, "ef21": 0.1}[work.method]
    least = agreed + zeta**2 * (least - agreed)
    return factor, least, (0.4 + 0.05 * N if work.method == "ef" else 1.3 * least)


def after_steps(work: TunedWorstCases) -> tuple[float, float, float]:
    """The best step size over that of the best rate, and the worst case at either."""
    ratio = 0.82 + 0.35 * (work.delta - 0.3)
    ef = 1 - work.delta
    return 0.95, (ratio * ef if work.method == "cgd" else ef), (2 * ef, ef)[work.method == "ef"]


def tuned(picture: str, work: TunedWorstCases) -> Result:
    """The result of such a work, with one step size more than the grid has: the best."""
    rows = []
    for N, zeta in work.settings:
        if picture == WORKERS:
            common = heterogeneous_workers.eta_star()
            factor, least, there = two_workers(work, N, zeta)
        else:
            common = best_step(work.method, mu=work.mu, delta=work.delta)
            factor, least, there = after_steps(work)
        others = [(lr, there if np.isclose(lr, common) else 1.1 * there) for lr in work.lrs]
        rows.append(sorted([*others, (factor * common, least)]))
    steps, zeta = (np.array(column) for column in zip(*work.settings, strict=True))
    lr, value = np.moveaxis(np.array(rows), 2, 0)
    return result(steps=steps, zeta=zeta, lr=lr, value=value, error=np.full(lr.shape, 1e-9))


@cache
def real(work: RateProofs | Steady) -> Result:
    """The identities themselves and the runs along a slope: they take half a second each."""
    return computed(work)


def good(picture: str) -> dict[str, Result]:
    """Results on which every claim of the picture passes."""
    results = {}
    for name, work in MODULES[picture].PICTURE.work(False, 0).items():
        if isinstance(work, WorstCases):
            results[name] = worst_cases(work, value_of(picture, name, work))
        elif isinstance(work, TunedWorstCases):
            results[name] = tuned(picture, work)
        elif isinstance(work, LyapunovRates):
            lr, delta, mu = np.array(work.settings).T
            rate = [quadratic_rate(work.method, lr=a, delta=b, mu=c) for a, b, c in work.settings]
            results[name] = result(lr=lr, delta=delta, mu=mu, rate=rate, residual=0 * lr)
        else:
            assert isinstance(work, (RateProofs, Steady))
            results[name] = real(work)
    return results


WORKERS, NEEDED = "heterogeneous-workers", "no-feedback-needed"
SPOILT = [  # picture, result, array, change, the claim that has to fail
    ("worst-case", "convex, gd", "value", scale(1.001, 3), "GD, three problems"),
    ("worst-case", "nonconvex, gd", "value", scale(0.999, 0), "GD, three problems"),
    ("worst-case", "strongly-convex, cgd, 0.9", "value", scale(1.001, -1), "CGD, strongly convex"),
    ("worst-case", "nonconvex, cgd, 0.5", "value", scale(1.001, -1), "CGD, nonconvex"),
    ("worst-case", "convex, ef, 0.5", "value", scale(1.001, -1), "EF and EF21, convex, where"),
    ("worst-case", "convex, ef21, 0.9", "value", scale(1.001, 0), "EF and EF21, convex, where"),
    ("worst-case", "convex, ef21, 0.9", "value", scale(0.99, -1), "least worst case over its"),
    ("worst-case", "convex, gd", "value", put(np.nan, 0), "GD, three problems"),
    ("worst-case", "convex, cgd, 0.5", "value", scale(1.001, 1), "CGD, convex, N = 1 and 2"),
    ("worst-case", "convex, cgd, 0.5, lr x 0.5", "value", scale(1.001, 1), "times the.*valid"),
    ("worst-case", "convex, ef21, 0.5, lr x 1.5", "value", scale(1.001, 0), "times the.*valid"),
    ("worst-case", "convex, ef, 0.5, lr x 1.5", "value", scale(0.99, -1), "times the.*lower bound"),
    ("worst-case", "convex, ef, 0.5, lr x 0.5", "value", put(np.nan, 0), "times the.*lower bound"),
    ("worst-case", "slope, 0.01", "mean", scale(0.9), "slope, .*: least"),
    ("worst-case", "slope, 0.1", "mean", scale(2.1), "slope, .*: largest"),
    ("worst-case", "slope, 0.01", "mean", put(np.nan, -1), "slope, .*: least"),
    ("worst-case", "nonconvex, ef, 0.5", "value", scale(1.6, -1), "^EF, nonconvex: largest"),
    ("worst-case", "nonconvex, ef, 0.9", "value", put(np.nan, 3), "^EF, nonconvex: largest"),
    ("worst-case", "nonconvex, ef21, 0.9", "value", scale(1.6, 3), "^EF21, nonconvex: largest"),
    ("worst-case", "nonconvex, ef21, 0.5", "value", scale(0.8, -1), "least worst case over noise"),
    *(
        ("rate", f"{method}, 0.5", "rate", scale(1.001, np.s_[:]), f"{method}_rate from the rate")
        for method in ("gd", "cgd", "ef", "ef21")
    ),
    *(
        ("rate", f"{method}, 0.5", "rate", put(0.5, 5), f"{method}_step from the best")
        for method in ("gd", "cgd", "ef", "ef21")
    ),
    ("rate", "gd, 0.5", "rate", scale(1.001, -3), "GD and CGD.* from 1 at cgd_cliff"),
    ("rate", "cgd, 0.9", "rate", scale(1.001), "GD and CGD.* from 1 at cgd_cliff"),
    ("rate", "ef, 0.9", "rate", scale(1.001), "EF and EF21.* from 1 at ef_cliff"),
    ("rate", "ef, 0.9", "rate", put(1.01, 0), "largest rate below"),
    ("rate", "ef, 0.9", "rate", put(0.99, -1), "least rate above"),
    ("rate", "gd, 0.5", "rate", scale(1.001, -1), "worse of two quadratics"),
    ("rate", "gd, 0.5", "rate", put(np.nan, 0), "worse of two quadratics"),
    (WORKERS, "ef, 8", "value", scale(1.3), "EF over EF21 at N = 8"),
    (WORKERS, "ef21, 8", "value", scale(1.3), "EF over EF21 at N = 8"),
    (WORKERS, "ef, 8", "value", scale(1.6), "of EF from one N to the next, 2 to 8"),
    (WORKERS, "ef21, 5", "value", scale(0.5), "over EF21 from one N to the next"),
    (WORKERS, "cgd, 5", "value", scale(0.98), "of CGD, 2 to 8"),
    (WORKERS, "ef, 5", "value", scale(0.5), "all at eta.*of EF from one N"),
    (WORKERS, "ef21, 5", "value", scale(3), "all at eta.*of EF21 from one N"),
    (WORKERS, "ef, 8", "value", put(0.01, 0, 0), "best step of EF over eta"),
    (WORKERS, "cgd, 3", "value", scale(2, -1), "zeta = 0: CGD over EF or EF21"),
    (WORKERS, "ef21, 3", "value", scale(1.4, 0), "zeta = 1: CGD over EF and EF over EF21"),
    (WORKERS, "ef, 5", "value", put(np.nan), "of EF from one N to the next, 2 to 8"),
    (NEEDED, "proofs", "ef", put(False), r"EF: V_\+ <= "),
    (NEEDED, "proofs", "root", put(False), r"EF: V_\+ <= "),
    (NEEDED, "proofs", "ef21", put(False), r"EF21: V_\+ <= "),
    *((NEEDED, "proofs", "ef_signs", put(False, i), r"EF: V_\+ <= ") for i in range(3)),
    *((NEEDED, "proofs", "ef21_signs", put(False, i), r"EF21: V_\+ <= ") for i in range(3)),
    *((NEEDED, "proofs", "root_signs", put(False, i), r"EF: V_\+ <= ") for i in range(3)),
    *((NEEDED, "proofs", "root_signs", put(False, i), r"EF21: V_\+ <= ") for i in range(3)),
    *((NEEDED, "proofs", "root_signs", put(False, i), "CGD: its asymptotic") for i in range(3)),
    *((NEEDED, "proofs", name, put(False), "CGD: its asymptotic")
      for name in ("root", "determinant", "traces")),
    (NEEDED, "proofs", "determinant_signs", put(False, 0), "CGD: its asymptotic"),
    (NEEDED, "proofs", "traces_signs", put(False, 0), "CGD: its asymptotic"),
    *((NEEDED, "proofs", "lead_signs", put(False, i), "CGD: its asymptotic") for i in range(3)),
    (NEEDED, "proofs", "rate", scale(1.001, 3), r"EF21: V_\+ <= "),
    (NEEDED, "proofs", "step", scale(1.001, 3), r"EF: V_\+ <= "),
    (NEEDED, "proofs", "lead", put(False), "CGD: its asymptotic rate is less"),
    (NEEDED, "proofs", "cgd", scale(1.001, 3), "CGD: its asymptotic rate is less"),
    (NEEDED, "rate, ef", "rate", scale(1.001, 2), "distance from the closed form"),
    (NEEDED, "after, cgd, 0.5", "value", scale(0.7), "steps of the best rates"),
    (NEEDED, "after, cgd, 0.3", "value", scale(0.8), "delta = 0.3: worst"),
    (NEEDED, "after, ef, 0.3", "value", scale(0.8), "delta = 0.3: worst"),
    (NEEDED, "after, ef, 0.9", "value", scale(1.2), "delta = 0.9: worst"),
    (NEEDED, "after, ef, 0.9", "value", scale(0.9), "delta = 0.9: worst"),
    (NEEDED, "nonsmooth, ef, 8", "value", scale(1.001, -1), "distance from Theorem III"),
    (NEEDED, "nonsmooth, cgd, 12", "value", scale(0.5, 0), "of CGD over q sigma R"),
    (NEEDED, "nonsmooth, ef, 12", "value", put(0.7), "N = 12, over q sigma R"),
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


# about formulas alone: see tests/mutants
BY_MUTANTS = ("^delta = 1, T = 0, f = L x", "at twice noise_free_step", "on quadratics alone")


@pytest.mark.parametrize("picture", MODULES)
def test_every_claim_is_spoilt_above(picture):
    patterns = [*BY_MUTANTS, *(row[-1] for row in SPOILT if row[0] == picture)]
    for verdict in claims(picture, good(picture)):
        assert any(re.search(pattern, verdict.claim) for pattern in patterns), verdict


def test_the_closed_forms_of_the_step_sizes_are_those_of_the_paper():
    # 2/(L+mu), 2/((1-q)mu + (1+q)L), 2/(L+mu) (1-q)/(1+q) with q = .6 (arXiv 2506.05271)
    delta, mu = 1 - 0.36, rate_picture.MU
    assert best_step("gd", mu=mu, delta=delta) == pytest.approx(2 / 1.1)
    assert best_step("cgd", mu=mu, delta=delta) == pytest.approx(2 / (0.4 * mu + 1.6))
    for method in ("ef", "ef21"):
        assert best_step(method, mu=mu, delta=delta) == pytest.approx(2 / 1.1 * 0.25)
    assert rates.ef_cliff(L=1.0, delta=delta) == pytest.approx(2 * 0.25)


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.picture in MODULES], ids=str)
def test_every_mutant_of_a_formula_fails_a_claim(mutant):
    """A wrong theory is noticed; that it is wrong is shown in tests/figures/claims."""
    results = good(mutant.picture)
    with mutant.applied():
        assert not all(verdict.passed for verdict in claims(mutant.picture, results))


RIGHT_ON_THE_GRID = [m for m in MUTANTS if "10 * mu**2" in m.after or "delta - 0.5" in m.after]


@pytest.mark.parametrize("mutant", RIGHT_ON_THE_GRID, ids=str)
def test_what_is_right_at_the_mu_and_deltas_of_the_search_fails_on_quadratics(mutant):
    assert mutant.picture == "rate"
    with mutant.applied():
        failed = [v.claim for v in claims("rate", good("rate")) if not v.passed]
    kind = mutant.formula.rpartition("_")[2]  # step, rate or cliff
    assert any(f"*_{kind}" in text for text in failed)
    assert all("on quadratics alone" in text for text in failed)


def test_the_floor_of_cgd_is_that_of_the_counterexample():
    # f = eps|x1+x2| + |x1-x2| from (1,1): f >= 2 eps, |g|^2 = 2 + 2 eps^2, R^2 = 2, and the scaled
    # sign of g = (eps+1, eps-1) leaves 1 - phi(g) of |g|^2
    eps = reading.FLOOR / (1 - reading.FLOOR**2) ** 0.5
    assert 0 < eps < 1
    g = np.array([eps + 1, eps - 1])
    phi = np.abs(g).sum() ** 2 / (2 * (g @ g))
    assert phi == pytest.approx(reading.DELTA)
    assert 2 * eps / np.sqrt(2 * (g @ g)) == pytest.approx(reading.FLOOR)


def drawn(picture: Picture, folder: Path, quick: bool) -> int:
    return make([picture], Options(quick, folder / "out", folder / "results"))


LONG = ("heterogeneous-workers", "no-feedback-needed")


@pytest.mark.parametrize(
    "picture",
    [pytest.param(name, marks=pytest.mark.slow if name in LONG else ()) for name in MODULES],
)
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
