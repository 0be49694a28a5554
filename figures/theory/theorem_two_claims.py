"""The claims of the picture theorem-two."""

from __future__ import annotations

from typing import Any

import numpy as np

from efsgd.bounds import error_sharp
from efsgd.figures.claims.extremes import lowest, worse
from efsgd.figures.claims.verdicts import Verdict, claim, does_not_hold, observation
from efsgd.figures.make import Results
from efsgd.figures.theory.common import ROUNDED
from efsgd.figures.theory.theorem_two_work import (
    BEST,
    BOUNDS,
    PAPER,
    RATES,
    SHARP,
    SPECS,
    TO_AND_FRO,
    below_sup,
    halved,
    letters_of,
    over_last_mean,
    steady_letters,
)
from efsgd.results import Result

SMALL_RHO, RHOS = 0.01, (1.0, 1.5)


def verdicts(results: Results) -> list[Verdict]:
    """No mean exceeds a bound, some come near to Theorem II; the halved term is exceeded."""
    runs = {spec: results[spec] for spec in SPECS}
    steady = [result for name, result in results.items() if name.startswith("steady")]
    letters = [letters_of(r) for r in runs.values()] + [steady_letters(r) for r in steady]
    letters = [at | {"T": int(np.max(at["T"]))} for at in letters]
    return [
        _within(runs),
        *_steady(results, steady),
        _start(),
        _best_rho(letters),
        _sharpest(letters),
        *_halved(results["halved"]),
        *_observations(runs),
    ]


def _within(runs: dict[str, Result]) -> Verdict:
    """The runs on a nonconvex problem, where the bound says something."""
    exceeding, compared, total = 0, 0, 0
    for result in runs.values():
        value = np.broadcast_to(SHARP(**letters_of(result)), result["mean"].shape)
        counted = below_sup(result, value)
        exceeding += int((~(result["mean"] <= value * ROUNDED))[counted].sum())
        compared, total = compared + int(counted.sum()), total + counted.size
    text = (
        f"{len(runs)} compressors x {len(RATES)} step sizes, {compared:,} of {total:,} T at which "
    )
    text += "the sharper form is below sup |grad f|^2: means above it"
    return claim(text, SHARP.source, exceeding if compared else np.nan, "==", 0)


def _steady(results: Results, steady: list[Result]) -> list[Verdict]:
    """Where |grad f| is sigma throughout no bound is below the mean, and Theorem II is near it."""
    judged: dict[str, tuple[Any, dict[str, float]]] = {
        **{f"Theorem II, rho = {rho:g}": (PAPER, {"rho": rho}) for rho in RHOS},
        **{name: (bound, {}) for name, bound in BOUNDS.items() if bound is not PAPER},
    }
    least = dict.fromkeys(judged, np.inf)
    for result in steady:
        letters = steady_letters(result)
        for name, (bound, rho_of) in judged.items():
            ratios = np.asarray(bound(**letters | rho_of) / result["mean"])
            least[name] = lowest(least[name], ratios)
    off = worse(0, np.concatenate([abs(r["mean"] / r["sigma"] ** 2 - 1) for r in steady]))
    head = f"|grad f| stays at sigma, {len(steady)} runs, any T: "
    text = f"{head}least bound over the mean, "
    rows = [
        claim(
            f"{head}distance of the mean of its square from sigma^2", SHARP.source, off, "<=", 1e-5
        ),
        *(
            claim(f"{text}{name}", bound.source, least[name], ">=", 1 / ROUNDED)
            for name, (bound, _) in judged.items()
        ),
    ]
    for term, q, run, rho in (
        ("memory", TO_AND_FRO[-1], TO_AND_FRO[-1], 1),
        ("middle", 0, TO_AND_FRO[0], SMALL_RHO),
        ("first", 0, "slope", SMALL_RHO),
    ):
        text = "the same: Theorem II over the mean where most of it is its "
        text += f"{term} term, q = {q}, rho = {rho}"
        ratio = over_last_mean(results[f"steady, {run}"], rho)
        rows.append(claim(text, PAPER.source, ratio, "<=", 1.1))
    return rows


