"""The delta zoo: what compressors claim, what is proven, what a search finds, what Gaussians show.

Unbiased compressors are drawn as C/(1 + omega), which has delta = 1/(1 + omega) (Theorem IV of
arXiv 1901.09847). Gaussian vectors come nowhere near a worst case, and neither do real gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd.arrays import Array
from efsgd.convex.studies.bound_checks import BUILT_IN, DIMENSIONS, Bounds
from efsgd.convex.verification.certificates import FITTED
from efsgd.figures import style
from efsgd.figures.make import Picture, Results, Works
from efsgd.figures.verdicts import Verdict, claim, observation
from efsgd.results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "delta-zoo"
TITLE = "What every compressor claims, what is proven, and the worst that a search finds"
SOURCE = "derived here"
REAL = "real gradients"  # results whose name begins so hold densities of a training
SAMPLES, QUICK_SAMPLES = 1000, 100
QUICK_DIMENSIONS = (2, 16)
ATTAINED = 1e-6  # between a claim and what the named vector reaches, where nothing is random
ERRORS = 5.0  # standard errors, for the worst of many means
PANELS = 2


def work(quick: bool, seed: int) -> Works:
    """Every built-in compressor at every dimension."""
    dims = QUICK_DIMENSIONS if quick else DIMENSIONS
    samples = QUICK_SAMPLES if quick else SAMPLES
    works = [Bounds(c, d, seed, samples) for c in BUILT_IN for d in dims]
    return {f"{one.compressor}, d = {one.d}": one for one in works}


def checks(results: Results) -> dict[str, dict[int, Result]]:
    """The checks by compressor and dimension."""
    found: dict[str, dict[int, Result]] = {}
    for name, result in results.items():
        if not name.startswith(REAL):
            found.setdefault(str(result.spec["compressor"]), {})[int(result.spec["d"])] = result
    return found


def densities(results: Results) -> Array:
    """The densities phi(g) and phi(g + e) of all trainings, one an epoch; empty without any."""
    found = [
        result[name].ravel()
        for key, result in results.items()
        if key.startswith(REAL)
        for name in ("phi_g", "phi_p")
        if name in result.arrays
    ]
    phi: Array = np.concatenate([np.zeros(0), *found])
    return phi[np.isfinite(phi) & (phi > 0)]


def as_delta(result: Result, name: str) -> float:
    """A number of a check as a delta: 1/(1 + omega) for an omega."""
    value = float(result[name])
    return 1 / (1 + value) if str(result["quantity"]) == "omega" else value


def silent(result: Result) -> bool:
    """Whether nothing is claimed."""
    return str(result["verdict"]) == "claims nothing"


def draw(results: Results) -> Figure:
    """A panel for each of the largest dimensions, a row for each compressor."""
    found = checks(results)
    dims = sorted({d for own in found.values() for d in own})[-PANELS:]
    figure, axes = style.panels(1, len(dims), height=1.4 + 0.19 * len(found))
    figure.set_figwidth(style.PAGE)
    for ax, d in zip(axes[0], dims, strict=True):
        _draw_dimension(ax, found, d)
    _draw_real(axes[0, -1], results, found)
    names = {name: own[max(own)] for name, own in found.items()}
    labels = [_label(name, result) for name, result in names.items()]
    axes[0, 0].set_yticks(_rows(found), labels)
    for ax in axes[0, 1:]:
        ax.set_yticks(_rows(found), [])
    handles, said = axes[0, -1].get_legend_handles_labels()
    figure.legend(handles, said, loc="outside lower center", ncols=3)
    return figure


def _rows(found: Mapping[str, object]) -> Array:
    return np.arange(len(found))[::-1]


def _label(name: str, result: Result) -> str:
    return f"{name}, /(1+$\\omega$)" if str(result["quantity"]) == "omega" else name


def _draw_dimension(ax: Axes, found: dict[str, dict[int, Result]], d: int) -> None:
    left = 0.25 / d
    rows = dict(zip(found, _rows(found), strict=True))
    at = {name: own[d] for name, own in found.items() if d in own}
    told = {name: result for name, result in at.items() if not silent(result)}
    for name in at.keys() - told.keys():
        ax.text(0.97, rows[name], "claims nothing", ha="right", va="center", size=6, color="0.5")
    _draw_gaussian(ax, told, rows)

    def mark(text: str, what: str, chosen: Callable[[Result], bool], **look: Any) -> None:
        own = {name: result for name, result in told.items() if chosen(result)}
        if not own:
            return
        x = [as_delta(result, what) for result in own.values()]
        ax.plot(x, [rows[name] for name in own], label=text, linestyle="", **look)

    mark("claimed", "claimed", lambda r: True, marker="|", markersize=9, color="black")
    open_: dict[str, Any] = {"markerfacecolor": "none", "markersize": 6.5}
    mark("certified", "certified", solved, marker="o", color=style.GREEN, **open_)
    by_hand = {"marker": "s", "color": "0.5", **open_}
    mark("by an argument", "certified", by_reasoning, **by_hand)
    read = {"marker": "D", "color": style.PURPLE, **open_}
    mark("certified, form read off", "certified", read_off, **read)
    mark("worst found", "worst", lambda r: bool(r["worst"] > 0), marker="x", color=style.VERMILION)
    for name, result in told.items():
        if as_delta(result, "worst") <= 0:
            ax.plot(left * 1.2, rows[name], "<", color=style.VERMILION, markersize=5)
            said = f" {as_delta(result, 'worst'):.3g}"
            ax.text(left * 1.4, rows[name], said, va="center", size=6, color=style.VERMILION)
    ax.set(xscale="log", xlim=(left, 1.3), ylim=(-0.7, len(found) - 0.3))
    ax.set(xlabel="$\\delta$", title=f"d = {d}")


def _draw_real(ax: Axes, results: Results, found: Mapping[str, object]) -> None:
    """The range of the densities of real gradients, which are the delta of scaled sign there."""
    phi, rows = densities(results), dict(zip(found, _rows(found), strict=True))
    models = {str(r.spec.get("model")) for name, r in results.items() if name.startswith(REAL)}
    text: str | None = f"{REAL} of {', '.join(sorted(models))}: $\\phi$, any step"
    for name in ("scaledsign", "scaledsign:zero=0"):
        if phi.size and name in rows:
            look: dict[str, Any] = {"color": style.ORANGE, "alpha": 0.5, "linewidth": 6}
            ends = [phi.min(), phi.max()]
            ax.plot(ends, [rows[name]] * 2, label=text, solid_capstyle="butt", zorder=1, **look)
            text = None


def _draw_gaussian(ax: Axes, told: dict[str, Result], rows: dict[str, int]) -> None:
    """A line from the worst to the mean of the Gaussian vectors, with a dot at the mean."""
    seen = {name: r for name, r in told.items() if not np.isnan(r["gaussian"])}
    for number, (name, result) in enumerate(seen.items()):
        mean, worst = as_delta(result, "gaussian"), as_delta(result, "gaussian_worst")
        look: dict[str, Any] = {
            "color": style.SKY,
            "marker": "o",
            "markevery": [0],
            "linewidth": 2.5,
        }
        text = None if number else "Gaussian: mean to worst"
        ax.plot([mean, worst], [rows[name]] * 2, label=text, **look)


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
    found = checks(results)
    every = [result for own in found.values() for result in own.values()]
    told = [_verdict(name, own) for name, own in found.items()]
    named = [r for r in every if not np.isnan(r["attaining"])]
    off = [abs(float(r["attaining"] - r["claimed"])) for r in named]
    exact = [x for x, r in zip(off, named, strict=True) if r["attaining_error"] == 0]
    errors = [
        (x - 1e-9) / float(r["attaining_error"])
        for x, r in zip(off, named, strict=True)
        if r["attaining_error"] > 0
    ]
    gaps = [
        float(r["gap"]) / max(float(r["claimed"]), 1e-2)
        for r in every
        if solved(r) and not silent(r)
    ]
    if exact:
        text = "at the vectors named as worst, if nothing is random: largest distance to the claim"
        told.append(claim(text, SOURCE, max(exact), "<=", ATTAINED))
    if errors:
        text = "at the vectors named as worst, random: largest distance to the claim in its s.e."
        told.append(claim(text, SOURCE, max(errors), "<=", ERRORS))
    if gaps:
        text = f"{len(gaps)} solved certificates: largest relative gap to the claim"
        told.append(claim(text, "certified by cvxpy", max(gaps), "<=", 1e-7))
    return told + _observations(found, results)


def _verdict(name: str, own: dict[int, Result]) -> Verdict:
    """What is known of one compressor at all its dimensions."""
    words = {d: str(result["verdict"]) for d, result in own.items()}
    kinds = {str(result["kind"]) for result in own.values()} - {"none"}
    source = ", ".join(sorted(kinds)) or SOURCE
    quantity = str(next(iter(own.values()))["quantity"])
    counted = {word: [d for d, w in words.items() if w == word] for word in words.values()}
    measured = "; ".join(f"{word} at d = {', '.join(map(str, d))}" for word, d in counted.items())
    if len(counted) == 1:
        measured = next(iter(counted))
    if set(counted) == {"claims nothing"}:
        return observation(f"{name}: messages and all else but a bound", source, measured)
    also = ", messages and all else" if any(r["bits"] for r in own.values()) else " and all else"
    text = f"{name}: its {quantity}{also}, d = {', '.join(map(str, own))}"
    if "VIOLATED" in counted:
        bad = own[counted["VIOLATED"][0]]
        if not np.isnan(bad["worst"]):
            said = f"{quantity} = {float(bad['worst']):.4g}, claimed {float(bad['claimed']):.4g}"
            measured += f": {said}"
        measured += f" ({bad['reason']})"
    return Verdict(text, source, "not violated", measured, "VIOLATED" not in counted)


def _observations(found: dict[str, dict[int, Result]], results: Results) -> list[Verdict]:
    told = []
    for name in ("scaledsign", "topk:0.25"):
        if name in found and not np.isnan((one := found[name][max(found[name])])["gaussian"]):
            text = f"{name}, d = {one.spec['d']}: least delta on Gaussian vectors, and the truth"
            measured = f"{float(one['gaussian_worst']):.3g}, not {float(one['claimed']):.3g}"
            told.append(observation(text, SOURCE, measured))
    phi = densities(results)
    if phi.size:
        text = "density of real gradients, the delta of scaled sign there: least and greatest"
        told.append(observation(text, "section 6", f"{phi.min():.3g} and {phi.max():.3g}"))
    return told


PICTURE = Picture(NAME, TITLE, work, draw, verdicts)
