"""The error lemma, its sharp form and its form for step sizes that vary: how tight each is.

E|e_t|^2 is compared with what :mod:`efsgd.bounds` gives for the step sizes of the run, at every
recorded step. C(x) = (1-q)x attains the sharp forms. The other compressors here use up to half of
the lemma on these problems, and rand-k most of it where every gradient points along its memory.
``efsgd-figures convex error-norm`` shows each compressor by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd import Identity, RandK, Scaled, bounds, compressor
from efsgd.arrays import Array
from efsgd.figures.claims.verdicts import Verdict, claim, observation
from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results, Works
from efsgd.results import Result, Work
from efsgd.schedules import InverseSqrt, StepDecay

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEMMA, SHARP, VARYING = bounds.error_lemma, bounds.error_sharp, bounds.error_varying
D, STEPS = 64, 300
SPECS = (  # of every built-in kind that has a delta, and a range of deltas
    "scaledsign", "scaledsign:zero=0", "twomeans", "blockwise:4,scaledsign", "signtopk:8", "topk:2",
    "topk:8", "topk:32", "topk:56", "randk:4", "randk:24", "randk:8,unbiased", "lowrank:1",
    "threshold:l2=0.5", "threshold:linf=0.5", "qsgd:2", "qsgd:8", "terngrad", "natural",
    "natural:nearest", "scaled:0.5,topk:8", "identity",
)  # fmt: skip
RATES = (0.01, 1.0, StepDecay(0.1, (100,), 0.1), InverseSqrt(0.1))
CONSTANT, DECAYED = 2, 2  # the first so many rates are constant; the row of the drop
GRADIENTS = {"sparse": 1, "dense": D}  # along so many coordinates: worst for signs, and for top-k
NOISES = (0.0, 0.5)  # the problems are sparse without and with noise, dense without and with it
QS = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95)  # of the extremal instance
SIGMAS = (0.1, 10.0)
DRAWN_Q = 0.9  # of the right panel
ALONG, ALONG_D, ALONG_STEPS = RandK(1 / 16), 4096, 100  # each gradient along the memory
ALONG_LEAST = 0.75  # share of the lemma
ROUNDED = 1 + 1e-12


def work(quick: bool, seed: int) -> Works:
    """Every compressor on every kind of gradient, and the extremal instance."""
    from efsgd.convex.problems.bounded_noise import BoundedNoise, Slope
    from efsgd.convex.studies.error_lemma import AlongMemory, Memories

    replicates = 4 if quick else 200
    works: dict[str, Work] = {
        "along": AlongMemory(ALONG, ALONG_D, ALONG_STEPS, seed, replicates),
    }
    problems = tuple(
        BoundedNoise(D, along, far=1e4, noise=noise)
        for along in GRADIENTS.values()
        for noise in NOISES
    )
    for spec in SPECS[::8] if quick else SPECS:
        c = compressor(spec).contractive(D)
        works[spec] = Memories(
            compressor=c,
            problems=problems,
            rates=RATES,
            steps=120 if quick else STEPS,
            record=4,
            seed=seed,
            replicates=2 if quick else 150 if c.random else 40,
        )
    for q in QS:
        c = Scaled(Identity(), 1 - q)
        slopes = tuple(Slope(sigma) for sigma in SIGMAS)
        works[f"extremal q={q}"] = Memories(c, slopes, RATES, 120 if quick else STEPS, 1)
    return works


def varying(result: Result) -> Array:
    """The bound on each problem, for each step size at each recorded step, (P, V, S)."""
    delta, step = float(result["delta"]), result["step"]
    return np.array(
        [
            [VARYING(lrs=lrs, sigmas=sigma, delta=delta)[step] for lrs in result["lrs"]]
            for sigma in result["sigma"]
        ]
    )


def lemma(result: Result) -> Array:
    """The paper's bound with the step sizes of the run, each as if it were constant, (P, V, T)."""
    sigma, lr = result["sigma"][:, None, None], result["lrs"][None]
    return np.asarray(LEMMA(lr=lr, sigma=sigma, delta=float(result["delta"])))


def shares(result: Result) -> tuple[Array, Array]:
    """E|e_t|^2 over the sharp form and over the lemma, each (P,).

    Means over the last half of the steps and over the constant step sizes, which only scale e_t.
    """
    late = result["step"] > result["step"][-1] / 2
    sharp = result["squared"] / np.maximum(varying(result), 1e-300)
    paper = result["squared"] / lemma(result)[..., :1]
    selected = np.s_[:, :CONSTANT, late]
    return sharp[selected].mean(axis=(1, 2)), paper[selected].mean(axis=(1, 2))


