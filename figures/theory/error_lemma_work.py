"""The work of the picture error-lemma, and the bounds for its results."""

from __future__ import annotations

import numpy as np

from efsgd import Identity, RandK, Scaled, bounds, compressor
from efsgd.arrays import Array
from efsgd.figures.make import Results, Works
from efsgd.results import Result, Work
from efsgd.schedules import InverseSqrt, StepDecay

LEMMA, SHARP, VARYING = bounds.error_lemma, bounds.error_sharp, bounds.error_varying
D, STEPS = 64, 300
SPECS = (  # of every built-in kind that has a delta, and a range of deltas
    "scaledsign", "scaledsign:zero=0", "twomeans", "blockwise:4,scaledsign", "signtopk:8", "topk:2",
    "topk:8", "topk:32", "topk:56", "randk:4", "randk:24", "randk:8,unbiased", "lowrank:1",
    "threshold:l2=0.5", "threshold:linf=0.5", "qsgd:2", "qsgd:8", "terngrad", "natural",
    "natural:nearest", "scaled:0.5,topk:8", "identity", "shared:randk:4", "dithering:3",
    "quantised:2,topk:32",
)  # fmt: skip
RATES = (0.01, 1.0, StepDecay(0.1, (100,), 0.1), InverseSqrt(0.1))
CONSTANT, DECAYED = 2, 2  # the first so many rates are constant; the row of the drop
GRADIENTS = {"sparse": 1, "dense": D}  # along so many coordinates: worst for signs, and for top-k
NOISES = (0.0, 0.5)  # the problems are sparse without and with noise, dense without and with it
QS = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95)  # of the extremal instance
SIGMAS = (0.1, 10.0)
DRAWN_Q = 0.9  # of the right panel
LENGTHS = (1.0, 3.0, 0.5)  # of the gradients of a run, over and over
ALONG, ALONG_D, ALONG_STEPS = RandK(1 / 16), 4096, 100  # each gradient along the memory


def work(quick: bool, seed: int) -> Works:
    """Every compressor on every kind of gradient, and the extremal instance."""
    from efsgd.convex.problems.bounded_noise import BoundedNoise, Slope
    from efsgd.convex.studies.error_lemma import AlongMemory, GivenLengths, Memories

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
    rates = tuple(RATES[-1](t) for t in range(STEPS))
    lengths = tuple(LENGTHS[t % len(LENGTHS)] for t in range(STEPS))
    works["lengths"] = GivenLengths(Scaled(Identity(), 1 - DRAWN_Q), rates, lengths)
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


def last_share(result: Result) -> float:
    """|e_T|^2 over the lemma, for the first constant step size."""
    return float(result["squared"][0, 0, -1] / lemma(result)[0, 0, 0])
