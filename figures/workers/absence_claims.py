"""What the picture absence claims: exact noise of SGD, and who has none."""

from __future__ import annotations

import numpy as np

from efsgd.arrays import Array
from efsgd.figures.claims.extremes import worse
from efsgd.figures.claims.intervals import Interval, decision, of_mean
from efsgd.figures.claims.verdicts import Verdict, claim, observation
from efsgd.figures.make import Results
from efsgd.figures.workers.absence_work import (
    METHODS,
    PLAIN,
    SETTINGS,
    TOP,
    WORKERS,
    WRONG,
    D,
    absent,
    late,
    parts,
    settings,
)

ESTIMATES = ("EF21", "DIANA")  # whose x moves along what the server knows of all workers
SMALL = 1e-12  # of the first gap
BACK = 0.8  # of the noise of SGD: the wrong way follows the present, as SGD does
HEAD = f"{WORKERS} workers that disagree, full gradients: "
SOURCE, SEEN = "derived here", "measured here"


def verdicts(results: Results) -> list[Verdict]:
    """SGD's noise, the methods without any, the bytes of EF, and the wrong way.

    That x - n/|S| mean e of EF is SGD's iterate is judged with those of all other runs.
    """
    found = settings(results)
    return [
        _noise(results),
        *(_vanishes(results, name) for name in ESTIMATES),
        _bytes(results),
        *(_above_sgd(results, setting) for setting in absent(found)),
        *(_wrong(results, setting) for setting in parts(found)),
        *(_gaps(results, setting) for setting in found),
    ]


def _noise(results: Results) -> Verdict:
    """The mean over replicates against the mean over all subsets of workers."""
    off = 0.0
    for setting in absent(settings(results)):
        gaps, expected = late(results, PLAIN, setting), results[f"exact, {setting}"]["gap"]
        error = gaps.std(ddof=1) / np.sqrt(gaps.size)
        apart = np.abs(gaps.mean() - expected)
        off = worse(off, np.asarray(apart / error if error else np.inf))
    text = f"{HEAD}SGD, {len(absent(settings(results)))} ways of absence: long-run gap off its "
    return claim(f"{text}exact mean, in standard errors", SOURCE, off, "<=", 4.0)


def _vanishes(results: Results, name: str) -> Verdict:
    """Whatever the absence: the gap at the end, over the first."""
    runs = [results[f"{name}, {setting}"]["gap"] for setting in settings(results)]
    share = worse(0.0, np.array([abs(gap[-1] / gap[0]).max() for gap in runs]))
    text = f"{HEAD}{name}, {len(runs)} settings: largest last gap over the first"
    return claim(text, SOURCE, share, "<=", SMALL)


def _bytes(results: Results) -> Verdict:
    """As many messages as workers were asked: a lost one was sent, an absent worker sends none."""
    message, off = len(TOP.encode(np.ones(D))), 0.0
    for setting in settings(results):
        result, asked = results[f"EF, {setting}"], SETTINGS[setting][0]
        sent = asked * message * result["step"][:, None]
        off = worse(off, abs(result["bytes_up"] - sent))
    text = f"{HEAD}EF: bytes of all less those of |S| messages a step"
    return claim(text, SOURCE, off, "==", 0)


def _above_sgd(results: Results, setting: str) -> Verdict:
    """EF is noisier than SGD: what is absent is late besides."""
    text = f"{HEAD}{setting}, long-run gap of EF over that of SGD, exact"
    return decision(text, SEEN, over_exact(results, "EF", setting), 1.0)


def _wrong(results: Results, setting: str) -> Verdict:
    """The mean over the estimates of the present only."""
    text = f"{HEAD}{setting}, EF21 if the server averaged the present only: long-run gap over SGD's"
    return decision(text, SEEN, over_exact(results, WRONG, setting), BACK)


def over_exact(results: Results, name: str, setting: str) -> Interval:
    """The long-run gap over the exact one of SGD, with its interval over replicates."""
    ratio: Array = late(results, name, setting) / results[f"exact, {setting}"]["gap"]
    return of_mean(ratio)


def _gaps(results: Results, setting: str) -> Verdict:
    """The long-run gap of every method."""
    names = [*METHODS, *([WRONG] if setting in parts([setting]) else [])]
    gaps = [f"{name} {abs(late(results, name, setting).mean()):.2g}" for name in names]
    some = setting if absent([setting]) else "all present"
    return observation(f"{HEAD}{some}: long-run gap", SEEN, ", ".join(gaps))