def along(result: Result) -> tuple[float, float]:
    """E|e_T|^2 with gradients along the memory and its standard error, both over the lemma."""
    paper = float(LEMMA(lr=1.0, sigma=1.0, delta=float(result["delta"])))
    return float(result["squared"][-1]) / paper, float(result["error"][-1]) / paper


def lossy(results: Results) -> dict[str, Result]:
    """The runs of the built-in compressors that lose something."""
    return {spec: r for spec, r in results.items() if spec in SPECS and float(r["delta"]) < 1}


def extremal(results: Results) -> list[Result]:
    """The runs of the extremal instance."""
    return [results[f"extremal q={q}"] for q in QS]


def draw(results: Results) -> Figure:
    """How much of the lemma is used against delta, and memories under step sizes that vary."""
    figure, axes = style.panels(1, 2, height=3.0)
    _draw_tightness(axes[0, 0], results)
    _draw_varying(axes[0, 1], results)
    return figure


def _draw_tightness(ax: Axes, results: Results) -> None:
    delta = np.linspace(0.005, 1, 200)
    q = np.sqrt(1 - delta)
    ax.axhline(1, color=style.VERMILION, linestyle=style.DASHED, label="the paper's lemma")
    ax.plot(delta, (1 + q) ** 2 / 4, color="0.2", label="sharp form, $(1+q)^2/4$")
    points = [(float(r["delta"]), _last(r)) for r in extremal(results)]
    ax.plot(*np.transpose(points), "o", color="0.2", label="C(x) = (1-q)x, constant gradient")
    looks = (("X", style.BLUE), ("p", style.ORANGE))
    for row, (gradient, (marker, colour)) in enumerate(zip(GRADIENTS, looks, strict=True)):
        points = [
            (float(r["delta"]), float(shares(r)[1][2 * row : 2 * row + 2].max()))
            for r in lossy(results).values()
        ]
        label = f"built-in compressors, {gradient} gradients"
        ax.plot(*np.transpose(points), marker, color=colour, alpha=0.8, markersize=4.5, label=label)
    share, error = along(results["along"])
    look: dict[str, Any] = {"color": style.GREEN, "markersize": 6}
    label = f"rand-k, d = {ALONG_D}, gradients along its memory"
    ax.errorbar(float(results["along"]["delta"]), share, 2 * error, fmt="*", label=label, **look)
    ax.set(
        xlabel="$\\delta$",
        xlim=(0, 1.02),
        ylim=(-0.035, 1.05),
        title=f"constant step sizes, d = {D} but for the star",
    )
    ax.set_ylabel("$E|e_t|^2$ over the lemma's bound")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25))


def _last(result: Result) -> float:
    """|e_T|^2 over the lemma, for the first constant step size."""
    return float(result["squared"][0, 0, -1] / lemma(result)[0, 0, 0])


def _draw_varying(ax: Axes, results: Results) -> None:
    result = results[f"extremal q={DRAWN_Q}"]
    unit = float(result["sigma"][0]) ** 2
    step, names = result["step"][1:], ("lr/10 from step 100 on", "$lr/\\sqrt{t+1}$")
    bound, latest, squared = (
        v[0] / unit for v in (varying(result), lemma(result), result["squared"])
    )
    at = np.unique(np.geomspace(1, step[-1], 24).round().astype(int)) - 1
    rows = range(CONSTANT, len(RATES))
    for row, colour, name in zip(rows, style.THREE, names, strict=False):
        ax.plot(step, bound[row, 1:], color=colour, label=f"its bound, {name}")
        ax.plot(step[at], squared[row, 1:][at], "o", color=colour)
        ax.plot(step, latest[row], color=colour, linestyle=style.DOTTED)
    ax.plot([], [], "o", color="0.3", label="C(x) = (1-q)x attains it")
    ax.plot([], [], color="0.3", linestyle=style.DOTTED, label="the lemma with $lr_t$: exceeded")
    ax.set(xscale="log", yscale="log", xlabel="iteration t", ylabel="$|e_t|^2/\\sigma^2$")
    ax.set_title(f"step sizes that vary, q = {DRAWN_Q}")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25))


