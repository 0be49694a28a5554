"""What is read off the results of ``no-feedback-needed``, and what is claimed of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd import bounds
from efsgd.arrays import Array
from efsgd.bounds import rates
from efsgd.figures.claims.extremes import lowest, worse
from efsgd.figures.claims.verdicts import Verdict, claim, claim_between, observation
from efsgd.figures.make import Results
from efsgd.figures.theory.common import NAMES, L, best_step, observe_error
from efsgd.results import Result

if TYPE_CHECKING:
    from efsgd.convex.lyapunov.one_step import Name

MINE = "derived here"
PROVEN = "polynomial identities and signs, derived here"
CERTIFIED = "Lyapunov search"
CE2 = "Counterexample 2; derived here"
PEP = "performance estimation"
METHODS: tuple[Name, ...] = ("cgd", "ef")
DELTAS = (0.05, 0.4, 0.8)  # of the rates by search
MUS = (0.01, 0.1, 0.5)
POINTS = tuple((q, m) for q in (0.05, 0.3, 0.6, 0.9, 0.98) for m in (0.005, 0.1, 0.4, 0.8))
SLOWER = ("determinant", "traces", "lead")  # EF at any step, and CGD; with the root
AFTER, MU, AFTER_DELTAS = 10, 0.1, (0.3, 0.5, 0.7, 0.9)  # of the worst f(x_N): N, mu, delta
NEAR = (0.75, 0.9, 1.0)  # of the step size of the best rate
REFINEMENTS = 4
DELTA = 0.6  # of the nonsmooth problems; Counterexample 2 needs more than 1/2
FLOOR = (1 - DELTA) ** 0.5
STEPS = (1, 2, 4, 8, 12)
FACTORS = (0.2, 0.3, 0.4, 0.6, 0.9, 1.4)  # of R/(sigma sqrt(N+1))


def best(results: Results, method: str) -> tuple[Array, Array]:
    """The steps N, and the nonsmooth worst case with the best of FACTORS for each."""
    steps = [N for N in STEPS if f"nonsmooth, {method}, {N}" in results]
    least = [results[f"nonsmooth, {method}, {N}"]["value"].min() for N in steps]
    return np.array(steps), np.array(least)


def after(results: Results, method: str) -> tuple[Array, Array, Array]:
    """The deltas, and the worst f(x_N) at the step of the best rate, and at its own best step."""
    deltas = [delta for delta in AFTER_DELTAS if f"after, {method}, {delta}" in results]
    at_rate, least = [], []
    for delta in deltas:
        result = results[f"after, {method}, {delta}"]
        lr, value = result["lr"][0], result["value"][0]
        at_rate.append(np.interp(best_step(method, mu=MU, delta=delta), lr, value))
        least.append(value.min())
    return np.array(deltas), np.array(at_rate), np.array(least)


def gain(delta: Array, mu: float) -> Array:
    """(1 - rate) of CGD over that of EF, each at its best step size, in closed form."""
    cgd, ef = (getattr(rates, f"{m}_rate")(L=1.0, mu=mu, delta=delta) for m in METHODS)
    return np.asarray((1 - cgd) / (1 - ef))


def searched(results: Results) -> Array:
    """The same by Lyapunov search, for each (mu, delta) of the results."""
    ratio: Array = (1 - results["rate, cgd"]["rate"]) / (1 - results["rate, ef"]["rate"])
    return ratio


def theorem(N: int) -> Array:
    """Theorem III in its exact form, for each of FACTORS; R = sigma = 1."""
    lr = np.array(FACTORS) * (N + 1) ** -0.5
    return np.asarray(bounds.theorem_three_exact(R=1.0, lr=lr, sigma=1.0, delta=DELTA, T=N))


def verdicts(results: Results) -> list[Verdict]:
    """CGD has the better rate where f is smooth, EF converges where it is not."""
    worst_cases = [result for result in results.values() if "error" in result.arrays]
    return [
        *_proofs(results["proofs"]),
        *_rates(results),
        *_after(results),
        *_nonsmooth(results),
        observe_error("one worker", worst_cases),
    ]


def _proofs(proofs: Result) -> list[Verdict]:
    """The rates in efsgd.bounds are those of the identities, which must hold, with their signs.

    The distance is infinite where one of them does not.
    """
    q, m = proofs["q"], proofs["m"]
    letters: dict[str, Any] = {"L": L, "mu": L * m, "delta": 1 - q**2}
    rows = []
    for method, step, rate in (
        ("ef", rates.ef_step, rates.ef_rate),
        ("ef21", rates.ef21_step, rates.ef21_rate),
    ):
        holds, signs = _proven(proofs, method)
        off = worse(0, abs(L * step(**letters) / proofs["step"] - 1))
        off = worse(off, abs(rate(**letters) / proofs["rate"] - 1))
        text = (
            f"{NAMES[method]}: V_+ <= rho* V at eta*, rho* < 1, for all delta and mu/L, by an "
            f"identity and {signs} signs, and {method}_step and {method}_rate are its eta* and "
            "rho*: largest relative distance"
        )
        rows.append(claim(text, PROVEN, off if holds else np.inf, "<=", 1e-11))
    holds, signs = _proven(proofs, *SLOWER)
    z, r = np.sqrt(rates.cgd_rate(**letters)), (1 - m) / (1 + m)
    g = z**2 - (1 - q) * r * z - q  # negative where z^2 is less than the rate of EF
    D = (1 + q) + (1 - q) * m
    off = worse(0, abs(D**2 * (1 + m) * g / (-8 * q * (1 - q) * m**2) - 1))
    off = worse(off, abs(rates.cgd_rate(**letters) / proofs["cgd"] - 1))
    text = (
        "CGD: its asymptotic rate is less than that of EF at any step size, for all delta and "
        f"mu/L, by {len(SLOWER) + 1} identities and {signs} signs: largest relative distance of "
        "the two sides of the last, in sqrt(cgd_rate)"
    )
    source = f"{rates.cgd_rate.source} (rate of CGD); {PROVEN}"
    rows.append(claim(text, source, off if holds else np.inf, "<=", 1e-7))
    return rows


def _proven(proofs: Result, *names: str) -> tuple[bool, int]:
    """Whether identities, that of the root and all their signs are proven, and how many signs."""
    names = (*names, "root")
    signs = np.concatenate([proofs[f"{name}_signs"] for name in names])
    return all(proofs[name] for name in names) and bool(signs.all()), len(signs)


def _rates(results: Results) -> list[Verdict]:
    """The search agrees with the closed forms."""
    off = 0.0
    for method in METHODS:
        result = results[f"rate, {method}"]
        rate = getattr(rates, f"{method}_rate")
        closed_form = rate(L=1.0, mu=result["mu"], delta=result["delta"])
        off = worse(off, abs(result["rate"] / closed_form - 1))
    text = f"{len(DELTAS)} deltas, {len(MUS)} values of mu: rates of CGD and EF by search, relative"
    return [claim(f"{text} distance from the closed form", CERTIFIED, off, "<=", 1e-5)]


def _after(results: Results) -> list[Verdict]:
    """The order of CGD and EF after N steps, at both step sizes."""
    deltas, cgd_at_rate, cgd = after(results, "cgd")
    _, ef_at_rate, ef = after(results, "ef")
    text, over = f"strongly convex, mu = {MU}, N = {AFTER}", "worst f(x_N) of CGD over EF"
    at_rate = f"{text}, steps of the best rates, delta = {deltas[0]} to {deltas[-1]}"
    own = f"{text}, each at its best step"
    ratio = cgd / ef
    rows = [
        claim(
            f"{at_rate}: {over}, the least",
            PEP,
            lowest(np.inf, cgd_at_rate / ef_at_rate),
            ">",
            1.5,
        ),
        claim_between(f"{own}, delta = {deltas[0]}: {over}", PEP, float(ratio[0]), 0.75, 0.9),
        claim_between(f"{own}, delta = {deltas[-1]}: {over}", PEP, float(ratio[-1]), 1.0, 1.1),
    ]
    for delta in deltas:
        i = list(deltas).index(delta)
        numbers = f"{cgd[i]:.3g}, {ef[i]:.3g} and {cgd_at_rate[i]:.3g}, {ef_at_rate[i]:.3g}"
        where = (
            f"mu = {MU}, delta = {delta}, N = {AFTER}: CGD, EF at their best steps, and at those"
        )
        rows.append(observation(f"{where} of the best rates", PEP, numbers))
    return rows


def _nonsmooth(results: Results) -> list[Verdict]:
    """EF is at Theorem III exactly and falls below what CGD can reach with any step size."""
    steps, cgd = best(results, "cgd")
    _, ef = best(results, "ef")
    off = 0.0
    for N in steps:
        result = results[f"nonsmooth, ef, {N}"]
        off = worse(off, abs(result["value"] / theorem(int(N)) - 1))
    text = f"nonsmooth, delta = {DELTA}: worst mean of f(x_t) - f*"
    of_cgd = np.concatenate([results[f"nonsmooth, cgd, {N}"]["value"] for N in steps])
    least = lowest(np.inf, of_cgd)
    last = f"{text} of EF, N = {steps[-1]}, over q sigma R"
    return [
        claim(f"{text} of EF, distance from Theorem III, exact form", MINE, off, "<=", 1e-5),
        claim(f"{text} of CGD over q sigma R, least", CE2, least / FLOOR, ">=", 1 - 1e-5),
        claim(last, PEP, float(ef[-1]) / FLOOR, "<", 1.0),
        observation(f"{text} at N = {steps[-1]}: EF and CGD", PEP, f"{ef[-1]:.3g}, {cgd[-1]:.3g}"),
    ]
