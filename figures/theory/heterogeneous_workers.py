"""Two workers whose functions differ: the worst case of CGD, EF and EF21 against that difference.

f = (f_1 + f_2)/2 with |grad f_i(x*)| <= zeta, each worker with a compressor of its own, full
gradients, by performance estimation. CGD and EF stop at a distance that grows with zeta, and go
away from x* again; EF21 goes on converging.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd.arrays import Array
from efsgd.bounds import rates
from efsgd.figures.claims.verdicts import Verdict, claim, observation
from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results, Works
from efsgd.figures.theory.common import LOOKS, NAMES, claim_solved, worse
from efsgd.results import Work

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from efsgd.convex.lyapunov.one_step import Name

PEP = "performance estimation"
REFERENCE = "reference value, to three digits"
MU, DELTA = 0.1, 0.9
METHODS: tuple[Name, ...] = ("cgd", "ef", "ef21")
STEPS = tuple(range(1, 9))
ZETAS = (0.0, 0.25, 0.5, 0.75, 1.0)
CURVE_STEPS = (2, 8)  # of the curves over zeta
TABLE_STEPS = (1, 2, 5, 8)
TABLE = {  # zeta = 1
    "cgd": (0.302, 0.278, 0.350, 0.468),
    "ef": (0.302, 0.447, 0.713, 0.842),
    "ef21": (0.302, 0.206, 0.114, 0.073),
}


def work(quick: bool, seed: int) -> Works:
    """Each method over the number of steps at zeta = 1, and over zeta."""
    from efsgd.convex.studies.worst_cases import WorstCases

    lr = float(rates.ef_step(L=1.0, mu=MU, delta=DELTA))
    steps, curve_steps = (STEPS[:3], (2,)) if quick else (STEPS, CURVE_STEPS)
    zetas = ZETAS[::2] if quick else ZETAS
    curves = {"N": tuple((N, lr, 1.0) for N in steps)}
    curves |= {f"zeta, N = {N}": tuple((N, lr, zeta) for zeta in zetas) for N in curve_steps}
    works: dict[str, Work] = {}
    for method in METHODS:
        for over, settings in curves.items():
            works[f"{method} over {over}"] = WorstCases(
                method=method, settings=settings, delta=DELTA, mu=MU, initial="x", workers=2
            )
    return works


def draw(results: Results) -> Figure:
    """Over the steps at zeta = 1, and over zeta."""
    figure, axes = style.panels(1, 2, height=3.0)
    _draw_steps(axes[0, 0], results)
    _draw_zeta(axes[0, 1], results)
    return figure


def _draw_steps(ax: Axes, results: Results) -> None:
    """The worst case over N, with rings around the table."""
    for method in METHODS:
        result, (colour, dashes, marker) = results[f"{method} over N"], LOOKS[method]
        look = {"color": colour, "linestyle": dashes, "marker": marker}
        ax.plot(result["steps"], result["value"], label=NAMES[method], **look)
        ax.plot(TABLE_STEPS, TABLE[method], "o", color="0.3", fillstyle="none", markersize=7)
    ax.plot([], [], "o", color="0.3", fillstyle="none", markersize=7, label="reference values")
    ax.set(xlabel="steps $N$", ylabel="worst $f(x_N) - f^*$", ylim=(0, None))
    ax.set_title(f"2 workers, $\\zeta = 1$, $\\mu = {MU}$, $\\delta = {DELTA}$")
    ax.legend(loc="upper left")


def _draw_zeta(ax: Axes, results: Results) -> None:
    """The worst case over zeta after few steps (thin) and many (thick)."""
    for method in METHODS:
        colour, dashes, marker = LOOKS[method]
        look = {"color": colour, "linestyle": dashes, "marker": marker}
        for N in CURVE_STEPS:
            name = f"{method} over zeta, N = {N}"
            if name not in results:
                continue
            width: dict[str, Any] = (
                {"linewidth": 1.6} if CURVE_STEPS[-1] == N else {"linewidth": 0.7, "alpha": 0.6}
            )
            ax.plot(results[name]["zeta"], results[name]["value"], **look, **width)
    ax.plot([], [], color="0.3", linewidth=1.6, label=f"$N = {CURVE_STEPS[1]}$")
    ax.plot([], [], color="0.3", linewidth=0.7, alpha=0.6, label=f"$N = {CURVE_STEPS[0]}$")
    ax.set(xlabel="$\\zeta$, largest $|\\nabla f_i(x^*)|$", ylim=(0, None))
    ax.set_title("dissimilarity of the workers")
    ax.legend(loc="upper left")


def verdicts(results: Results) -> list[Verdict]:
    """The reference values hold; which worst cases grow and shrink with N and with zeta."""
    off = 0.0
    for method in METHODS:
        result = results[f"{method} over N"]
        values = result["value"][np.searchsorted(result["steps"], TABLE_STEPS)]
        off = worse(off, abs(values - TABLE[method]))
    most = results["ef21 over N"]["value"].size
    text = f"zeta = 1, delta = {DELTA}, mu = {MU}: worst case"
    size = len(TABLE_STEPS) * len(METHODS)
    rows = [claim(f"{text}s, largest distance from {size} values", REFERENCE, off, "<=", 5e-4)]
    ratio = f"{text} of EF21 from one N to the next, 1 to {most}: largest ratio"
    rows.append(claim(ratio, PEP, worse(0, _growth(results, "ef21")), "<", 1.0))
    for method, first in (("cgd", 2), ("ef", 1)):
        least = -worse(-np.inf, -_growth(results, method)[first - 1 :])
        ratio = f"{text} of {method.upper()} from one N to the next, {first} to {most}: least ratio"
        rows.append(claim(ratio, PEP, least, ">", 1.0))
    count = sum(result["value"].size for result in results.values())
    return [*rows, *_over_zeta(results), claim_solved(f"{count} worst cases", results.values())]


def _growth(results: Results, method: str) -> Array:
    """The worst case after N + 1 steps over that after N, zeta = 1."""
    value = results[f"{method} over N"]["value"]
    ratio: Array = value[1:] / value[:-1]
    return ratio


def _over_zeta(results: Results) -> list[Verdict]:
    """All grow with zeta; at zeta = 1 EF21 is least, at zeta = 0 it is not needed."""
    last = {m: results[f"{m} over zeta, N = {CURVE_STEPS[-1]}"]["value"] for m in METHODS}
    least = np.inf
    for method in ("cgd", "ef"):
        least = -worse(-least, -np.diff(last[method]))
    ahead = worse(0, np.array([last["ef21"][-1] / last[m][-1] for m in ("cgd", "ef")]))
    even = worse(0, np.array([last["cgd"][0] / last[m][0] for m in ("ef", "ef21")]))
    grown = last["ef21"][-1] / last["ef21"][0]
    text = f"after {CURVE_STEPS[-1]} steps, "
    return [
        claim(f"{text}CGD and EF: least growth from one zeta to the next", PEP, least, ">", 0.0),
        claim(f"{text}zeta = 1: EF21 over CGD or EF, the larger", PEP, ahead, "<", 1.0),
        observation(f"{text}zeta = 0: CGD over EF or EF21, the larger", PEP, f"{even:.3g}"),
        observation(f"{text}EF21 at zeta = 1 over zeta = 0", PEP, f"{grown:.3g}"),
    ]


PICTURE = Picture(
    "heterogeneous-workers",
    "Two workers that disagree: CGD and EF go away again, EF21 converges",
    work,
    draw,
    verdicts,
)
