"""When error feedback is not needed, and when it is, with one worker and full gradients.

If f is smooth and strongly convex, compressed gradient descent (CGD) has a smaller asymptotic rate
than EF at any step size, for all delta < 1 and mu < L: by identities of polynomials in
sqrt(1-delta) and mu/L and the signs of these (:mod:`efsgd.convex.lyapunov.proofs`).
After a fixed number of steps the answer depends on the step size. From |x_0 - x*| <= 1, for
mu = .1, N = 10 and delta from .3 to .9, the worst f(x_N) of CGD is above 1.5 times that of EF at
the steps of the best rates; with the step that makes it least, CGD is ahead at delta = .3, and EF,
by little, at delta = .9. If f is not smooth, EF converges as Theorem III says, and CGD does not. In
Counterexample 2 the scaled sign has delta = 1/(1+eps^2) at both gradients, and f >= 2 eps for all
step sizes, where sigma R = 2 (1+eps^2)^(1/2): no CGD has a worst case below q sigma R,
q = sqrt(1-delta) (derived here). Worst cases by performance estimation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results, Works
from efsgd.figures.theory import no_feedback_reading as reading
from efsgd.figures.theory.common import LOOKS, NAMES, best_step
from efsgd.figures.theory.no_feedback_reading import (
    AFTER,
    AFTER_DELTAS,
    DELTA,
    DELTAS,
    FACTORS,
    FLOOR,
    METHODS,
    MU,
    MUS,
    NEAR,
    POINTS,
    REFINEMENTS,
    STEPS,
)
from efsgd.results import Work

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def work(quick: bool, seed: int) -> Works:
    """Identities and signs, rates by search, worst cases after N steps, nonsmooth ones over N."""
    from efsgd.convex.studies.tuned_worst_cases import TunedWorstCases
    from efsgd.convex.studies.worst_cases import LyapunovRates, RateProofs, WorstCases

    deltas, mus = (DELTAS[1:2], MUS[1:2]) if quick else (DELTAS, MUS)
    factors = FACTORS[2:3] if quick else FACTORS
    works: dict[str, Work] = {"proofs": RateProofs(POINTS)}
    for method in METHODS:
        settings = tuple((best_step(method, mu=m, delta=d), d, m) for m in mus for d in deltas)
        works[f"rate, {method}"] = LyapunovRates(method=method, settings=settings)
        for delta in AFTER_DELTAS[1:2] if quick else AFTER_DELTAS:
            step = best_step(method, mu=MU, delta=delta)
            works[f"after, {method}, {delta}"] = TunedWorstCases(
                method=method,
                settings=((AFTER, 0.0),),
                lrs=tuple(factor * step for factor in NEAR),
                refinements=1 if quick else REFINEMENTS,
                delta=delta,
                mu=MU,
                initial="x",
            )
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


def draw(results: Results) -> Figure:
    """Rates and worst cases after N steps, over delta; nonsmooth worst cases over N."""
    figure, axes = style.panels(1, 3, height=2.7)
    _draw_rates(axes[0, 0], results)
    _draw_after(axes[0, 1], results)
    _draw_nonsmooth(axes[0, 2], results)
    handles = [ax.get_legend_handles_labels() for ax in (axes[0, 2], axes[0, 1])]
    lines, labels = ([*a, *b] for a, b in zip(*handles, strict=True))
    figure.legend(lines, labels, loc="outside lower center", ncols=len(labels))
    return figure


def _draw_rates(ax: Axes, results: Results) -> None:
    """How much faster CGD is, over delta: lines in closed form, dots by the search."""
    result, gains = results["rate, ef"], reading.searched(results)
    for mu, colour in zip(MUS, style.THREE, strict=True):
        delta, at_mu = np.linspace(0.01, 0.999, 300), result["mu"] == mu
        ax.plot(delta, reading.gain(delta, mu), color=colour, label=f"$\\mu/L = {mu}$")
        ax.plot(result["delta"][at_mu], gains[at_mu], "o", color=colour)
    ax.axhline(1, color="0.6", linewidth=0.8)
    ax.annotate("above: CGD has the better rate", (0.02, 0.965), size=7, color="0.3")
    ax.set(xlabel="$\\delta$", ylabel="(1 - rate) of CGD over that of EF", xlim=(0, 1))
    ax.set(title="strongly convex, rates", ylim=(0.95, None))
    ax.legend(loc="center left", bbox_to_anchor=(0.0, 0.5))


def _draw_after(ax: Axes, results: Results) -> None:
    """The worst f(x_N) over delta, at the step of the best rate (thin) and at the best one."""
    thin: dict[str, Any] = {"linewidth": 0.7, "alpha": 0.6}
    for method in METHODS:
        colour, dashes, marker = LOOKS[method]
        look: dict[str, Any] = {"color": colour, "linestyle": dashes, "marker": marker}
        deltas, at_rate, least = reading.after(results, method)
        ax.plot(deltas, at_rate, **look, **thin)
        ax.plot(deltas, least, **look)
    ax.plot([], [], color="0.3", label="thick: best step for $f(x_N)$")
    ax.plot([], [], color="0.3", label="thin: for the rate", **thin)
    ax.set(yscale="log", xlabel="$\\delta$", ylabel="worst $f(x_N) - f^*$")
    ax.set_title(f"strongly convex, $N = {AFTER}$, $\\mu/L = {MU}$")


def _draw_nonsmooth(ax: Axes, results: Results) -> None:
    """The mean of f(x_t) - f* at the best step size, and what Theorem III says of EF."""
    for method in METHODS:
        colour, dashes, marker = LOOKS[method]
        look = {"color": colour, "linestyle": dashes, "marker": marker}
        ax.plot(*reading.best(results, method), label=NAMES[method], **look)
    steps, _ = reading.best(results, "ef")
    exact = [reading.theorem(int(N)).min() for N in steps]
    ring: dict[str, Any] = {"color": "0.3", "fillstyle": "none", "markersize": 7}
    ax.plot(steps, exact, "o", label="EF, Theorem III", **ring)
    ax.axhline(FLOOR, color=LOOKS["cgd"][0], linestyle=style.DOTTED)
    ax.annotate("CGD stays above (CE2)", (1, FLOOR), (1.02, FLOOR + 0.006), size=7, color="0.3")
    ax.set(xscale="log", xlabel="steps $N$", ylabel="worst mean of $f(x_t) - f^*$")
    ax.set_title(f"nonsmooth, $\\delta = {DELTA}$: needed")
    ax.set_xticks(STEPS, [str(N) for N in STEPS])
    ax.minorticks_off()


PICTURE = Picture(
    "no-feedback-needed",
    "Error feedback: no better asymptotic rate for smooth f, needed where f is not smooth",
    work,
    draw,
    reading.verdicts,
)
