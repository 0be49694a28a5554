"""When error feedback is not needed, and when it is, with one worker and full gradients.

If f is smooth and strongly convex, compressed gradient descent (CGD) converges faster than EF for
every delta and mu: each at its best step size (arXiv 2506.05271), compared exactly at rational
points and, by Lyapunov search, on a grid. If f is not smooth, EF converges as Theorem III says, and
CGD does not. In Counterexample 2 the scaled sign has delta = 1/(1+eps^2) at both gradients, and
f >= 2 eps for all step sizes, where sigma R = 2 (1+eps^2)^(1/2): no CGD has a worst case below
q sigma R, q = sqrt(1-delta) (derived here). By performance estimation, with the best of several
step sizes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd import bounds
from efsgd.arrays import Array
from efsgd.bounds import rates
from efsgd.figures.claims.verdicts import Verdict, claim, observation
from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results, Works
from efsgd.figures.theory.common import LOOKS, NAMES, best_step, claim_solved, worse
from efsgd.results import Work

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from efsgd.convex.lyapunov.one_step import Name

SOURCE = "arXiv 2506.05271"
MINE = "derived here"
CERTIFIED = "Lyapunov search"
CE2 = "Counterexample 2; derived here"
PEP = "performance estimation"
RATES = {"cgd": rates.cgd_rate, "ef": rates.ef_rate}
METHODS: tuple[Name, ...] = ("cgd", "ef")
DELTAS = (0.05, 0.2, 0.4, 0.6, 0.8, 0.95)
MUS = (0.01, 0.1, 0.5)
POINTS = 300
DELTA = 0.6  # of the nonsmooth problems; Counterexample 2 needs more than 1/2
FLOOR = (1 - DELTA) ** 0.5
STEPS = (1, 2, 4, 8, 12, 16)
FACTORS = (0.2, 0.3, 0.4, 0.6, 0.9, 1.4)  # of R/(sigma sqrt(N+1))


def work(quick: bool, seed: int) -> Works:
    """Rates on a grid, exact checks at random points, nonsmooth worst cases over N."""
    from efsgd.convex.studies.worst_cases import (
        ExactChecks,
        LyapunovRates,
        WorstCases,
    )

    deltas, mus = (DELTAS[1:2], MUS[1:2]) if quick else (DELTAS, MUS)
    factors = FACTORS[2:3] if quick else FACTORS
    works: dict[str, Work] = {"exact": ExactChecks(5 if quick else POINTS, seed)}
    for method in METHODS:
        settings = tuple((best_step(method, mu=m, delta=d), d, m) for m in mus for d in deltas)
        works[f"rate, {method}"] = LyapunovRates(method=method, settings=settings)
        for N in STEPS[:3] if quick else STEPS:
            works[f"nonsmooth, {method}, {N}"] = WorstCases(
                method=method,
                settings=tuple((N, factor * (N + 1) ** -0.5, 0.0) for factor in factors),
                delta=DELTA,
                problem="nonsmooth",
                criterion="average-f",
                initial="x",
            )
    return works


def best(results: Results, method: str) -> tuple[Array, Array]:
    """The steps N, and the worst case with the best of FACTORS for each."""
    steps = [N for N in STEPS if f"nonsmooth, {method}, {N}" in results]
    least = [results[f"nonsmooth, {method}, {N}"]["value"].min() for N in steps]
    return np.array(steps), np.array(least)


def draw(results: Results) -> Figure:
    """Rates over delta; nonsmooth worst cases over N."""
    figure, axes = style.panels(1, 2, height=3.0)
    _draw_rates(axes[0, 0], results)
    _draw_nonsmooth(axes[0, 1], results)
    return figure


def gain(delta: Array, mu: float) -> Array:
    """(1 - rate) of CGD over that of EF, each at its best step size, in closed form."""
    cgd, ef = (RATES[method](L=1.0, mu=mu, delta=delta) for method in METHODS)
    return np.asarray((1 - cgd) / (1 - ef))


def searched(results: Results) -> Array:
    """The same by Lyapunov search, for each (mu, delta) of the results."""
    ratio: Array = (1 - results["rate, cgd"]["rate"]) / (1 - results["rate, ef"]["rate"])
    return ratio


def _draw_rates(ax: Axes, results: Results) -> None:
    """How much faster CGD is, over delta: lines in closed form, dots by the search."""
    result, gains = results["rate, ef"], searched(results)
    for mu, colour in zip(MUS, style.THREE, strict=True):
        delta, at_mu = np.linspace(0.01, 0.999, 300), result["mu"] == mu
        ax.plot(delta, gain(delta, mu), color=colour, label=f"$\\mu/L = {mu}$")
        ax.plot(result["delta"][at_mu], gains[at_mu], "o", color=colour)
    ax.axhline(1, color="0.6", linewidth=0.8)
    ax.annotate("above this line CGD is faster than EF", (0.02, 0.972), size=7, color="0.3")
    ax.set(xlabel="$\\delta$", ylabel="(1 - rate) of CGD over that of EF", xlim=(0, 1))
    ax.set(title="smooth, strongly convex: not needed", ylim=(0.95, None))
    ax.legend(loc="upper right")


def _draw_nonsmooth(ax: Axes, results: Results) -> None:
    """The mean of f(x_t) - f* at the best step size, and what Theorem III says of EF."""
    for method in METHODS:
        colour, dashes, marker = LOOKS[method]
        look = {"color": colour, "linestyle": dashes, "marker": marker}
        ax.plot(*best(results, method), label=NAMES[method], **look)
    steps, _ = best(results, "ef")
    exact = [theorem(int(N)).min() for N in steps]
    ring: dict[str, Any] = {"color": "0.3", "fillstyle": "none", "markersize": 7}
    ax.plot(steps, exact, "o", label="EF, Theorem III, exact form", **ring)
    ax.axhline(FLOOR, color=LOOKS["cgd"][0], linestyle=style.DOTTED)
    ax.annotate("CGD is never below (CE2)", (1, FLOOR), (0.98, FLOOR + 0.006), size=7, color="0.3")
    ax.set(xscale="log", xlabel="steps $N$", ylabel="worst mean of $f(x_t) - f^*$")
    ax.set_title(f"nonsmooth, $\\delta = {DELTA}$: needed")
    ax.set_xticks(STEPS, [str(N) for N in STEPS])
    ax.minorticks_off()
    ax.legend(loc="lower left")


def theorem(N: int) -> Array:
    """Theorem III in its exact form, for each of FACTORS; R = sigma = 1."""
    lr = np.array(FACTORS) * (N + 1) ** -0.5
    return np.asarray(bounds.theorem_three_exact(R=1.0, lr=lr, sigma=1.0, delta=DELTA, T=N))


def verdicts(results: Results) -> list[Verdict]:
    """CGD is faster where f is smooth, EF converges where it is not."""
    return [*_exact(results), *_rates(results), *_nonsmooth(results)]


def _exact(results: Results) -> list[Verdict]:
    """The certificates of EF and EF21 and the comparison with CGD, in fractions."""
    checks = results["exact"]
    text = f"{checks['q'].size} random rational (sqrt(1-delta), mu/L), without rounding: "
    failed = {name: float(np.sum(~checks[name])) for name in ("ef", "ef21", "cgd")}
    certificate = f"{text}points where the certificate V_+ <= rho* V of"
    slower = f"{text}points where CGD is not strictly faster than EF, each at its best step size"
    return [
        claim(f"{certificate} EF fails", MINE, failed["ef"], "==", 0.0),
        claim(f"{certificate} EF21 fails", MINE, failed["ef21"], "==", 0.0),
        claim(slower, MINE, failed["cgd"], "==", 0.0),
    ]


def _rates(results: Results) -> list[Verdict]:
    """The search agrees with the closed forms, and CGD wins on its grid."""
    off = 0.0
    for method in METHODS:
        result = results[f"rate, {method}"]
        closed_form = RATES[method](L=1.0, mu=result["mu"], delta=result["delta"])
        off = worse(off, abs(result["rate"] / closed_form - 1))
    least = -worse(-np.inf, -searched(results))
    text = f"{len(DELTAS)} deltas and {len(MUS)} values of mu: "
    return [
        claim(f"{text}CGD and EF: distance from the closed form", SOURCE, off, "<=", 1e-5),
        claim(f"{text}least 1 - rate of CGD over that of EF", CERTIFIED, least, ">", 1.0),
    ]


def _nonsmooth(results: Results) -> list[Verdict]:
    """EF is at Theorem III exactly and falls below what CGD can reach with any step size."""
    steps, cgd = best(results, "cgd")
    _, ef = best(results, "ef")
    off = 0.0
    for N in steps:
        result = results[f"nonsmooth, ef, {N}"]
        attained = result["lr"] * (N + 1) >= 1  # where the exact form is attained: R = sigma = 1
        off = worse(off, abs(result["value"] / theorem(int(N)) - 1)[attained])
    text = f"nonsmooth, delta = {DELTA}: worst mean of f(x_t) - f*"
    of_cgd = np.concatenate([results[f"nonsmooth, cgd, {N}"]["value"] for N in steps])
    least = -worse(-np.inf, -of_cgd)
    worst_cases = [result for name, result in results.items() if name.startswith("nonsmooth")]
    last = f"{text} of EF, N = {steps[-1]}, over q sigma R"
    return [
        claim(f"{text} of EF, distance from Theorem III, exact form", MINE, off, "<=", 1e-5),
        claim(f"{text} of EF from one N to the next: ratio", PEP, _ratio(ef), "<", 1.0),
        claim(f"{text} of CGD over q sigma R, least", CE2, least / FLOOR, ">=", 1 - 1e-5),
        claim(last, PEP, float(ef[-1]) / FLOOR, "<", 1.0),
        observation(f"{text} at N = {steps[-1]}: EF and CGD", PEP, f"{ef[-1]:.3g}, {cgd[-1]:.3g}"),
        claim_solved("nonsmooth worst cases", worst_cases),
    ]


def _ratio(values: Array) -> float:
    """The largest ratio of a value to the one before."""
    return worse(0, values[1:] / values[:-1])


PICTURE = Picture(
    "no-feedback-needed",
    "Error feedback: not needed for smooth strongly convex f, needed where f is not smooth",
    work,
    draw,
    verdicts,
)
