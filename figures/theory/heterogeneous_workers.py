"""Two workers whose functions differ: the worst case of CGD, EF and EF21, each at its best step.

f = (f_1 + f_2)/2 with |grad f_i(x*)| <= zeta, each worker with a compressor of its own, full
gradients, by performance estimation over a grid of step sizes, refined by a scalar search. The
ranking depends on the step size. At eta*, the best step of EF and EF21 for one worker, the worst
case of EF rises from N = 2 to 8 and that of EF21 falls. With each method at its best step both
fall, and EF21 is ahead by a factor that grows with N, from 1.2 at N = 2 to 2.2 at N = 8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd.arrays import Array
from efsgd.bounds import rates
from efsgd.figures.claims.extremes import lowest, worse
from efsgd.figures.claims.verdicts import Verdict, claim, claim_between, observation
from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results, Works
from efsgd.figures.theory.common import LOOKS, NAMES, observe_error
from efsgd.results import Work

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from efsgd.convex.lyapunov.one_step import Name

PEP = "performance estimation"
MU, DELTA = 0.1, 0.9
STEPS = (2, 3, 5, 8)
ZETAS = (1.0, 0.5, 0.0)  # at ZETA_STEPS; else 1 only
ZETA_STEPS = 3
FACTORS: dict[Name, tuple[float, ...]] = {  # of eta*, around the best step sizes
    "cgd": (0.15, 0.25, 0.4, 1.0),
    "ef": (0.2, 0.35, 0.6, 1.0),
    "ef21": (0.4, 0.65, 0.85, 1.0),
}
MORE = (1.3, 1.6)  # where few steps are taken
REFINEMENTS = 3


def work(quick: bool, seed: int) -> Works:
    """Each method over the number of steps, and after few steps over zeta."""
    from efsgd.convex.studies.tuned_worst_cases import TunedWorstCases

    works: dict[str, Work] = {}
    for method, factors in FACTORS.items():
        for N in STEPS[:2] if quick else STEPS:
            tried = factors + (MORE if N <= ZETA_STEPS else ())
            works[f"{method}, {N}"] = TunedWorstCases(
                method=method,
                settings=tuple((N, zeta) for zeta in (ZETAS if N == ZETA_STEPS else ZETAS[:1])),
                lrs=tuple(factor * eta_star() for factor in tried),
                refinements=1 if quick else REFINEMENTS,
                delta=DELTA,
                mu=MU,
                initial="x",
                workers=2,
            )
    return works


def eta_star() -> float:
    """The best step size of EF and EF21 with one worker."""
    return float(rates.ef_step(L=1.0, mu=MU, delta=DELTA))


def numbers_of_steps(results: Results) -> Array:
    """The N of the results."""
    return np.array([N for N in STEPS if f"ef, {N}" in results])


def tuned(results: Results, method: str) -> Array:
    """The worst case at the best step size, over N, at zeta = 1."""
    return np.array(
        [results[f"{method}, {N}"]["value"][0].min() for N in numbers_of_steps(results)]
    )


def at_common_step(results: Results, method: str) -> Array:
    """The worst case at eta*, over N, at zeta = 1."""
    found = (results[f"{method}, {N}"] for N in numbers_of_steps(results))
    return np.array(
        [np.interp(eta_star(), result["lr"][0], result["value"][0]) for result in found]
    )


def draw(results: Results) -> Figure:
    """Over the steps, over the step size after the most of them, and over zeta."""
    figure, axes = style.panels(1, 3, height=2.6)
    _draw_steps(axes[0, 0], results)
    _draw_step_sizes(axes[0, 1], results)
    _draw_zeta(axes[0, 2], results)
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=len(handles[1]))
    return figure


def _draw_steps(ax: Axes, results: Results) -> None:
    """The worst case over N: at the best step sizes, and at eta* (thin)."""
    N = numbers_of_steps(results)
    thin: dict[str, Any] = {"linewidth": 0.7, "alpha": 0.6}
    for method in FACTORS:
        colour, dashes, marker = LOOKS[method]
        look: dict[str, Any] = {"color": colour, "linestyle": dashes, "marker": marker}
        ax.plot(N, tuned(results, method), label=NAMES[method], **look)
        ax.plot(N, at_common_step(results, method), **look, **thin)
    ax.plot([], [], color="0.3", label="thick: best steps", linewidth=1.3)
    ax.plot([], [], color="0.3", label="thin: all at $\\eta^*$", **thin)
    ax.set(yscale="log", xlabel="steps $N$", ylabel="worst $f(x_N) - f^*$", ylim=(0.03, 1.2))
    ax.set_title(f"$\\zeta = 1$, $\\mu = {MU}$, $\\delta = {DELTA}$")


def _draw_step_sizes(ax: Axes, results: Results) -> None:
    """The worst case over the step size, after the most steps."""
    N = numbers_of_steps(results)[-1]
    for method in FACTORS:
        result, (colour, dashes, marker) = results[f"{method}, {N}"], LOOKS[method]
        look: dict[str, Any] = {"color": colour, "linestyle": dashes, "marker": marker}
        ax.plot(result["lr"][0] / eta_star(), result["value"][0], **look)
    ax.axvline(1, color="0.4", linestyle=style.DOTTED)
    ax.set(xscale="log", yscale="log", xlabel="step size over $\\eta^*$")
    ax.set_xticks([0.15, 0.25, 0.4, 0.65, 1], ["0.15", "0.25", "0.4", "0.65", "1"])
    ax.minorticks_off()
    ax.set_title(f"$\\zeta = 1$, $N = {N}$")


def _draw_zeta(ax: Axes, results: Results) -> None:
    """The worst case at the best step sizes over zeta."""
    for method in FACTORS:
        result, (colour, dashes, marker) = results[f"{method}, {ZETA_STEPS}"], LOOKS[method]
        look: dict[str, Any] = {"color": colour, "linestyle": dashes, "marker": marker}
        ax.plot(result["zeta"], result["value"].min(1), **look)
    ax.set(xlabel="$\\zeta$, largest $|\\nabla f_i(x^*)|$", ylim=(0, None))
    ax.set_title(f"best steps, $N = {ZETA_STEPS}$")


def verdicts(results: Results) -> list[Verdict]:
    """How the methods compare at their best steps, and what a common step makes of it."""
    text = f"2 workers, delta = {DELTA}, mu = {MU}"
    return [
        *_tuned(results, f"{text}, zeta = 1, best steps: worst case of"),
        *_common_step(results, f"{text}, zeta = 1"),
        *_over_zeta(results, f"{text}, N = {ZETA_STEPS}, best steps, zeta = "),
        observe_error(text, results.values()),
    ]


def _tuned(results: Results, text: str) -> list[Verdict]:
    """At the best steps CGD stays, EF falls with N and EF21 falls faster."""
    N = numbers_of_steps(results)
    cgd, ef, ef21 = (tuned(results, method) for method in FACTORS)
    lead = ef / ef21
    off, span = worse(0, abs(cgd / cgd[0] - 1)), f"from one N to the next, {N[0]} to {N[-1]}"
    faster = f"{text} EF over EF21 {span}: least growth"
    return [
        claim_between(f"{text} EF over EF21 at N = {N[-1]}", PEP, float(lead[-1]), 2.0, 2.5),
        claim(f"{text} EF {span}: largest ratio", PEP, worse(0, ef[1:] / ef[:-1]), "<", 1.0),
        claim(faster, PEP, lowest(np.inf, lead[1:] / lead[:-1]), ">", 1.0),
        claim(f"{text} CGD, {N[0]} to {N[-1]}: relative change with N", PEP, off, "<=", 0.01),
        observation(f"{text} CGD, EF, EF21 at N = {N[-1]}", PEP, _listed(cgd, ef, ef21)),
    ]


def _common_step(results: Results, text: str) -> list[Verdict]:
    """At eta* EF gets worse with N and EF21 does not: eta* is past the best step of EF."""
    N = numbers_of_steps(results)[-1]
    result = results[f"ef, {N}"]
    best = float(result["lr"][0, np.argmin(result["value"][0])]) / eta_star()
    cgd, ef, ef21 = (at_common_step(results, method) for method in FACTORS)
    least = lowest(np.inf, ef[1:] / ef[:-1])
    change = f"{text}, all at eta*: worst case of"
    grows = f"{change} EF from one N to the next: least ratio"
    falls = f"{change} EF21 from one N to the next: largest ratio"
    why = f"{text}, N = {N}: EF over EF21 if both take eta*, which is past the best step of EF"
    return [
        claim(grows, PEP, least, ">", 1.0),
        claim(falls, PEP, worse(0, ef21[1:] / ef21[:-1]), "<", 1.0),
        claim_between(f"{text}, N = {N}: best step of EF over eta*", PEP, best, 0.3, 0.5),
        observation(why, PEP, f"{ef[-1] / ef21[-1]:.3g}"),
        observation(f"{text}, N = {N}, all at eta*: CGD, EF, EF21", PEP, _listed(cgd, ef, ef21)),
    ]


def _over_zeta(results: Results, text: str) -> list[Verdict]:
    """Where the workers agree CGD is least, and where they do not it is the largest."""
    cgd, ef, ef21 = (results[f"{m}, {ZETA_STEPS}"]["value"].min(1) for m in FACTORS)
    apart = lowest(np.inf, np.array([cgd[0] / ef[0], ef[0] / ef21[0]]))
    alike = worse(0, np.array([cgd[-1] / ef[-1], cgd[-1] / ef21[-1]]))
    return [
        claim(f"{text}0: CGD over EF or EF21, the larger", PEP, alike, "<", 1.0),
        claim(f"{text}1: CGD over EF and EF over EF21, the less", PEP, apart, ">", 1.2),
    ]


def _listed(*values: Array) -> str:
    """The last number of each."""
    return ", ".join(f"{value[-1]:.3g}" for value in values)


PICTURE = Picture(
    "heterogeneous-workers",
    "Two workers that disagree: at its best step EF is behind EF21 by a factor that grows with N",
    work,
    draw,
    verdicts,
)
