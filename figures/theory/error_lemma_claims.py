"""The claims of the picture error-lemma."""

from __future__ import annotations

import numpy as np

from efsgd.figures.claims.verdicts import Verdict, claim, observation
from efsgd.figures.make import Results
from efsgd.figures.theory.common import ROUNDED
from efsgd.figures.theory.error_lemma_work import (
    ALONG,
    ALONG_D,
    ALONG_STEPS,
    CONSTANT,
    DECAYED,
    DRAWN_Q,
    GRADIENTS,
    LEMMA,
    LENGTHS,
    QS,
    SHARP,
    SIGMAS,
    SPECS,
    VARYING,
    along,
    extremal,
    last_share,
    lemma,
    lossy,
    shares,
    varying,
)
from efsgd.results import Result

ALONG_LEAST = 0.75  # share of the lemma


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
        _lengths(results["lengths"]),
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
        off_share.append(abs(last_share(result) - (1 + np.sqrt(1 - delta)) ** 2 / 4))
    text = f"C(x) = (1-q)x, constant gradient, {len(QS)} q x {len(SIGMAS)} sigma: largest"
    bound = f"{text} relative distance of |e_t|^2 from the sharp form"
    share = f"{text} distance of the share of the lemma that it uses from (1+q)^2/4"
    return [  # np.max, so that NaN fails
        claim(f"{bound}, constant lr", SHARP.source, float(np.max(off)), "<=", 1e-12),
        claim(f"{bound}, lr_t", VARYING.source, float(np.max(off_varying)), "<=", 1e-12),
        claim(share, SHARP.source, float(np.max(off_share)), "<=", 1e-6),
    ]


def _lengths(result: Result) -> Verdict:
    """The same where sigma varies too, from one step to the next."""
    bound = VARYING(lrs=result["lrs"], sigmas=result["sigmas"], delta=float(result["delta"]))
    off = float(np.max(abs(result["squared"][1:] / bound[1:] - 1)))
    text = f"C(x) = (1-q)x, q = {DRAWN_Q}, gradients of length {', '.join(map(str, LENGTHS))} in "
    text += "turn: largest relative distance of |e_t|^2 from the sharp form, lr_t and sigma_t"
    return claim(text, VARYING.source, off, "<=", 1e-12)


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