def verdicts(results: Results) -> list[Verdict]:
    """No run exceeds a bound; the extremal instance attains the sharp ones, rand-k comes close."""
    exceeding = 0
    for result in (results[spec] for spec in SPECS):
        least = result["squared"] - 4 * result["error"]  # in expectation: four standard errors
        exceeding += int((~(least <= varying(result) * ROUNDED)).sum())
    text = f"{len(SPECS)} compressors, {2 * len(GRADIENTS)} problems: steps where E|e_t|^2 exceeds "
    text += "the form for their step sizes by more than 4 s.e."
    return [
        claim(text, VARYING.source, exceeding, "==", 0),
        *_attained(results),
        _half(results),
        _along(results["along"]),
        _latest(results),
        *_observations(results),
    ]


def _half(results: Results) -> Verdict:
    """What the other compressors use of the lemma on these problems."""
    used = []
    for result in lossy(results).values():
        late = result["step"] > result["step"][-1] / 2
        least = (result["squared"] - 4 * result["error"])[:, :CONSTANT, late]
        used.append((least / lemma(result)[:, :CONSTANT, :1]).mean(axis=(1, 2)).max())
    text = (
        f"{len(used)} lossy compressors, {2 * len(GRADIENTS)} problems: largest mean of E|e_t|^2 "
    )
    text += "over the lemma in the last half of the steps, less 4 s.e."
    return claim(text, LEMMA.source, float(np.max(used)), "<=", 0.5)


def _along(result: Result) -> Verdict:
    """A compressor that is used needs most of the lemma, so that no much smaller one would hold."""
    share, error = along(result)
    text = f"{ALONG}, d = {ALONG_D}, gradients along its memory, t = {ALONG_STEPS}: E|e_t|^2 over "
    text += "the lemma, less 4 s.e."
    return claim(text, LEMMA.source, share - 4 * error, ">=", ALONG_LEAST)


def _attained(results: Results) -> list[Verdict]:
    """C(x) = (1-q)x on a constant gradient attains the sharp forms at every step."""
    off, off_varying, off_share = [], [], []
    for result in extremal(results):
        delta, step = float(result["delta"]), result["step"][1:]
        sigma, lr = result["sigma"][:, None, None], result["lrs"][:CONSTANT, :1]
        sharp = SHARP(lr=lr, sigma=sigma, delta=delta, t=step)
        squared = result["squared"][..., 1:]
        off.append(abs(squared[:, :CONSTANT] / sharp - 1).max())
        off_varying.append(abs(squared / varying(result)[..., 1:] - 1)[:, CONSTANT:].max())
        off_share.append(abs(_last(result) - (1 + np.sqrt(1 - delta)) ** 2 / 4))
    text = f"C(x) = (1-q)x, constant gradient, {len(QS)} q x {len(SIGMAS)} sigma: largest"
    bound = f"{text} relative distance of |e_t|^2 from the sharp form"
    share = f"{text} distance of the share of the lemma that it uses from (1+q)^2/4"
    return [  # np.max, so that NaN fails
        claim(f"{bound}, constant lr", SHARP.source, float(np.max(off)), "<=", 1e-12),
        claim(f"{bound}, lr_t", VARYING.source, float(np.max(off_varying)), "<=", 1e-12),
        claim(share, SHARP.source, float(np.max(off_share)), "<=", 1e-6),
    ]


def _latest(results: Results) -> Verdict:
    """After the step size has dropped the lemma with the new one is exceeded."""
    result = results[f"extremal q={DRAWN_Q}"]
    ratio = float((result["squared"][0, DECAYED, 1:] / lemma(result)[0, DECAYED]).max())
    text = f"C(x) = (1-q)x, q = {DRAWN_Q}, lr divided by 10: largest |e_t|^2 over the lemma with "
    return observation(f"{text}lr_t for its constant lr", VARYING.source, f"{ratio:.3g}")


def _observations(results: Results) -> list[Verdict]:
    """How tight the bounds are for each compressor."""
    rows = []
    for spec, result in lossy(results).items():
        sharp, paper = (float(v.max()) for v in shares(result))
        text = f"{spec}, delta = {float(result['delta']):.3g}: E|e_t|^2 over the sharp form and "
        text += f"the lemma, the tightest of {2 * len(GRADIENTS)} problems"
        rows.append(observation(text, SHARP.source, f"{sharp:.3g} and {paper:.3g}"))
    return rows


PICTURE = Picture(
    "error-lemma",
    "How tight the error lemma is, its sharp form, and its form for step sizes that vary",
    work,
    draw,
    verdicts,
)
