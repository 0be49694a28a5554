"""The claims of the picture theorem-four."""

from __future__ import annotations

from math import log

import numpy as np

from efsgd import bounds, compressor
from efsgd.arrays import Array
from efsgd.figures.claims.verdicts import Verdict, claim, observation
from efsgd.figures.make import Results
from efsgd.figures.theory.theorem_four_work import (
    ALONE,
    FORMS,
    FULL_KS,
    KS,
    PATHS,
    RATES,
    RUN_K,
    SCALED,
    SHARES,
    TS,
    UNBIASED,
    WITHOUT,
    gaps,
    memory_alone,
    memory_scaled,
    sharp_bound,
)
from efsgd.results import Result

EXACT = 1e-12  # relative: rounding
MOST_ERROR = 0.02  # of a mean growth


def verdicts(results: Results) -> list[Verdict]:
    """U/k achieves 1/k; U alone diverges; k enters at higher order."""
    return [
        *_contraction(results),
        *_memory(results),
        *_recursion(results),
        *_growth(results),
        *_higher_order(results),
    ]


def _contraction(results: Results) -> list[Verdict]:
    """What U/k achieves at the worst point and at others, and which scale is the best."""
    at_k, source = SHARES.index(1.0), bounds.theorem_four.source
    bias, second, off, scale = [], [], [], []
    for name, (spec, d) in UNBIASED.items():
        result = results[name]
        k = 1 + compressor(spec).omega(d)
        promised = float(bounds.theorem_four(k=k))
        bias.append(result["bias"].max())
        second.append(abs(result["second"].max() / k - 1))
        off.append(abs(result["delta"][at_k].min() - promised))
        best = result["scales"][result["delta"][:, 0].argmax()]
        scale.append(best / promised)
    text = f"{len(UNBIASED)} unbiased U, all draws: "
    square = f"{text}largest E|U(x)|^2/|x|^2 of each off k = 1 + omega relatively"
    points = f"{text}U/k at {results['natural']['bias'].size} vectors each, "
    best_scale = f"{text}where E|U(x)|^2 = k|x|^2, k times the best of the scales 0.1/k, ..., 3/k"
    derived = "derived here"
    return [
        claim(f"{text}largest |E U(x) - x|/|x|", derived, float(np.max(bias)), "<=", EXACT),
        claim(square, derived, float(np.max(second)), "<=", EXACT),
        claim(
            f"{points}distance of the least delta from 1/k",
            source,
            float(np.max(off)),
            "<=",
            EXACT,
        ),
        observation(best_scale, derived, f"{np.min(scale):.6g} to {np.max(scale):.6g}"),
    ]


def _memory(results: Results) -> list[Verdict]:
    """The memory on a constant gradient: its laws, and the lemma for U/k."""
    off: dict[str, list[float]] = {ALONE: [], SCALED: []}
    room = []
    for k in PATHS:
        alone, scaled = (results[f"memory, {f}, {k}"]["e_squared"] for f in (ALONE, SCALED))
        t = np.arange(1, alone.size)
        off[ALONE].append(abs(alone[1:] / memory_alone(k, t) - 1).max())
        off[SCALED].append(abs(scaled[1:] / memory_scaled(k, t[-1])[1:] - 1).max())
        room.append((sharp_bound(k, t) / scaled[1:]).min())
    text = f"constant gradient, k = {', '.join(f'{k:g}' for k in PATHS)}, all draws: "
    laws = {ALONE: "(k-1) + ... + (k-1)^t", SCALED: "its recursion"}
    rows = [
        claim(
            f"{text}{form}, E|e_t|^2 over (lr |g|)^2 off {law} relatively",
            "derived here",
            float(np.max(off[form])),
            "<=",
            EXACT,
        )
        for form, law in laws.items()
    ]
    lemma = f"{text}{SCALED}, least sharp lemma with delta = 1/k over E|e_t|^2"
    return [*rows, claim(lemma, bounds.error_sharp.source, float(np.min(room)), ">=", 1 - EXACT)]


def _recursion(results: Results) -> list[Verdict]:
    """The recursion of expected squares is what the compressors do."""
    off = [
        abs(results[f"paths, {form}"]["x_squared"] / results[f"recursion, {form}"]["last"] - 1)
        for form in FORMS
    ]
    text = "quadratic with noise, rand-1 of 3, all draws of 5 steps: E|x_t|^2 off its recursion"
    return [claim(text, "derived here", float(np.max(off)), "<=", EXACT)]


