"""The delta zoo: what compressors claim, what is proven, what a search finds, what Gaussians show.

The picture shows an unbiased C as C/(1 + omega), which has delta = 1/(1 + omega) (Theorem IV of
arXiv 1901.09847). Beside the worst case stand Gaussian vectors and, for scaled sign, the densities
that trainings have kept; ``benchmarks/real_gradients.py`` measures top-k on gradients too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd.convex.studies.bound_checks import BUILT_IN, DIMENSIONS, Bounds
from efsgd.convex.verification.certificates import FITTED
from efsgd.figures.bounds import trainings
from efsgd.figures.bounds.trainings import REAL
from efsgd.figures.claims.verdicts import Verdict, claim, observation
from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results, Works
from efsgd.figures.texts import for_matplotlib
from efsgd.results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "delta-zoo"
TITLE = "What every compressor claims, what is proven, and the worst that a search finds"
SOURCE = "derived here"
SAMPLES, QUICK_SAMPLES = 1000, 100
QUICK_DIMENSIONS = (2, 16)
ATTAINED = 1e-6  # between a claim and what the named vector reaches, where nothing is random
ERRORS = 5.0  # standard errors, for the worst of many means
PANELS = 2


def dimensions(quick: bool) -> tuple[int, ...]:
    """The dimensions at which compressors are checked."""
    return QUICK_DIMENSIONS if quick else DIMENSIONS


def samples(quick: bool) -> int:
    """The draws over which a random compressor is averaged."""
    return QUICK_SAMPLES if quick else SAMPLES


def work(quick: bool, seed: int) -> Works:
    """Every built-in compressor at every dimension."""
    works = [Bounds(c, d, seed, samples(quick)) for c in BUILT_IN for d in dimensions(quick)]
    return {f"{check.compressor}, d = {check.d}": check for check in works}


def checks(results: Results) -> dict[str, dict[int, Result]]:
    """The checks by compressor and dimension."""
    by_name: dict[str, dict[int, Result]] = {}
    for name, result in results.items():
        if not name.startswith(REAL):
            by_name.setdefault(str(result.spec["compressor"]), {})[int(result.spec["d"])] = result
    return by_name


def all_checks(results: Results) -> list[Result]:
    """The checks, one compressor after the other."""
    return [result for by_d in checks(results).values() for result in by_d.values()]


def as_delta(result: Result, name: str) -> float:
    """A number of a check as a delta: 1/(1 + omega) for an omega."""
    value = float(result[name])
    return 1 / (1 + value) if str(result["quantity"]) == "omega" else value


def silent(result: Result) -> bool:
    """Whether nothing is claimed."""
    return str(result["verdict"]) == "claims nothing"


def draw(results: Results) -> Figure:
    """A panel for each of the largest dimensions, a row for each compressor."""
    by_name = checks(results)
    dims = sorted({d for by_d in by_name.values() for d in by_d})[-PANELS:]
    figure, axes = style.panels(1, len(dims), height=1.4 + 0.19 * len(by_name))
    figure.set_figwidth(style.PAGE)
    heights = {name: len(by_name) - 1 - row for row, name in enumerate(by_name)}
    for ax, d in zip(axes[0], dims, strict=True):
        at_d = {name: by_d[d] for name, by_d in by_name.items() if d in by_d}
        _draw_dimension(ax, at_d, heights, d)
    _draw_real(axes[0, -1], results, heights)
    labels = [_label(name, by_d[max(by_d)]) for name, by_d in by_name.items()]
    axes[0, 0].set_yticks(list(heights.values()), labels)
    for ax in axes[0, 1:]:
        ax.set_yticks(list(heights.values()), [])
    handles, labels = axes[0, -1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _label(name: str, result: Result) -> str:
    shown = for_matplotlib(name)  # a function of the user's own may have any letters
    return f"{shown}, /(1+$\\omega$)" if str(result["quantity"]) == "omega" else shown


def _draw_dimension(ax: Axes, at_d: dict[str, Result], heights: Mapping[str, int], d: int) -> None:
    """All numbers of each compressor at dimension d, at its height."""
    left = 0.25 / d
    claiming = {name: result for name, result in at_d.items() if not silent(result)}
    for name in at_d.keys() - claiming.keys():
        ax.text(0.97, heights[name], "claims nothing", ha="right", va="center", size=6, color="0.5")
    _draw_gaussian(ax, claiming, heights)
    _draw_marks(ax, claiming, heights)
    for name, result in claiming.items():
        if (worst := as_delta(result, "worst")) <= 0:
            y, red = heights[name], style.VERMILION
            ax.plot(left * 1.2, y, "<", color=red, markersize=5)
            ax.text(left * 1.4, y, f" {worst:.3g}", va="center", size=6, color=red)
    ax.set(xscale="log", xlim=(left, 1.3), ylim=(-0.7, len(heights) - 0.3))
    ax.set(xlabel="$\\delta$", title=f"d = {d}")


def _draw_marks(ax: Axes, claiming: dict[str, Result], heights: Mapping[str, int]) -> None:
    """What is claimed, what is proven and how, and the worst that was found."""

    def mark(label: str, number: str, applies: Callable[[Result], bool], **look: Any) -> None:
        marked = {name: result for name, result in claiming.items() if applies(result)}
        if marked:
            x = [as_delta(result, number) for result in marked.values()]
            ax.plot(x, [heights[name] for name in marked], label=label, linestyle="", **look)

    hollow: dict[str, Any] = {"markerfacecolor": "none", "markersize": 6.5}
    mark("claimed", "claimed", lambda r: True, marker="|", markersize=9, color="black")
    mark("certified", "certified", solved, marker="o", color=style.GREEN, **hollow)
    mark("by an argument", "certified", by_reasoning, marker="s", color="0.5", **hollow)
    mark(
        "certified, form read off",
        "certified",
        read_off,
        marker="D",
        color=style.PURPLE,
        **hollow,
    )
    mark("worst found", "worst", lambda r: bool(r["worst"] > 0), marker="x", color=style.VERMILION)


def _draw_real(ax: Axes, results: Results, heights: Mapping[str, int]) -> None:
    """The range of the densities of real gradients, which are the delta of scaled sign there.

    Of the ternary one, which achieves more where x_i = 0, they are a lower bound.
    """
    phi = trainings.densities(results)
    text: str | None = f"{REAL} of {trainings.models(results)}: $\\phi$, means of epochs"
    for name in ("scaledsign", "scaledsign:zero=0"):
        if phi.size and name in heights:
            look: dict[str, Any] = {"color": style.ORANGE, "alpha": 0.5, "linewidth": 6}
            ends = [phi.min(), phi.max()]
            ax.plot(ends, [heights[name]] * 2, label=text, solid_capstyle="butt", zorder=1, **look)
            text = None


def _draw_gaussian(ax: Axes, claiming: dict[str, Result], heights: Mapping[str, int]) -> None:
    """A line from the worst to the mean of the Gaussian vectors, with a dot at the mean."""
    look: dict[str, Any] = {"color": style.SKY, "marker": "o", "markevery": [0], "linewidth": 2.5}
    label: str | None = "Gaussian: mean to worst"
    for name, result in claiming.items():
        if not np.isnan(result["gaussian"]):
            ends = [as_delta(result, "gaussian"), as_delta(result, "gaussian_worst")]
            ax.plot(ends, [heights[name]] * 2, label=label, **look)
            label = None


def solved(result: Result) -> bool:
    """Whether a computation proves the bound."""
    return bool(result["solved"])


def by_reasoning(result: Result) -> bool:
    """Whether an argument proves it, or an identity."""
    return not np.isnan(result["certified"]) and not solved(result) and not read_off(result)


def read_off(result: Result) -> bool:
    """Whether it is proven for a form that was read off the compressor."""
    return str(result["kind"]) == FITTED


def verdicts(results: Results) -> list[Verdict]:
    """One row for each compressor, then what holds of all of them."""
    by_name, flat = checks(results), all_checks(results)
    rows = [_verdict(name, by_d) for name, by_d in by_name.items()]
    named = [r for r in flat if not np.isnan(r["attaining"])]
    off = [abs(float(r["attaining"] - r["claimed"])) for r in named]
    exact = [x for x, r in zip(off, named, strict=True) if r["attaining_error"] == 0]
    errors = [
        (x - 1e-9) / float(r["attaining_error"])
        for x, r in zip(off, named, strict=True)
        if r["attaining_error"] > 0
    ]
    gaps = [
        float(r["gap"]) / max(float(r["claimed"]), 1e-2)
        for r in flat
        if solved(r) and not silent(r)
    ]
    if exact:
        text = "at the vectors named as worst, if nothing is random: largest distance to the claim"
        rows.append(claim(text, SOURCE, max(exact), "<=", ATTAINED))
    if errors:
        text = "at the vectors named as worst, random: largest distance to the claim in its s.e."
        rows.append(claim(text, SOURCE, max(errors), "<=", ERRORS))
    if gaps:
        text = f"{len(gaps)} solved certificates: largest relative gap to the claim"
        rows.append(claim(text, "certified by cvxpy", max(gaps), "<=", 1e-7))
    return rows + _observations(by_name, results)


def _verdict(name: str, by_d: dict[int, Result]) -> Verdict:
    """What is known of one compressor at all its dimensions."""
    kinds = {str(result["kind"]) for result in by_d.values()} - {"none"}
    source = ", ".join(sorted(kinds)) or SOURCE
    quantity = str(next(iter(by_d.values()))["quantity"])
    dims: dict[str, list[int]] = {}  # by the word of their verdict
    for d, result in by_d.items():
        dims.setdefault(str(result["verdict"]), []).append(d)
    measured = "; ".join(f"{word} at d = {', '.join(map(str, ds))}" for word, ds in dims.items())
    if len(dims) == 1:
        measured = next(iter(dims))
    if set(dims) == {"claims nothing"}:
        return observation(f"{name}: messages and all else but a bound", source, measured)
    also = ", messages and all else" if any(r["bits"] for r in by_d.values()) else " and all else"
    text = f"{name}: its {quantity}{also}, d = {', '.join(map(str, by_d))}"
    if "VIOLATED" in dims:
        bad = by_d[dims["VIOLATED"][0]]
        if not np.isnan(bad["worst"]):
            worst, claimed = float(bad["worst"]), float(bad["claimed"])
            measured += f": {quantity} = {worst:.4g}, claimed {claimed:.4g}"
        measured += f" ({bad['reason']})"
    return Verdict(text, source, "not violated", measured, "VIOLATED" not in dims)


def _observations(by_name: dict[str, dict[int, Result]], results: Results) -> list[Verdict]:
    """What Gaussian vectors show beside the truth, and how dense gradients of trainings are."""
    rows = []
    for name in ("scaledsign", "topk:0.25"):
        by_d = by_name.get(name)
        if by_d and not np.isnan((largest := by_d[max(by_d)])["gaussian"]):
            text = f"{name}, d = {max(by_d)}: least delta on Gaussian vectors, and the truth"
            worst, claimed = float(largest["gaussian_worst"]), float(largest["claimed"])
            rows.append(observation(text, SOURCE, f"{worst:.3g}, not {claimed:.3g}"))
    return rows + trainings.observations(results)


PICTURE = Picture(NAME, TITLE, work, draw, verdicts)