def _start() -> Verdict:
    """Where one step leads to the minimum, both forms are |grad f(x_0)|^2."""
    L, x = 2.0, 1.5
    letters = {"f0": L * x**2 / 2, "lr": 1 / L, "L": L, "sigma": L * x, "delta": 1.0, "T": 0}
    off = worse(0, abs(np.array([BEST(**letters), SHARP(**letters)]) / (L * x) ** 2 - 1))
    text = "T = 0, f = L x^2/2, lr = 1/L, delta = 1: distance of Theorem II at its best rho and of "
    return claim(
        f"{text}the sharper form over |grad f(x_0)|^2 from 1", SHARP.source, off, "<=", 1e-12
    )


def _best_rho(letters: list[dict[str, Any]]) -> Verdict:
    """The formula of the best rho is the least over rho."""
    rhos, off = np.geomspace(1e-4, 1.0, 4001), 0.0
    for last in letters:
        rho = rhos.reshape(-1, *np.ones(np.ndim(last["lr"]), int))
        least = np.asarray(PAPER(**last, rho=rho)).min(axis=0)
        off = worse(off, abs(np.asarray(BEST(**last)) / least - 1))
    text = f"Theorem II at its best rho: distance from the least over {len(rhos)} rho, these runs"
    return claim(text, BEST.source, off, "<=", 1e-4)


def _sharpest(letters: list[dict[str, Any]]) -> Verdict:
    """The sharper form is what its proof allows, with the memory of each step by itself."""
    off = 0.0
    for last in letters:
        memory = {name: last[name] for name in ("lr", "sigma", "delta")}
        squares = error_sharp(**memory, t=np.arange(last["T"] + 1))
        A = last["L"] ** 2 * np.mean(squares, axis=-1, keepdims=np.ndim(last["lr"]) > 0)
        of_sgd = BEST(**last | {"delta": 1.0})
        most = ((np.sqrt(A) + np.sqrt(A + 4 * of_sgd)) / 2) ** 2
        off = worse(off, abs(SHARP(**last) / np.minimum(most, last["sigma"] ** 2) - 1))
    text = (
        "the sharper form, last T of these runs: distance from the largest G <= sigma^2 with G <= "
    )
    text += "B + (A G)^(1/2), B that of SGD, A the mean of L^2 times the sharp bound on |e_t|^2"
    return claim(text, SHARP.source, off, "<=", 1e-9)


def _halved(result: Result) -> list[Verdict]:
    """The run against the halved term keeps to the assumptions and its recursion."""
    squared, values = result["squared"], halved(result)
    least, half = float(squared.min()), values["its middle term halved"]
    head = "quadratic, noise across x, worst compressor: "
    recursion = f"{head}largest distance of |grad f(x_t)|^2 from its recursion"
    off = float(abs(squared - result["recursion"]).max())
    delta = f"{head}largest distance of the delta achieved at a step from {result['delta']}"
    achieved = float(abs(result["achieved"] - result["delta"]).max())
    false = f"{head}Theorem II with half its middle term, {half:.4f}, the printed one as far as we "
    false += "know, bounds the least |grad f|^2"
    share = float(squared.mean()) / values["the sharper form"]
    return [
        claim(recursion, SHARP.source, off, "<=", 1e-12),
        claim(delta, "arXiv 1901.09847, Assumption A", achieved, "<=", 1e-12),
        does_not_hold(false, SHARP.source, f"min over t is {least:.4f}", bool(least > half)),
        claim(f"{head}mean of |grad f|^2 over the sharper form", SHARP.source, share, "<=", 1.0),
    ]


def _observations(runs: dict[str, Result]) -> list[Verdict]:
    """How much of each bound is used at the end, at the smallest and the largest step size."""
    rows = []
    for spec, result in runs.items():
        shares = [(result["mean"] / bound(**letters_of(result)))[:, -1] for bound in (PAPER, SHARP)]
        text = f"{spec}, delta = {float(result['delta']):.3g}: share of Theorem II and of the "
        spans = [f"{share.min():.2g} to {share.max():.2g}" for share in shares]
        text += "sharper form used, over lr"
        rows.append(observation(text, PAPER.source, "; ".join(spans)))
    return rows