def _growth(results: Results) -> list[Verdict]:
    """Which scaling converges with full gradients, and how fast U alone diverges in runs."""
    scaled, alone = (_per_step(results[f"full gradients, {form}"]) for form in (SCALED, ALONE))
    excess = np.array(FULL_KS) - 1
    beyond = excess > 1
    over = float((alone[beyond] / excess[beyond, None]).min())
    text = f"quadratic, full gradients, lr from {RATES[0]} to {RATES[-1]}: "
    ks = ", ".join(f"{k:g}" for k in FULL_KS)
    factor = "factor of E|x_t|^2 a step"
    return [
        claim(
            f"{text}U/k, k = {ks}, largest {factor}", "derived here", float(scaled.max()), "<", 1.0
        ),
        claim(
            f"{text}U alone, k < 2, largest {factor}",
            "derived here",
            float(alone[~beyond].max()),
            "<",
            1.0,
        ),
        claim(f"{text}U alone, k > 2, least {factor}, over k-1", "derived here", over, ">=", 1.0),
        *_entries(results["growth"]),
    ]


def _entries(result: Result) -> list[Verdict]:
    """Rand-k times k sends an entry with probability 1/k, which multiplies its memory by 1-k.

    Else it stays as it is, but for a gradient that counts less and less: log(k-1)/k a step.
    """
    law = log(RUN_K - 1) / RUN_K
    mean, error = _means(result["log_entries"], result["at"])
    off = abs(mean - law) / np.where(error < MOST_ERROR, error, np.nan)  # enough runs, or no claim
    norm, spread = _means(result["log_norm"], result["at"])
    runs, d = result["log_entries"].shape[1:]
    text = f"rand-k without its scale, k = {RUN_K:g}, {runs} runs, t = {result['at'][0]} to "
    text += f"{result['at'][1]}: growth of log |e_t| a step, "
    return [
        claim(
            f"{text}largest distance of the mean of one of {d} entries from log(k-1)/k, in s.e.",
            "derived here",
            float(np.max(off)),
            "<=",
            4.0,
        ),
        observation(f"{text}entry 0", "derived here", f"{mean[0]:.4f} +- {error[0]:.4f}"),
        observation(f"{text}the norm", "derived here", f"{norm:.4f} +- {spread:.4f}"),
    ]


def _means(logs: Array, at: Array) -> tuple[Array, Array]:
    """The mean over the runs of the growth of ``logs`` (2, R, ...) a step, and its s.e."""
    rates = (logs[1] - logs[0]) / (at[1] - at[0])
    return rates.mean(axis=0), rates.std(axis=0, ddof=1) / np.sqrt(rates.shape[0])


def _per_step(result: Result) -> Array:
    """The factor of E|x_t|^2 a step from t = 100 to 200, for each k (rows) and step size."""
    before, after = result["last"].reshape(len(FULL_KS), len(RATES), 2).transpose(2, 0, 1)
    factor: Array = (after / before) ** 0.01
    return factor


def _higher_order(results: Results) -> list[Verdict]:
    """At lr = 1/sqrt(T+1): the constant of 1/sqrt(T) has no k with feedback, and k without."""
    root, k = np.sqrt(TS[-1] + 1), np.array([1.0, *KS])
    scaled, without = (gaps(results[f"gap, {form}"]) for form in (SCALED, WITHOUT))
    L, noise = (float(results[f"gap, {SCALED}"][name]) for name in ("L", "noise"))
    limit = noise**2 / 4
    excess = (scaled[1:, -1] - scaled[0, -1]) * (TS[-1] + 1) / (L * limit * (k[1:] - 1))
    text = f"quadratic, lr = (T+1)^(-1/2), T = {TS[-1]:.0e}, k = 1, {', '.join(map(str, KS))}: "
    head = f"{text}(T+1)^(1/2) E f(x_T) - f* "
    return [
        claim(
            f"{head}of U/k with feedback off noise^2/4 relatively",
            "derived here",
            float(abs(root * scaled[:, -1] / limit - 1).max()),
            "<=",
            1e-3,
        ),
        claim(
            f"{head}of U without feedback off k noise^2/4 relatively",
            "derived here",
            float(abs(root * without[:, -1] / (limit * k) - 1).max()),
            "<=",
            1e-3,
        ),
        claim(
            f"{text}(T+1) times the excess of U/k over SGD off L (k-1) noise^2/4 relatively",
            "derived here",
            float(abs(excess - 1).max()),
            "<=",
            1e-2,
        ),
    ]
